#include "base/alloc.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The one mutable global of this folder: there is one heap a process, so there is
 * one hook in front of it. It is atomic because every thread allocates; relaxed
 * order is enough, since nothing but the counters themselves is read through them.
 * While it is off, an allocation, and giving it back, pay one load each of a line that
 * nobody writes. */
static struct {
    atomic_uint on; /* HOOK_ bits */
    atomic_bool held, persistent;
    atomic_uint_fast64_t attempts, fails_at;
    atomic_int_fast64_t blocks;
} hook;

enum { HOOK_FAILS = 1, HOOK_COUNTS = 2 };

/* Read by jemalloc, where the program is linked with it. Pages go back to the kernel by a
 * thread of its own: taking 30 MB away lasts 1 to 4 ms, for which a loop that frees the
 * text of an answer would stand still. Blocks of 8 MB and more would have an arena whose
 * pages the freeing thread returns at once in spite of that; so there is none. */
extern const char *const malloc_conf;
__attribute__((visibility("default"))) const char *const malloc_conf =
    "background_thread:true,max_background_threads:1,oversize_threshold:0";

static NOINLINE bool hook_refuses(void)
{
    if (atomic_load_explicit(&hook.held, memory_order_relaxed))
        return false;
    uint64_t attempt = atomic_fetch_add_explicit(&hook.attempts, 1, memory_order_relaxed) + 1;
    uint64_t fails_at = atomic_load_explicit(&hook.fails_at, memory_order_relaxed);
    return attempt == fails_at ||
           (attempt > fails_at && atomic_load_explicit(&hook.persistent, memory_order_relaxed));
}

/* Asked once an allocation: the rest of it goes by the answer. */
static inline unsigned hooks(void)
{
    return atomic_load_explicit(&hook.on, memory_order_relaxed);
}

static inline bool refused(unsigned on, size_t size)
{
    if (UNLIKELY(on & HOOK_FAILS) && hook_refuses())
        return true;
    return UNLIKELY(size > PTRDIFF_MAX);
}

static inline void *taken(unsigned on, void *ptr)
{
    if (UNLIKELY(on & HOOK_COUNTS) && ptr)
        atomic_fetch_add_explicit(&hook.blocks, 1, memory_order_relaxed);
    return ptr;
}

void *mem_alloc(size_t size)
{
    unsigned on = hooks();
    return refused(on, size) ? NULL : taken(on, malloc(size ? size : 1));
}

void *mem_zalloc(size_t count, size_t size)
{
    unsigned on = hooks();
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        bytes = SIZE_MAX;
    return refused(on, bytes) ? NULL : taken(on, calloc(1, bytes ? bytes : 1));
}

void *mem_realloc(void *ptr, size_t size)
{
    unsigned on = hooks();
    if (refused(on, size))
        return NULL;
    void *grown = realloc(ptr, size ? size : 1);
    return ptr ? grown : taken(on, grown);
}

void *mem_aligned(size_t align, size_t size)
{
    unsigned on = hooks();
    ASSERT(align != 0 && (align & (align - 1)) == 0);
    void *ptr;
    if (refused(on, size) || posix_memalign(&ptr, MAX(align, sizeof(void *)), size ? size : 1) != 0)
        return NULL;
    return taken(on, ptr);
}

void mem_free(void *ptr)
{
    if (UNLIKELY(hooks() & HOOK_COUNTS) && ptr)
        atomic_fetch_sub_explicit(&hook.blocks, 1, memory_order_relaxed);
    free(ptr);
}

char *mem_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = mem_alloc(size);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}

void *mem_must(void *ptr, size_t size)
{
    if (UNLIKELY(!ptr)) {
        fprintf(stderr, "weir: out of memory: %zu bytes were asked for\n", size);
        abort();
    }
    return ptr;
}

uint64_t mem_fail_after(uint64_t countdown, bool persistent)
{
    uint64_t attempts = atomic_exchange_explicit(&hook.attempts, 0, memory_order_relaxed);
    atomic_store_explicit(&hook.fails_at, countdown, memory_order_relaxed);
    atomic_store_explicit(&hook.persistent, persistent, memory_order_relaxed);
    if (countdown)
        atomic_fetch_or_explicit(&hook.on, HOOK_FAILS, memory_order_relaxed);
    else
        atomic_fetch_and_explicit(&hook.on, ~(unsigned)HOOK_FAILS, memory_order_relaxed);
    return attempts;
}

int64_t mem_count(bool on)
{
    if (on)
        atomic_fetch_or_explicit(&hook.on, HOOK_COUNTS, memory_order_relaxed);
    else
        atomic_fetch_and_explicit(&hook.on, ~(unsigned)HOOK_COUNTS, memory_order_relaxed);
    return atomic_exchange_explicit(&hook.blocks, 0, memory_order_relaxed);
}

bool mem_fail_hold(bool held)
{
    return atomic_exchange_explicit(&hook.held, held, memory_order_relaxed);
}
