/* A counter with a maximum that may be used from every thread: requests in flight,
 * bytes reserved, blocks taken. The one type behind every limit of admission.
 *
 * Invariants
 *   Q1  a take that would pass the maximum fails, changes nothing and is counted.
 *   Q2  what was taken is given back exactly once. A maximum lowered below what is
 *       taken fails takes until enough was given back.
 *
 * Padded so that no other data shares its cache lines, whatever its alignment.
 */
#pragma once

#include "base/macros.h"

#include <stdatomic.h>

struct quota {
    uint8_t pad_before[56];
    atomic_uint_fast64_t now, max, peak, refused;
    uint8_t pad_after[56];
};

void quota_init(struct quota *quota, uint64_t max);
/* Q1. */
bool quota_take(struct quota *quota, uint64_t n);
void quota_give(struct quota *quota, uint64_t n);
/* Q2; for a live reload. */
void quota_set_max(struct quota *quota, uint64_t max);
uint64_t quota_max(const struct quota *quota);
uint64_t quota_now(const struct quota *quota);
/* The most that was taken at any time. */
uint64_t quota_peak(const struct quota *quota);
/* How many takes failed. */
uint64_t quota_refused(const struct quota *quota);
