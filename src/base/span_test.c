#include "base/span.h"
#include "base/test_cmocka.h"

static void spans_compare_by_their_bytes(void **state)
{
    (void)state;
    assert_true(span_eq(SPAN("abc"), span_of("abcd", 3)));
    assert_false(span_eq(SPAN("abc"), SPAN("abd")));
    assert_false(span_eq(SPAN("abc"), SPAN("ab")));
    assert_true(span_eq(SPAN_NONE, SPAN("")));
    assert_true(span_is(SPAN("abc"), "abc"));
    assert_int_equal(span_cstr(NULL).len, 0);

    assert_true(span_cmp(SPAN("a"), SPAN("b")) < 0);
    assert_true(span_cmp(SPAN("ab"), SPAN("a")) > 0);
    assert_true(span_cmp(SPAN("a\xff"), SPAN("ab")) > 0);
    assert_int_equal(span_cmp(SPAN_NONE, SPAN("")), 0);
    assert_true(span_cmp(SPAN_NONE, SPAN("a")) < 0);
}

static void only_ascii_letters_lose_their_case(void **state)
{
    (void)state;
    assert_true(span_eq_nocase(SPAN("Content-LENGTH"), SPAN("content-length")));
    assert_false(span_eq_nocase(SPAN("a@"), SPAN("a`")));
    assert_false(span_eq_nocase(SPAN("["), SPAN("{")));
    assert_false(span_eq_nocase(SPAN("\xc9"), SPAN("\xe9")));
    assert_false(span_eq_nocase(SPAN("ab"), SPAN("abc")));
}

static void both_ends_are_recognised(void **state)
{
    (void)state;
    assert_true(span_starts(SPAN("/v1/models"), SPAN("/v1/")));
    assert_false(span_starts(SPAN("/v1"), SPAN("/v1/")));
    assert_true(span_ends(SPAN("m:predict"), SPAN(":predict")));
    assert_false(span_ends(SPAN("predict"), SPAN(":predict")));
    assert_true(span_starts(SPAN_NONE, SPAN_NONE));
    assert_true(span_ends(SPAN("x"), SPAN_NONE));
}

static void searching_finds_the_first_or_the_end(void **state)
{
    (void)state;
    assert_int_equal(span_find(SPAN("a:b:c"), ':'), 1);
    assert_int_equal(span_find(SPAN("abc"), ':'), 3);
    assert_int_equal(span_find(SPAN_NONE, ':'), 0);
    assert_int_equal(span_search(SPAN("one two two"), SPAN("two")), 4);
    assert_int_equal(span_search(SPAN("one"), SPAN("ones")), 3);
    assert_int_equal(span_search(SPAN("one"), SPAN_NONE), 0);
    assert_int_equal(span_search(SPAN_NONE, SPAN("x")), 0);
}

static void trimming_takes_blanks_off_both_ends(void **state)
{
    (void)state;
    assert_true(span_is(span_trim(SPAN(" \t a b\t ")), "a b"));
    assert_true(span_is(span_trim(SPAN("a\n")), "a\n"));
    assert_int_equal(span_trim(SPAN(" \t ")).len, 0);
    assert_int_equal(span_trim(SPAN_NONE).len, 0);
}

static void parts_stay_inside(void **state)
{
    (void)state;
    assert_true(span_is(span_from(SPAN("abc"), 1), "bc"));
    assert_int_equal(span_from(SPAN("abc"), 9).len, 0);
    assert_true(span_is(span_first(SPAN("abc"), 2), "ab"));
    assert_true(span_is(span_first(SPAN("abc"), 9), "abc"));
    assert_int_equal(span_from(SPAN_NONE, 1).len, 0);
}

static void cutting_tells_an_empty_last_part_from_none(void **state)
{
    (void)state;
    struct span rest = SPAN("a,,b,");
    assert_true(span_is(span_cut(&rest, ','), "a"));
    assert_true(span_is(span_cut(&rest, ','), ""));
    assert_true(span_is(span_cut(&rest, ','), "b"));
    assert_int_equal(rest.len, 0);
    assert_non_null(rest.ptr);
    assert_int_equal(span_cut(&rest, ',').len, 0);
    assert_null(rest.ptr);
    assert_int_equal(span_cut(&rest, ',').len, 0);
    assert_null(rest.ptr);
}

static void a_read_past_the_end_moves_nothing(void **state)
{
    (void)state;
    struct cursor c = cursor_of(SPAN("\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d"));
    uint8_t byte = 0;
    uint32_t word = 0;
    uint64_t wide = 0;
    assert_true(cursor_u8(&c, &byte));
    assert_int_equal(byte, 1);
    assert_true(cursor_u64le(&c, &wide));
    assert_true(wide == 0x0908070605040302);
    assert_false(cursor_u64le(&c, &wide));
    assert_true(wide == 0x0908070605040302);
    assert_true(cursor_u32le(&c, &word));
    assert_int_equal(word, 0x0d0c0b0a);
    struct span bytes = SPAN("kept");
    assert_false(cursor_take(&c, 1, &bytes));
    assert_false(cursor_u8(&c, &byte));
    assert_false(cursor_u32le(&c, &word));
    assert_true(span_is(bytes, "kept"));
    assert_true(cursor_take(&c, 0, &bytes));
    assert_int_equal(bytes.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_compare_by_their_bytes),
        cmocka_unit_test(only_ascii_letters_lose_their_case),
        cmocka_unit_test(both_ends_are_recognised),
        cmocka_unit_test(searching_finds_the_first_or_the_end),
        cmocka_unit_test(trimming_takes_blanks_off_both_ends),
        cmocka_unit_test(parts_stay_inside),
        cmocka_unit_test(cutting_tells_an_empty_last_part_from_none),
        cmocka_unit_test(a_read_past_the_end_moves_nothing),
    };
    return cmocka_run_group_tests_name("base/span", tests, NULL, NULL);
}
