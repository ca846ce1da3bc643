/* Files. */
#include "io/conformance_test.h"

#include <stdio.h>

static void a_file_is_read_whole_or_refused_at_the_limit(void **state)
{
    struct fx fx;
    struct text text;
    struct diag diag = {0};
    fx_init(&fx, 1);
    const char *path = driver->put_file(fx.process, "ten", SPAN("0123456789"));
    text_init(&text, 13);
    text_str(&text, ">> ");
    assert_int_equal(file_read(fx.process, path, &text, &diag).code, ERR_NONE);
    assert_string_equal(text_cstr(&text), ">> 0123456789");
    text_release(&text);
    text_init(&text, 12);
    text_str(&text, ">> ");
    assert_int_equal(file_read(fx.process, path, &text, &diag).code, ERR_TOO_LARGE);
    assert_string_equal(text_cstr(&text), ">> ");
    assert_non_null(strstr(diag.text, path));
    assert_non_null(strstr(diag.text, "9 bytes"));
    text_release(&text);
    fx_release(&fx);
}

static void an_empty_file_is_read_as_nothing(void **state)
{
    struct fx fx;
    struct text text;
    fx_init(&fx, 1);
    const char *path = driver->put_file(fx.process, "empty", SPAN_NONE);
    text_init(&text, 0);
    assert_int_equal(file_read(fx.process, path, &text, NULL).code, ERR_NONE);
    assert_int_equal(text.len, 0);
    text_release(&text);
    fx_release(&fx);
}

static void a_file_that_is_not_there_is_not_found_and_named(void **state)
{
    struct fx fx;
    struct text text;
    struct file_info info;
    struct diag diag = {0};
    fx_init(&fx, 1);
    text_init(&text, 100);
    assert_int_equal(file_read(fx.process, "/none/x", &text, &diag).code, ERR_NOT_FOUND);
    assert_non_null(strstr(diag.text, "/none/x"));
    diag = (struct diag){0};
    assert_int_equal(file_stat(fx.process, "/none/x", &info, &diag).code, ERR_NOT_FOUND);
    assert_non_null(strstr(diag.text, "/none/x"));
    assert_int_equal(file_list(fx.process, "/none", NULL, NULL, NULL).code, ERR_NOT_FOUND);
    text_release(&text);
    fx_release(&fx);
}

static void note_name(void *arg, const char *name)
{
    if (name[0] == '_')
        fx_note(arg, "%s", name);
}

static void a_folder_is_listed_in_bytewise_order_and_stat_tells_what_is_what(void **state)
{
    struct fx fx;
    struct file_info info;
    fx_init(&fx, 1);
    driver->put_file(fx.process, "_b", SPAN("1"));
    driver->put_file(fx.process, "_a", SPAN("2"));
    driver->put_file(fx.process, "_B", SPAN("3"));
    const char *path = driver->put_file(fx.process, "_ab", SPAN("four"));
    assert_int_equal(file_list(fx.process, driver->folder, note_name, &fx, NULL).code, ERR_NONE);
    assert_log(&fx, "_B _a _ab _b");
    assert_int_equal(file_stat(fx.process, path, &info, NULL).code, ERR_NONE);
    assert_int_equal(info.kind, FILE_REGULAR);
    assert_int_equal(info.size, 4);
    assert_true(info.modified_at > process_wall(fx.process) - 3600 * IO_SEC);
    assert_int_equal(file_stat(fx.process, driver->folder, &info, NULL).code, ERR_NONE);
    assert_int_equal(info.kind, FILE_DIRECTORY);
    fx_release(&fx);
}

static void what_is_appended_stands_at_the_end(void **state)
{
    struct fx fx;
    struct text text;
    char path[256];
    fx_init(&fx, 1);
    snprintf(path, sizeof(path), "%s", driver->put_file(fx.process, "log", SPAN("one\n")));
    for (int i = 0; i < 2; i++) {
        struct file *file;
        assert_int_equal(file_append_open(fx.process, path, &file, NULL).code, ERR_NONE);
        assert_false(file_is_terminal(file));
        assert_int_equal(file_append(file, SPAN("more\n")).code, ERR_NONE);
        assert_int_equal(file_append(file, SPAN_NONE).code, ERR_NONE);
        file_close(file);
    }
    text_init(&text, 100);
    assert_int_equal(file_read(fx.process, path, &text, NULL).code, ERR_NONE);
    assert_string_equal(text_cstr(&text), "one\nmore\nmore\n");
    text_release(&text);
    file_close(NULL);
    fx_release(&fx);
}

static void an_appended_file_is_made_when_missing(void **state)
{
    struct fx fx;
    struct file *file;
    struct file_info info;
    char path[256];
    fx_init(&fx, 1);
    driver->put_file(fx.process, "there", SPAN_NONE);
    snprintf(path, sizeof(path), "%s/new", driver->folder);
    assert_int_equal(file_append_open(fx.process, path, &file, NULL).code, ERR_NONE);
    file_close(file);
    assert_int_equal(file_stat(fx.process, path, &info, NULL).code, ERR_NONE);
    assert_int_equal(info.size, 0);
    assert_int_equal(file_append_open(fx.process, "/none/x", &file, NULL).code, ERR_NOT_FOUND);
    fx_release(&fx);
}

static void standard_error_can_be_written_and_is_not_closed(void **state)
{
    struct fx fx;
    fx_init(&fx, 1);
    struct file *file = file_standard(fx.process, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(file_append(file, SPAN("")).code, ERR_NONE);
        file_close(file);
    }
    assert_ptr_equal(file_standard(fx.process, 2), file);
    assert_ptr_not_equal(file_standard(fx.process, 1), file);
    fx_release(&fx);
}

const struct CMUnitTest file_tests[] = {
    cmocka_unit_test(a_file_is_read_whole_or_refused_at_the_limit),
    cmocka_unit_test(an_empty_file_is_read_as_nothing),
    cmocka_unit_test(a_file_that_is_not_there_is_not_found_and_named),
    cmocka_unit_test(a_folder_is_listed_in_bytewise_order_and_stat_tells_what_is_what),
    cmocka_unit_test(what_is_appended_stands_at_the_end),
    cmocka_unit_test(an_appended_file_is_made_when_missing),
    cmocka_unit_test(standard_error_can_be_written_and_is_not_closed),
};
const size_t file_tests_count = ARRAY_LEN(file_tests);
