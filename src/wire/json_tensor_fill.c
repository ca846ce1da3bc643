/* The second pass over a tensor as JSON: its elements, into memory. */
#include "wire/json_tensor.h"

#include "base/base64.h"
#include "base/number.h"

#include <math.h>

struct json_sink json_sink_of(const struct tensor_plan *plan, const struct tensor_space *space,
                              bool lossless)
{
    if (space->offsets)
        space->offsets[0] = 0;
    return (struct json_sink){.plan = plan, .space = *space, .lossless = lossless};
}

/* A place in the text, the sink, and what may still go wrong. */
struct fill {
    struct json_reader *r;
    struct json_sink *sink;
    struct diag *diag;
};

/* The element at the reader's place does not fit. */
static NOINLINE result fill_fail(const struct fill *f, enum err code)
{
    char quote[32];
    int line, column;
    struct span rest = span_from(f->r->text, f->r->at);
    size_t len = 0;

    if (!f->diag)
        return fail(code);
    while (len < rest.len && rest.ptr[len] != ',' && rest.ptr[len] != ']' && rest.ptr[len] > ' ')
        len++;
    json_place(f->r->text, f->r->at, &line, &column);
    return diag_fail_at(f->diag, code, NULL, line, column, "element %llu: expected %s, got %s",
                        (unsigned long long)f->sink->elements, type_oip_name(f->sink->plan->type),
                        diag_quote(span_first(rest, len), quote, sizeof(quote)));
}

static NOINLINE result fill_shape(const struct fill *f, int64_t expected, int64_t got)
{
    int line, column;

    if (!f->diag)
        return fail(ERR_SHAPE);
    json_place(f->r->text, f->r->at, &line, &column);
    return diag_fail_at(f->diag, ERR_SHAPE, NULL, line, column,
                        "expected %lld elements, got %s%lld", (long long)expected,
                        got > expected ? "at least " : "", (long long)got);
}

/* Tells why `r` came of the element at the place: a fault of the grammar, another kind,
 * or a value out of range. */
static NOINLINE result fill_odd(const struct fill *f, result r)
{
    size_t at = f->r->at;
    enum json_kind kind = json_peek(f->r);
    double unused;
    bool named = json_nonfinite(f->r, &unused) > 0;

    TRY(json_skip_value(f->r));
    if (kind == JSON_NUMBER && is(r, ERR_SYNTAX) && !named)
        return json_fault(f->r, JSON_FAULT_ARRAY_COMMA, f->r->at); /* 01 */
    f->r->at = at;
    return fill_fail(f, kind == JSON_NUMBER && is(r, ERR_RANGE) ? ERR_RANGE : ERR_TYPE);
}

static NOINLINE result fill_odd_float(const struct fill *f, result r, double *ret_value)
{
    size_t named = json_nonfinite(f->r, ret_value);

    if (!named)
        return fill_odd(f, r);
    f->r->at += named;
    return OK;
}

/* Integers that the float type does not count exactly are refused; such as need more
 * than 64 bits are no integers for rapidjson, and pass. */
static NOINLINE result fill_check_lossless(const struct fill *f, struct span number)
{
    bool negative;
    uint64_t magnitude;
    size_t used;

    if (failed(number_read_integer(number, &used, &negative, &magnitude)) ||
        (negative && magnitude > (uint64_t)INT64_MAX + 1))
        return OK;
    return fill_fail(f, ERR_RANGE);
}

static result fill_f32(const struct fill *f, float *out)
{
    struct span rest = span_from(f->r->text, f->r->at);
    size_t used;
    float value;

    result r = number_parse_f32(rest, &used, &value);
    if (UNLIKELY(failed(r))) {
        double odd = 0;
        TRY(fill_odd_float(f, r, &odd));
        *out = (float)odd;
        return OK;
    }
    if (UNLIKELY(fabsf(value) > 0x1p24f - 1) && f->sink->lossless)
        TRY(fill_check_lossless(f, span_first(rest, used)));
    f->r->at += used;
    *out = value;
    return OK;
}

/* `exact`: the largest whole number up to which all are exact in the type. */
static result fill_f64(const struct fill *f, double exact, double *out)
{
    struct span rest = span_from(f->r->text, f->r->at);
    size_t used;
    double value;

    result r = number_parse_f64(rest, &used, &value);
    if (UNLIKELY(failed(r)))
        return fill_odd_float(f, r, out);
    if (UNLIKELY(fabs(value) > exact) && f->sink->lossless)
        TRY(fill_check_lossless(f, span_first(rest, used)));
    f->r->at += used;
    *out = value;
    return OK;
}

static result fill_half(const struct fill *f, bool bfloat, uint16_t *out)
{
    double value;

    size_t at = f->r->at;
    TRY(fill_f64(f, bfloat ? 0x1p8 - 1 : 0x1p11 - 1, &value));
    uint16_t bits = bfloat ? number_bf16_of_f64(value) : number_f16_of_f64(value);
    if (isfinite(value) && (bits & 0x7fff) == (bfloat ? 0x7f80 : 0x7c00)) {
        f->r->at = at;
        return fill_fail(f, ERR_RANGE);
    }
    *out = bits;
    return OK;
}

static result fill_integer(const struct fill *f, weir_type type, uint8_t *out)
{
    bool negative, is_signed = type.code == WEIR_INT;
    uint64_t magnitude, max = UINT64_MAX >> (64 - type.bits);
    size_t used;
    result r = number_read_integer(span_from(f->r->text, f->r->at), &used, &negative, &magnitude);

    if (UNLIKELY(failed(r)))
        return fill_odd(f, r);
    if (is_signed)
        max = (max >> 1) + negative;
    else if (negative)
        max = 0;
    if (UNLIKELY(magnitude > max))
        return fill_fail(f, ERR_RANGE);
    f->r->at += used;
    uint64_t value = negative ? 0 - magnitude : magnitude;
    memcpy(out, &value, type.bits / 8u); /* little-endian, as base/number asserts */
    return OK;
}

static result fill_bool(const struct fill *f, uint8_t *out)
{
    enum json_kind kind = json_peek(f->r);
    size_t at = f->r->at;

    TRY(json_skip_value(f->r));
    if (kind != JSON_TRUE && kind != JSON_FALSE) {
        f->r->at = at;
        return fill_fail(f, ERR_TYPE);
    }
    *out = kind == JSON_TRUE;
    return OK;
}

/* A string or the bytes of one, onto the end of the sink's data. */
static result fill_string(const struct fill *f)
{
    struct json_sink *sink = f->sink;
    struct json_string string, name;
    enum json_kind kind = json_peek(f->r);
    bool first = true, more, bytes = kind == JSON_OBJECT && (f->r->dialect & JSON_B64);
    size_t at = f->r->at, len;

    if (bytes) {
        json_enter(f->r);
        TRY(json_member(f->r, &first, &name, &more));
        if (!more || !json_string_is(&name, SPAN("b64")) || json_peek(f->r) != JSON_STRING) {
            f->r->at = at;
            return fill_fail(f, ERR_TYPE);
        }
    } else if (kind != JSON_STRING) {
        return fill_fail(f, ERR_TYPE);
    }
    TRY(json_read_string(f->r, &string));
    len = string.len;
    if (len > sink->plan->bytes - sink->bytes)
        return fill_shape(f, (int64_t)sink->plan->bytes, (int64_t)(sink->bytes + len));
    uint8_t *out = (uint8_t *)sink->space.data + sink->bytes;
    if (len)
        json_string_copy(&string, out);
    if (bytes) {
        TRY(json_member(f->r, &first, &name, &more));
        struct span_mut space = {out, len};
        if (more || (len && failed(base64_decode(span_view(space), space, true, &len)))) {
            f->r->at = at;
            return fill_fail(f, ERR_TYPE);
        }
    }
    sink->bytes += len;
    sink->space.offsets[sink->elements + 1] = sink->bytes;
    return OK;
}

/* Any type but the two that have a loop of their own. */
static result fill_element(const struct fill *f)
{
    struct json_sink *sink = f->sink;
    weir_type type = sink->plan->type;

    if (type.code == WEIR_STRING)
        return fill_string(f);
    uint8_t *out = (uint8_t *)sink->space.data + sink->elements * type_size(type);
    if (type.code == WEIR_BOOL)
        return fill_bool(f, out);
    if (type.code == WEIR_INT || type.code == WEIR_UINT)
        return fill_integer(f, type, out);
    if (type.bits == 16) {
        uint16_t half = 0;
        TRY(fill_half(f, type.code == WEIR_BFLOAT, &half));
        memcpy(out, &half, sizeof(half));
        return OK;
    }
    if (type.bits == 32) {
        float value;
        TRY(fill_f32(f, &value));
        memcpy(out, &value, sizeof(value));
        return OK;
    }
    double value;
    TRY(fill_f64(f, 0x1p53 - 1, &value));
    memcpy(out, &value, sizeof(value));
    return OK;
}

static inline uint8_t here(const struct json_reader *r)
{
    return r->at < r->text.len ? r->text.ptr[r->at] : 0;
}

/* As many floats as are plain, from the place on: behind a '[' or a ','. */
static int64_t fill_run(const struct fill *f, int64_t n)
{
    struct json_sink *sink = f->sink;
    struct span rest = span_from(f->r->text, f->r->at);
    weir_type type = sink->plan->type;
    size_t used = 0, count = 0;

    if (type.code == WEIR_FLOAT && type.bits == 32)
        count = number_read_f32s(rest, (size_t)n, sink->lossless ? 0x1p24f - 1 : INFINITY,
                                 (float *)sink->space.data + sink->elements, &used);
    else if (type.code == WEIR_FLOAT && type.bits == 64)
        count = number_read_f64s(rest, (size_t)n, sink->lossless ? 0x1p53 - 1 : (double)INFINITY,
                                 (double *)sink->space.data + sink->elements, &used);
    f->r->at += used;
    sink->elements += count;
    return (int64_t)count;
}

/* The array at the place, of `n` elements, from behind its '['. */
static result fill_row(const struct fill *f, int64_t n)
{
    struct json_reader *r = f->r;

    for (int64_t i = 0;;) {
        json_peek(r);
        if (here(r) == ']') {
            r->at++;
            return i == n ? OK : fill_shape(f, n, i);
        }
        if (i > 0 && here(r) != ',')
            return json_fault(r, JSON_FAULT_ARRAY_COMMA, r->at);
        if (i == n)
            return fill_shape(f, n, n + 1);
        r->at += i > 0;
        int64_t run = fill_run(f, n - i);
        i += run;
        if (run)
            continue;
        if (json_peek(r) == JSON_NOTHING)
            return json_fault(r, JSON_FAULT_VALUE, r->at);
        TRY(fill_element(f));
        f->sink->elements++;
        i++;
    }
}

static result fill_open(const struct fill *f)
{
    enum json_kind kind = json_peek(f->r);

    if (kind == JSON_ARRAY) {
        json_enter(f->r);
        return OK;
    }
    if (kind == JSON_NOTHING)
        return json_fault(f->r, JSON_FAULT_VALUE, f->r->at);
    return fill_fail(f, ERR_SHAPE);
}

/* Arrays of arrays, by counters: the depth is small and recursion is not needed. */
static result fill_nested(const struct fill *f, int rank, const int64_t *shape)
{
    int64_t done[WEIR_RANK_MAX] = {0};
    bool first = true, more;
    int depth = 0; /* of the array that is open, its elements counted by done[depth] */

    TRY(fill_open(f));
    for (;;) {
        if (depth == rank - 1) {
            TRY(fill_row(f, shape[depth]));
            if (depth-- == 0)
                return OK;
            done[depth]++;
            first = false;
        }
        TRY(json_element(f->r, &first, &more));
        if (more) {
            if (done[depth] == shape[depth])
                return fill_shape(f, shape[depth], done[depth] + 1);
            TRY(fill_open(f));
            done[++depth] = 0;
            first = true;
            continue;
        }
        if (done[depth] != shape[depth])
            return fill_shape(f, shape[depth], done[depth]);
        if (depth-- == 0)
            return OK;
        done[depth]++;
        /* json_element has left `first` false */
    }
}

result json_tensor_fill(struct json_reader *r, int rank, const int64_t *shape,
                        struct json_sink *sink, struct diag *diag)
{
    struct fill f = {r, sink, diag};
    uint64_t elements;

    TRY(shape_elements(shape, rank, sink->plan->elements - sink->elements, &elements));
    if (rank > 0)
        return fill_nested(&f, rank, shape);
    json_peek(r);
    TRY(fill_element(&f));
    sink->elements++;
    return OK;
}
