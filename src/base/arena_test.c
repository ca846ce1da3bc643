#include "base/alloc.h"
#include "base/arena.h"
#include "base/poison.h"
#include "base/test_cmocka.h"

#include <stdio.h>

struct log {
    char text[32];
    struct arena *arena;
    char *seen; /* in the arena */
};

static void note(struct log *log, char what)
{
    size_t len = strlen(log->text);
    log->text[len] = what;
    log->text[len + 1] = '\0';
}
static void note_a(void *log)
{
    note(log, 'a');
}
static void note_b(void *log)
{
    note(log, 'b');
}
static void note_seen(void *arg)
{
    struct log *log = arg;
    note(log, log->seen[0]);
}
static void note_and_register(void *arg)
{
    struct log *log = arg;
    note(log, 'r');
    assert_false(failed(arena_on_clear(log->arena, note_a, log)));
}

static void allocations_are_aligned_and_apart(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 1000, 1 << 20);
    uint8_t *blocks[300];
    for (size_t i = 0; i < 300; i++) {
        blocks[i] = arena_alloc(&arena, i);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % 16, 0);
        memset(blocks[i], (int)i, i);
    }
    for (size_t i = 0; i < 300; i++)
        for (size_t j = 0; j < i; j++)
            assert_int_equal(blocks[i][j], (uint8_t)i);
    arena_release(&arena);
}

static void cleanups_run_newest_first_while_the_memory_stands(void **state)
{
    (void)state;
    struct arena arena;
    struct log log = {.arena = &arena};
    arena_init(&arena, 256, 1 << 16);
    log.seen = arena_copy(&arena, SPAN("x"));
    assert_false(failed(arena_on_clear(&arena, note_a, &log)));
    assert_false(failed(arena_on_clear(&arena, note_b, &log)));
    assert_false(failed(arena_on_clear(&arena, note_seen, &log)));
    arena_clear(&arena);
    assert_string_equal(log.text, "xba");
    arena_clear(&arena);
    assert_string_equal(log.text, "xba");
    assert_false(failed(arena_on_clear(&arena, note_b, &log)));
    arena_release(&arena);
    assert_string_equal(log.text, "xbab");
}

static void a_cleanup_may_register_another(void **state)
{
    (void)state;
    struct arena arena;
    struct log log = {.arena = &arena};
    arena_init(&arena, 256, 1 << 16);
    assert_false(failed(arena_on_clear(&arena, note_b, &log)));
    assert_false(failed(arena_on_clear(&arena, note_and_register, &log)));
    arena_release(&arena);
    assert_string_equal(log.text, "rab");
}

static void the_maximum_holds_over_all_blocks(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 512, 4096);
    size_t got = 0;
    while (arena_alloc(&arena, 100))
        got += 100;
    while (arena_alloc(&arena, 1))
        ;
    assert_in_range(got, 2500, 4096);
    assert_true(arena.bytes_now <= 4096);
    assert_null(arena_alloc(&arena, 4096));
    volatile size_t huge = SIZE_MAX; /* hidden from the compiler, which would warn */
    assert_null(arena_alloc(&arena, huge));
    assert_null(arena_alloc(&arena, huge / 2));
    assert_null(arena_zalloc(&arena, huge / 2, 4));
    assert_true(is(arena_on_clear(&arena, note_a, NULL), ERR_NO_MEMORY));
    arena_clear(&arena);
    assert_non_null(arena_alloc(&arena, 3000));
    arena_release(&arena);
    assert_int_equal(arena.bytes_now, 0);
}

static void clearing_keeps_one_block_and_reuses_it(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 1024, 1 << 20);
    void *first = arena_alloc(&arena, 10);
    for (int i = 0; i < 100; i++)
        assert_non_null(arena_alloc(&arena, 1000));
    arena_clear(&arena);
    assert_int_equal(arena.bytes_now, 1024);
    mem_fail_after(1, true);
    assert_ptr_equal(arena_alloc(&arena, 10), first);
    mem_fail_after(0, false);
    arena_release(&arena);
}

static void a_large_first_block_is_not_kept(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 1024, 1 << 20);
    assert_non_null(arena_alloc(&arena, 100000));
    arena_clear(&arena);
    assert_int_equal(arena.bytes_now, 0);
    arena_release(&arena);
}

static void a_failed_allocation_leaves_the_arena_usable(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 256, 1 << 16);
    char *kept = arena_copy(&arena, SPAN("kept"));
    mem_fail_after(1, true);
    assert_null(arena_alloc(&arena, 1000));
    mem_fail_after(0, false);
    assert_non_null(arena_alloc(&arena, 1000));
    assert_string_equal(kept, "kept");
    arena_release(&arena);
}

static void texts_are_terminated(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 64, 1 << 16);
    assert_string_equal(arena_copy(&arena, span_of("abcdef", 3)), "abc");
    assert_string_equal(arena_copy(&arena, SPAN_NONE), "");
    assert_string_equal(arena_printf(&arena, "%s-%d", "model", 7), "model-7");
    char *zeros = arena_zalloc(&arena, 100, 5);
    for (int i = 0; i < 500; i++)
        assert_int_equal(zeros[i], 0);
    arena_release(&arena);
}

static void a_zeroed_arena_refuses_and_may_be_released(void **state)
{
    (void)state;
    struct arena arena = {0};
    assert_null(arena_alloc(&arena, 1));
    arena_clear(&arena);
    arena_release(&arena);
}

static void what_was_not_handed_out_is_poisoned(void **state)
{
    (void)state;
#if POISON_WORKS
    struct arena arena;
    arena_init(&arena, 1024, 1 << 16);
    char *text = arena_alloc(&arena, 24);
    assert_false(__asan_address_is_poisoned(text + 23));
    assert_true(__asan_address_is_poisoned(text + 24));
    char *next = arena_alloc(&arena, 16);
    assert_true(__asan_address_is_poisoned(next - 1));
    assert_true(__asan_address_is_poisoned(next + 16));
    arena_clear(&arena);
    assert_true(__asan_address_is_poisoned(text));
    arena_release(&arena);
#else
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_aligned_and_apart),
        cmocka_unit_test(cleanups_run_newest_first_while_the_memory_stands),
        cmocka_unit_test(a_cleanup_may_register_another),
        cmocka_unit_test(the_maximum_holds_over_all_blocks),
        cmocka_unit_test(clearing_keeps_one_block_and_reuses_it),
        cmocka_unit_test(a_large_first_block_is_not_kept),
        cmocka_unit_test(a_failed_allocation_leaves_the_arena_usable),
        cmocka_unit_test(texts_are_terminated),
        cmocka_unit_test(a_zeroed_arena_refuses_and_may_be_released),
        cmocka_unit_test(what_was_not_handed_out_is_poisoned),
    };
    return cmocka_run_group_tests_name("base/arena", tests, NULL, NULL);
}
