/* A bounded queue of fixed-size records from many threads to one: the log's way to its
 * writer. Lock-free; after D. Vyukov's bounded queue with a sequence number per slot,
 * reduced to one consumer.
 *
 * A producer claims a record, fills it in place and commits it. A full ring refuses,
 * and counts what it refused: nobody ever waits. Records come out in the order in
 * which they were claimed, so one that is claimed and not yet committed holds back
 * those behind it: fill it at once.
 *
 * Owner:   whoever called `ring_init`; freed when no thread uses it any more.
 * Threads: claim and commit on any; peek, consume and the rest on the consumer's.
 */
#pragma once

#include "base/result.h"

#include <stdatomic.h>

struct ring {
    uint8_t *slots;
    size_t slot_size, mask;
    /* What different threads write lies on different cache lines. */
    uint8_t pad_head[64];
    uint64_t head; /* the consumer's: number of the next record to read */
    uint8_t pad_tail[64];
    atomic_uint_fast64_t tail; /* the producers': number of the next record to claim */
    uint8_t pad_refused[64];
    atomic_uint_fast64_t refused;
};

/* `records`: a power of two, at least 2. ERR_NO_MEMORY. */
result ring_init(struct ring *ring, size_t record_size, size_t records);
/* Takes a zeroed ring. */
void ring_release(struct ring *ring);

/* A record to fill, aligned to 16 bytes, of undefined content; NULL when the ring is
 * full, which is counted. */
void *ring_claim(struct ring *ring);
/* Hands a claimed record to the consumer. */
void ring_commit(struct ring *ring, void *record);

/* The oldest record, which stays until `ring_consume`; NULL when there is none or it is
 * not committed yet. */
void *ring_peek(struct ring *ring);
/* Gives the record that `ring_peek` returned back to the producers. */
void ring_consume(struct ring *ring);
/* The record claimed `back` claims ago (0: the newest), read or not; NULL when it was never
 * claimed or its place is taken again. For a process that crashes: it may be half written. */
const void *ring_recent(const struct ring *ring, uint64_t back);
/* How many claims were refused so far; any thread. */
uint64_t ring_refused(const struct ring *ring);
