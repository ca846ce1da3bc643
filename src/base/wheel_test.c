#include "base/test_cmocka.h"
#include "base/test_random.h"
#include "base/wheel.h"

#include <string.h>

#define TIMERS 200

/* What the wheel must do, done slowly. */
struct model {
    uint64_t now;
    uint64_t serial;
    struct {
        bool linked;
        uint64_t due, serial;
    } timers[TIMERS];
};

static void model_add(struct model *model, int i, uint64_t due)
{
    uint64_t far = model->now + WHEEL_SPAN;
    due = due <= model->now ? model->now + 1 : due > far ? far : due;
    model->timers[i].linked = true;
    model->timers[i].due = due;
    model->timers[i].serial = model->serial++;
}

/* The next one due by `until`, by due tick and then by order of adding; -1 if none. */
static int model_first(const struct model *model, uint64_t until)
{
    int first = -1;
    for (int i = 0; i < TIMERS; i++) {
        if (!model->timers[i].linked || model->timers[i].due > until)
            continue;
        if (first < 0 || model->timers[i].due < model->timers[first].due ||
            (model->timers[i].due == model->timers[first].due &&
             model->timers[i].serial < model->timers[first].serial))
            first = i;
    }
    return first;
}

static uint64_t random_distance(uint64_t *seed)
{
    return test_random(seed) & (((uint64_t)1 << test_random(seed) % 40) - 1);
}

static void add_or_remove_some(uint64_t *seed, struct wheel *wheel, struct wheel_node *nodes,
                               struct model *model)
{
    for (uint64_t n = test_random(seed) % 4; n > 0; n--) {
        int i = (int)(test_random(seed) % TIMERS);
        if (test_random(seed) % 3 == 0) {
            wheel_remove(wheel, &nodes[i]);
            model->timers[i].linked = false;
        } else {
            uint64_t due = model->now + random_distance(seed);
            wheel_add(wheel, &nodes[i], due);
            model_add(model, i, due);
        }
    }
}

static void behave_alike(uint64_t seed, uint64_t start, int steps)
{
    static struct wheel wheel;
    static struct model model;
    struct wheel_node nodes[TIMERS] = {0};
    memset(&model, 0, sizeof(model));
    wheel_init(&wheel, start);
    model.now = start;
    for (int step = 0; step < steps; step++) {
        add_or_remove_some(&seed, &wheel, nodes, &model);
        uint64_t until = model.now + random_distance(&seed);
        int first = model_first(&model, UINT64_MAX);
        uint64_t next = wheel_next(&wheel);
        if (first < 0)
            assert_true(next == UINT64_MAX);
        else
            assert_true(next > model.now && next <= model.timers[first].due);
        if (test_random(&seed) % 2 == 0 && next != UINT64_MAX)
            until = next;
        struct wheel_node *node;
        while ((node = wheel_expire(&wheel, until))) {
            first = model_first(&model, until);
            assert_ptr_equal(node, first < 0 ? NULL : &nodes[first]);
            model.timers[first].linked = false;
            model.now = model.timers[first].due;
            assert_false(wheel_node_linked(node));
            if (test_random(&seed) % 4 == 0)
                add_or_remove_some(&seed, &wheel, nodes, &model);
        }
        assert_int_equal(model_first(&model, until), -1);
        model.now = until;
        assert_true(wheel.now == until);
    }
    for (int i = 0; i < TIMERS; i++) {
        assert_int_equal(wheel_node_linked(&nodes[i]), model.timers[i].linked);
        wheel_remove(&wheel, &nodes[i]);
    }
    assert_true(wheel_next(&wheel) == UINT64_MAX);
}

static void it_does_what_a_sorted_list_would(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++)
        behave_alike(seed, 0, 1000);
}

static void it_goes_on_where_the_top_level_wraps(void **state)
{
    (void)state;
    for (uint64_t seed = 100; seed <= 120; seed++) {
        behave_alike(seed, WHEEL_SPAN - 3, 300);
        behave_alike(seed, 5 * WHEEL_SPAN - ((uint64_t)1 << 30) - 7, 300);
    }
}

static void a_timer_that_was_stopped_never_fires(void **state)
{
    (void)state;
    static struct wheel wheel;
    struct wheel_node node = {0};
    wheel_init(&wheel, 10);
    wheel_remove(&wheel, &node);
    wheel_add(&wheel, &node, 100);
    wheel_remove(&wheel, &node);
    wheel_remove(&wheel, &node);
    assert_true(wheel_next(&wheel) == UINT64_MAX);
    assert_null(wheel_expire(&wheel, 1000));
}

static void a_due_tick_that_has_passed_comes_at_the_next(void **state)
{
    (void)state;
    static struct wheel wheel;
    struct wheel_node past = {0}, present = {0};
    wheel_init(&wheel, 50);
    wheel_add(&wheel, &past, 3);
    wheel_add(&wheel, &present, 50);
    assert_null(wheel_expire(&wheel, 50));
    assert_true(wheel_next(&wheel) == 51);
    assert_ptr_equal(wheel_expire(&wheel, 51), &past);
    assert_ptr_equal(wheel_expire(&wheel, 51), &present);
    assert_null(wheel_expire(&wheel, 51));
}

static void a_timer_that_starts_itself_again_does_not_hold_up_the_present_tick(void **state)
{
    (void)state;
    static struct wheel wheel;
    struct wheel_node node = {0};
    wheel_init(&wheel, 0);
    wheel_add(&wheel, &node, 1);
    assert_ptr_equal(wheel_expire(&wheel, 5), &node);
    wheel_add(&wheel, &node, 5);
    assert_ptr_equal(wheel_expire(&wheel, 5), &node);
    wheel_add(&wheel, &node, 5);
    assert_null(wheel_expire(&wheel, 5));
    assert_true(wheel_next(&wheel) == 6);
}

static void far_due_times_are_clamped(void **state)
{
    (void)state;
    static struct wheel wheel;
    struct wheel_node node = {0};
    wheel_init(&wheel, 7);
    wheel_add(&wheel, &node, UINT64_MAX);
    assert_null(wheel_expire(&wheel, WHEEL_SPAN + 6));
    assert_ptr_equal(wheel_expire(&wheel, WHEEL_SPAN + 7), &node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_does_what_a_sorted_list_would),
        cmocka_unit_test(it_goes_on_where_the_top_level_wraps),
        cmocka_unit_test(a_timer_that_was_stopped_never_fires),
        cmocka_unit_test(a_due_tick_that_has_passed_comes_at_the_next),
        cmocka_unit_test(a_timer_that_starts_itself_again_does_not_hold_up_the_present_tick),
        cmocka_unit_test(far_due_times_are_clamped),
    };
    return cmocka_run_group_tests_name("base/wheel", tests, NULL, NULL);
}
