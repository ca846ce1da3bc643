/* The one door through which Weir's own code takes memory from the heap.
 *
 * Raw malloc and its kin are banned outside this file's source, so that limits,
 * counters and injected failures reach every allocation. At boot, failure may
 * abort (`mem_must`); while serving, it is an ordinary error of that request.
 *
 * Threads: all functions may be called from any thread.
 */
#pragma once

#include "base/macros.h"

/* NULL on failure. `size` 0 gives a block that may be freed. Sizes above PTRDIFF_MAX
 * always fail. */
void *mem_alloc(size_t size) __attribute__((malloc, alloc_size(1)));
/* The same, zeroed; the product is checked for overflow. */
void *mem_zalloc(size_t count, size_t size) __attribute__((malloc, alloc_size(1, 2)));
/* Grows or shrinks; on failure returns NULL and `ptr` stays as it was. `ptr` may be
 * NULL, and is not a block of `mem_aligned`, whose alignment would be lost. */
void *mem_realloc(void *ptr, size_t size) __attribute__((alloc_size(2)));
/* `align` is a power of two. Freed by `mem_free`. */
void *mem_aligned(size_t align, size_t size) __attribute__((malloc, alloc_align(1), alloc_size(2)));
/* NULL is allowed. */
void mem_free(void *ptr);
/* A copy of a C string, or NULL. */
char *mem_strdup(const char *text);
/* For boot and other places where going on is pointless: prints how much was
 * asked for and aborts when `ptr` is NULL, else returns it. */
void *mem_must(void *ptr, size_t size);

/* Test hook: the `countdown`-th allocation from now fails (1 is the next one), and
 * all after it too when `persistent`. 0 turns it off; a countdown that is never
 * reached only counts. Returns how many allocations were attempted since the call
 * that turned it on; 0 when it was off. Not to be called while another thread
 * allocates. */
uint64_t mem_fail_after(uint64_t countdown, bool persistent);
/* Test hook: whether blocks are counted from now on. Returns how many more were taken than
 * given back since the call before; 0 when it was off. */
int64_t mem_count(bool on);
/* While held, allocations neither count nor fail: those of the test itself, and of the
 * simulator around the code under test. Returns what held before, to be set again. For
 * tests of one thread. */
bool mem_fail_hold(bool held);

/* A zeroed object of a type. */
#define MEM_NEW(type) ((type *)mem_zalloc(1, sizeof(type)))

/* `CLEANUP(mem_cleanup)` on a pointer variable frees what it holds. */
static inline void mem_cleanup(void *pointer_to_pointer)
{
    void *ptr;
    __builtin_memcpy(&ptr, pointer_to_pointer, sizeof(ptr));
    mem_free(ptr);
}
