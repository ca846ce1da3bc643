#include "base/ref.h"
#include "base/test_cmocka.h"

#include <pthread.h>

static void only_the_last_put_says_so(void **state)
{
    (void)state;
    struct ref ref;
    ref_init(&ref);
    ref_get(&ref);
    ref_get(&ref);
    assert_int_equal(ref_count(&ref), 3);
    assert_false(ref_put(&ref));
    assert_false(ref_put(&ref));
    assert_int_equal(ref_count(&ref), 1);
    assert_true(ref_put(&ref));
}

static void the_count_shares_its_cache_line_with_nothing(void **state)
{
    (void)state;
    /* Wherever a line of 64 bytes begins, the one with the count lies inside. */
    assert_true(offsetof(struct ref, count) + sizeof(unsigned) >= 64);
    assert_true(sizeof(struct ref) - offsetof(struct ref, count) >= 64);
}

#define THREADS 4
#define ROUNDS 500

/* Plain memory, so that TSan sees an ordering that is too weak. */
struct shared {
    struct ref ref;
    int written[THREADS];
    int lasts, sum;
};

struct part {
    struct shared *shared;
    int index;
    pthread_t thread;
};

static void drop(struct shared *shared)
{
    if (!ref_put(&shared->ref))
        return;
    shared->lasts++;
    for (int i = 0; i < THREADS; i++)
        shared->sum += shared->written[i];
}

static void *hold_and_drop(void *arg)
{
    struct part *part = arg;
    for (int i = 0; i < ROUNDS; i++) {
        ref_get(&part->shared->ref);
        part->shared->written[part->index]++;
        drop(part->shared);
    }
    drop(part->shared);
    return NULL;
}

static void the_last_of_many_threads_sees_what_all_wrote(void **state)
{
    (void)state;
    for (int round = 0; round < 100; round++) {
        struct shared shared = {0};
        struct part parts[THREADS];
        ref_init(&shared.ref);
        for (int i = 0; i < THREADS; i++) {
            ref_get(&shared.ref);
            parts[i] = (struct part){&shared, i, 0};
            assert_int_equal(pthread_create(&parts[i].thread, NULL, hold_and_drop, &parts[i]), 0);
        }
        drop(&shared);
        for (int i = 0; i < THREADS; i++)
            pthread_join(parts[i].thread, NULL);
        assert_int_equal(shared.lasts, 1);
        assert_int_equal(shared.sum, THREADS * ROUNDS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_last_put_says_so),
        cmocka_unit_test(the_count_shares_its_cache_line_with_nothing),
        cmocka_unit_test(the_last_of_many_threads_sees_what_all_wrote),
    };
    return cmocka_run_group_tests_name("base/ref", tests, NULL, NULL);
}
