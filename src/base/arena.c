#include "base/arena.h"

#include "base/alloc.h"
#include "base/poison.h"

#include <stdarg.h>
#include <stdio.h>

#define ALIGN ((size_t)16)
/* Between two allocations, where that can be noticed. */
#define GAP (POISON_WORKS ? ALIGN : 0)

struct arena_block {
    struct arena_block *older;
    size_t size; /* this header included */
};
_Static_assert(sizeof(struct arena_block) % ALIGN == 0, "the first allocation is aligned");

struct arena_cleanup {
    struct arena_cleanup *older;
    void (*f)(void *arg);
    void *arg;
};

void arena_init(struct arena *arena, size_t block_size, size_t bytes_max)
{
    *arena = (struct arena){
        .block_size = MAX(block_size, sizeof(struct arena_block) + ALIGN + GAP),
        .bytes_max = bytes_max,
    };
}

static void run_cleanups(struct arena *arena)
{
    while (arena->cleanups) {
        struct arena_cleanup *cleanup = arena->cleanups;
        arena->cleanups = cleanup->older;
        cleanup->f(cleanup->arg);
    }
}

static void block_free(struct arena *arena, struct arena_block *block)
{
    arena->bytes_now -= block->size;
    unpoison(block, block->size);
    mem_free(block);
}

/* Makes all of `block` free space; NULL for none. */
static void use_block(struct arena *arena, struct arena_block *block)
{
    arena->newest = block;
    arena->next = block ? (uint8_t *)(block + 1) : NULL;
    arena->end = block ? (uint8_t *)block + block->size : NULL;
    if (block)
        poison(arena->next, (size_t)(arena->end - arena->next));
}

void arena_release(struct arena *arena)
{
    run_cleanups(arena);
    while (arena->newest) {
        struct arena_block *block = arena->newest;
        arena->newest = block->older;
        block_free(arena, block);
    }
    use_block(arena, NULL);
}

void arena_clear(struct arena *arena)
{
    run_cleanups(arena);
    struct arena_block *block = arena->newest;
    while (block && (block->older || block->size > arena->block_size)) {
        struct arena_block *older = block->older;
        block_free(arena, block);
        block = older;
    }
    use_block(arena, block);
}

/* A new block with room for `need` bytes: as large as the arena is by now, within
 * its bounds, so that the number of blocks grows with the logarithm of the bytes. */
static bool grow(struct arena *arena, size_t need)
{
    size_t left = arena->bytes_max - arena->bytes_now;
    if (left < sizeof(struct arena_block) || need > left - sizeof(struct arena_block))
        return false;
    size_t least = need + sizeof(struct arena_block);
    size_t wanted = MAX(arena->block_size, MIN(arena->bytes_now, ARENA_BLOCK_MAX));
    size_t size = MAX(least, MIN(wanted, left));
    struct arena_block *block = mem_alloc(size);
    if (!block)
        return false;
    *block = (struct arena_block){arena->newest, size};
    arena->bytes_now += size;
    use_block(arena, block);
    return true;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    if (size > PTRDIFF_MAX)
        return NULL;
    size_t need = (MAX(size, (size_t)1) + ALIGN - 1) / ALIGN * ALIGN + GAP;
    if (need > (size_t)(arena->end - arena->next) && !grow(arena, need))
        return NULL;
    void *ptr = arena->next;
    arena->next += need;
    unpoison(ptr, size);
    return ptr;
}

void *arena_zalloc(struct arena *arena, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    void *ptr = arena_alloc(arena, bytes);
    if (ptr)
        memset(ptr, 0, bytes);
    return ptr;
}

char *arena_copy(struct arena *arena, struct span bytes)
{
    if (bytes.len >= PTRDIFF_MAX)
        return NULL;
    char *copy = arena_alloc(arena, bytes.len + 1);
    if (!copy)
        return NULL;
    if (bytes.len)
        memcpy(copy, bytes.ptr, bytes.len);
    copy[bytes.len] = '\0';
    return copy;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = len < 0 ? NULL : arena_alloc(arena, (size_t)len + 1);
    if (!text)
        return NULL;
    va_start(args, format);
    vsnprintf(text, (size_t)len + 1, format, args);
    va_end(args);
    return text;
}

result arena_on_clear(struct arena *arena, void (*f)(void *arg), void *arg)
{
    struct arena_cleanup *cleanup = arena_alloc(arena, sizeof(*cleanup));
    if (!cleanup)
        return fail(ERR_NO_MEMORY);
    *cleanup = (struct arena_cleanup){arena->cleanups, f, arg};
    arena->cleanups = cleanup;
    return OK;
}
