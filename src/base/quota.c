/* All orders are relaxed: a quota says how much, and no other memory is read by what
 * it says. Each counter by itself has one order of changes, which is all that Q1
 * needs: the check and the change are one compare-and-swap of `now`. */
#include "base/quota.h"

void quota_init(struct quota *quota, uint64_t max)
{
    atomic_init(&quota->now, 0);
    atomic_init(&quota->max, max);
    atomic_init(&quota->peak, 0);
    atomic_init(&quota->refused, 0);
}

bool quota_take(struct quota *quota, uint64_t n)
{
    uint64_t max = atomic_load_explicit(&quota->max, memory_order_relaxed);
    uint64_t now = atomic_load_explicit(&quota->now, memory_order_relaxed);
    do {
        if (now > max || n > max - now) {
            atomic_fetch_add_explicit(&quota->refused, 1, memory_order_relaxed);
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&quota->now, &now, now + n,
                                                    memory_order_relaxed, memory_order_relaxed));
    uint64_t peak = atomic_load_explicit(&quota->peak, memory_order_relaxed);
    while (peak < now + n &&
           !atomic_compare_exchange_weak_explicit(&quota->peak, &peak, now + n,
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
    return true;
}

void quota_give(struct quota *quota, uint64_t n)
{
    uint64_t before = atomic_fetch_sub_explicit(&quota->now, n, memory_order_relaxed);
    ASSERT(before >= n);
}

void quota_set_max(struct quota *quota, uint64_t max)
{
    atomic_store_explicit(&quota->max, max, memory_order_relaxed);
}

uint64_t quota_max(const struct quota *quota)
{
    return atomic_load_explicit(&quota->max, memory_order_relaxed);
}

uint64_t quota_now(const struct quota *quota)
{
    return atomic_load_explicit(&quota->now, memory_order_relaxed);
}

uint64_t quota_peak(const struct quota *quota)
{
    return atomic_load_explicit(&quota->peak, memory_order_relaxed);
}

uint64_t quota_refused(const struct quota *quota)
{
    return atomic_load_explicit(&quota->refused, memory_order_relaxed);
}
