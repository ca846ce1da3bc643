#include "base/alloc.h"
#include "base/poison.h"
#include "base/pool.h"
#include "base/test_cmocka.h"

#include <string.h>

struct object {
    char bytes[40];
};

static void objects_are_zeroed_aligned_and_apart(void **state)
{
    (void)state;
    struct pool pool;
    struct object *objects[100];
    pool_init(&pool, sizeof(struct object), 100);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 100; i++) {
            objects[i] = pool_get(&pool);
            assert_non_null(objects[i]);
            assert_int_equal((uintptr_t)objects[i] % 16, 0);
            for (size_t j = 0; j < sizeof(struct object); j++)
                assert_int_equal(objects[i]->bytes[j], 0);
            memset(objects[i], i + 1, sizeof(struct object));
        }
        for (int i = 0; i < 100; i++) {
            assert_int_equal(objects[i]->bytes[0], i + 1);
            assert_int_equal(objects[i]->bytes[39], i + 1);
            pool_put(&pool, objects[i]);
        }
    }
    pool_release(&pool);
}

static void the_limit_holds_and_the_counters_tell(void **state)
{
    (void)state;
    struct pool pool;
    void *objects[40];
    pool_init(&pool, 1, 40);
    for (int i = 0; i < 40; i++)
        objects[i] = pool_get(&pool);
    assert_null(pool_get(&pool));
    assert_int_equal(pool.in_use, 40);
    assert_int_equal(pool.free, 0);
    pool_put(&pool, objects[7]);
    pool_put(&pool, NULL);
    assert_int_equal(pool.in_use, 39);
    assert_int_equal(pool.free, 1);
    assert_ptr_equal(pool_get(&pool), objects[7]);
    pool_release(&pool);
    assert_int_equal(pool.in_use, 0);
    pool_init(&pool, 8, 0);
    assert_null(pool_get(&pool));
}

static void many_objects_take_one_allocation(void **state)
{
    (void)state;
    struct pool pool;
    pool_init(&pool, 64, 1000);
    mem_fail_after(UINT64_MAX, false);
    for (int i = 0; i < 4 * POOL_CHUNK; i++)
        assert_non_null(pool_get(&pool));
    assert_int_equal(mem_fail_after(0, false), 4);
    pool_release(&pool);
}

static void out_of_memory_is_no_object_and_no_harm(void **state)
{
    (void)state;
    struct pool pool;
    pool_init(&pool, 64, 1000);
    mem_fail_after(1, false);
    assert_null(pool_get(&pool));
    mem_fail_after(0, false);
    assert_non_null(pool_get(&pool));
    assert_int_equal(pool.in_use, 1);
    pool_release(&pool);
}

static void large_objects_come_in_small_chunks(void **state)
{
    (void)state;
    struct pool pool;
    pool_init(&pool, 1 << 20, 3);
    assert_non_null(pool_get(&pool));
    assert_int_equal(pool.free, 0);
    pool_release(&pool);
    struct pool zeroed = {0};
    pool_release(&zeroed);
}

static void a_free_object_is_poisoned(void **state)
{
    (void)state;
#if POISON_WORKS
    struct pool pool;
    pool_init(&pool, 48, 10);
    char *first = pool_get(&pool), *second = pool_get(&pool);
    pool_put(&pool, first);
    assert_true(__asan_address_is_poisoned(first));
    assert_true(__asan_address_is_poisoned(first + 47));
    assert_false(__asan_address_is_poisoned(second));
    assert_ptr_equal(pool_get(&pool), first);
    assert_false(__asan_address_is_poisoned(first + 47));
    pool_release(&pool);
#else
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_are_zeroed_aligned_and_apart),
        cmocka_unit_test(the_limit_holds_and_the_counters_tell),
        cmocka_unit_test(many_objects_take_one_allocation),
        cmocka_unit_test(out_of_memory_is_no_object_and_no_harm),
        cmocka_unit_test(large_objects_come_in_small_chunks),
        cmocka_unit_test(a_free_object_is_poisoned),
    };
    return cmocka_run_group_tests_name("base/pool", tests, NULL, NULL);
}
