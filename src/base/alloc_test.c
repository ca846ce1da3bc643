#include "base/alloc.h"
#include "base/test_cmocka.h"

#include <string.h>

static void a_product_that_overflows_gives_no_memory(void **state)
{
    (void)state;
    volatile size_t half = SIZE_MAX / 2 + 2;
    assert_null(mem_zalloc(half, 2));
    assert_null(mem_zalloc(2, half));
    assert_null(mem_alloc(half));
}

static void zeroed_memory_is_zero(void **state)
{
    (void)state;
    unsigned char *bytes = mem_zalloc(100, 3);
    assert_non_null(bytes);
    for (int i = 0; i < 300; i++)
        assert_int_equal(bytes[i], 0);
    mem_free(bytes);
}

static void size_zero_gives_a_block_that_may_be_freed(void **state)
{
    (void)state;
    void *block = mem_alloc(0);
    assert_non_null(block);
    block = mem_realloc(block, 0);
    assert_non_null(block);
    mem_free(block);
    mem_free(NULL);
}

static void aligned_memory_is_aligned(void **state)
{
    (void)state;
    for (size_t align = 1; align <= 4096; align *= 2) {
        void *block = mem_aligned(align, 10);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % align, 0);
        mem_free(block);
    }
}

static void a_failed_realloc_leaves_the_block(void **state)
{
    (void)state;
    char *block = mem_strdup("still here");
    assert_non_null(block);
    mem_fail_after(1, false);
    assert_null(mem_realloc(block, 4096));
    mem_fail_after(0, false);
    assert_string_equal(block, "still here");
    mem_free(block);
}

static void the_chosen_allocation_fails_and_the_next_succeeds(void **state)
{
    (void)state;
    mem_fail_after(2, false);
    void *first = mem_alloc(1), *second = mem_alloc(1), *third = mem_zalloc(1, 1);
    assert_int_equal(mem_fail_after(0, false), 3);
    assert_non_null(first);
    assert_null(second);
    assert_non_null(third);
    mem_free(first);
    mem_free(third);
}

static void what_is_taken_while_the_hook_is_held_neither_counts_nor_fails(void **state)
{
    (void)state;
    mem_fail_after(1, true);
    assert_false(mem_fail_hold(true));
    void *block = mem_alloc(1);
    assert_true(mem_fail_hold(false));
    assert_non_null(block);
    assert_null(mem_alloc(1));
    assert_int_equal(mem_fail_after(0, false), 1);
    mem_free(block);
}

static void a_persistent_failure_stays_until_turned_off(void **state)
{
    (void)state;
    mem_fail_after(2, true);
    void *first = mem_alloc(1);
    assert_non_null(first);
    assert_null(mem_alloc(1));
    assert_null(mem_aligned(64, 1));
    assert_null(mem_strdup("x"));
    assert_int_equal(mem_fail_after(0, false), 4);
    void *later = mem_alloc(1);
    assert_non_null(later);
    assert_int_equal(mem_fail_after(0, false), 0);
    mem_free(first);
    mem_free(later);
}

static void blocks_are_counted_while_asked_for(void **state)
{
    void *before = mem_alloc(1);
    assert_int_equal(mem_count(true), 0);
    void *blocks[] = {mem_alloc(1), mem_zalloc(2, 3), mem_realloc(NULL, 5), mem_aligned(64, 8)};
    blocks[0] = mem_realloc(blocks[0], 100);
    mem_free(NULL);
    assert_int_equal(mem_count(true), 4);
    for (size_t i = 0; i < ARRAY_LEN(blocks); i++)
        mem_free(blocks[i]);
    mem_free(before);
    assert_int_equal(mem_count(false), -5);
    mem_free(mem_alloc(1));
    mem_free(mem_strdup("x"));
    assert_int_equal(mem_count(false), 0);
}

static void leaving_scope_frees_what_was_not_handed_over(void **state)
{
    (void)state;
    char *kept;
    {
        CLEANUP(mem_cleanup) char *freed = mem_strdup("freed");
        CLEANUP(mem_cleanup) char *handed = mem_strdup("handed over");
        assert_non_null(freed);
        kept = steal(&handed);
        assert_null(handed);
    }
    assert_string_equal(mem_must(kept, 12), "handed over");
    mem_free(kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_product_that_overflows_gives_no_memory),
        cmocka_unit_test(zeroed_memory_is_zero),
        cmocka_unit_test(size_zero_gives_a_block_that_may_be_freed),
        cmocka_unit_test(aligned_memory_is_aligned),
        cmocka_unit_test(a_failed_realloc_leaves_the_block),
        cmocka_unit_test(the_chosen_allocation_fails_and_the_next_succeeds),
        cmocka_unit_test(what_is_taken_while_the_hook_is_held_neither_counts_nor_fails),
        cmocka_unit_test(a_persistent_failure_stays_until_turned_off),
        cmocka_unit_test(blocks_are_counted_while_asked_for),
        cmocka_unit_test(leaving_scope_frees_what_was_not_handed_over),
    };
    return cmocka_run_group_tests_name("base/alloc", tests, NULL, NULL);
}
