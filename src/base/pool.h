/* Objects of one size, taken and given back in constant time: connections, exchanges,
 * tasks.
 *
 * Memory comes from the heap in chunks of POOL_CHUNK objects (fewer when they are
 * large) and returns to it at `pool_release`, so that after a burst the pool stays
 * as large as the burst made it: `objects_max` is its bound. Under ASan, an object
 * that is not in use is poisoned.
 *
 * Owner: the loop; one thread, no lock.
 */
#pragma once

#include "base/macros.h"

#define POOL_CHUNK 32

struct pool_chunk;
struct pool_slot;

struct pool {
    size_t object_size, objects_max;
    size_t in_use, free; /* objects; their sum is what the chunks hold */
    struct pool_slot *slots;
    struct pool_chunk *chunks;
};

/* Takes no memory yet. */
void pool_init(struct pool *pool, size_t object_size, size_t objects_max);
/* Frees all objects, also those in use. Takes a zeroed pool. */
void pool_release(struct pool *pool);
/* A zeroed object aligned to 16 bytes; NULL beyond `objects_max` or out of memory. */
void *pool_get(struct pool *pool) __attribute__((malloc));
/* NULL is allowed. */
void pool_put(struct pool *pool, void *object);
