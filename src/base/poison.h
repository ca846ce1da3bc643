/* Marks memory that is owned but not in use, so that AddressSanitizer reports an
 * access to it. Without AddressSanitizer nothing happens.
 *
 * For allocators only: whoever poisons a range unpoisons it before it hands it out
 * or frees it.
 */
#pragma once

#include "base/macros.h"

#if defined(__SANITIZE_ADDRESS__)
#define POISON_WORKS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POISON_WORKS 1
#endif
#endif
#ifndef POISON_WORKS
#define POISON_WORKS 0
#endif

#if POISON_WORKS
#include <sanitizer/asan_interface.h>
#endif

static inline void poison(const void *ptr, size_t len)
{
#if POISON_WORKS
    __asan_poison_memory_region(ptr, len);
#else
    (void)ptr, (void)len;
#endif
}

static inline void unpoison(const void *ptr, size_t len)
{
#if POISON_WORKS
    __asan_unpoison_memory_region(ptr, len);
#else
    (void)ptr, (void)len;
#endif
}
