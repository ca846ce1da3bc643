#include "model/inline_rule.h"

#include "base/test_cmocka.h"

#define QUICK (10 * IO_US)

static void without_warm_up_nothing_is_inline(void **state)
{
    struct inline_rule rule;
    inline_rule_init(&rule, 0, 0);
    assert_false(inline_rule_allows(&rule, 0));
    inline_rule_init(&rule, 20, 0);
    assert_true(inline_rule_allows(&rule, 0));
}

static void a_model_with_slow_warm_up_runs_stays_off_the_loop(void **state)
{
    struct inline_rule rule;
    inline_rule_init(&rule, 20, 2);
    assert_true(inline_rule_allows(&rule, 0));
    inline_rule_init(&rule, 20, 3);
    assert_false(inline_rule_allows(&rule, 0));
    for (int i = 0; i < 279; i++)
        inline_rule_record(&rule, QUICK, true, 0);
    assert_false(inline_rule_allows(&rule, 0));
    inline_rule_record(&rule, QUICK, true, 0);
    assert_true(inline_rule_allows(&rule, 0));
}

static void one_in_a_hundred_slow_runs_is_allowed_and_more_are_not(void **state)
{
    struct inline_rule rule;
    inline_rule_init(&rule, 300, 0);
    for (int i = 0; i < 3; i++)
        inline_rule_record(&rule, INLINE_SLOW, true, 0);
    assert_true(inline_rule_allows(&rule, 0));
    inline_rule_record(&rule, INLINE_SLOW, true, 0);
    assert_false(inline_rule_allows(&rule, 0));
}

static void it_returns_after_a_rest_when_runs_are_quick_again(void **state)
{
    struct inline_rule rule;
    inline_rule_init(&rule, 20, 0);
    for (int i = 0; i < 3; i++)
        inline_rule_record(&rule, INLINE_SLOW, true, 0);
    for (int i = 0; i < 300; i++)
        inline_rule_record(&rule, QUICK, true, 1);
    assert_false(inline_rule_allows(&rule, INLINE_REST - 1));
    assert_true(inline_rule_allows(&rule, INLINE_REST));
}

static void a_second_run_of_a_millisecond_ends_it(void **state)
{
    struct inline_rule rule;
    inline_rule_init(&rule, 1000, 0);
    inline_rule_record(&rule, INLINE_STALL, true, 7);
    assert_true(inline_rule_allows(&rule, 8));
    for (int i = 0; i < INLINE_RUNS - 1; i++)
        inline_rule_record(&rule, QUICK, true, 8);
    inline_rule_record(&rule, INLINE_STALL, true, 9);
    assert_false(inline_rule_allows(&rule, 10));
    assert_true(inline_rule_allows(&rule, 9 + INLINE_REST));
}

static void a_run_of_a_millisecond_is_forgotten(void **state)
{
    struct inline_rule rule;
    inline_rule_init(&rule, 1000, 0);
    for (int round = 0; round < 3; round++) {
        inline_rule_record(&rule, INLINE_STALL, true, 7);
        for (int i = 0; i < INLINE_RUNS; i++)
            inline_rule_record(&rule, QUICK, true, 7);
        assert_true(inline_rule_allows(&rule, 8));
    }
}

static void a_long_wall_time_is_doubted_and_then_measured(void **state)
{
    struct inline_rule rule;
    inline_rule_init(&rule, 1000, 0);
    inline_rule_record(&rule, QUICK, true, 0);
    assert_false(inline_rule_wants_cpu(&rule));
    inline_rule_record(&rule, 5 * IO_MS, false, 0);
    assert_true(inline_rule_allows(&rule, 0));
    for (int i = 0; i < INLINE_DOUBTFUL; i++) {
        assert_true(inline_rule_wants_cpu(&rule));
        inline_rule_record(&rule, QUICK, true, 0);
    }
    assert_false(inline_rule_wants_cpu(&rule));
}

static void cpu_time_is_sampled_now_and_then(void **state)
{
    struct inline_rule rule;
    inline_rule_init(&rule, 1000, 0);
    assert_true(inline_rule_wants_cpu(&rule));
    inline_rule_record(&rule, QUICK, true, 0);
    for (int i = 0; i < INLINE_SAMPLE_EVERY; i++) {
        assert_false(inline_rule_wants_cpu(&rule));
        inline_rule_record(&rule, QUICK, false, 0);
    }
    assert_true(inline_rule_wants_cpu(&rule));
}

static void only_the_last_thousand_runs_count(void **state)
{
    struct inline_rule rule;
    inline_rule_init(&rule, 1000, 10);
    assert_true(inline_rule_allows(&rule, 0));
    for (int i = 0; i < 1000; i++)
        inline_rule_record(&rule, QUICK, true, 0);
    assert_int_equal(rule.slow_count, 0);
    for (int i = 0; i < 10; i++)
        inline_rule_record(&rule, INLINE_SLOW, true, 0);
    assert_true(inline_rule_allows(&rule, 0));
    inline_rule_record(&rule, INLINE_SLOW, true, 0);
    assert_false(inline_rule_allows(&rule, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_warm_up_nothing_is_inline),
        cmocka_unit_test(a_model_with_slow_warm_up_runs_stays_off_the_loop),
        cmocka_unit_test(one_in_a_hundred_slow_runs_is_allowed_and_more_are_not),
        cmocka_unit_test(it_returns_after_a_rest_when_runs_are_quick_again),
        cmocka_unit_test(a_second_run_of_a_millisecond_ends_it),
        cmocka_unit_test(a_run_of_a_millisecond_is_forgotten),
        cmocka_unit_test(a_long_wall_time_is_doubted_and_then_measured),
        cmocka_unit_test(cpu_time_is_sampled_now_and_then),
        cmocka_unit_test(only_the_last_thousand_runs_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
