#include "wire/json_tensor.h"

#include "base/base64.h"
#include "base/number.h"

#include <math.h>

/* Longest that one element and what stands in front of it can be, but for strings: an
 * indent of 4 · (JSON_DEPTH_MAX + WEIR_RANK_MAX) spaces, and a number. */
#define ELEMENT_MAX 384
#define BUFFER_SIZE 8192

/* What stands between two elements of an array: a comma, and a space or a new line with
 * its indent. */
struct between {
    char text[ELEMENT_MAX - 64];
    size_t len;
};

struct writer {
    struct text *text;
    const struct weir_tensor *tensor;
    const struct json_style *style;
    struct diag *diag;
    uint64_t next; /* element */
    size_t used;
    struct between between[WEIR_RANK_MAX]; /* of the arrays at each depth */
    char buffer[BUFFER_SIZE];
};

static void flush(struct writer *w)
{
    text_append(w->text, span_of(w->buffer, w->used));
    w->used = 0;
}

static void put(struct writer *w, const char *bytes, size_t len)
{
    if (BUFFER_SIZE - w->used < len)
        flush(w);
    memcpy(w->buffer + w->used, bytes, len);
    w->used += len;
}

static inline void put_byte(struct writer *w, char byte)
{
    if (w->used == BUFFER_SIZE)
        flush(w);
    w->buffer[w->used++] = byte;
}

static size_t line_break(char *out, int level)
{
    out[0] = '\n';
    memset(out + 1, ' ', 4 * (size_t)level);
    return 1 + 4 * (size_t)level;
}

static void put_break(struct writer *w, int level)
{
    char bytes[ELEMENT_MAX - 64];

    put(w, bytes, line_break(bytes, level));
}

/* `level`: of the outermost array's elements. */
static void make_betweens(struct writer *w, int level)
{
    for (int depth = 0; depth < WEIR_RANK_MAX; depth++) {
        struct between *b = &w->between[depth];
        b->text[0] = ',';
        b->text[1] = ' ';
        b->len = w->style->layout == JSON_LINE ? 2 : 1;
        if (w->style->layout == JSON_PRETTY)
            b->len += line_break(b->text + 1, level + depth);
    }
}

/* ---- elements ---- */

static result put_named(struct writer *w, double value, size_t *ret_len)
{
    const char *name = isnan(value) ? "NaN" : value < 0 ? "-Infinity" : "Infinity";

    if (!w->style->nonfinite)
        return diag_fail(w->diag, ERR_UNSUPPORTED,
                         "element %llu is %s, for which JSON has no number",
                         (unsigned long long)w->next, name);
    size_t len = strlen(name);
    memcpy(w->buffer + w->used, name, len);
    *ret_len = len;
    return OK;
}

static inline result write_f32(struct writer *w, float value, size_t *ret_len)
{
    if (UNLIKELY(!isfinite(value)))
        return put_named(w, (double)value, ret_len);
    *ret_len = number_print_f32(value, w->buffer + w->used);
    return OK;
}

static inline result write_f64(struct writer *w, double value, size_t *ret_len)
{
    if (UNLIKELY(!isfinite(value)))
        return put_named(w, value, ret_len);
    *ret_len = number_print_f64(value, w->buffer + w->used);
    return OK;
}

static result write_half(struct writer *w, uint16_t bits, size_t *ret_len)
{
    bool bfloat = w->tensor->type.code == WEIR_BFLOAT;

    return write_f32(w, bfloat ? number_f32_of_bf16(bits) : number_f32_of_f16(bits), ret_len);
}

static size_t write_integer(struct writer *w, const uint8_t *at)
{
    char *out = w->buffer + w->used;
    uint64_t value = 0;
    unsigned bits = w->tensor->type.bits;

    memcpy(&value, at, bits / 8);
    if (w->tensor->type.code == WEIR_UINT)
        return number_print_u64(value, out);
    return number_print_i64((int64_t)(value << (64 - bits)) >> (64 - bits), out);
}

static void write_string(struct writer *w, int level)
{
    const uint64_t *offsets = w->tensor->offsets + w->next;
    struct span value =
        span_of((const uint8_t *)w->tensor->data + offsets[0], offsets[1] - offsets[0]);

    if (!w->style->b64) {
        flush(w);
        json_append_string(w->text, value);
        return;
    }
    put(w, "{", 1);
    put_break(w, level + 1);
    put(w, "\"b64\": \"", 8);
    flush(w);
    base64_encode(w->text, value);
    put(w, "\"", 1);
    put_break(w, level);
    put(w, "}", 1);
}

/* Any element but those with a loop of their own. There is room for a number. */
static result write_element(struct writer *w, int level)
{
    weir_type type = w->tensor->type;
    const uint8_t *at = (const uint8_t *)w->tensor->data + w->next * type_size(type);
    size_t len = 0;

    if (type.code == WEIR_STRING) {
        write_string(w, level);
    } else if (type.code == WEIR_BOOL) {
        const char *word = *at ? "true" : "false";
        put(w, word, strlen(word));
    } else if (type.code == WEIR_INT || type.code == WEIR_UINT) {
        len = write_integer(w, at);
    } else if (type.bits == 16) {
        uint16_t bits;
        memcpy(&bits, at, sizeof(bits));
        TRY(write_half(w, bits, &len));
    } else if (type.bits == 32) {
        float value;
        memcpy(&value, at, sizeof(value));
        TRY(write_f32(w, value, &len));
    } else {
        double value;
        memcpy(&value, at, sizeof(value));
        TRY(write_f64(w, value, &len));
    }
    w->used += len;
    w->next++;
    return OK;
}

/* ---- arrays ---- */

static inline char *comma(char *p, const struct between *b)
{
    if (b->len <= 2)
        memcpy(p, b->text, 2); /* one byte too much is written over */
    else
        memcpy(p, b->text, b->len);
    return p + b->len;
}

/* `n` finite floats with commas between them, up to one that is not: returns how many.
 * Keeps its place in a local: what `char` stores may change has to be loaded again. */
static inline int64_t write_floats(struct writer *w, int64_t n, bool wide, const struct between *b)
{
    const double *wides = (const double *)w->tensor->data + w->next;
    const float *floats = (const float *)w->tensor->data + w->next;
    char *p = w->buffer + w->used, *full = w->buffer + BUFFER_SIZE - ELEMENT_MAX;
    int64_t i = 0;

    for (; i < n && (wide ? isfinite(wides[i]) : isfinite(floats[i])); i++) {
        if (i > 0)
            p = comma(p, b);
        p += wide ? number_print_f64(wides[i], p) : number_print_f32(floats[i], p);
        if (UNLIKELY(p > full)) {
            w->used = (size_t)(p - w->buffer);
            flush(w);
            p = w->buffer;
        }
    }
    w->used = (size_t)(p - w->buffer);
    w->next += (uint64_t)i;
    return i;
}

static int64_t write_run(struct writer *w, int64_t n, const struct between *b)
{
    weir_type type = w->tensor->type;

    if (type.code != WEIR_FLOAT || type.bits == 16)
        return 0;
    return type.bits == 64 ? write_floats(w, n, true, b) : write_floats(w, n, false, b);
}

/* `n` elements with commas between them. `level`: of the elements. */
static result write_row(struct writer *w, int64_t n, const struct between *b, int level)
{
    for (int64_t i = 0; i < n;) {
        if (BUFFER_SIZE - w->used < 2 * ELEMENT_MAX)
            flush(w);
        if (i > 0)
            w->used = (size_t)(comma(w->buffer + w->used, b) - w->buffer);
        int64_t run = write_run(w, n - i, b);
        if (!run)
            TRY(write_element(w, level));
        i += run ? run : 1;
    }
    return OK;
}

static void array_open(struct writer *w, int64_t n, int level)
{
    put_byte(w, '[');
    if (n > 0 && w->style->layout == JSON_PRETTY)
        put_break(w, level + 1);
}

static void array_close(struct writer *w, int64_t n, int level)
{
    if (n > 0 && w->style->layout == JSON_PRETTY)
        put_break(w, level);
    put_byte(w, ']');
}

/* The arrays of an array, by counters, from behind its opening. `level`: of the outermost
 * array itself. */
static result write_nested(struct writer *w, const int64_t *shape, int rank, int level)
{
    int64_t done[WEIR_RANK_MAX] = {0};
    int depth = 0;

    for (;;) {
        const struct between *b = &w->between[depth];
        if (depth == rank - 1) {
            TRY(write_row(w, shape[depth], b, level + depth + 1));
        } else if (done[depth] < shape[depth]) {
            if (done[depth]++ > 0)
                put(w, b->text, b->len);
            depth++;
            done[depth] = 0;
            array_open(w, shape[depth], level + depth);
            continue;
        }
        if (depth == 0)
            return OK;
        array_close(w, shape[depth], level + depth);
        depth--;
    }
}

static bool writable(weir_type type)
{
    return type.code == WEIR_STRING || strcmp(type_oip_name(type), "UNKNOWN") != 0;
}

result json_tensor_write(struct text *text, const struct weir_tensor *tensor,
                         const struct json_style *style, struct diag *diag)
{
    struct writer w UNINITIALIZED;
    int64_t flat;
    const int64_t *shape = tensor->shape;
    int rank = tensor->rank;
    uint64_t elements;

    w.text = text;
    w.tensor = tensor;
    w.style = style;
    w.diag = diag;
    w.next = 0;
    w.used = 0;
    ASSERT(style->level >= 0 && style->level < JSON_DEPTH_MAX && rank <= WEIR_RANK_MAX);
    TRY(shape_elements(shape, rank, INT64_MAX, &elements));
    if (!writable(tensor->type))
        return diag_fail(diag, ERR_UNSUPPORTED, "expected a type of the tensor table, got %d/%d",
                         tensor->type.code, tensor->type.bits);
    /* One growth instead of many; a guess that the limit has no room for is dropped. */
    uint64_t guess = json_tensor_estimate(tensor);
    if (guess <= text->max - text->len)
        text_reserve(text, guess);
    if (style->flat) {
        flat = (int64_t)elements;
        shape = &flat;
        rank = 1;
    }
    if (rank == 0) {
        TRY(write_element(&w, style->level));
    } else {
        make_betweens(&w, style->level + 1);
        if (!style->bare)
            array_open(&w, shape[0], style->level);
        TRY(write_nested(&w, shape, rank, style->level));
        if (!style->bare)
            array_close(&w, shape[0], style->level);
    }
    flush(&w);
    return OK;
}

uint64_t json_tensor_estimate(const struct weir_tensor *tensor)
{
    uint64_t elements;
    weir_type type = tensor->type;

    if (failed(shape_elements(tensor->shape, tensor->rank, INT64_MAX / 32, &elements)))
        return UINT64_MAX;
    switch (type.code) {
    case WEIR_STRING:
        return tensor->bytes + elements * 4;
    case WEIR_BOOL:
        return elements * 6;
    case WEIR_FLOAT:
    case WEIR_BFLOAT:
        return elements * (type.bits == 64 ? 22 : 13);
    default:
        return elements * (2 + type.bits / 5u);
    }
}
