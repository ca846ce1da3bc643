/* The few compiler words and macros that every file may use.
 *
 * GNU attributes behind names, so that both GCC 12+ and Clang 14+ take them.
 * No macro here hides control flow; the only one in the tree that does is TRY
 * (base/result.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NONNULL(...) __attribute__((nonnull(__VA_ARGS__)))
#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))
#define NORETURN __attribute__((noreturn))
#define UNUSED __attribute__((unused))
#define NOINLINE __attribute__((noinline))
/* A large local of a hot path that is written before it is read: not zeroed at its birth,
 * as all others are (-ftrivial-auto-var-init). GCC 12 and Clang 8 know it. */
#define UNINITIALIZED __attribute__((uninitialized))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Runs `f(&var)` when `var` leaves scope. `f` takes NULL and half-built objects. */
#define CLEANUP(f) __attribute__((cleanup(f)))

/* In a struct, after a flexible array member: the member that counts it. Checked
 * by compilers that know the attribute (GCC 15.1, Clang 18), ignored by others. */
#if defined(__has_attribute)
#if __has_attribute(counted_by)
#define COUNTED_BY(member) __attribute__((counted_by(member)))
#endif
#endif
#ifndef COUNTED_BY
#define COUNTED_BY(member)
#endif

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

/* Hands over what `*ptr` holds: returns it and leaves NULL behind, so that the
 * clean-up of `ptr` and the new owner cannot both free it. */
#define steal(ptr) \
    ({ \
        __typeof__(*(ptr)) steal_value_ = *(ptr); \
        *(ptr) = NULL; \
        steal_value_; \
    })

#define MIN(a, b) \
    ({ \
        __typeof__(a) min_a_ = (a); \
        __typeof__(b) min_b_ = (b); \
        min_a_ < min_b_ ? min_a_ : min_b_; \
    })
#define MAX(a, b) \
    ({ \
        __typeof__(a) max_a_ = (a); \
        __typeof__(b) max_b_ = (b); \
        max_a_ > max_b_ ? max_a_ : max_b_; \
    })

/* Assertions state what our own code guarantees; they stay on in production.
 * Nothing that comes from the wire, the disk, a backend or another process is
 * asserted. */
NORETURN void weir_assert_failed(const char *expression, const char *file, int line);
/* "expression (file:line)" of the one that failed, for a crash report; NULL: none did. */
const char *weir_assert_text(void);
#ifndef WEIR_NO_ASSERTIONS
#define ASSERT(x) (LIKELY(x) ? (void)0 : weir_assert_failed(#x, __FILE__, __LINE__))
#else /* only to measure what they cost */
#define ASSERT(x) ((void)sizeof(!(x)))
#endif
