#include "wire/json_tensor.h"

#include "base/base64.h"
#include "base/number.h"

#include <math.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* ---- runs of numbers ---- */

/* Whether a byte can stand in an array of numbers: digits, signs, a point, exponents,
 * commas, white space; and some that cannot ('/', control characters), which the second
 * pass finds. */
static bool numeric(uint8_t c)
{
    return (uint8_t)(c - '+') <= '9' - '+' || (c | 0x20) == 'e' || c <= ' ';
}

/* Passes over numeric bytes and counts the commas among them. */
static const uint8_t *number_run(const uint8_t *p, const uint8_t *end, uint64_t *ret_commas)
{
    uint64_t commas = 0;

#if defined(__SSE2__)
    const __m128i plus = _mm_set1_epi8('+'), width = _mm_set1_epi8('9' - '+');
    const __m128i lower = _mm_set1_epi8(0x20), e = _mm_set1_epi8('e');
    const __m128i comma = _mm_set1_epi8(',');
    while (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i from_plus = _mm_sub_epi8(v, plus);
        __m128i ok = _mm_cmpeq_epi8(_mm_min_epu8(from_plus, width), from_plus);
        ok = _mm_or_si128(ok, _mm_cmpeq_epi8(_mm_or_si128(v, lower), e));
        ok = _mm_or_si128(ok, _mm_cmpeq_epi8(_mm_min_epu8(v, lower), v));
        uint32_t stop = (uint32_t)_mm_movemask_epi8(ok) ^ 0xffff;
        uint32_t found = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v, comma));
        if (stop) {
            int n = __builtin_ctz(stop);
            *ret_commas = commas + (uint64_t)__builtin_popcount(found & ((1u << n) - 1));
            return p + n;
        }
        commas += (uint64_t)__builtin_popcount(found);
        p += 16;
    }
#endif
    for (; p < end && numeric(*p); p++)
        commas += *p == ',';
    *ret_commas = commas;
    return p;
}

/* ---- first pass ---- */

struct scan {
    struct json_reader *r;
    struct json_tensor t;
    int64_t count[WEIR_RANK_MAX]; /* elements so far of the arrays that are open */
    int depth;                    /* how many those are */
    struct diag *diag;
};

/* With the place of what comes next. */
static NOINLINE result scan_depth(struct scan *s, int expected, int got)
{
    int line, column;

    json_place(s->r->text, s->r->at, &line, &column);
    return diag_fail_at(s->diag, ERR_SHAPE, NULL, line, column,
                        "expected arrays %d deep, got %d", expected, got);
}

static NOINLINE result scan_count(struct scan *s, int64_t expected, int64_t got)
{
    int line, column;

    json_place(s->r->text, s->r->at, &line, &column);
    return diag_fail_at(s->diag, ERR_SHAPE, NULL, line, column,
                        "expected %lld elements as in the first array, got %lld",
                        (long long)expected, (long long)got);
}

static NOINLINE result scan_kind(struct scan *s, size_t at, const char *got)
{
    int line, column;

    json_place(s->r->text, at, &line, &column);
    return diag_fail_at(s->diag, ERR_TYPE, NULL, line, column,
                        "expected an element of a tensor, got %s", got);
}

static result scan_bytes(struct scan *s)
{
    struct json_reader *r = s->r;
    struct json_string name, value;
    bool first = true, more;
    size_t at = r->at;

    json_enter(r);
    TRY(json_member(r, &first, &name, &more));
    if (!more || !json_string_is(&name, SPAN("b64")) || json_peek(r) != JSON_STRING)
        return scan_kind(s, at, "an object");
    TRY(json_read_string(r, &value));
    TRY(json_member(r, &first, &name, &more));
    if (more)
        return scan_kind(s, at, "an object");
    s->t.string_bytes += value.len;
    s->t.kinds |= JSON_KIND_STRING;
    return OK;
}

static result scan_scalar(struct scan *s)
{
    struct json_string string;
    enum json_kind kind = json_peek(s->r);

    if (s->t.rank < 0)
        s->t.rank = s->depth;
    if (kind != JSON_NOTHING && s->t.rank != s->depth)
        return scan_depth(s, s->t.rank, s->depth);
    switch (kind) {
    case JSON_NUMBER:
        s->t.kinds |= JSON_KIND_NUMBER;
        TRY(json_skip_value(s->r));
        break;
    case JSON_STRING:
        TRY(json_read_string(s->r, &string));
        s->t.string_bytes += string.len;
        s->t.kinds |= JSON_KIND_STRING;
        break;
    case JSON_OBJECT:
        if (!(s->r->dialect & JSON_B64))
            return scan_kind(s, s->r->at, "an object");
        TRY(scan_bytes(s));
        break;
    case JSON_NULL:
        TRY(json_skip_value(s->r));
        return scan_kind(s, s->r->at - strlen("null"), "null");
    case JSON_TRUE:
    case JSON_FALSE:
        s->t.kinds |= JSON_KIND_BOOL;
        TRY(json_skip_value(s->r));
        break;
    default:
        return json_fault(s->r, JSON_FAULT_VALUE, s->r->at);
    }
    s->t.elements++;
    return OK;
}

/* Behind a ']'. */
static result scan_close(struct scan *s)
{
    int64_t count = s->count[--s->depth];
    int64_t *extent = &s->t.shape[s->depth];

    if (*extent < 0)
        *extent = count;
    else if (*extent != count)
        return scan_count(s, *extent, count);
    return OK;
}

/* Behind a '['. Takes an array of nothing, or of numbers alone, whole: `ret_closed`. */
static result scan_open(struct scan *s, bool *ret_closed)
{
    struct json_reader *r = s->r;
    enum json_kind kind = json_peek(r);
    const uint8_t *base = r->text.ptr;
    uint64_t commas = 0;

    *ret_closed = false;
    if (kind == JSON_NUMBER) {
        const uint8_t *stop = number_run(base + r->at, base + r->text.len, &commas);
        if (stop == base + r->text.len || *stop != ']')
            return OK; /* NaN, a string, the end: element by element */
        r->at = (size_t)(stop - base);
        s->t.kinds |= JSON_KIND_NUMBER;
        commas++;
    } else if (r->at == r->text.len || base[r->at] != ']') {
        return OK;
    }
    if (s->t.rank < 0)
        s->t.rank = s->depth;
    else if (commas && s->t.rank != s->depth)
        return scan_depth(s, s->t.rank, s->depth);
    json_enter(r);
    s->count[s->depth - 1] = (int64_t)commas;
    s->t.elements += commas;
    *ret_closed = true;
    return scan_close(s);
}

/* One element, or the opening of an array. */
static result scan_value(struct scan *s, bool *ret_complete)
{
    *ret_complete = true;
    if (json_peek(s->r) != JSON_ARRAY)
        return scan_scalar(s);
    if (s->depth == WEIR_RANK_MAX)
        return scan_depth(s, WEIR_RANK_MAX, s->depth + 1);
    if (s->t.rank >= 0 && s->depth >= s->t.rank)
        return scan_depth(s, s->t.rank, s->depth + 1);
    json_enter(s->r);
    s->count[s->depth++] = 0;
    return scan_open(s, ret_complete);
}

result json_tensor_scan(struct json_reader *r, struct json_tensor *ret_tensor,
                        struct diag *diag)
{
    struct scan s = {.r = r, .diag = diag};

    s.t.at = r->at;
    s.t.rank = -1;
    for (int i = 0; i < WEIR_RANK_MAX; i++)
        s.t.shape[i] = -1;
    for (;;) {
        bool complete, first = false, more;
        TRY(scan_value(&s, &complete));
        if (!complete)
            continue;
        /* After a value: on to the next one, closing arrays on the way. */
        do {
            if (s.depth == 0) {
                *ret_tensor = s.t;
                return OK;
            }
            s.count[s.depth - 1]++;
            TRY(json_element(r, &first, &more));
            if (!more)
                TRY(scan_close(&s));
        } while (!more);
    }
}

result json_tensor_type(const struct json_tensor *tensor, weir_type type, struct diag *diag)
{
    uint8_t allowed = type.code == WEIR_STRING ? JSON_KIND_STRING
                      : type.code == WEIR_BOOL ? JSON_KIND_BOOL
                                               : JSON_KIND_NUMBER;
    uint8_t other = tensor->kinds & (uint8_t)~allowed;

    if (!other)
        return OK;
    return diag_fail(diag, ERR_TYPE, "expected elements of type %s, got %s", type_oip_name(type),
                     other & JSON_KIND_STRING ? "strings"
                     : other & JSON_KIND_BOOL ? "booleans"
                                              : "numbers");
}

result json_tensor_bytes(const struct json_tensor *tensor, weir_type type, uint64_t *ret_bytes)
{
    uint64_t bytes;

    if (type.code == WEIR_STRING)
        bytes = tensor->string_bytes;
    else if (__builtin_mul_overflow(tensor->elements, type_size(type), &bytes))
        return fail(ERR_TOO_LARGE);
    *ret_bytes = bytes;
    return OK;
}

/* ---- second pass ---- */

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
                        (unsigned long long)f->sink->elements,
                        type_oip_name(f->sink->plan->type),
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
