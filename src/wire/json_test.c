#include "wire/json.h"

#include "base/alloc.h"
#include "base/test_cmocka.h"

#include <yyjson.h>

struct skip_case {
    const char *text;
    enum json_fault fault;
    size_t at; /* of the fault, or where the value ends */
};

static const struct skip_case skip_cases[] = {
    /* values */
    {"null", JSON_FAULT_NONE, 4},
    {"true", JSON_FAULT_NONE, 4},
    {"false,", JSON_FAULT_NONE, 5},
    {" \t\r\n0", JSON_FAULT_NONE, 5},
    {"-0", JSON_FAULT_NONE, 2},
    {"-12.50e+3 ", JSON_FAULT_NONE, 9},
    {"1E-2]", JSON_FAULT_NONE, 4},
    {"\"\"", JSON_FAULT_NONE, 2},
    {"\"a\\u00e9\\ud83d\\ude00\\n\"", JSON_FAULT_NONE, 23},
    {"[]", JSON_FAULT_NONE, 2},
    {"[ ]", JSON_FAULT_NONE, 3},
    {"{}", JSON_FAULT_NONE, 2},
    {"{ }x", JSON_FAULT_NONE, 3},
    {"[1, [2, {\"a\": [3]}], \"b\"]", JSON_FAULT_NONE, 25},
    {"{\"a\":1,\"a\":{\"b\":[]}}", JSON_FAULT_NONE, 20},
    {"1.7976931348623157e308", JSON_FAULT_NONE, 22},
    {"1e-999", JSON_FAULT_NONE, 6},
    /* faults */
    {"[1e309]", JSON_FAULT_NUMBER_BIG, 1},
    {"[-12.5E+400]", JSON_FAULT_NUMBER_BIG, 1},
    {"", JSON_FAULT_VALUE, 0},
    {"  ", JSON_FAULT_VALUE, 2},
    {"nul", JSON_FAULT_VALUE, 3},
    {"nulL", JSON_FAULT_VALUE, 3},
    {"True", JSON_FAULT_VALUE, 0},
    {"-", JSON_FAULT_VALUE, 1},
    {"-a", JSON_FAULT_VALUE, 1},
    {"+1", JSON_FAULT_VALUE, 0},
    {".5", JSON_FAULT_VALUE, 0},
    {"1.", JSON_FAULT_FRACTION, 2},
    {"[1.]", JSON_FAULT_FRACTION, 3},
    {"1e", JSON_FAULT_EXPONENT, 2},
    {"1e+", JSON_FAULT_EXPONENT, 3},
    {"[01]", JSON_FAULT_ARRAY_COMMA, 2},
    {"NaN", JSON_FAULT_VALUE, 0},
    {"-Infinity", JSON_FAULT_VALUE, 1},
    {"[1 2]", JSON_FAULT_ARRAY_COMMA, 3},
    {"[1", JSON_FAULT_ARRAY_COMMA, 2},
    {"[1,", JSON_FAULT_VALUE, 3},
    {"[1,]", JSON_FAULT_VALUE, 3},
    {"[,1]", JSON_FAULT_VALUE, 1},
    {"[}", JSON_FAULT_VALUE, 1},
    {"{1:2}", JSON_FAULT_NAME, 1},
    {"{\"a\" 1}", JSON_FAULT_COLON, 5},
    {"{\"a\":}", JSON_FAULT_VALUE, 5},
    {"{\"a\":1 \"b\":2}", JSON_FAULT_OBJECT_COMMA, 7},
    {"{\"a\":1,}", JSON_FAULT_NAME, 7},
    {"{\"a\":1", JSON_FAULT_OBJECT_COMMA, 6},
    {"{", JSON_FAULT_NAME, 1},
    {"\"abc", JSON_FAULT_QUOTE, 4},
    {"\"a\\x\"", JSON_FAULT_ESCAPE, 2},
    {"\"\\", JSON_FAULT_ESCAPE, 1},
    {"\"\\u12g4\"", JSON_FAULT_HEX, 1},
    {"\"\\u12", JSON_FAULT_HEX, 1},
    {"\"\\ud83d\"", JSON_FAULT_SURROGATE, 1},
    {"\"\\ud83d\\u0041\"", JSON_FAULT_SURROGATE, 1},
    {"\"\\ude00\"", JSON_FAULT_SURROGATE, 1},
    {"\"a\nb\"", JSON_FAULT_ENCODING, 2},
    {"\"\xff\"", JSON_FAULT_ENCODING, 1},
    {"\"\xc0\xaf\"", JSON_FAULT_ENCODING, 1},
};

static void a_value_is_passed_over_or_its_fault_is_placed(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(skip_cases); i++) {
        const struct skip_case *c = &skip_cases[i];
        struct json_reader r = json_reader_of(span_cstr(c->text), 0);
        result got = json_skip_value(&r);
        size_t at = failed(got) ? r.fault_at : r.at;
        if (r.fault != c->fault || at != c->at || is(got, ERR_SYNTAX) != (c->fault != 0))
            fail_msg("%s: fault %d at %zu, expected %d at %zu", c->text, r.fault, at, c->fault,
                     c->at);
    }
}

static void yyjson_agrees_on_what_is_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(skip_cases); i++) {
        struct span text = span_cstr(skip_cases[i].text);
        struct json_reader r = json_reader_of(text, 0);
        bool ours = !failed(json_skip_value(&r)) && !failed(json_end(&r));
        yyjson_doc *doc = yyjson_read((const char *)text.ptr, text.len, 0);
        if (ours != (doc != NULL))
            fail_msg("%s: ours %d, yyjson's %d", skip_cases[i].text, ours, doc != NULL);
        yyjson_doc_free(doc);
    }
}

static void the_dialect_has_its_names_for_what_is_not_finite(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t len;
        bool nan, negative;
    } cases[] = {
        {"NaN", 3, true, false},   {"Inf", 3, false, false},      {"Infinity", 8, false, false},
        {"-Inf]", 4, false, true}, {"-Infinity", 9, false, true}, {"nan", 0, false, false},
        {"-NaN", 0, false, false}, {"In", 0, false, false},       {"infinity", 0, false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct json_reader r = json_reader_of(span_cstr(cases[i].text), JSON_NONFINITE);
        double value = 0;
        assert_int_equal(json_nonfinite(&r, &value), cases[i].len);
        if (cases[i].len) {
            assert_true(cases[i].nan ? value != value : value - value != 0);
            assert_int_equal(value < 0, cases[i].negative);
            assert_false(failed(json_skip_value(&r)));
            assert_int_equal(r.at, cases[i].len);
        } else {
            assert_true(failed(json_skip_value(&r)));
        }
        r = json_reader_of(span_cstr(cases[i].text), 0);
        assert_int_equal(json_nonfinite(&r, &value), 0);
    }
}

static void nesting_ends_at_its_limit(void **state)
{
    (void)state;
    char text[2 * JSON_DEPTH_MAX + 3];
    for (int depth = JSON_DEPTH_MAX; depth <= JSON_DEPTH_MAX + 1; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        struct json_reader r = json_reader_of(span_of(text, (size_t)depth * 2), 0);
        result got = json_skip_value(&r);
        assert_int_equal(failed(got), depth > JSON_DEPTH_MAX);
        assert_int_equal(r.fault, depth > JSON_DEPTH_MAX ? JSON_FAULT_DEPTH : JSON_FAULT_NONE);
    }
}

static void strings_have_the_value_of_their_escapes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *value;
        size_t len;
    } cases[] = {
        {"\"plain\"", "plain", 5},
        {"\"\"", "", 0},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8},
        {"\"a\\u0000b\"", "a\0b", 3},
        {"\"\\u00e9\\u20AC\\ud83d\\ude00!\"", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80!", 10},
        {"\"\xc3\xa9 as it is\"", "\xc3\xa9 as it is", 11},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct json_reader r = json_reader_of(span_cstr(cases[i].text), 0);
        struct json_string string;
        struct span expected = span_of(cases[i].value, cases[i].len), taken;
        uint8_t out[32];
        struct arena arena;
        assert_false(failed(json_read_string(&r, &string)));
        assert_int_equal(string.len, cases[i].len);
        json_string_copy(&string, out);
        assert_memory_equal(out, cases[i].value, cases[i].len);
        assert_true(json_string_is(&string, expected));
        assert_false(json_string_is(&string, span_first(SPAN("anything but this here"), 12)));
        arena_init(&arena, 256, 1024);
        assert_false(failed(json_string_take(&string, &arena, &taken)));
        assert_true(span_eq(taken, expected));
        assert_int_equal(taken.ptr[taken.len], 0);
        arena_release(&arena);
    }
}

static void bytes_that_are_no_text_pass_where_the_dialect_lets_them(void **state)
{
    (void)state;
    struct span text = SPAN("\"a\xff\xfe z\"");
    struct json_reader r = json_reader_of(text, JSON_ANY_BYTES);
    struct json_string string;
    assert_false(failed(json_read_string(&r, &string)));
    assert_true(span_eq(string.raw, SPAN("a\xff\xfe z")));
    r = json_reader_of(text, 0);
    assert_true(is(json_read_string(&r, &string), ERR_SYNTAX));
    r = json_reader_of(SPAN("\"a\x01\""), JSON_ANY_BYTES);
    assert_true(is(json_read_string(&r, &string), ERR_SYNTAX));
}

static void a_report_names_line_column_and_both_sides(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int line, column;
        const char *report;
    } cases[] = {
        {"{\"a\": 1,\n \"b\" 2}", 2, 6, "expected ':' after a name, got \"2}\""},
        {"[1,\n\n  ", 3, 3, "expected a value, got the end of the text"},
        {"[1;2]", 1, 3, "expected ',' or ']' after an element, got \";2]\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct json_reader r = json_reader_of(span_cstr(cases[i].text), 0);
        struct diag diag = {0};
        assert_true(failed(json_skip_value(&r)));
        assert_true(is(json_report(&r, &diag), ERR_SYNTAX));
        assert_string_equal(diag.text, cases[i].report);
        assert_int_equal(diag.line, cases[i].line);
        assert_int_equal(diag.column, cases[i].column);
        assert_true(is(json_report(&r, NULL), ERR_SYNTAX));
    }
}

static void written_strings_escape_what_must_be_and_repair_what_is_no_text(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        size_t len;
        const char *text;
    } cases[] = {
        {"", 0, "\"\""},
        {"plain / text", 12, "\"plain / text\""},
        {"\"\\\b\f\n\r\t", 7, "\"\\\"\\\\\\b\\f\\n\\r\\t\""},
        {"a\0b\x1f\x7f", 5, "\"a\\u0000b\\u001F\x7f\""},
        {"\xc3\xa9\xf0\x9f\x98\x80", 6, "\"\xc3\xa9\xf0\x9f\x98\x80\""},
        {"a\xff\xc3\xa9\xc3", 5, "\"a\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\""},
        {"\xed\xa0\x80\"", 4, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\\\"\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct text text;
        text_init(&text, 1000);
        json_append_string(&text, span_of(cases[i].value, cases[i].len));
        assert_false(failed(text_result(&text)));
        assert_string_equal(text_cstr(&text), cases[i].text);
        text_release(&text);
    }
}

static void documents_are_read_strictly_within_their_limits(void **state)
{
    (void)state;
    struct arena arena;
    struct yyjson_val *root = NULL;
    struct diag diag = {0};
    arena_init(&arena, 1024, 64 * 1024);
    assert_false(
        failed(json_document(SPAN(" {\"a\": [1, 2.5, \"x\"]} "), 100, &arena, &root, &diag)));
    yyjson_val *list = yyjson_obj_get(root, "a");
    assert_int_equal(yyjson_arr_size(list), 3);
    assert_int_equal(yyjson_get_int(yyjson_arr_get(list, 0)), 1);
    static const struct {
        const char *text;
        enum err code;
        const char *say;
    } refused[] = {
        {"", ERR_SYNTAX, "expected a value, got the end of the text"},
        {"{} x", ERR_SYNTAX, "expected the end of the document, got \"x\""},
        {"{\"a\":NaN}", ERR_SYNTAX, "expected a value, got \"NaN}\""},
        {"[1,]", ERR_SYNTAX, "expected a value, got \"]\""},
        {"\"01234567890123456789012345678901234567890123456789"
         "01234567890123456789012345678901234567890123456789\"",
         ERR_TOO_LARGE, "expected at most 100 bytes of JSON, got 102"},
    };
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct diag why = {0};
        struct yyjson_val *kept = root;
        assert_true(is(json_document(span_cstr(refused[i].text), 100, &arena, &kept, &why),
                       refused[i].code));
        assert_ptr_equal(kept, root);
        assert_string_equal(why.text, refused[i].say);
    }
    arena_release(&arena);
    arena_init(&arena, 64, 128);
    assert_true(
        is(json_document(SPAN("[1,2,3,4,5,6,7,8,9]"), 100, &arena, &root, NULL), ERR_NO_MEMORY));
    arena_release(&arena);
}

/* Each prefix of a value, in a block of its own size, ends in a fault at its end. */
static void every_prefix_is_a_fault_and_reads_no_further(void **state)
{
    (void)state;
    const char *text =
        "{\"a\":[1,-2.5e3,\"x\\u00e9\\ud83d\\ude00\",null,true,{\"b\":{}}],\"c\":[[]]}";
    for (size_t len = 0; len < strlen(text); len++) {
        uint8_t *copy = mem_alloc(len);
        memcpy(copy, text, len);
        struct json_reader r = json_reader_of(span_of(copy, len), 0);
        assert_true(is(json_skip_value(&r), ERR_SYNTAX));
        assert_true(r.fault != JSON_FAULT_NONE && r.fault_at <= len);
        mem_free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_is_passed_over_or_its_fault_is_placed),
        cmocka_unit_test(yyjson_agrees_on_what_is_json),
        cmocka_unit_test(the_dialect_has_its_names_for_what_is_not_finite),
        cmocka_unit_test(nesting_ends_at_its_limit),
        cmocka_unit_test(strings_have_the_value_of_their_escapes),
        cmocka_unit_test(bytes_that_are_no_text_pass_where_the_dialect_lets_them),
        cmocka_unit_test(a_report_names_line_column_and_both_sides),
        cmocka_unit_test(written_strings_escape_what_must_be_and_repair_what_is_no_text),
        cmocka_unit_test(documents_are_read_strictly_within_their_limits),
        cmocka_unit_test(every_prefix_is_a_fault_and_reads_no_further),
    };
    return cmocka_run_group_tests_name("wire/json", tests, NULL, NULL);
}
