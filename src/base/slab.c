/* The slab over the heap.
 *
 * What is in use is counted by a quota; the free blocks are a cache behind a lock. The
 * lock is only ever tried: who finds it taken goes to the heap instead, so that no
 * thread waits for another that was interrupted while it held it. It is held for a
 * bounded number of steps, and never over an allocation or a free.
 *
 * Ordering of the lock: taking it acquires and giving it releases, so that the lists
 * and a block's own bytes, changed under it or before it, are seen by the next taker.
 * `closing` and `kept` are also read without it, where a stale value only means one
 * block more or less in the cache: relaxed. */
#include "base/slab.h"

#include "base/alloc.h"
#include "base/poison.h"
#include "base/quota.h"

#define STEP_MIN ((size_t)16 << 10) /* of the octave that starts at 64 kB */
#define SMALL_CLASSES 4             /* 4, 8, 16 and 32 kB */
#define OCTAVES 20                  /* 64 kB to 64 GB */
#define CLASSES (SMALL_CLASSES + 4 * OCTAVES + 1)
/* The most blocks that make room for one that comes back. */
#define EVICTED_MAX 8

struct host {
    struct slab slab;
    struct quota in_use;
    struct ref ref; /* the owner and each block in use */
    atomic_uint_fast64_t no_memory;
    atomic_uint_fast64_t keep_max, kept; /* bytes; `kept` changes under the lock */
    atomic_bool closing;
    atomic_flag locked;
    unsigned victim; /* the class that gives way next; under the lock */
    struct block *free[CLASSES];
};

static struct host *host_of(struct slab *slab)
{
    return CONTAINER_OF(slab, struct host, slab);
}

/* The class of the smallest blocks that hold `size`, at most SLAB_BLOCK_MAX. */
static unsigned class_of(size_t size, size_t *ret_cap)
{
    size_t cap = SLAB_BLOCK_MIN;
    for (unsigned size_class = 0; size_class < SMALL_CLASSES; size_class++, cap *= 2)
        if (size <= cap) {
            *ret_cap = cap;
            return size_class;
        }
    /* `size` lies in the octave above 2^octave, which has four steps. */
    unsigned octave = size > 4 * STEP_MIN ? 63 - (unsigned)__builtin_clzll(size - 1) : 16;
    size_t step = (size_t)1 << (octave - 2);
    size_t steps = size > 4 * STEP_MIN ? (size - 1) / step + 1 : 4;
    *ret_cap = steps * step;
    return SMALL_CLASSES + 4 * (octave - 16) + (unsigned)(steps - 4);
}

static bool try_lock(struct host *host)
{
    return !atomic_flag_test_and_set_explicit(&host->locked, memory_order_acquire);
}

static void unlock(struct host *host)
{
    atomic_flag_clear_explicit(&host->locked, memory_order_release);
}

static void block_free(struct block *block)
{
    mem_free(block->ptr);
    mem_free(block);
}

static struct block *block_new(struct slab *slab, size_t cap)
{
    struct block *block = MEM_NEW(struct block);
    uint8_t *ptr = mem_aligned(SLAB_ALIGN, cap);
    if (!block || !ptr) {
        mem_free(block);
        mem_free(ptr);
        return NULL;
    }
    block->ptr = ptr;
    block->cap = cap;
    block->slab = slab;
    return block;
}

/* Under the lock: the first free block of a class, or NULL. */
static struct block *pop(struct host *host, unsigned size_class)
{
    struct block *block = host->free[size_class];
    if (block) {
        unpoison(block, sizeof(*block));
        unpoison(block->ptr, block->cap);
        host->free[size_class] = block->next;
        atomic_fetch_sub_explicit(&host->kept, block->cap, memory_order_relaxed);
    }
    return block;
}

static struct block *cache_get(struct host *host, unsigned size_class)
{
    if (!try_lock(host))
        return NULL;
    struct block *block = pop(host, size_class);
    unlock(host);
    return block;
}

/* Under the lock: takes free blocks of other classes out, in turn, until `cap` more
 * bytes may be kept, so that blocks of a size that is no longer asked for do not fill
 * the cache for ever. Returns them. */
static struct block *evict(struct host *host, unsigned size_class, size_t cap, uint64_t keep_max)
{
    struct block *evicted = NULL;
    unsigned count = 0;
    for (unsigned step = 0; step < CLASSES + EVICTED_MAX && count < EVICTED_MAX; step++) {
        if (atomic_load_explicit(&host->kept, memory_order_relaxed) + cap <= keep_max)
            break;
        struct block *block = host->victim != size_class ? pop(host, host->victim) : NULL;
        if (block) {
            block->next = evicted;
            evicted = block;
            count++;
        } else {
            host->victim = (host->victim + 1) % CLASSES;
        }
    }
    return evicted;
}

/* Keeps `block` for the next get, or frees it. */
static void cache_put(struct host *host, struct block *block)
{
    size_t cap;
    unsigned size_class = class_of(block->cap, &cap);
    uint64_t keep_max = atomic_load_explicit(&host->keep_max, memory_order_relaxed);
    struct block *goes = block;
    block->next = NULL;
    if (cap <= keep_max && !atomic_load_explicit(&host->closing, memory_order_relaxed) &&
        try_lock(host)) {
        goes = evict(host, size_class, cap, keep_max);
        if (atomic_load_explicit(&host->kept, memory_order_relaxed) + cap <= keep_max) {
            block->next = host->free[size_class];
            host->free[size_class] = block;
            poison(block->ptr, cap);
            poison(block, sizeof(*block));
            atomic_fetch_add_explicit(&host->kept, cap, memory_order_relaxed);
        } else {
            block->next = goes;
            goes = block;
        }
        unlock(host);
    }
    while (goes) {
        struct block *next = goes->next;
        block_free(goes);
        goes = next;
    }
}

static void host_drop(struct host *host)
{
    if (!ref_put(&host->ref))
        return;
    for (unsigned size_class = 0; size_class < CLASSES; size_class++)
        for (struct block *block; (block = pop(host, size_class));)
            block_free(block);
    mem_free(host);
}

static struct block *host_get(struct slab *slab, size_t size)
{
    struct host *host = host_of(slab);
    size_t cap = SIZE_MAX;
    unsigned size_class = size <= SLAB_BLOCK_MAX ? class_of(size, &cap) : 0;
    if (!quota_take(&host->in_use, cap))
        return NULL;
    struct block *block = cache_get(host, size_class);
    if (!block)
        block = block_new(slab, cap);
    if (!block) {
        quota_give(&host->in_use, cap);
        atomic_fetch_add_explicit(&host->no_memory, 1, memory_order_relaxed);
        return NULL;
    }
    ref_init(&block->ref);
    ref_get(&host->ref);
    block->next = NULL;
    return block;
}

static void host_put(struct slab *slab, struct block *block)
{
    struct host *host = host_of(slab);
    quota_give(&host->in_use, block->cap);
    cache_put(host, block);
    host_drop(host);
}

static void host_stats(struct slab *slab, struct slab_stats *ret_stats)
{
    struct host *host = host_of(slab);
    *ret_stats = (struct slab_stats){
        .bytes_now = quota_now(&host->in_use),
        .bytes_peak = quota_peak(&host->in_use),
        .bytes_free = atomic_load_explicit(&host->kept, memory_order_relaxed),
        .bytes_max = quota_max(&host->in_use),
        .refused = quota_refused(&host->in_use) +
                   atomic_load_explicit(&host->no_memory, memory_order_relaxed),
    };
}

static void host_free(struct slab *slab)
{
    struct host *host = host_of(slab);
    atomic_store_explicit(&host->closing, true, memory_order_relaxed);
    for (unsigned size_class = 0; size_class < CLASSES; size_class++)
        for (struct block *block; (block = cache_get(host, size_class));)
            block_free(block);
    host_drop(host);
}

static const struct slab_ops host_ops = {host_get, host_put, host_stats, host_free};

struct slab *slab_host_new(uint64_t bytes_max, uint64_t keep_max)
{
    struct host *host = MEM_NEW(struct host);
    if (!host)
        return NULL;
    host->slab.ops = &host_ops;
    quota_init(&host->in_use, 0);
    ref_init(&host->ref);
    atomic_flag_clear(&host->locked);
    slab_host_set_max(&host->slab, bytes_max, keep_max);
    return &host->slab;
}

void slab_host_set_max(struct slab *slab, uint64_t bytes_max, uint64_t keep_max)
{
    struct host *host = host_of(slab);
    /* Below UINT64_MAX, so that a size beyond every class is refused like any other. */
    quota_set_max(&host->in_use, MIN(bytes_max, (uint64_t)INT64_MAX));
    atomic_store_explicit(&host->keep_max, MIN(keep_max, (uint64_t)INT64_MAX),
                          memory_order_relaxed);
}
