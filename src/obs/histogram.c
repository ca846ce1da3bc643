#include "obs/histogram.h"

#include "base/alloc.h"

#include <math.h>

/* 2^(63 + j/8) for j = 0..7; the last entry is above every mantissa. */
#define BOUNDS_PLAIN \
    {0x8000000000000000u, 0x8b95c1e3ea8bd6e6u, 0x9837f0518db8a96fu, \
     0xa5fed6a9b15138eau, 0xb504f333f9de6484u, 0xc5672a115506daddu, \
     0xd744fccad69d6af4u, 0xeac0c6e7dd24392eu, UINT64_MAX}
#define BELOW_PLAIN {0, 1, 2, 2, 3, 4, 4, 5, 5, 6, 6, 7, 7, 7, 8, 8}

const struct histogram_scale histogram_scale_plain = {
    .bounds = BOUNDS_PLAIN,
    .below = BELOW_PLAIN,
    .one = 0,
    .le_first = 0,
    .le_last = 12,
    .le_step = 1,
};

const struct histogram_scale histogram_scale_bytes = {
    .bounds = BOUNDS_PLAIN,
    .below = BELOW_PLAIN,
    .one = 0,
    .le_first = 6,
    .le_last = 30,
    .le_step = 2,
};

/* 2^(63 + (j + f)/8) with f = 8 log2(1e9) - 239. Bound 7 is 1e9 itself, scaled. */
const struct histogram_scale histogram_scale_seconds = {
    .bounds = {0x81ffa7a9549ca6e3u, 0x8dc3b8960164a7d9u, 0x9a9867054d512391u, 0xa8965f74bf065071u,
               0xb7d88a12d0dd9ea0u, 0xc87c3e7d03cdbec3u, 0xdaa17c2cd19555dbu, 0xee6b280000000000u,
               UINT64_MAX},
    .below = {0, 1, 2, 2, 3, 3, 4, 5, 5, 5, 6, 6, 7, 7, 8, 8},
    .one = 239,
    .le_first = -16,
    .le_last = 6,
    .le_step = 1,
};

/* A plain load and store: the shard has one writer. */
static inline void bump(_Atomic uint64_t *counter, uint64_t n, memory_order order)
{
    uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, now + n, order);
}

static NOINLINE struct histogram_octave *octave_new(struct histogram_cell *cell, unsigned octave)
{
    struct histogram_octave *made = mem_aligned(64, sizeof(*made));
    if (!made)
        return NULL;
    memset(made, 0, sizeof(*made));
    /* Release: a reader that finds the octave finds it zeroed. */
    atomic_store_explicit(&cell->octaves[octave], made, memory_order_release);
    return made;
}

bool histogram_cell_record(struct histogram_cell *cell, const struct histogram_scale *scale,
                           uint64_t value)
{
    if (UNLIKELY(value == 0)) {
        bump(&cell->zeros, 1, memory_order_relaxed);
        return true;
    }
    unsigned raw = histogram_index(scale, value);
    struct histogram_octave *octave =
        atomic_load_explicit(&cell->octaves[raw / 8], memory_order_relaxed);
    if (UNLIKELY(!octave)) {
        octave = octave_new(cell, raw / 8);
        if (!octave)
            return false;
    }
    /* The sum first and the bucket with release: whoever has read the bucket reads a
     * sum that holds its value. */
    bump(&cell->sum, value, memory_order_relaxed);
    bump(&octave->buckets[raw % 8], 1, memory_order_release);
    return true;
}

void histogram_cell_free(struct histogram_cell *cell)
{
    if (!cell)
        return;
    for (unsigned i = 0; i < HISTOGRAM_OCTAVES; i++)
        mem_free(atomic_load_explicit(&cell->octaves[i], memory_order_relaxed));
    mem_free(cell);
}

void histogram_view_add(struct histogram_view *view, const struct histogram_cell *cell)
{
    uint64_t zeros = atomic_load_explicit(&cell->zeros, memory_order_relaxed);
    view->zeros += zeros;
    view->count += zeros;
    for (unsigned i = 0; i < HISTOGRAM_OCTAVES; i++) {
        const struct histogram_octave *octave =
            atomic_load_explicit(&cell->octaves[i], memory_order_acquire);
        for (unsigned j = 0; octave && j < 8 && 8 * i + j <= HISTOGRAM_RAW_MAX; j++) {
            uint64_t n = atomic_load_explicit(&octave->buckets[j], memory_order_acquire);
            view->buckets[8 * i + j] += n;
            view->count += n;
        }
    }
    view->sum += atomic_load_explicit(&cell->sum, memory_order_relaxed);
}

uint64_t histogram_view_upto(const struct histogram_view *view, const struct histogram_scale *scale,
                             int exponent)
{
    int last = MIN(8 * exponent + scale->one, HISTOGRAM_RAW_MAX);
    uint64_t total = view->zeros;
    for (int raw = 0; raw <= last; raw++)
        total += view->buckets[raw];
    return total;
}

double histogram_view_quantile(const struct histogram_view *view,
                               const struct histogram_scale *scale, double q)
{
    if (view->count == 0 || !(q >= 0 && q <= 1))
        return NAN;
    double rank = q * (double)view->count, below = (double)view->zeros;
    if (rank <= below && view->zeros > 0)
        return 0;
    int last = 0;
    for (int raw = 0; raw <= HISTOGRAM_RAW_MAX; raw++) {
        double here = (double)view->buckets[raw];
        if (here == 0)
            continue;
        last = raw;
        if (below + here >= rank)
            return exp2((raw - scale->one - 1 + (rank - below) / here) / 8);
        below += here;
    }
    return exp2((last - scale->one) / 8.0);
}
