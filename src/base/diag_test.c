#include "base/diag.h"
#include "base/test_cmocka.h"

#include <errno.h>
#include <stdio.h>

static void expect(const struct diag *diag, const char *text)
{
    char buffer[2048];
    size_t len = diag_format(diag, buffer, sizeof(buffer));
    assert_string_equal(buffer, text);
    assert_int_equal(len, strlen(text));
}

static void the_first_report_wins(void **state)
{
    (void)state;
    struct diag diag = {0};
    assert_true(is(diag_fail(&diag, ERR_SYNTAX, "expected %s, got %d", "a name", 7), ERR_SYNTAX));
    assert_true(is(diag_fail(&diag, ERR_IO, "later"), ERR_IO));
    assert_true(is(diag_fail_at(&diag, ERR_RANGE, "f", 1, 2, "later"), ERR_RANGE));
    assert_int_equal(diag.code, ERR_SYNTAX);
    expect(&diag, "expected a name, got 7");
}

static void no_diag_is_fine(void **state)
{
    (void)state;
    assert_true(is(diag_fail(NULL, ERR_SYNTAX, "x"), ERR_SYNTAX));
    assert_true(is(diag_fail_at(NULL, ERR_RANGE, "f", 1, 2, "x"), ERR_RANGE));
    assert_true(is(diag_fail_errno(NULL, ENOENT, "x"), ERR_NOT_FOUND));
    diag_prefix(NULL, "x");
}

static void the_known_parts_of_the_place_are_told(void **state)
{
    (void)state;
    struct {
        const char *file;
        int line, column;
        const char *key, *expected;
    } cases[] = {
        {"weir.yaml", 3, 14, "models[0].name", "weir.yaml:3:14: models[0].name: wrong"},
        {"weir.yaml", 3, 0, "", "weir.yaml:3: wrong"},
        {"weir.yaml", 0, 0, "", "weir.yaml: wrong"},
        {NULL, 3, 14, "", "line 3, column 14: wrong"},
        {NULL, 3, 0, "", "line 3: wrong"},
        {NULL, 0, 0, "port", "port: wrong"},
        {NULL, 0, 0, "", "wrong"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct diag diag = {0};
        ignore(diag_fail_at(&diag, ERR_RANGE, cases[i].file, cases[i].line, cases[i].column,
                            "wrong")); /* the report is what counts here */
        snprintf(diag.key, sizeof(diag.key), "%s", cases[i].key);
        expect(&diag, cases[i].expected);
    }
}

static void without_a_text_the_code_speaks(void **state)
{
    (void)state;
    struct diag diag = {.code = ERR_NO_MEMORY};
    expect(&diag, "out of memory");
}

static void a_system_error_names_what_and_why(void **state)
{
    (void)state;
    struct diag diag = {0};
    assert_true(is(diag_fail_errno(&diag, ENOENT, "open %s", "/x"), ERR_NOT_FOUND));
    expect(&diag, "cannot open /x: No such file or directory");
}

static void a_prefix_goes_in_front_of_a_report_only(void **state)
{
    (void)state;
    struct diag diag = {0};
    diag_prefix(&diag, "nothing");
    assert_string_equal(diag.text, "");
    ignore(diag_fail(&diag, ERR_SHAPE, "two rows")); /* as above */
    diag_prefix(&diag, "input %d", 3);
    diag_prefix(&diag, "model m");
    expect(&diag, "model m: input 3: two rows");
}

static void long_texts_are_cut_and_say_so(void **state)
{
    (void)state;
    char big[3000];
    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    struct diag diag = {0};
    ignore(diag_fail_at(&diag, ERR_IO, big, 0, 0, "%s", big)); /* as above */
    assert_int_equal(strlen(diag.text), DIAG_TEXT_MAX - 1);
    assert_string_equal(diag.text + DIAG_TEXT_MAX - 4, "...");
    assert_string_equal(diag.file + sizeof(diag.file) - 4, "...");
    diag_prefix(&diag, "%s", big);
    assert_string_equal(diag.text + DIAG_TEXT_MAX - 4, "...");

    char small[8];
    assert_int_equal(diag_format(&diag, small, sizeof(small)), 7);
    assert_string_equal(small, "xxxx...");
    assert_int_equal(diag_format(&diag, small, 1), 0);
    assert_string_equal(small, "");

    struct diag errno_diag = {0};
    ignore(diag_fail_errno(&errno_diag, EIO, "%s", big)); /* as above */
    assert_non_null(strstr(errno_diag.text, "...: "));
}

static void quoting_makes_bytes_printable_and_cuts(void **state)
{
    (void)state;
    char buffer[16];
    assert_string_equal(diag_quote(SPAN("a\tb\xc3\xa9 \x7f~"), buffer, sizeof(buffer)), "a.b.. .~");
    assert_string_equal(diag_quote(SPAN("0123456789abcde"), buffer, sizeof(buffer)),
                        "0123456789abcde");
    assert_string_equal(diag_quote(SPAN("0123456789abcdef"), buffer, sizeof(buffer)),
                        "0123456789ab...");
    assert_string_equal(diag_quote(SPAN_NONE, buffer, sizeof(buffer)), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_report_wins),
        cmocka_unit_test(no_diag_is_fine),
        cmocka_unit_test(the_known_parts_of_the_place_are_told),
        cmocka_unit_test(without_a_text_the_code_speaks),
        cmocka_unit_test(a_system_error_names_what_and_why),
        cmocka_unit_test(a_prefix_goes_in_front_of_a_report_only),
        cmocka_unit_test(long_texts_are_cut_and_say_so),
        cmocka_unit_test(quoting_makes_bytes_printable_and_cuts),
    };
    return cmocka_run_group_tests_name("base/diag", tests, NULL, NULL);
}
