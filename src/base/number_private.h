/* Between base/number's reader and writer: their one table. */
#pragma once

#include <stdint.h>

#define NUMBER_POW10_MIN (-342)
#define NUMBER_POW10_MAX 324

/* The 128 leading bits of a power of ten, cut off: 10^k = (hi·2^64 + lo + f) · 2^r
 * with 0 <= f < 1, f = 0 for 0 <= k <= 55, and bit 63 of `hi` set. */
struct number_pow10 {
    uint64_t hi, lo;
};

/* 10^k at index k - NUMBER_POW10_MIN. Written by tools/gen_pow10.py. */
extern const struct number_pow10 number_pow10[NUMBER_POW10_MAX - NUMBER_POW10_MIN + 1];
