#include "base/quota.h"
#include "base/test_cmocka.h"

#include <pthread.h>

static void a_take_beyond_the_maximum_changes_nothing_and_is_counted(void **state)
{
    (void)state;
    struct quota quota;
    quota_init(&quota, 10);
    assert_true(quota_take(&quota, 7));
    assert_false(quota_take(&quota, 4));
    assert_false(quota_take(&quota, UINT64_MAX));
    assert_int_equal(quota_now(&quota), 7);
    assert_int_equal(quota_refused(&quota), 2);
    assert_true(quota_take(&quota, 3));
    assert_true(quota_take(&quota, 0));
    assert_false(quota_take(&quota, 1));
    quota_give(&quota, 10);
    assert_int_equal(quota_now(&quota), 0);
    assert_int_equal(quota_peak(&quota), 10);
    assert_int_equal(quota_refused(&quota), 3);
}

static void a_lowered_maximum_refuses_until_enough_came_back(void **state)
{
    (void)state;
    struct quota quota;
    quota_init(&quota, 10);
    assert_true(quota_take(&quota, 8));
    quota_set_max(&quota, 5);
    assert_int_equal(quota_max(&quota), 5);
    assert_false(quota_take(&quota, 1));
    quota_give(&quota, 4);
    assert_true(quota_take(&quota, 1));
    assert_false(quota_take(&quota, 1));
    quota_set_max(&quota, UINT64_MAX);
    assert_true(quota_take(&quota, 1000));
    assert_int_equal(quota_now(&quota), 1005);
}

static void the_counters_share_their_cache_lines_with_nothing(void **state)
{
    (void)state;
    assert_true(offsetof(struct quota, now) + sizeof(uint64_t) >= 64);
    assert_true(sizeof(struct quota) - offsetof(struct quota, refused) >= 64);
}

#define THREADS 4
#define ROUNDS 20000

struct shared {
    struct quota quota;
    atomic_int inside, over, took, failed;
};

static void *take_and_give(void *arg)
{
    struct shared *shared = arg;
    for (int i = 0; i < ROUNDS; i++) {
        if (!quota_take(&shared->quota, 2)) {
            atomic_fetch_add(&shared->failed, 1);
            continue;
        }
        if (atomic_fetch_add(&shared->inside, 2) + 2 > 5)
            atomic_fetch_add(&shared->over, 1);
        atomic_fetch_sub(&shared->inside, 2);
        atomic_fetch_add(&shared->took, 1);
        quota_give(&shared->quota, 2);
    }
    return NULL;
}

static void many_threads_never_pass_the_maximum_together(void **state)
{
    (void)state;
    static struct shared shared;
    pthread_t threads[THREADS];
    quota_init(&shared.quota, 5);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, &shared), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(shared.over, 0);
    assert_int_equal(shared.took + shared.failed, THREADS * ROUNDS);
    assert_int_equal(quota_refused(&shared.quota), shared.failed);
    assert_int_equal(quota_now(&shared.quota), 0);
    assert_in_range(quota_peak(&shared.quota), 2, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_take_beyond_the_maximum_changes_nothing_and_is_counted),
        cmocka_unit_test(a_lowered_maximum_refuses_until_enough_came_back),
        cmocka_unit_test(the_counters_share_their_cache_lines_with_nothing),
        cmocka_unit_test(many_threads_never_pass_the_maximum_together),
    };
    return cmocka_run_group_tests_name("base/quota", tests, NULL, NULL);
}
