#include "base/alloc.h"
#include "base/test_cmocka.h"
#include "base/text.h"

static void text_is_terminated_after_every_call(void **state)
{
    (void)state;
    struct text text;
    text_init(&text, 1000);
    assert_string_equal(text_cstr(&text), "");
    text_str(&text, "one");
    assert_string_equal(text_cstr(&text), "one");
    text_byte(&text, ' ');
    text_append(&text, span_of("twofold", 3));
    text_append(&text, SPAN_NONE);
    assert_string_equal(text_cstr(&text), "one two");
    text_printf(&text, " %s %d", "and", 3);
    assert_string_equal(text_cstr(&text), "one two and 3");
    assert_true(span_is(text_span(&text), "one two and 3"));
    text_clear(&text);
    assert_string_equal(text_cstr(&text), "");
    assert_false(failed(text_result(&text)));
    text_release(&text);
    assert_string_equal(text_cstr(&text), "");
}

static void it_grows_to_its_maximum_and_not_beyond(void **state)
{
    (void)state;
    struct text text;
    text_init(&text, 1000);
    for (int i = 0; i < 1000; i++)
        text_byte(&text, (uint8_t)('a' + i % 26));
    assert_false(failed(text_result(&text)));
    assert_int_equal(text.len, 1000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(text.ptr[i], 'a' + i % 26);
    text_byte(&text, 'x');
    assert_true(is(text_result(&text), ERR_TOO_LARGE));
    assert_int_equal(text.len, 1000);
    text_release(&text);
}

static void a_failure_sticks_until_cleared(void **state)
{
    (void)state;
    struct text text;
    text_init(&text, 5);
    text_str(&text, "abc");
    text_str(&text, "def");
    text_str(&text, "g");
    text_printf(&text, "%d", 1);
    assert_null(text_reserve(&text, 1));
    assert_string_equal(text_cstr(&text), "abc");
    assert_true(is(text_result(&text), ERR_TOO_LARGE));
    text_clear(&text);
    text_str(&text, "defgh");
    assert_string_equal(text_cstr(&text), "defgh");
    assert_false(failed(text_result(&text)));
    text_release(&text);
}

static void running_out_of_memory_keeps_what_was_there(void **state)
{
    (void)state;
    struct text text;
    text_init(&text, 1 << 20);
    text_str(&text, "kept");
    mem_fail_after(1, false);
    assert_null(text_reserve(&text, 10000));
    mem_fail_after(0, false);
    assert_true(is(text_result(&text), ERR_NO_MEMORY));
    assert_string_equal(text_cstr(&text), "kept");
    text_release(&text);
    assert_false(failed(text_result(&text)));
}

static void printing_makes_room_for_long_texts(void **state)
{
    (void)state;
    struct text text;
    text_init(&text, 10000);
    text_str(&text, "<");
    text_printf(&text, "%0500d", 7);
    text_str(&text, ">");
    assert_int_equal(text.len, 502);
    assert_int_equal(text.ptr[500], '7');
    text_printf(&text, "%09999d", 7);
    assert_true(is(text_result(&text), ERR_TOO_LARGE));
    assert_int_equal(text.len, 502);
    assert_int_equal(strlen(text_cstr(&text)), 502);
    text_release(&text);
}

static void reserved_room_is_written_in_place(void **state)
{
    (void)state;
    struct text text;
    text_init(&text, 100);
    uint8_t *room = text_reserve(&text, 100);
    assert_non_null(room);
    memcpy(room, SPAN("abcdef").ptr, 6);
    assert_int_equal(text.len, 0);
    text_wrote(&text, 4);
    assert_string_equal(text_cstr(&text), "abcd");
    assert_null(text_reserve(&text, 97));
    text_release(&text);
}

static void a_zeroed_text_has_no_room_and_may_be_released(void **state)
{
    (void)state;
    struct text text = {0};
    text_str(&text, "");
    assert_false(failed(text_result(&text)));
    text_byte(&text, 'x');
    assert_true(is(text_result(&text), ERR_TOO_LARGE));
    text_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_terminated_after_every_call),
        cmocka_unit_test(it_grows_to_its_maximum_and_not_beyond),
        cmocka_unit_test(a_failure_sticks_until_cleared),
        cmocka_unit_test(running_out_of_memory_keeps_what_was_there),
        cmocka_unit_test(printing_makes_room_for_long_texts),
        cmocka_unit_test(reserved_room_is_written_in_place),
        cmocka_unit_test(a_zeroed_text_has_no_room_and_may_be_released),
    };
    return cmocka_run_group_tests_name("base/text", tests, NULL, NULL);
}
