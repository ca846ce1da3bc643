/* A reference count that may be used from every thread.
 *
 * Padded so that no other data shares its cache line, whatever the alignment of the
 * struct it lies in: what a count guards is mostly read, and would be fetched again
 * after each change of the count.
 *
 * Orderings. Getting is relaxed: whoever gets one holds one already, so nothing new
 * becomes visible by it. Putting releases, and the last put acquires as well, so that
 * what any holder wrote happens before what the last one does when it frees.
 */
#pragma once

#include "base/macros.h"

#include <stdatomic.h>

struct ref {
    uint8_t pad_before[60];
    atomic_uint count;
    uint8_t pad_after[60];
};

/* One holder: the caller. */
static inline void ref_init(struct ref *ref)
{
    atomic_init(&ref->count, 1);
}
/* One holder more; the caller is one of them. */
static inline void ref_get(struct ref *ref)
{
    unsigned before = atomic_fetch_add_explicit(&ref->count, 1, memory_order_relaxed);
    ASSERT(before > 0 && before < UINT32_MAX / 2);
}
/* One holder less. True for the last: the caller now frees what was counted. */
static inline bool ref_put(struct ref *ref)
{
    unsigned before = atomic_fetch_sub_explicit(&ref->count, 1, memory_order_acq_rel);
    ASSERT(before > 0);
    return before == 1;
}
/* A glance; exact only for a caller who is the only holder. Acquires, so that a caller
 * who finds himself the only one sees what the others wrote. */
static inline unsigned ref_count(const struct ref *ref)
{
    return atomic_load_explicit(&ref->count, memory_order_acquire);
}
