/* Tensors as JSON: for every type and dialect, what both passes take is what yyjson reads
 * in the same text, and what is written of it reads the same again. */
#include "base/alloc.h"
#include "base/test_fuzz.h"
#include "base/utf8.h"
#include "wire/json_tensor.h"

#include <math.h>
#include <yyjson.h>

#define TENSOR_DIALECT (JSON_NONFINITE | JSON_B64 | JSON_ANY_BYTES)

static const weir_type types[] = {
#define X(oip, tf, code, bits) {code, bits, 1},
    TENSOR_TYPES(X)
#undef X
};

struct reading {
    result r;
    struct tensor_plan plan;
    struct tensor_space space;
    size_t end;
};

/* Both passes, into blocks of just the planned size. */
static struct reading read_tensor(struct span text, weir_type type, uint8_t dialect, bool lossless)
{
    struct reading o = {.plan.type = type};
    struct diag diag = {0};
    struct json_reader r = json_reader_of(text, dialect);
    struct json_tensor found;
    o.r = json_tensor_scan(&r, &found, &diag);
    if (!failed(o.r))
        o.r = json_tensor_type(&found, type, &diag);
    if (!failed(o.r))
        o.r = json_tensor_bytes(&found, type, &o.plan.bytes);
    if (failed(o.r)) {
        ASSERT(is(o.r, ERR_SYNTAX) ? r.fault != JSON_FAULT_NONE : diag.text[0] != '\0');
        return o;
    }
    o.end = r.at;
    o.plan.rank = found.rank;
    memcpy(o.plan.shape, found.shape, sizeof(found.shape));
    o.plan.elements = found.elements;
    ASSERT(found.elements <= text.len && o.plan.bytes <= 8 * text.len);
    o.space.data = mem_must(mem_aligned(64, o.plan.bytes), o.plan.bytes);
    if (type.code == WEIR_STRING)
        o.space.offsets = mem_must(mem_zalloc(found.elements + 1, sizeof(uint64_t)), 8);
    struct json_sink sink = json_sink_of(&o.plan, &o.space, lossless);
    r = json_reader_of(text, dialect);
    o.r = json_tensor_fill(&r, found.rank, found.shape, &sink, &diag);
    if (!failed(o.r))
        ASSERT(r.at == o.end && sink.elements == o.plan.elements);
    return o;
}

static void reading_release(struct reading *o)
{
    mem_free(o->space.data);
    mem_free(o->space.offsets);
}

/* ---- yyjson's reading ---- */

struct shape {
    int rank;
    int64_t extents[WEIR_RANK_MAX];
};

/* The shape that an array has if it is a tensor; its first element decides. */
static struct shape shape_of(yyjson_val *val)
{
    struct shape shape = {0};
    while (yyjson_is_arr(val) && shape.rank < WEIR_RANK_MAX) {
        shape.extents[shape.rank++] = (int64_t)yyjson_arr_size(val);
        val = yyjson_arr_get_first(val);
    }
    return shape;
}

/* Whether all of `val` has that shape and its elements are numbers. */
static bool numbers(yyjson_val *val, const struct shape *shape, int level)
{
    size_t at, count;
    yyjson_val *element;
    if (level == shape->rank)
        return yyjson_is_num(val);
    if (!yyjson_is_arr(val) || (int64_t)yyjson_arr_size(val) != shape->extents[level])
        return false;
    yyjson_arr_foreach(val, at, count, element)
    {
        if (level + 1 == shape->rank || yyjson_is_arr(element)) {
            if (!numbers(element, shape, level + 1))
                return false;
        } else {
            return false;
        }
    }
    return true;
}

static void check_element(const struct reading *o, uint64_t i, yyjson_val *val)
{
    const weir_type type = o->plan.type;
    const void *data = o->space.data;
    if (type_eq(type, (weir_type){WEIR_FLOAT, 64, 1})) {
        ASSERT(((const double *)data)[i] == yyjson_get_num(val));
    } else if (type_eq(type, (weir_type){WEIR_INT, 64, 1})) {
        ASSERT(yyjson_is_int(val) && ((const int64_t *)data)[i] == yyjson_get_sint(val));
    } else if (type_eq(type, (weir_type){WEIR_UINT, 64, 1})) {
        ASSERT(yyjson_is_int(val) && ((const uint64_t *)data)[i] == yyjson_get_uint(val));
    } else if (type_eq(type, (weir_type){WEIR_INT, 8, 1})) {
        ASSERT(yyjson_is_int(val) && ((const int8_t *)data)[i] == yyjson_get_sint(val));
    } else if (type.code == WEIR_BOOL) {
        ASSERT(yyjson_is_bool(val) && ((const uint8_t *)data)[i] == yyjson_get_bool(val));
    } else if (type.code == WEIR_STRING) {
        const uint64_t *offsets = o->space.offsets;
        ASSERT(span_eq(span_of((const uint8_t *)data + offsets[i], offsets[i + 1] - offsets[i]),
                       span_of(yyjson_get_str(val), yyjson_get_len(val))));
    }
}

static void check_elements(const struct reading *o, yyjson_val *val, uint64_t *next)
{
    size_t at, count;
    yyjson_val *element;
    if (!yyjson_is_arr(val)) {
        check_element(o, (*next)++, val);
        return;
    }
    yyjson_arr_foreach(val, at, count, element)
    {
        check_elements(o, element, next);
    }
}

/* A strict reading: yyjson takes the same text, and sees that shape and those elements. */
static void check_yyjson(const struct reading *o, struct span text)
{
    uint64_t next = 0;
    yyjson_doc *doc = yyjson_read((const char *)text.ptr, o->end, 0);
    ASSERT(doc);
    struct shape shape = shape_of(yyjson_doc_get_root(doc));
    ASSERT(shape.rank == o->plan.rank);
    for (int i = 0; i < shape.rank; i++)
        ASSERT(shape.extents[i] == o->plan.shape[i]);
    check_elements(o, yyjson_doc_get_root(doc), &next);
    ASSERT(next == o->plan.elements);
    yyjson_doc_free(doc);
}

/* Whatever yyjson sees as a tensor of numbers is one of doubles here. */
static void check_taken(struct span text)
{
    yyjson_doc *doc = yyjson_read((const char *)text.ptr, text.len, 0);
    if (!doc)
        return;
    struct shape shape = shape_of(yyjson_doc_get_root(doc));
    if (numbers(yyjson_doc_get_root(doc), &shape, 0)) {
        struct reading o = read_tensor(text, (weir_type){WEIR_FLOAT, 64, 1}, 0, false);
        ASSERT(!failed(o.r));
        reading_release(&o);
    }
    yyjson_doc_free(doc);
}

/* ---- writing ---- */

static bool same(const struct reading *a, const struct reading *b)
{
    struct weir_tensor one = tensor_of_plan(&a->plan, &a->space);
    struct weir_tensor two = tensor_of_plan(&b->plan, &b->space);
    if (a->plan.elements != b->plan.elements || one.bytes != two.bytes)
        return false;
    if (one.offsets && memcmp(one.offsets, two.offsets, (a->plan.elements + 1) * 8) != 0)
        return false;
    return span_eq(span_of(one.data, one.bytes), span_of(two.data, two.bytes));
}

/* NaN has many forms of which text keeps one. */
static bool has_nan(const struct reading *o)
{
    for (uint64_t i = 0; i < o->plan.elements && o->plan.type.code == WEIR_FLOAT; i++)
        if (o->plan.type.bits == 64
                ? isnan(((const double *)o->space.data)[i])
                : o->plan.type.bits == 32 && isnan(((const float *)o->space.data)[i]))
            return true;
    return false;
}

/* Strings that text keeps as they are: it repairs what is no UTF-8. */
static bool all_utf8(const struct reading *o)
{
    const uint64_t *offsets = o->space.offsets;
    for (uint64_t i = 0; i < o->plan.elements; i++)
        if (!utf8_valid(
                span_of((const uint8_t *)o->space.data + offsets[i], offsets[i + 1] - offsets[i])))
            return false;
    return true;
}

static void check_written(const struct reading *o, const struct json_style *style)
{
    struct weir_tensor tensor = tensor_of_plan(&o->plan, &o->space);
    struct text text;
    struct diag diag = {0};
    text_init(&text, (size_t)1 << 20);
    result r = json_tensor_write(&text, &tensor, style, &diag);
    ASSERT(!failed(text_result(&text)));
    if (failed(r)) {
        ASSERT(is(r, ERR_UNSUPPORTED) && !style->nonfinite && diag.text[0]);
    } else {
        uint8_t dialect = TENSOR_DIALECT & ~(style->nonfinite ? 0 : JSON_NONFINITE);
        struct reading again = read_tensor(text_span(&text), o->plan.type, dialect, false);
        ASSERT(!failed(again.r) && again.end == text.len);
        ASSERT(style->flat || again.plan.rank == o->plan.rank || o->plan.elements == 0);
        bool repaired = o->plan.type.code == WEIR_STRING && !style->b64 && !all_utf8(o);
        ASSERT(repaired || has_nan(o) || same(o, &again));
        reading_release(&again);
    }
    text_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static const struct json_style styles[] = {
        {.layout = JSON_COMPACT},
        {.layout = JSON_LINE, .nonfinite = true, .b64 = true},
        {.layout = JSON_PRETTY, .level = 1, .nonfinite = true},
        {.layout = JSON_COMPACT, .flat = true},
    };
    struct span text = span_of(bytes, len);
    for (size_t t = 0; t < ARRAY_LEN(types); t++) {
        struct reading strict = read_tensor(text, types[t], 0, false);
        struct reading lossless = read_tensor(text, types[t], 0, true);
        struct reading wide = read_tensor(text, types[t], TENSOR_DIALECT, false);
        if (!failed(strict.r)) {
            check_yyjson(&strict, text);
            ASSERT(!failed(wide.r) && same(&strict, &wide));
        }
        ASSERT(failed(lossless.r) || same(&strict, &lossless));
        for (size_t s = 0; s < ARRAY_LEN(styles) && !failed(wide.r); s++)
            check_written(&wide, &styles[s]);
        reading_release(&strict);
        reading_release(&lossless);
        reading_release(&wide);
    }
    check_taken(text);
    return 0;
}
