/* Memory that lives and dies together: one arena per exchange.
 *
 * Allocation bumps a pointer; nothing is freed by itself; `arena_clear` runs the
 * registered clean-ups, newest first, and keeps the first block for the next use.
 * Blocks grow with the arena, up to ARENA_BLOCK_MAX; an allocation that does not
 * fit the rest of the newest block gets a new one.
 *
 * Under ASan, space that is not handed out is poisoned, and allocations stand
 * apart, so that writing past the end of one is found.
 *
 * Owner:   whoever called `arena_init`; one thread at a time.
 * Bound:   `bytes_max` over all blocks, their headers included; beyond it
 *          allocation returns NULL.
 */
#pragma once

#include "base/result.h"
#include "base/span.h"

#define ARENA_BLOCK_MAX ((size_t)64 << 10)

struct arena_block;
struct arena_cleanup;

struct arena {
    uint8_t *next, *end;        /* the free part of the newest block */
    struct arena_block *newest; /* linked to older ones */
    struct arena_cleanup *cleanups;
    size_t block_size, bytes_max, bytes_now;
};

/* `block_size`: of the first block, taken at the first allocation. `bytes_max`: over
 * all blocks. */
void arena_init(struct arena *arena, size_t block_size, size_t bytes_max);
/* Runs clean-ups and gives everything back. Takes a zeroed arena. */
void arena_release(struct arena *arena);
/* Runs clean-ups, keeps the oldest block, unless a large allocation made it larger
 * than `block_size`. Everything allocated is gone. */
void arena_clear(struct arena *arena);

/* Aligned to 16 bytes; NULL when out of memory or beyond `bytes_max`. */
void *arena_alloc(struct arena *arena, size_t size) __attribute__((malloc, alloc_size(2)));
/* Zeroed array; the product is checked. */
void *arena_zalloc(struct arena *arena, size_t count, size_t size)
    __attribute__((malloc, alloc_size(2, 3)));
/* A copy of the bytes with a NUL behind it; NULL as above. */
char *arena_copy(struct arena *arena, struct span bytes);
/* Formatted text, NUL-terminated; NULL as above. */
char *arena_printf(struct arena *arena, const char *format, ...) PRINTF_LIKE(2, 3);
/* Calls `f(arg)` at clear or release, while the arena's memory still stands. `f` may
 * register another. ERR_NO_MEMORY when NULL would come from `arena_alloc`; nothing is
 * registered then. */
result arena_on_clear(struct arena *arena, void (*f)(void *arg), void *arg);

#define ARENA_NEW(arena, type) ((type *)arena_zalloc((arena), 1, sizeof(type)))
