#include "obs/histogram.h"

#include "base/alloc.h"
#include "base/test_cmocka.h"
#include "base/test_random.h"

#include <math.h>
#include <stdlib.h>

static const struct histogram_scale *const scales[] = {
    &histogram_scale_plain,
    &histogram_scale_bytes,
    &histogram_scale_seconds,
};

/* Bound `raw` in recorded units, by the definition of the schema. */
static long double bound(const struct histogram_scale *scale, int raw)
{
    long double unit = scale == &histogram_scale_seconds ? 1e9L : 1.0L;
    return unit * exp2l((raw - scale->one) / 8.0L);
}

static void every_value_lies_between_its_bounds(void **state)
{
    uint64_t seed = 88172645463325252u;
    for (size_t s = 0; s < ARRAY_LEN(scales); s++) {
        for (int i = 0; i < 200000; i++) {
            uint64_t value =
                i < 100000 ? (uint64_t)i + 1 : test_random(&seed) >> (test_random(&seed) & 63);
            if (value == 0)
                continue;
            int raw = (int)histogram_index(scales[s], value);
            assert_in_range(raw, 0, HISTOGRAM_RAW_MAX);
            /* A long double holds 64 bits: half a unit of rounding at the very top. */
            assert_true((long double)value <= bound(scales[s], raw) * (1 + 1e-18L));
            assert_true((long double)value > bound(scales[s], raw - 1) * (1 - 1e-18L));
        }
    }
}

static void a_bound_belongs_to_the_bucket_below_it(void **state)
{
    for (size_t s = 0; s < ARRAY_LEN(scales); s++) {
        for (int raw = 0; raw <= 62 * 8; raw++) {
            uint64_t last = (uint64_t)floorl(bound(scales[s], raw));
            if (last == 0)
                continue;
            assert_true((int)histogram_index(scales[s], last) <= raw);
            assert_true((int)histogram_index(scales[s], last + 1) > raw);
        }
    }
    assert_int_equal(histogram_index(&histogram_scale_plain, 1), 0);
    assert_int_equal(histogram_index(&histogram_scale_plain, 2), 8);
    assert_int_equal(histogram_index(&histogram_scale_plain, 1024), 80);
    assert_int_equal(histogram_index(&histogram_scale_plain, 1025), 81);
    assert_int_equal(histogram_index(&histogram_scale_plain, UINT64_MAX), 512);
    assert_int_equal(histogram_index(&histogram_scale_seconds, 1000000000), 239);
    assert_int_equal(histogram_index(&histogram_scale_seconds, 1000000001), 240);
    assert_int_equal(histogram_index(&histogram_scale_seconds, 2000000000), 247);
    assert_int_equal(histogram_index(&histogram_scale_seconds, 500000000), 231);
}

static void a_larger_value_never_has_a_smaller_index(void **state)
{
    for (size_t s = 0; s < ARRAY_LEN(scales); s++) {
        unsigned last = 0;
        for (uint64_t value = 1; value < UINT64_MAX / 9 * 8; value += 1 + value / 97) {
            unsigned raw = histogram_index(scales[s], value);
            assert_true(raw >= last);
            last = raw;
        }
    }
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void quantiles_are_within_a_bucket_of_the_exact_ones(void **state)
{
    enum { COUNT = 20000 };
    static const double qs[] = {0.01, 0.5, 0.9, 0.99, 0.999, 1};
    uint64_t seed = 4711, *values = mem_zalloc(COUNT, sizeof(*values));
    struct histogram_cell *cell = MEM_NEW(struct histogram_cell);
    struct histogram_view view = {0};
    for (int i = 0; i < COUNT; i++) {
        /* From about 1 µs to 1 s, most of them small. */
        values[i] = (uint64_t)exp2(10 + 20 * pow((double)(test_random(&seed) >> 11) * 0x1p-53, 3));
        assert_true(histogram_cell_record(cell, &histogram_scale_seconds, values[i]));
    }
    histogram_view_add(&view, cell);
    qsort(values, COUNT, sizeof(*values), by_value);
    for (size_t i = 0; i < ARRAY_LEN(qs); i++) {
        double exact = (double)values[(size_t)ceil(qs[i] * COUNT) - 1] / 1e9;
        double got = histogram_view_quantile(&view, &histogram_scale_seconds, qs[i]);
        assert_true(got <= exact * exp2(1 / 8.0) && got >= exact / exp2(1 / 8.0));
    }
    mem_free(values);
    histogram_cell_free(cell);
}

static void counts_up_to_a_power_of_two_are_exact(void **state)
{
    struct histogram_cell *cell = MEM_NEW(struct histogram_cell);
    struct histogram_view view = {0};
    for (uint64_t value = 0; value <= 5000; value++)
        assert_true(histogram_cell_record(cell, &histogram_scale_plain, value));
    histogram_view_add(&view, cell);
    for (int exponent = 0; exponent <= 12; exponent++)
        assert_int_equal(histogram_view_upto(&view, &histogram_scale_plain, exponent),
                         (1u << exponent) + 1);
    assert_int_equal(histogram_view_upto(&view, &histogram_scale_plain, 70), 5001);
    assert_int_equal(view.count, 5001);
    assert_int_equal(view.zeros, 1);
    assert_int_equal(view.sum, 5000 * 5001 / 2);
    histogram_cell_free(cell);
}

static void an_empty_histogram_has_no_quantile(void **state)
{
    struct histogram_view view = {0};
    assert_true(isnan(histogram_view_quantile(&view, &histogram_scale_plain, 0.5)));
    view.zeros = view.count = 1;
    assert_true(histogram_view_quantile(&view, &histogram_scale_plain, 0.5) == 0);
    assert_true(isnan(histogram_view_quantile(&view, &histogram_scale_plain, 1.5)));
    assert_true(isnan(histogram_view_quantile(&view, &histogram_scale_plain, (double)NAN)));
}

static void a_record_without_memory_is_left_out_whole(void **state)
{
    struct histogram_cell *cell = MEM_NEW(struct histogram_cell);
    struct histogram_view view = {0};
    mem_fail_after(1, true);
    bool recorded = histogram_cell_record(cell, &histogram_scale_plain, 1000);
    mem_fail_after(0, false);
    assert_false(recorded);
    assert_true(histogram_cell_record(cell, &histogram_scale_plain, 7));
    histogram_view_add(&view, cell);
    assert_int_equal(view.count, 1);
    assert_int_equal(view.sum, 7);
    histogram_cell_free(cell);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_lies_between_its_bounds),
        cmocka_unit_test(a_bound_belongs_to_the_bucket_below_it),
        cmocka_unit_test(a_larger_value_never_has_a_smaller_index),
        cmocka_unit_test(quantiles_are_within_a_bucket_of_the_exact_ones),
        cmocka_unit_test(counts_up_to_a_power_of_two_are_exact),
        cmocka_unit_test(an_empty_histogram_has_no_quantile),
        cmocka_unit_test(a_record_without_memory_is_left_out_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
