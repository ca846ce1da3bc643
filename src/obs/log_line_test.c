#include "obs/log_line.h"

#include "base/test_cmocka.h"
#include "base/test_random.h"
#include "base/utf8.h"

#include <math.h>
#include <stdlib.h>

#include <yyjson.h>

static const struct log_style json = {.json = true}, text = {.json = false};

static struct log_line line_of(const struct log_field *fields, struct span message)
{
    return (struct log_line){
        .event = EVENT_MODEL_LOADED,
        .wall = 1764061874123456789,
        .role = "serve",
        .message = message,
        .fields = fields,
    };
}

static size_t format(const struct log_field *fields, struct span message,
                     const struct log_style *style, uint8_t buffer[LOG_LINE_MAX])
{
    struct log_line line = line_of(fields, message);
    size_t len = log_line_format(&line, style, buffer);
    assert_in_range(len, 1, LOG_LINE_MAX);
    assert_int_equal(buffer[len - 1], '\n');
    assert_null(memchr(buffer, '\n', len - 1));
    assert_true(utf8_valid(span_of(buffer, len)));
    return len;
}

static yyjson_doc *parse(const uint8_t *buffer, size_t len)
{
    yyjson_doc *doc = yyjson_read((const char *)buffer, len - 1, 0);
    if (!doc)
        fail_msg("not JSON: %.*s", (int)len, (const char *)buffer);
    return doc;
}

static const char *string_at(yyjson_doc *doc, const char *key)
{
    return yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), key));
}

static void a_json_line_holds_every_field_by_its_type(void **state)
{
    uint8_t buffer[LOG_LINE_MAX];
    size_t len = format(LOG_FIELDS(log_str("model", "a \"b\""), log_int("version", -3),
                                   log_uint("bytes", UINT64_MAX), log_double("share", 0.25),
                                   log_double("odd", (double)NAN), log_bool("required", true),
                                   log_time("took", 1234567), log_time("late", -IO_SEC),
                                   log_str("none", NULL)),
                        SPAN("loaded a"), &json, buffer);
    yyjson_doc *doc = parse(buffer, len);
    yyjson_val *root = yyjson_doc_get_root(doc);
    assert_string_equal(string_at(doc, "time"), "2025-11-25T09:11:14.123456Z");
    assert_string_equal(string_at(doc, "level"), "info");
    assert_string_equal(string_at(doc, "event"), "model_loaded");
    assert_string_equal(string_at(doc, "role"), "serve");
    assert_string_equal(string_at(doc, "message"), "loaded a");
    assert_string_equal(string_at(doc, "model"), "a \"b\"");
    assert_string_equal(string_at(doc, "none"), "");
    assert_int_equal(yyjson_get_sint(yyjson_obj_get(root, "version")), -3);
    assert_true(yyjson_get_uint(yyjson_obj_get(root, "bytes")) == UINT64_MAX);
    assert_true(yyjson_get_real(yyjson_obj_get(root, "share")) == 0.25);
    assert_true(yyjson_is_null(yyjson_obj_get(root, "odd")));
    assert_true(yyjson_is_true(yyjson_obj_get(root, "required")));
    assert_true(yyjson_get_real(yyjson_obj_get(root, "took")) == 0.001234567);
    assert_int_equal(yyjson_get_sint(yyjson_obj_get(root, "late")), -1);
    assert_null(yyjson_obj_get(root, "cut"));
    yyjson_doc_free(doc);
}

static void a_json_line_is_valid_whatever_its_bytes(void **state)
{
    uint64_t seed = 99;
    uint8_t bytes[2][2048], buffer[LOG_LINE_MAX];
    for (int round = 0; round < 20000; round++) {
        size_t a = test_random(&seed) % (round % 64 == 0 ? sizeof(bytes[0]) : 64);
        size_t b = test_random(&seed) % 64;
        bool ascii = round % 3 == 0;
        for (size_t i = 0; i < a; i++)
            bytes[0][i] = (uint8_t)(test_random(&seed) & (ascii ? 0x7F : 0xFF));
        for (size_t i = 0; i < b; i++)
            bytes[1][i] = (uint8_t)(test_random(&seed) & (ascii ? 0x7F : 0xFF));
        size_t len = format(LOG_FIELDS(log_span("a", span_of(bytes[0], a)), log_int("n", round)),
                            span_of(bytes[1], b), &json, buffer);
        yyjson_doc *doc = parse(buffer, len);
        yyjson_val *root = yyjson_doc_get_root(doc), *value = yyjson_obj_get(root, "a");
        assert_true(yyjson_obj_get(root, "cut") || yyjson_obj_get(root, "n"));
        if (ascii && !yyjson_obj_get(root, "cut")) {
            assert_int_equal(yyjson_get_len(value), a);
            assert_memory_equal(yyjson_get_str(value), bytes[0], a);
        }
        yyjson_doc_free(doc);
        format(LOG_FIELDS(log_span("a", span_of(bytes[0], a))), span_of(bytes[1], b), &text,
               buffer);
    }
}

static void broken_utf8_becomes_the_replacement_character(void **state)
{
    uint8_t buffer[LOG_LINE_MAX];
    size_t len =
        format(LOG_FIELDS(log_str("a", "x\xFFy\xC3")), SPAN("\xED\xA0\x80"), &json, buffer);
    yyjson_doc *doc = parse(buffer, len);
    assert_string_equal(string_at(doc, "a"), "x\xEF\xBF\xBDy\xEF\xBF\xBD");
    assert_string_equal(string_at(doc, "message"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
    yyjson_doc_free(doc);
}

/* Every length around the limit, for bytes that take one, two and six of them. */
static void a_line_that_is_too_long_is_cut_with_a_mark(void **state)
{
    static const char *const units[] = {"x", "\"", "\x01", "\xF0\x9F\x98\x80"};
    uint8_t bytes[LOG_LINE_MAX + 64], buffer[LOG_LINE_MAX];
    for (size_t u = 0; u < ARRAY_LEN(units); u++) {
        bool was_cut = false, was_whole = false;
        size_t unit = strlen(units[u]), all = sizeof(bytes) / unit;
        for (size_t i = 0; i < all; i++)
            memcpy(bytes + i * unit, units[u], unit);
        for (size_t count = u == 2 ? 500 : 900; count < all; count++) {
            size_t len = format(
                LOG_FIELDS(log_span("a", span_of(bytes, count * unit)), log_str("after", "z")),
                SPAN("m"), &json, buffer);
            yyjson_doc *doc = parse(buffer, len);
            yyjson_val *root = yyjson_doc_get_root(doc);
            bool cut = yyjson_is_true(yyjson_obj_get(root, "cut"));
            assert_int_equal(cut, !yyjson_obj_get(root, "after"));
            was_cut |= cut;
            was_whole |= !cut;
            yyjson_doc_free(doc);
        }
        assert_true(was_cut && was_whole);
    }
}

static void many_fields_are_cut_between_fields(void **state)
{
    struct log_field fields[201];
    uint8_t buffer[LOG_LINE_MAX];
    for (int i = 0; i < 200; i++)
        fields[i] = log_int("a_key_of_some_length", INT64_MIN);
    fields[200] = (struct log_field){NULL, LOG_FIELD_END, {.u = 0}};
    size_t len = format(fields, SPAN("m"), &json, buffer);
    yyjson_doc *doc = parse(buffer, len);
    assert_true(yyjson_is_true(yyjson_obj_get(yyjson_doc_get_root(doc), "cut")));
    yyjson_doc_free(doc);
    assert_in_range(len, LOG_LINE_MAX - 128, LOG_LINE_MAX);
}

static void a_text_line_cannot_be_forged_by_a_field(void **state)
{
    uint8_t buffer[LOG_LINE_MAX];
    size_t len = format(LOG_FIELDS(log_str("model", "m"), log_str("name", "a b=c\n\x1b[2J"),
                                   log_time("took", IO_MS), log_str("empty", "")),
                        SPAN("it's \"so\" \\ \r\n2025 ERROR"), &text, buffer);
    buffer[len] = '\0';
    assert_string_equal((char *)buffer,
                        "2025-11-25T09:11:14.123456Z INFO  model_loaded: it's \"so\" \\ "
                        "\\r\\n2025 ERROR model=m name=\"a b=c\\n\\u001b[2J\" took=0.001s "
                        "empty=\"\"\n");
}

static void only_a_coloured_line_has_escape_sequences(void **state)
{
    static const struct log_style coloured = {.colour = true};
    uint8_t buffer[LOG_LINE_MAX];
    size_t len = format(LOG_NO_FIELDS, SPAN("m"), &text, buffer);
    assert_null(memchr(buffer, 0x1b, len));
    len = format(LOG_NO_FIELDS, SPAN("m"), &coloured, buffer);
    assert_non_null(memchr(buffer, 0x1b, len));
}

static void dates_are_right_on_both_sides_of_leap_days(void **state)
{
    static const struct {
        int64_t seconds;
        const char *text;
    } dates[] = {
        {0, "1970-01-01T00:00:00.000000Z"},          {951782399, "2000-02-28T23:59:59.000000Z"},
        {951782400, "2000-02-29T00:00:00.000000Z"},  {951868800, "2000-03-01T00:00:00.000000Z"},
        {1709164800, "2024-02-29T00:00:00.000000Z"}, {1735689599, "2024-12-31T23:59:59.000000Z"},
        {4107542400, "2100-03-01T00:00:00.000000Z"}, {4107456000, "2100-02-28T00:00:00.000000Z"},
    };
    for (size_t i = 0; i < ARRAY_LEN(dates); i++) {
        uint8_t buffer[LOG_LINE_MAX];
        struct log_line line = line_of(LOG_NO_FIELDS, SPAN("m"));
        line.wall = dates[i].seconds * IO_SEC;
        assert_true(log_line_format(&line, &text, buffer) > 27);
        assert_memory_equal(buffer, dates[i].text, 27);
    }
}

static void suppressed_lines_are_told(void **state)
{
    uint8_t buffer[LOG_LINE_MAX];
    struct log_line line = line_of(LOG_NO_FIELDS, SPAN("m"));
    line.suppressed = 42;
    yyjson_doc *doc = parse(buffer, log_line_format(&line, &json, buffer));
    assert_int_equal(yyjson_get_uint(yyjson_obj_get(yyjson_doc_get_root(doc), "suppressed")), 42);
    yyjson_doc_free(doc);
}

static void event_names_are_unique_words(void **state)
{
    for (int i = 0; i < EVENT_COUNT; i++) {
        const char *name = event_name((enum event)i);
        for (const char *c = name; *c; c++)
            assert_true((*c >= 'a' && *c <= 'z') || *c == '_');
        for (int j = 0; j < i; j++)
            assert_string_not_equal(name, event_name((enum event)j));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_json_line_holds_every_field_by_its_type),
        cmocka_unit_test(a_json_line_is_valid_whatever_its_bytes),
        cmocka_unit_test(broken_utf8_becomes_the_replacement_character),
        cmocka_unit_test(a_line_that_is_too_long_is_cut_with_a_mark),
        cmocka_unit_test(many_fields_are_cut_between_fields),
        cmocka_unit_test(a_text_line_cannot_be_forged_by_a_field),
        cmocka_unit_test(only_a_coloured_line_has_escape_sequences),
        cmocka_unit_test(dates_are_right_on_both_sides_of_leap_days),
        cmocka_unit_test(suppressed_lines_are_told),
        cmocka_unit_test(event_names_are_unique_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
