/* Each slot carries a sequence number. For the record number n, in slot n mod size:
 *
 *   sequence == n          the slot is free for the producer who claims n
 *   sequence == n + 1      record n is committed; the consumer may read it
 *   sequence == n + size   the consumer is done; free for record n + size
 *
 * Orderings. `sequence` is stored with release and loaded with acquire, on both ways:
 * commit to peek carries the record's bytes to the consumer, consume to claim carries
 * his having read them to the next producer. `tail` only deals out numbers, so its
 * compare-and-swap is relaxed; who has won number n alone writes slot n. */
#include "base/ring.h"

#include "base/alloc.h"

#define LINE ((size_t)64)

struct ring_slot {
    atomic_uint_fast64_t sequence;
    uint64_t unused; /* keeps the record behind it aligned to 16 bytes */
};

static struct ring_slot *slot_at(const struct ring *ring, uint64_t number)
{
    return (struct ring_slot *)(void *)(ring->slots + (number & ring->mask) * ring->slot_size);
}

result ring_init(struct ring *ring, size_t record_size, size_t records)
{
    ASSERT(records >= 2 && (records & (records - 1)) == 0);
    *ring = (struct ring){.mask = records - 1};
    size_t size, bytes;
    if (__builtin_add_overflow(record_size, sizeof(struct ring_slot) + LINE - 1, &size))
        return fail(ERR_NO_MEMORY);
    ring->slot_size = size / LINE * LINE;
    if (__builtin_mul_overflow(ring->slot_size, records, &bytes))
        return fail(ERR_NO_MEMORY);
    ring->slots = mem_aligned(LINE, bytes);
    if (!ring->slots)
        return fail(ERR_NO_MEMORY);
    for (size_t i = 0; i < records; i++)
        atomic_init(&slot_at(ring, i)->sequence, i);
    return OK;
}

void ring_release(struct ring *ring)
{
    mem_free(steal(&ring->slots));
}

void *ring_claim(struct ring *ring)
{
    uint64_t number = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    for (;;) {
        struct ring_slot *slot = slot_at(ring, number);
        uint64_t sequence = atomic_load_explicit(&slot->sequence, memory_order_acquire);
        if (sequence == number) {
            if (atomic_compare_exchange_weak_explicit(&ring->tail, &number, number + 1,
                                                      memory_order_relaxed, memory_order_relaxed))
                return slot + 1;
        } else if (sequence < number) {
            atomic_fetch_add_explicit(&ring->refused, 1, memory_order_relaxed);
            return NULL;
        } else { /* somebody else has claimed this number meanwhile */
            number = atomic_load_explicit(&ring->tail, memory_order_relaxed);
        }
    }
}

void ring_commit(struct ring *ring, void *record)
{
    (void)ring;
    struct ring_slot *slot = (struct ring_slot *)record - 1;
    /* Relaxed: since the claim nobody else writes it. */
    uint64_t number = atomic_load_explicit(&slot->sequence, memory_order_relaxed);
    atomic_store_explicit(&slot->sequence, number + 1, memory_order_release);
}

void *ring_peek(struct ring *ring)
{
    struct ring_slot *slot = slot_at(ring, ring->head);
    uint64_t sequence = atomic_load_explicit(&slot->sequence, memory_order_acquire);
    return sequence == ring->head + 1 ? slot + 1 : NULL;
}

void ring_consume(struct ring *ring)
{
    struct ring_slot *slot = slot_at(ring, ring->head);
    atomic_store_explicit(&slot->sequence, ring->head + ring->mask + 1, memory_order_release);
    ring->head++;
}

const void *ring_recent(const struct ring *ring, uint64_t back)
{
    uint64_t claimed = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    return back < MIN(claimed, ring->mask + 1) ? slot_at(ring, claimed - 1 - back) + 1 : NULL;
}

uint64_t ring_refused(const struct ring *ring)
{
    return atomic_load_explicit(&ring->refused, memory_order_relaxed);
}
