#include "wire/json_tensor.h"

#include "base/alloc.h"
#include "base/test_cmocka.h"
#include "base/test_random.h"

#include <math.h>
#include <stdio.h>

static const weir_type bool_type = {WEIR_BOOL, 8, 1}, u8 = {WEIR_UINT, 8, 1},
                       u64 = {WEIR_UINT, 64, 1}, i8 = {WEIR_INT, 8, 1}, i32 = {WEIR_INT, 32, 1},
                       i64 = {WEIR_INT, 64, 1}, f16 = {WEIR_FLOAT, 16, 1},
                       bf16 = {WEIR_BFLOAT, 16, 1}, f32 = {WEIR_FLOAT, 32, 1},
                       f64 = {WEIR_FLOAT, 64, 1}, string = {WEIR_STRING, 8, 1};

#define ALL (JSON_NONFINITE | JSON_B64 | JSON_ANY_BYTES)

/* What both passes made of a text, in blocks of just the planned size. */
struct outcome {
    result r;
    struct tensor_plan plan;
    struct tensor_space space;
    size_t end;
    struct diag diag;
};

static struct outcome read_text(struct span text, weir_type type, uint8_t dialect, bool lossless)
{
    struct outcome o = {0};
    struct json_reader r = json_reader_of(text, dialect);
    struct json_tensor found;

    o.plan.type = type;
    o.r = json_tensor_scan(&r, &found, &o.diag);
    if (!failed(o.r))
        o.r = json_tensor_type(&found, type, &o.diag);
    if (is(o.r, ERR_SYNTAX))
        o.r = json_report(&r, &o.diag);
    if (failed(o.r))
        return o;
    o.end = r.at;
    o.plan.rank = found.rank;
    memcpy(o.plan.shape, found.shape, sizeof(found.shape));
    o.plan.elements = found.elements;
    assert_false(failed(json_tensor_bytes(&found, type, &o.plan.bytes)));
    o.space.data = mem_must(mem_aligned(64, o.plan.bytes), o.plan.bytes);
    if (type.code == WEIR_STRING)
        o.space.offsets = mem_must(mem_zalloc(o.plan.elements + 1, sizeof(uint64_t)), 8);
    struct json_sink sink = json_sink_of(&o.plan, &o.space, lossless);
    r = json_reader_of(text, dialect);
    o.r = json_tensor_fill(&r, found.rank, found.shape, &sink, &o.diag);
    if (is(o.r, ERR_SYNTAX))
        o.r = json_report(&r, &o.diag);
    if (!failed(o.r)) {
        assert_int_equal(r.at, o.end);
        assert_int_equal(sink.elements, o.plan.elements);
    }
    return o;
}

static void outcome_release(struct outcome *o)
{
    mem_free(o->space.data);
    mem_free(o->space.offsets);
}

/* ---- shapes ---- */

static void shapes_are_found_where_all_arrays_agree(void **state)
{
    (void)state;
    static const struct {
        const char *text, *shape;
        size_t end;
    } cases[] = {
        {"5", "[]", 1},
        {" [1,2,3] x", "[3]", 8},
        {"[]", "[0]", 2},
        {"[ ]", "[0]", 3},
        {"[[]]", "[1,0]", 4},
        {"[[],[]]", "[2,0]", 7},
        {"[[1,2],[3,4],[5,6]]", "[3,2]", 19},
        {"[ [ 1 , 2 ] ,\n[ 3 , 4 ] ]", "[2,2]", 25},
        {"[[[1],[2]],[[3],[4]]]", "[2,2,1]", 21},
        {"[[[[[[[[1]]]]]]]]", "[1,1,1,1,1,1,1,1]", 17},
        {"[1,NaN,3]", "[3]", 9},
        {"[NaN]", "[1]", 5},
        {"[[1,-Inf],[Infinity,2]]", "[2,2]", 23},
        {"[1.5,-2e3,0,12345678901234567890,0.00000000000000000001]", "[5]", 56},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char shape[128];
        struct outcome o = read_text(span_cstr(cases[i].text), f64, ALL, false);
        if (failed(o.r))
            fail_msg("%s: %s", cases[i].text, o.diag.text);
        assert_string_equal(shape_format(o.plan.shape, o.plan.rank, shape, sizeof(shape)),
                            cases[i].shape);
        assert_int_equal(o.end, cases[i].end);
        outcome_release(&o);
    }
}

static void what_is_ragged_or_no_tensor_is_refused_with_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum err code;
        const char *say;
    } cases[] = {
        {"[[1,2],[3]]", ERR_SHAPE, "expected 2 elements as in the first array, got 1"},
        {"[[1],[2,3]]", ERR_SHAPE, "expected 1 elements as in the first array, got 2"},
        {"[[1],2]", ERR_SHAPE, "expected arrays 2 deep, got 1"},
        {"[1,[2]]", ERR_SHAPE, "expected arrays 1 deep, got 2"},
        {"[[1],[[2]]]", ERR_SHAPE, "expected arrays 2 deep, got 3"},
        {"[[],[1]]", ERR_SHAPE, "expected 0 elements as in the first array, got 1"},
        {"[[1],[]]", ERR_SHAPE, "expected 1 elements as in the first array, got 0"},
        {"[[],1]", ERR_SHAPE, "expected arrays 2 deep, got 1"},
        {"[[[[[[[[[1]]]]]]]]]", ERR_SHAPE, "expected arrays 8 deep, got 9"},
        {"[1,null]", ERR_TYPE, "expected an element of a tensor, got null"},
        {"[{\"a\":1}]", ERR_TYPE, "expected an element of a tensor, got an object"},
        {"[1,\"a\"]", ERR_TYPE, "expected elements of type FP64, got strings"},
        {"[true]", ERR_TYPE, "expected elements of type FP64, got booleans"},
        {"[1,2", ERR_SYNTAX, "expected ',' or ']' after an element, got the end of the text"},
        {"[1,", ERR_SYNTAX, "expected a value, got the end of the text"},
        {"[", ERR_SYNTAX, "expected a value, got the end of the text"},
        {"", ERR_SYNTAX, "expected a value, got the end of the text"},
        {"[1,,2]", ERR_SYNTAX, "expected a value, got \",2]\""},
        {"[1,]", ERR_SYNTAX, "expected a value, got \"]\""},
        {"[1 2]", ERR_SYNTAX, "expected ',' or ']' after an element, got \"2]\""},
        {"[01]", ERR_SYNTAX, "expected ',' or ']' after an element, got \"1]\""},
        {"[1.]", ERR_SYNTAX, "expected a digit after the point, got \"]\""},
        {"[1e]", ERR_SYNTAX, "expected a digit in the exponent, got \"]\""},
        {"[+1]", ERR_SYNTAX, "expected a value, got \"+1]\""},
        {"[1/2]", ERR_SYNTAX, "expected ',' or ']' after an element, got \"/2]\""},
        {"[--1]", ERR_SYNTAX, "expected a value, got \"-1]\""},
        {"[nan]", ERR_SYNTAX, "expected a value, got \"an]\""},
        {"[1e999]", ERR_SYNTAX, "expected a number that a double can hold, got \"1e999]\""},
        {"[1,-1e999]", ERR_SYNTAX, "expected a number that a double can hold, got \"-1e999]\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct outcome o = read_text(span_cstr(cases[i].text), f64, ALL, false);
        if (!is(o.r, cases[i].code) || strcmp(o.diag.text, cases[i].say) != 0)
            fail_msg("%s: %s, \"%s\"", cases[i].text, err_name(o.r.code), o.diag.text);
        assert_true(o.diag.code == cases[i].code);
        outcome_release(&o);
    }
}

/* ---- elements ---- */

static void integers_are_exact_over_their_range_and_refused_beyond(void **state)
{
    (void)state;
    static const struct {
        weir_type type;
        const char *text;
        enum err code;
        uint64_t value;
    } cases[] = {
        {{WEIR_UINT, 8, 1}, "255", ERR_NONE, 255},
        {{WEIR_UINT, 8, 1}, "256", ERR_RANGE, 0},
        {{WEIR_UINT, 8, 1}, "-1", ERR_RANGE, 0},
        {{WEIR_UINT, 8, 1}, "-0", ERR_NONE, 0},
        {{WEIR_INT, 8, 1}, "-128", ERR_NONE, 0x80},
        {{WEIR_INT, 8, 1}, "-129", ERR_RANGE, 0},
        {{WEIR_INT, 8, 1}, "127", ERR_NONE, 127},
        {{WEIR_INT, 8, 1}, "128", ERR_RANGE, 0},
        {{WEIR_UINT, 16, 1}, "65535", ERR_NONE, 65535},
        {{WEIR_UINT, 16, 1}, "65536", ERR_RANGE, 0},
        {{WEIR_INT, 16, 1}, "-32768", ERR_NONE, 0x8000},
        {{WEIR_INT, 16, 1}, "32768", ERR_RANGE, 0},
        {{WEIR_UINT, 32, 1}, "4294967295", ERR_NONE, UINT32_MAX},
        {{WEIR_UINT, 32, 1}, "4294967296", ERR_RANGE, 0},
        {{WEIR_INT, 32, 1}, "-2147483648", ERR_NONE, 0x80000000},
        {{WEIR_INT, 32, 1}, "2147483648", ERR_RANGE, 0},
        {{WEIR_UINT, 64, 1}, "18446744073709551615", ERR_NONE, UINT64_MAX},
        {{WEIR_UINT, 64, 1}, "18446744073709551616", ERR_RANGE, 0},
        {{WEIR_INT, 64, 1}, "9007199254740993", ERR_NONE, 9007199254740993},
        {{WEIR_INT, 64, 1}, "-9223372036854775808", ERR_NONE, (uint64_t)INT64_MIN},
        {{WEIR_INT, 64, 1}, "9223372036854775808", ERR_RANGE, 0},
        {{WEIR_INT, 32, 1}, "1.0", ERR_TYPE, 0},
        {{WEIR_INT, 32, 1}, "1e2", ERR_TYPE, 0},
        {{WEIR_INT, 32, 1}, "1.5", ERR_TYPE, 0},
        {{WEIR_INT, 32, 1}, "NaN", ERR_TYPE, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[64];
        for (int nested = 0; nested < 2; nested++) {
            uint64_t value = 0;
            snprintf(text, sizeof(text), nested ? "[[%s]]" : "%s", cases[i].text);
            struct outcome o = read_text(span_cstr(text), cases[i].type, ALL, false);
            if (!is(o.r, cases[i].code))
                fail_msg("%s as %s: %s", text, type_oip_name(cases[i].type), err_name(o.r.code));
            if (!failed(o.r)) {
                memcpy(&value, o.space.data, o.plan.bytes);
                assert_int_equal(value, cases[i].value);
            } else {
                assert_non_null(strstr(o.diag.text, cases[i].text));
            }
            outcome_release(&o);
        }
    }
}

static void floats_are_rounded_once_and_overflow_is_refused(void **state)
{
    (void)state;
    struct outcome o = read_text(
        SPAN("[0.1, 1.00000017881393432617187499,-0.0,16777217,3.4028235e38]"), f32, 0, false);
    const float *floats = o.space.data;
    assert_false(failed(o.r));
    assert_true(floats[0] == 0.1f && floats[1] == 1.0000001192092896f && signbit(floats[2]));
    assert_true(floats[3] == 16777216.0f && floats[4] == 3.4028235e38f);
    outcome_release(&o);
    o = read_text(SPAN("[1,2,3.5e38]"), f32, 0, false);
    assert_true(is(o.r, ERR_RANGE));
    assert_string_equal(o.diag.text, "element 2: expected FP32, got 3.5e38");
    assert_int_equal(o.diag.column, 6);
    outcome_release(&o);
    o = read_text(SPAN("[65504, 5.9604644775390625e-8, 1.00048828125, 1.00048828125000001]"), f16,
                  0, false);
    const uint16_t *halves = o.space.data;
    assert_false(failed(o.r));
    assert_int_equal(halves[0], 0x7bff);
    assert_int_equal(halves[1], 1);
    assert_int_equal(halves[2], 0x3c00);
    assert_int_equal(halves[3], 0x3c00); /* the double is the middle itself: one rounding */
    outcome_release(&o);
    o = read_text(SPAN("[65520]"), f16, 0, false);
    assert_true(is(o.r, ERR_RANGE));
    outcome_release(&o);
    o = read_text(SPAN("[1.0, -2]"), bf16, 0, false);
    assert_int_equal(((const uint16_t *)o.space.data)[0], 0x3f80);
    assert_int_equal(((const uint16_t *)o.space.data)[1], 0xc000);
    outcome_release(&o);
    o = read_text(SPAN("[3.4e38]"), bf16, 0, false);
    assert_true(is(o.r, ERR_RANGE));
    outcome_release(&o);
}

static void what_is_not_finite_needs_the_dialect(void **state)
{
    (void)state;
    struct span text = SPAN("[1,NaN,Infinity,-Inf,2]");
    struct outcome o = read_text(text, f32, JSON_NONFINITE, false);
    const float *floats = o.space.data;
    assert_false(failed(o.r));
    assert_true(floats[0] == 1 && isnan(floats[1]) && floats[2] > 0 && isinf(floats[2]));
    assert_true(isinf(floats[3]) && floats[3] < 0 && floats[4] == 2);
    outcome_release(&o);
    o = read_text(text, f64, JSON_NONFINITE, false);
    assert_true(isnan(((const double *)o.space.data)[1]));
    outcome_release(&o);
    o = read_text(text, f16, JSON_NONFINITE, false);
    assert_int_equal(((const uint16_t *)o.space.data)[3], 0xfc00);
    outcome_release(&o);
    o = read_text(text, f32, 0, false);
    assert_true(is(o.r, ERR_SYNTAX));
    outcome_release(&o);
}

static void integers_that_a_float_does_not_count_are_refused_on_request(void **state)
{
    (void)state;
    static const struct {
        weir_type type;
        const char *text;
        bool refused;
    } cases[] = {
        {{WEIR_FLOAT, 32, 1}, "16777215", false},
        {{WEIR_FLOAT, 32, 1}, "16777216", true},
        {{WEIR_FLOAT, 32, 1}, "-16777217", true},
        {{WEIR_FLOAT, 32, 1}, "16777217.0", false},
        {{WEIR_FLOAT, 32, 1}, "1e10", false},
        {{WEIR_FLOAT, 32, 1}, "18446744073709551616", false}, /* a double for rapidjson */
        {{WEIR_FLOAT, 64, 1}, "9007199254740991", false},
        {{WEIR_FLOAT, 64, 1}, "9007199254740992", true},
        {{WEIR_FLOAT, 64, 1}, "9007199254740993.0", false},
        {{WEIR_FLOAT, 64, 1}, "-9223372036854775809", false},
        {{WEIR_FLOAT, 64, 1}, "-9223372036854775808", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[64];
        snprintf(text, sizeof(text), "[1,%s,2]", cases[i].text);
        struct outcome o = read_text(span_cstr(text), cases[i].type, 0, true);
        if (is(o.r, ERR_RANGE) != cases[i].refused)
            fail_msg("%s: %s", text, err_name(o.r.code));
        outcome_release(&o);
        o = read_text(span_cstr(text), cases[i].type, 0, false);
        assert_false(failed(o.r));
        outcome_release(&o);
    }
}

static void booleans_are_words(void **state)
{
    (void)state;
    struct outcome o = read_text(SPAN("[[true,false],[false,true]]"), bool_type, 0, false);
    assert_false(failed(o.r));
    assert_memory_equal(o.space.data, "\1\0\0\1", 4);
    outcome_release(&o);
    o = read_text(SPAN("[1]"), bool_type, 0, false);
    assert_true(is(o.r, ERR_TYPE));
    outcome_release(&o);
    o = read_text(SPAN("[tru]"), bool_type, 0, false);
    assert_true(is(o.r, ERR_SYNTAX));
    outcome_release(&o);
}

static void strings_and_base64_lie_end_to_end(void **state)
{
    (void)state;
    struct outcome o =
        read_text(SPAN("[\"\", \"a\\u00e9\", {\"b64\": \"aGVsbG8=\"}, {\"b64\":\"\"},"
                       "{\"b64\":\"\\/\\/8\"}]"),
                  string, ALL, false);
    static const uint64_t offsets[] = {0, 0, 3, 8, 8, 10};
    assert_false(failed(o.r));
    assert_memory_equal(o.space.offsets, offsets, sizeof(offsets));
    assert_memory_equal(o.space.data, "a\xc3\xa9hello\xff\xff", 10);
    assert_true(o.plan.bytes >= 10);
    outcome_release(&o);
    static const struct {
        const char *text;
        uint8_t dialect;
        enum err code;
    } refused[] = {
        {"[{\"b64\":\"aGVsbG8=\"}]", 0, ERR_TYPE},
        {"[{\"b64\":\"a\"}]", JSON_B64, ERR_TYPE},
        {"[{\"b64\":\"a$==\"}]", JSON_B64, ERR_TYPE},
        {"[{\"b64\":1}]", JSON_B64, ERR_TYPE},
        {"[{\"b64\":\"aGVsbG8=\",\"x\":1}]", JSON_B64, ERR_TYPE},
        {"[{}]", JSON_B64, ERR_TYPE},
        {"[{\"B64\":\"\"}]", JSON_B64, ERR_TYPE},
        {"[\"a\",1]", JSON_B64, ERR_TYPE},
        {"[\"\xff\"]", 0, ERR_SYNTAX},
        {"[\"a\" \"b\"]", 0, ERR_SYNTAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        o = read_text(span_cstr(refused[i].text), string, refused[i].dialect, false);
        if (!is(o.r, refused[i].code))
            fail_msg("%s: %s", refused[i].text, err_name(o.r.code));
        outcome_release(&o);
    }
}

/* A plan made from one text, filled from another: never beyond the plan. */
static void a_text_that_does_not_keep_its_plan_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum err code;
    } cases[] = {
        {"[[1,2],[3,4]]", ERR_NONE},
        {"[[1,2],[3]]", ERR_SHAPE},
        {"[[1,2],[3,4,5]]", ERR_SHAPE},
        {"[[1,2]]", ERR_SHAPE},
        {"[[1,2],[3,4],[5,6]]", ERR_SHAPE},
        {"[1,2,3,4]", ERR_SHAPE},
        {"[[[1],2],[3,4]]", ERR_TYPE},
        {"[]", ERR_SHAPE},
        {"[[],[]]", ERR_SHAPE},
        {"5", ERR_SHAPE},
        {"[[1,2][3,4]]", ERR_SYNTAX},
        {"[[1,2],[3,4]", ERR_SYNTAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        float floats[4];
        struct tensor_plan plan = {
            .type = f32, .rank = 2, .shape = {2, 2}, .elements = 4, .bytes = sizeof(floats)};
        struct tensor_space space = {floats, NULL};
        struct json_sink sink = json_sink_of(&plan, &space, false);
        struct json_reader r = json_reader_of(span_cstr(cases[i].text), 0);
        result got = json_tensor_fill(&r, plan.rank, plan.shape, &sink, NULL);
        if (!is(got, cases[i].code))
            fail_msg("%s: %s", cases[i].text, err_name(got.code));
    }
}

/* ---- writing ---- */

static struct weir_tensor tensor(weir_type type, int rank, const int64_t *shape, const void *data,
                                 const uint64_t *offsets)
{
    return (struct weir_tensor){.size = sizeof(struct weir_tensor),
                                .type = type,
                                .rank = rank,
                                .shape = shape,
                                .data = (void *)(uintptr_t)data,
                                .offsets = offsets};
}

static void writes(const struct weir_tensor *t, struct json_style style, const char *expected)
{
    struct text text;
    struct diag diag = {0};
    text_init(&text, 1 << 20);
    if (failed(json_tensor_write(&text, t, &style, &diag)))
        fail_msg("%s", diag.text);
    assert_false(failed(text_result(&text)));
    assert_string_equal(text_cstr(&text), expected);
    text_release(&text);
}

static void a_tensor_is_written_in_each_layout(void **state)
{
    (void)state;
    static const float data[] = {1, 2.5f, -0.1f, 4, 5e20f, 1e-7f};
    static const int64_t shape[] = {3, 2}, none[] = {0}, rows[] = {2, 0};
    struct weir_tensor t = tensor(f32, 2, shape, data, NULL);
    writes(&t, (struct json_style){.layout = JSON_COMPACT}, "[[1.0,2.5],[-0.1,4.0],[5e20,1e-7]]");
    writes(&t, (struct json_style){.layout = JSON_COMPACT, .flat = true},
           "[1.0,2.5,-0.1,4.0,5e20,1e-7]");
    writes(&t, (struct json_style){.layout = JSON_LINE}, "[[1.0, 2.5], [-0.1, 4.0], [5e20, 1e-7]]");
    writes(&t, (struct json_style){.layout = JSON_LINE, .bare = true},
           "[1.0, 2.5], [-0.1, 4.0], [5e20, 1e-7]");
    writes(
        &t, (struct json_style){.layout = JSON_PRETTY, .level = 1},
        "[\n        [\n            1.0,\n            2.5\n        ],\n        [\n            "
        "-0.1,\n"
        "            4.0\n        ],\n        [\n            5e20,\n            1e-7\n        ]\n"
        "    ]");
    t = tensor(f32, 0, NULL, data, NULL);
    writes(&t, (struct json_style){.layout = JSON_PRETTY}, "1.0");
    writes(&t, (struct json_style){.layout = JSON_COMPACT, .flat = true}, "[1.0]");
    t = tensor(f32, 1, none, data, NULL);
    writes(&t, (struct json_style){.layout = JSON_PRETTY}, "[]");
    t = tensor(f32, 2, rows, data, NULL);
    writes(&t, (struct json_style){.layout = JSON_COMPACT}, "[[],[]]");
    writes(&t, (struct json_style){.layout = JSON_PRETTY}, "[\n    [],\n    []\n]");
}

static void every_type_is_written(void **state)
{
    (void)state;
    static const int64_t two[] = {2};
    static const struct {
        weir_type type;
        const char *data, *text;
    } cases[] = {
        {{WEIR_BOOL, 8, 1}, "\0\1", "[false,true]"},
        {{WEIR_UINT, 8, 1}, "\0\xff", "[0,255]"},
        {{WEIR_INT, 8, 1}, "\x80\x7f", "[-128,127]"},
        {{WEIR_UINT, 16, 1}, "\xff\xff\1\0", "[65535,1]"},
        {{WEIR_INT, 16, 1}, "\xff\xff\0\x80", "[-1,-32768]"},
        {{WEIR_UINT, 32, 1}, "\xff\xff\xff\xff\2\0\0\0", "[4294967295,2]"},
        {{WEIR_INT, 32, 1}, "\0\0\0\x80\2\0\0\0", "[-2147483648,2]"},
        {{WEIR_UINT, 64, 1},
         "\xff\xff\xff\xff\xff\xff\xff\xff\1\0\0\0\0\0\x20\0",
         "[18446744073709551615,9007199254740993]"},
        {{WEIR_INT, 64, 1},
         "\0\0\0\0\0\0\0\x80\1\0\0\0\0\0\x20\0",
         "[-9223372036854775808,9007199254740993]"},
        {{WEIR_FLOAT, 16, 1}, "\0\x3c\1\0", "[1.0,5.9604645e-8]"},
        {{WEIR_BFLOAT, 16, 1}, "\x80\x3f\0\xc0", "[1.0,-2.0]"},
        {{WEIR_FLOAT, 64, 1}, "\0\0\0\0\0\0\xf0\x3f\x9a\x99\x99\x99\x99\x99\xb9\x3f", "[1.0,0.1]"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct weir_tensor t = tensor(cases[i].type, 1, two, cases[i].data, NULL);
        writes(&t, (struct json_style){.layout = JSON_COMPACT}, cases[i].text);
    }
    static const uint64_t offsets[] = {0, 2, 6};
    struct weir_tensor t = tensor(string, 1, two, "a\"\xc3\xa9\xff\n", offsets);
    writes(&t, (struct json_style){.layout = JSON_LINE},
           "[\"a\\\"\", \"\xc3\xa9\xef\xbf\xbd\\n\"]");
    writes(&t, (struct json_style){.layout = JSON_LINE, .b64 = true, .level = 1},
           "[{\n            \"b64\": \"YSI=\"\n        }, {\n            \"b64\": \"w6n/Cg==\"\n   "
           "     }]");
    t.type = (weir_type){WEIR_FLOAT, 8, 1};
    struct text text;
    text_init(&text, 1000);
    assert_true(is(json_tensor_write(&text, &t, &(struct json_style){0}, NULL), ERR_UNSUPPORTED));
    text_release(&text);
}

static void what_is_not_finite_is_written_only_where_asked_for(void **state)
{
    (void)state;
    static const float floats[] = {1, NAN, INFINITY, -INFINITY};
    static const double doubles[] = {1, NAN, INFINITY, -INFINITY};
    static const int64_t four[] = {4};
    struct weir_tensor both[] = {tensor(f32, 1, four, floats, NULL),
                                 tensor(f64, 1, four, doubles, NULL)};
    for (size_t i = 0; i < ARRAY_LEN(both); i++) {
        struct text text;
        struct diag diag = {0};
        struct json_style strict = {.layout = JSON_COMPACT};
        writes(&both[i], (struct json_style){.layout = JSON_LINE, .nonfinite = true},
               "[1.0, NaN, Infinity, -Infinity]");
        text_init(&text, 1000);
        assert_true(is(json_tensor_write(&text, &both[i], &strict, &diag), ERR_UNSUPPORTED));
        assert_string_equal(diag.text, "element 1 is NaN, for which JSON has no number");
        text_release(&text);
    }
}

static void the_limit_of_the_text_holds(void **state)
{
    (void)state;
    float *floats = mem_must(mem_zalloc(5000, sizeof(float)), 20000);
    const int64_t shape[] = {50, 100};
    struct weir_tensor t = tensor(f32, 2, shape, floats, NULL);
    struct json_style style = {.layout = JSON_COMPACT};
    size_t whole = 5000 * 4 + 50 * 2 + 1; /* "0.0," and brackets, less a comma, plus two */
    for (size_t max = whole - 1; max <= whole; max++) {
        struct text text;
        text_init(&text, max);
        assert_false(failed(json_tensor_write(&text, &t, &style, NULL)));
        assert_int_equal(failed(text_result(&text)), max < whole);
        assert_true(max < whole ? is(text_result(&text), ERR_TOO_LARGE) : text.len == whole);
        text_release(&text);
    }
    assert_true(json_tensor_estimate(&t) > 5000 && json_tensor_estimate(&t) < 200000);
    mem_free(floats);
}

/* ---- at random ---- */

/* Random bits of a type, finite where that is needed for a comparison of bytes. */
static void random_data(weir_type type, uint8_t *data, uint64_t elements, uint64_t *random)
{
    for (uint64_t i = 0; i < elements; i++) {
        uint64_t bits = test_random(random);
        size_t size = type_size(type);
        double value = 0;
        float value_f32 = 0;
        if (type.code == WEIR_BOOL)
            bits &= 1;
        memcpy(&value, &bits, sizeof(value));
        memcpy(&value_f32, &bits, sizeof(value_f32));
        if (type.code == WEIR_FLOAT && type.bits == 64 && !isfinite(value))
            bits = 0;
        if (type.code == WEIR_FLOAT && type.bits == 32 && !isfinite(value_f32))
            bits = 0;
        if (type.code == WEIR_FLOAT && type.bits == 16 && (bits & 0x7c00) == 0x7c00)
            bits = 0;
        if (type.code == WEIR_BFLOAT && (bits & 0x7f80) == 0x7f80)
            bits = 0;
        memcpy(data + i * size, &bits, size);
    }
}

static void what_is_written_is_read_back(void **state)
{
    (void)state;
    const weir_type types[] = {bool_type, u8, u64, i8, i32, i64, f16, bf16, f32, f64};
    const enum json_layout layouts[] = {JSON_COMPACT, JSON_LINE, JSON_PRETTY};
    uint64_t random = 4711;
    for (int round = 0; round < 300; round++) {
        weir_type type = types[round % (int)ARRAY_LEN(types)];
        int rank = (int)(test_random(&random) % 4);
        int64_t shape[4];
        uint64_t elements = 1;
        for (int d = 0; d < rank; d++) {
            shape[d] = 1 + (int64_t)(test_random(&random) % 9);
            elements *= (uint64_t)shape[d];
        }
        uint8_t *data = mem_must(mem_alloc(elements * 8), elements * 8);
        random_data(type, data, elements, &random);
        struct weir_tensor t = tensor(type, rank, shape, data, NULL);
        struct json_style style = {.layout = layouts[round % 3], .level = round % 4};
        struct text text;
        text_init(&text, 1 << 20);
        assert_false(failed(json_tensor_write(&text, &t, &style, NULL)));
        struct outcome o = read_text(text_span(&text), type, 0, false);
        if (failed(o.r))
            fail_msg("%s: %s", text_cstr(&text), o.diag.text);
        assert_int_equal(o.plan.rank, rank);
        assert_memory_equal(o.plan.shape, shape, (size_t)rank * sizeof(shape[0]));
        if (memcmp(o.space.data, data, o.plan.bytes) != 0)
            fail_msg("%s was read as other values", text_cstr(&text));
        outcome_release(&o);
        text_release(&text);
        mem_free(data);
    }
}

/* Valid texts, changed in a few bytes: any outcome is right but a crash or a write out of
 * place, which the sanitizers see. */
static void changed_texts_do_no_harm(void **state)
{
    (void)state;
    static const char *const seeds[] = {
        "[[1,2.5,-3e4],[4,5,6]]",
        "[NaN,Infinity,-Inf,1]",
        "[[[1],[2]],[[3],[4]]]",
        "[\"a\\u00e9\",\"\\ud83d\\ude00\",{\"b64\":\"aGVsbG8=\"}]",
        "[[true,false],[false,true]]",
        "[0.1234567890123456789,12345678901234567890,1e-400,123456789e300]",
        "[   1 ,\n 2 ,\t3\r]",
        "[[],[]]",
    };
    static const char alphabet[] = "[]{},:\"\\0123456789.eE+-NaIntf u\n\xff\xc3";
    const weir_type types[] = {bool_type, u8, i64, f16, f32, f64, string};
    uint64_t random = 1234567;
    int read = 0;
    for (int round = 0; round < 60000; round++) {
        const char *seed = seeds[test_random(&random) % ARRAY_LEN(seeds)];
        size_t len = strlen(seed);
        uint8_t *copy = mem_must(mem_alloc(len), len);
        memcpy(copy, seed, len);
        for (uint64_t n = test_random(&random) % 4; n > 0; n--)
            copy[test_random(&random) % len] =
                (uint8_t)alphabet[test_random(&random) % (sizeof(alphabet) - 1)];
        if (round % 5 == 0)
            len = test_random(&random) % (len + 1);
        struct outcome o =
            read_text(span_of(copy, len), types[test_random(&random) % ARRAY_LEN(types)],
                      round % 2 ? ALL : 0, round % 3 == 0);
        read += !failed(o.r);
        if (failed(o.r))
            assert_true(o.diag.code == o.r.code && o.diag.text[0] != '\0');
        outcome_release(&o);
        mem_free(copy);
    }
    assert_true(read > 100); /* not all were refused at once */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_are_found_where_all_arrays_agree),
        cmocka_unit_test(what_is_ragged_or_no_tensor_is_refused_with_its_place),
        cmocka_unit_test(integers_are_exact_over_their_range_and_refused_beyond),
        cmocka_unit_test(floats_are_rounded_once_and_overflow_is_refused),
        cmocka_unit_test(what_is_not_finite_needs_the_dialect),
        cmocka_unit_test(integers_that_a_float_does_not_count_are_refused_on_request),
        cmocka_unit_test(booleans_are_words),
        cmocka_unit_test(strings_and_base64_lie_end_to_end),
        cmocka_unit_test(a_text_that_does_not_keep_its_plan_is_refused),
        cmocka_unit_test(a_tensor_is_written_in_each_layout),
        cmocka_unit_test(every_type_is_written),
        cmocka_unit_test(what_is_not_finite_is_written_only_where_asked_for),
        cmocka_unit_test(the_limit_of_the_text_holds),
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(changed_texts_do_no_harm),
    };
    return cmocka_run_group_tests_name("wire/json-tensor", tests, NULL, NULL);
}
