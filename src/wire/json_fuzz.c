/* The reader, held against yyjson: both take the same texts and see the same values. */
#include "base/alloc.h"
#include "base/number.h"
#include "base/test_fuzz.h"
#include "base/utf8.h"
#include "wire/json.h"

#include <yyjson.h>

/* Reads one value and holds it against yyjson's. */
static void check_value(struct json_reader *r, yyjson_val *val);

static void check_string(const struct json_string *string, yyjson_val *val)
{
    struct span expected = span_of(yyjson_get_str(val), yyjson_get_len(val));
    uint8_t *value = mem_must(mem_alloc(string->len), string->len);
    ASSERT(yyjson_is_str(val) && string->len == expected.len && string->len <= string->raw.len);
    json_string_copy(string, value);
    ASSERT(span_eq(span_of(value, string->len), expected) && utf8_valid(expected));
    if (string->len == string->raw.len && span_find(expected, '\0') == expected.len)
        ASSERT(json_string_is(string, expected));
    mem_free(value);
}

/* What is written reads as the same value. */
static void check_written(yyjson_val *val)
{
    struct span value = span_of(yyjson_get_str(val), yyjson_get_len(val));
    struct text text;
    struct json_string string;
    text_init(&text, 6 * value.len + 2);
    json_append_string(&text, value);
    ASSERT(!failed(text_result(&text)));
    struct json_reader r = json_reader_of(text_span(&text), 0);
    ASSERT(json_peek(&r) == JSON_STRING && !failed(json_read_string(&r, &string)));
    ASSERT(!failed(json_end(&r)));
    check_string(&string, val);
    text_release(&text);
}

static void check_array(struct json_reader *r, yyjson_val *val)
{
    yyjson_arr_iter iter;
    bool first = true, more;
    ASSERT(yyjson_arr_iter_init(val, &iter));
    json_enter(r);
    for (;;) {
        ASSERT(!failed(json_element(r, &first, &more)));
        if (!more)
            break;
        check_value(r, yyjson_arr_iter_next(&iter));
    }
    ASSERT(!yyjson_arr_iter_has_next(&iter));
}

static void check_object(struct json_reader *r, yyjson_val *val)
{
    yyjson_obj_iter iter;
    struct json_string name;
    bool first = true, more;
    ASSERT(yyjson_obj_iter_init(val, &iter));
    json_enter(r);
    for (;;) {
        ASSERT(!failed(json_member(r, &first, &name, &more)));
        if (!more)
            break;
        yyjson_val *key = yyjson_obj_iter_next(&iter);
        check_string(&name, key);
        check_value(r, yyjson_obj_iter_get_val(key));
    }
    ASSERT(!yyjson_obj_iter_has_next(&iter));
}

static void check_number(struct json_reader *r, yyjson_val *val)
{
    double value;
    size_t used;
    ASSERT(!failed(number_parse_f64(span_from(r->text, r->at), &used, &value)));
    double expected = yyjson_get_num(val);
    ASSERT(value == expected);
    ASSERT(!failed(json_skip_value(r)));
}

static void check_value(struct json_reader *r, yyjson_val *val)
{
    struct json_string string;
    ASSERT(val);
    enum json_kind kind = json_peek(r);
    switch (kind) {
    case JSON_ARRAY:
        check_array(r, val);
        return;
    case JSON_OBJECT:
        check_object(r, val);
        return;
    case JSON_STRING:
        ASSERT(!failed(json_read_string(r, &string)));
        check_string(&string, val);
        check_written(val);
        return;
    case JSON_NUMBER:
        check_number(r, val);
        return;
    default:
        ASSERT(kind == (yyjson_is_null(val)    ? JSON_NULL
                        : yyjson_is_true(val)  ? JSON_TRUE
                        : yyjson_is_false(val) ? JSON_FALSE
                                               : JSON_NOTHING));
        ASSERT(kind != JSON_NOTHING && !failed(json_skip_value(r)));
    }
}

static bool reads(struct span text, uint8_t dialect, struct json_reader *r)
{
    *r = json_reader_of(text, dialect);
    result skipped = json_skip_value(r);
    if (!failed(skipped))
        skipped = json_end(r);
    ASSERT(!failed(skipped) || is(skipped, ERR_SYNTAX));
    ASSERT(failed(skipped) == (r->fault != JSON_FAULT_NONE));
    return !failed(skipped);
}

static void check_report(struct json_reader *r)
{
    struct diag diag = {0};
    if (r->fault == JSON_FAULT_NONE)
        return;
    ASSERT(is(json_report(r, &diag), ERR_SYNTAX));
    ASSERT(diag.line >= 1 && diag.column >= 1 && diag.text[0] && r->fault_at <= r->text.len);
    ASSERT(json_fault_rapidjson(r->fault)[0]);
}

static void check_document(struct span text, bool expected)
{
    struct arena arena;
    struct yyjson_val *root = NULL;
    struct diag diag = {0};
    arena_init(&arena, 4096, (size_t)1 << 20);
    result r = json_document(text, (size_t)1 << 16, &arena, &root, &diag);
    ASSERT(failed(r) == (root == NULL));
    if (text.len <= (size_t)1 << 12)
        ASSERT(!failed(r) == expected);
    arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct span text = span_of(bytes, len);
    struct json_reader strict, wide;
    bool good = reads(text, 0, &strict);
    bool wide_good = reads(text, JSON_NONFINITE | JSON_ANY_BYTES, &wide);
    ASSERT(!good || wide_good);
    check_report(&strict);
    check_report(&wide);
    if (strict.fault == JSON_FAULT_DEPTH)
        return 0;
    yyjson_doc *doc = yyjson_read((const char *)bytes, len, 0);
    ASSERT(good == (doc != NULL));
    check_document(text, good);
    if (doc) {
        struct json_reader r = json_reader_of(text, 0);
        check_value(&r, yyjson_doc_get_root(doc));
    }
    yyjson_doc_free(doc);
    return 0;
}
