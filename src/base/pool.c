#include "base/pool.h"

#include "base/alloc.h"
#include "base/poison.h"

#include <string.h>

#define ALIGN ((size_t)16)
#define CHUNK_BYTES_MAX ((size_t)256 << 10)

struct pool_chunk {
    struct pool_chunk *older;
    size_t size; /* this header included */
};
_Static_assert(sizeof(struct pool_chunk) % ALIGN == 0, "objects are aligned");

/* What lies in an object that is free. */
struct pool_slot {
    struct pool_slot *next;
};

void pool_init(struct pool *pool, size_t object_size, size_t objects_max)
{
    ASSERT(object_size > 0 && object_size <= PTRDIFF_MAX / (2 * POOL_CHUNK));
    *pool = (struct pool){
        .object_size = (object_size + ALIGN - 1) / ALIGN * ALIGN,
        .objects_max = objects_max,
    };
}

void pool_release(struct pool *pool)
{
    while (pool->chunks) {
        struct pool_chunk *chunk = pool->chunks;
        pool->chunks = chunk->older;
        unpoison(chunk, chunk->size);
        mem_free(chunk);
    }
    pool->slots = NULL;
    pool->in_use = pool->free = 0;
}

static void put_slot(struct pool *pool, void *object)
{
    struct pool_slot *slot = object;
    slot->next = pool->slots;
    pool->slots = slot;
    pool->free++;
    poison(object, pool->object_size);
}

static bool grow(struct pool *pool)
{
    size_t count = MIN(pool->objects_max - pool->in_use, (size_t)POOL_CHUNK);
    count = MIN(count, MAX(CHUNK_BYTES_MAX / pool->object_size, (size_t)1));
    if (count == 0)
        return false;
    size_t size = sizeof(struct pool_chunk) + count * pool->object_size;
    struct pool_chunk *chunk = mem_alloc(size);
    if (!chunk)
        return false;
    *chunk = (struct pool_chunk){pool->chunks, size};
    pool->chunks = chunk;
    /* The last one first, so that objects are handed out in the order they lie in. */
    for (size_t i = count; i-- > 0;)
        put_slot(pool, (uint8_t *)(chunk + 1) + i * pool->object_size);
    return true;
}

void *pool_get(struct pool *pool)
{
    if (!pool->slots && !grow(pool))
        return NULL;
    struct pool_slot *slot = pool->slots;
    unpoison(slot, pool->object_size);
    pool->slots = slot->next;
    pool->free--;
    pool->in_use++;
    memset(slot, 0, pool->object_size);
    return slot;
}

void pool_put(struct pool *pool, void *object)
{
    if (!object)
        return;
    ASSERT(pool->in_use > 0);
    pool->in_use--;
    put_slot(pool, object);
}
