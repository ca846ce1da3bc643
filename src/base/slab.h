/* Large blocks of memory: body text, tensors, batch buffers. Counted, recycled,
 * aligned to 64 bytes.
 *
 * A slab is whoever hands out blocks: the heap (`slab_host_new`), or a model's own
 * allocator over shared or pinned memory; users see `struct slab` only. Each block is
 * counted, and goes back to its slab with its last holder, on any thread.
 *
 * Invariants
 *   S1  bytes in use never pass the slab's maximum; a get beyond it fails, changes
 *       nothing and is counted.
 *   S2  a slab outlives its blocks: `slab_free` ends it for its owner, and what is
 *       left of it goes with the last block.
 *
 * Threads: all functions may be called from any thread. Uses atomics itself, beside
 *          base's ring, ref and quota, for the lock of the free blocks (slab.c): base
 *          has no other, and large blocks are shared by loops and workers.
 */
#pragma once

#include "base/ref.h"

#define SLAB_ALIGN 64
/* The smallest block. */
#define SLAB_BLOCK_MIN ((size_t)4 << 10)
/* The largest block of `slab_host_new`. */
#define SLAB_BLOCK_MAX ((size_t)1 << 36)

struct slab;

/* Its bytes are undefined when it is handed out. */
struct block {
    uint8_t *ptr;
    size_t cap; /* at least what was asked for */
    struct slab *slab;
    struct block *next; /* for its holder while it is in use, else for the slab */
    struct ref ref;
};

struct slab_stats {
    uint64_t bytes_now;  /* in blocks that are in use */
    uint64_t bytes_peak; /* the most of them at any time */
    uint64_t bytes_free; /* kept for the next get */
    uint64_t bytes_max;
    uint64_t refused; /* gets that failed at the maximum or for want of memory */
};

/* What an implementation gives; it embeds `struct slab`. Any thread may call each. */
struct slab_ops {
    /* A block with `ptr`, `cap` and `slab` set and one holder, or NULL. */
    struct block *(*get)(struct slab *slab, size_t size);
    /* Takes back a block that has no holder. */
    void (*put)(struct slab *slab, struct block *block);
    void (*stats)(struct slab *slab, struct slab_stats *ret_stats);
    /* S2. */
    void (*free)(struct slab *slab);
};

struct slab {
    const struct slab_ops *ops;
};

/* A block of at least `size` bytes, held once by the caller. NULL beyond the slab's
 * maximum or out of memory. */
static inline struct block *slab_get(struct slab *slab, size_t size)
{
    return slab->ops->get(slab, size);
}
static inline void slab_stats(struct slab *slab, struct slab_stats *ret_stats)
{
    slab->ops->stats(slab, ret_stats);
}
/* No more gets; blocks in use stay valid (S2). NULL is allowed. */
static inline void slab_free(struct slab *slab)
{
    if (slab)
        slab->ops->free(slab);
}
/* One holder more. Returns `block`. */
static inline struct block *block_ref(struct block *block)
{
    ref_get(&block->ref);
    return block;
}
/* One holder less; the last one's block goes back to its slab. NULL is allowed. */
static inline void block_unref(struct block *block)
{
    if (block && ref_put(&block->ref))
        block->slab->ops->put(block->slab, block);
}

/* The slab over the heap. Blocks come in classes: powers of two from SLAB_BLOCK_MIN to
 * 64 kB, four an octave above. At most `bytes_max` are in use; on top of that at most
 * `keep_max` bytes of free blocks are kept and the rest goes back to the heap, so that
 * memory comes back after a burst. Under ASan, free blocks are poisoned. NULL when out
 * of memory. */
struct slab *slab_host_new(uint64_t bytes_max, uint64_t keep_max);
/* For a live reload. Lowering ends nothing: gets fail until enough has come back, and
 * kept blocks go as others come back. */
void slab_host_set_max(struct slab *slab, uint64_t bytes_max, uint64_t keep_max);
