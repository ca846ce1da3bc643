#include "base/alloc.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The one mutable global of this folder: there is one heap a process, so there is
 * one hook in front of it. It is atomic because every thread allocates; relaxed
 * order is enough, since nothing but the counters themselves is read through them.
 * While it is off, an allocation pays one load of a line that nobody writes. */
static struct {
    atomic_bool on, held, persistent;
    atomic_uint_fast64_t attempts, fails_at;
} hook;

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

static inline bool refused(size_t size)
{
    if (UNLIKELY(atomic_load_explicit(&hook.on, memory_order_relaxed)) && hook_refuses())
        return true;
    return UNLIKELY(size > PTRDIFF_MAX);
}

void *mem_alloc(size_t size)
{
    return refused(size) ? NULL : malloc(size ? size : 1);
}

void *mem_zalloc(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        bytes = SIZE_MAX;
    return refused(bytes) ? NULL : calloc(1, bytes ? bytes : 1);
}

void *mem_realloc(void *ptr, size_t size)
{
    return refused(size) ? NULL : realloc(ptr, size ? size : 1);
}

void *mem_aligned(size_t align, size_t size)
{
    ASSERT(align != 0 && (align & (align - 1)) == 0);
    void *ptr;
    if (refused(size) || posix_memalign(&ptr, MAX(align, sizeof(void *)), size ? size : 1) != 0)
        return NULL;
    return ptr;
}

void mem_free(void *ptr)
{
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
    atomic_store_explicit(&hook.on, countdown != 0, memory_order_relaxed);
    return attempts;
}

bool mem_fail_hold(bool held)
{
    return atomic_exchange_explicit(&hook.held, held, memory_order_relaxed);
}
