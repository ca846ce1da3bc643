/* The first pass over a tensor as JSON; the second is json_tensor_fill.c. */
#include "wire/json_tensor.h"

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
    return diag_fail_at(s->diag, ERR_SHAPE, NULL, line, column, "expected arrays %d deep, got %d",
                        expected, got);
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

result json_tensor_scan(struct json_reader *r, struct json_tensor *ret_tensor, struct diag *diag)
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
