/* Buckets of schema 3: which one a value falls into, and what one shard has counted.
 * For metrics.c and metrics_write.c only; the manual is obs/metrics.h.
 *
 * A *raw* index counts the bounds from the recorded unit's 1 upwards, eight an octave:
 * bucket `raw` has the schema's index `raw - scale->one`. In bytes and plain numbers
 * bound 0 of the schema is 1, so `one` is 0. In seconds it is 1e9 nanoseconds =
 * 2^(239.1788/8), so bounds lie 0.1788 of a step above the octave's eighths, and `one`
 * is 239.
 */
#pragma once

#include "base/span.h"

#include <stdatomic.h>

#define HISTOGRAM_OCTAVES 65
#define HISTOGRAM_RAW_MAX 512

struct histogram_scale {
    /* The bounds within [2^63, 2^64), rounded down: an integer shifted up to bit 63
     * is above a bound exactly when it is above the rounded one. */
    uint64_t bounds[9];
    /* How many bounds lie below each sixteenth of the octave. None holds two. */
    uint8_t below[16];
    int one;
    int le_first, le_last, le_step; /* exponents of 2 shown as `le` */
};

extern const struct histogram_scale histogram_scale_plain, histogram_scale_bytes,
    histogram_scale_seconds;

/* The raw index of the smallest bound that `value`, at least 1, is not above. Exact for
 * every value. Two table look-ups and a comparison, no branch. */
static inline unsigned histogram_index(const struct histogram_scale *scale, uint64_t value)
{
    unsigned shift = (unsigned)__builtin_clzll(value);
    uint64_t mantissa = value << shift;
    unsigned below = scale->below[(mantissa >> 59) & 15];
    return 8 * (63 - shift) + below + (mantissa > scale->bounds[below]);
}

/* One cache line: an octave's buckets in one shard. */
struct histogram_octave {
    _Atomic uint64_t buckets[8];
};

struct histogram_cell {
    _Atomic uint64_t zeros;
    _Atomic uint64_t sum;
    _Atomic(struct histogram_octave *) octaves[HISTOGRAM_OCTAVES];
};

/* The shard's writer only. False when memory was short and nothing was recorded. */
bool histogram_cell_record(struct histogram_cell *cell, const struct histogram_scale *scale,
                           uint64_t value);
/* Nobody records or reads any more. NULL is allowed. */
void histogram_cell_free(struct histogram_cell *cell);

/* Shards added up. */
struct histogram_view {
    uint64_t zeros, count, sum;
    uint64_t buckets[HISTOGRAM_RAW_MAX + 1];
};
/* Adds what `cell` holds now; any thread. */
void histogram_view_add(struct histogram_view *view, const struct histogram_cell *cell);
/* Records not above 2^exponent in the exposed unit. */
uint64_t histogram_view_upto(const struct histogram_view *view, const struct histogram_scale *scale,
                             int exponent);
double histogram_view_quantile(const struct histogram_view *view,
                               const struct histogram_scale *scale, double q);
