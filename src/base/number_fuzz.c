#include "base/number.h"
#include "base/test_fuzz.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define TEXT_MAX 2048
#define RUN_MAX 64

static bool digit(struct span s, size_t at)
{
    return at < s.len && s.ptr[at] >= '0' && s.ptr[at] <= '9';
}

static size_t digits(struct span s, size_t at)
{
    while (digit(s, at))
        at++;
    return at;
}

/* The length of the number at the front by RFC 8259 §6, 0 for none. One that breaks off
 * behind its point or its exponent's letter is none, and one with a leading zero. */
static size_t grammar(struct span s)
{
    size_t at = s.len > 0 && s.ptr[0] == '-';
    if (!digit(s, at) || (s.ptr[at] == '0' && digit(s, at + 1)))
        return 0;
    at = digits(s, at);
    if (at < s.len && s.ptr[at] == '.') {
        if (!digit(s, at + 1))
            return 0;
        at = digits(s, at + 1);
    }
    if (at < s.len && (s.ptr[at] | 0x20) == 'e') {
        at++;
        if (at < s.len && (s.ptr[at] == '+' || s.ptr[at] == '-'))
            at++;
        if (!digit(s, at))
            return 0;
        at = digits(s, at);
    }
    return at;
}

/* Bit by bit, so that zeros have their sign. */
static bool same64(double a, double b)
{
    uint64_t one, other;
    memcpy(&one, &a, sizeof(one));
    memcpy(&other, &b, sizeof(other));
    return one == other;
}
static bool same32(float a, float b)
{
    uint32_t one, other;
    memcpy(&one, &a, sizeof(one));
    memcpy(&other, &b, sizeof(other));
    return one == other;
}

/* How many digits count: from the first that is not 0 to the last. */
static int significant(struct span text)
{
    int seen = 0, upto = 0;
    for (size_t i = 0; i < text.len && (text.ptr[i] | 0x20) != 'e'; i++) {
        uint8_t c = text.ptr[i];
        if (c < '0' || c > '9' || (c == '0' && seen == 0))
            continue;
        seen++;
        if (c != '0')
            upto = seen;
    }
    return upto;
}

/* Written with the fewest digits that the C library reads back as the same value. */
static void check_print_f64(double value)
{
    char text[NUMBER_F64_MAX + 1], other[64];
    size_t used, len = number_print_f64(value, text);
    double back;
    int least = 1;
    ASSERT(len < sizeof(text));
    text[len] = '\0';
    ASSERT(!failed(number_parse_f64(span_of(text, len), &used, &back)));
    ASSERT(used == len && same64(back, value) && same64(strtod(text, NULL), value));
    for (; least < 17; least++) {
        snprintf(other, sizeof(other), "%.*e", least - 1, value);
        if (strtod(other, NULL) == value)
            break;
    }
    ASSERT(value == 0 || significant(span_of(text, len)) <= least);
}

static void check_print_f32(float value)
{
    char text[NUMBER_F32_MAX + 1], other[64];
    size_t used, len = number_print_f32(value, text);
    float back;
    int least = 1;
    ASSERT(len < sizeof(text));
    text[len] = '\0';
    ASSERT(!failed(number_parse_f32(span_of(text, len), &used, &back)));
    ASSERT(used == len && same32(back, value) && same32(strtof(text, NULL), value));
    for (; least < 9; least++) {
        snprintf(other, sizeof(other), "%.*e", least - 1, (double)value);
        if (strtof(other, NULL) == value)
            break;
    }
    ASSERT(value == 0 || significant(span_of(text, len)) <= least);
}

static void check_floats(struct span text)
{
    char copy[TEXT_MAX + 1];
    size_t expected = grammar(text), used = 0;
    double wide = 7;
    float narrow = 7;
    result r = number_parse_f64(text, &used, &wide);
    ASSERT(is(r, ERR_SYNTAX) == (expected == 0));
    ASSERT(failed(r) || used == expected);
    result n = number_parse_f32(text, &used, &narrow);
    ASSERT(is(n, ERR_SYNTAX) == (expected == 0));
    ASSERT(failed(n) || used == expected);
    ASSERT(!failed(r) || wide == 7);
    ASSERT(!failed(n) || narrow == 7);
    if (expected == 0)
        return;
    memcpy(copy, text.ptr, expected);
    copy[expected] = '\0';
    double library = strtod(copy, NULL);
    float library32 = strtof(copy, NULL);
    ASSERT(is(r, ERR_RANGE) == (isinf(library) != 0));
    ASSERT(is(n, ERR_RANGE) == (isinf(library32) != 0));
    if (!failed(r)) {
        ASSERT(same64(wide, library));
        check_print_f64(wide);
    }
    if (!failed(n)) {
        ASSERT(same32(narrow, library32));
        check_print_f32(narrow);
    }
}

/* The digits as they are, in more bits than they need; `ret_fits` is false beyond 2^64. */
static uint64_t magnitude(struct span text, bool *ret_fits)
{
    unsigned __int128 value = 0;
    *ret_fits = true;
    for (size_t i = 0; i < text.len; i++) {
        value = value * 10 + (text.ptr[i] - '0');
        if (value > UINT64_MAX) {
            *ret_fits = false;
            value = 0;
        }
    }
    return (uint64_t)value;
}

static void check_whole(struct span text)
{
    bool minus = text.len > 0 && text.ptr[0] == '-', fits;
    struct span figures = span_from(text, minus);
    bool all = figures.len > 0 && digits(figures, 0) == figures.len;
    uint64_t value = all ? magnitude(figures, &fits) : 0, u = 7;
    int64_t i = 7;
    char written[NUMBER_U64_MAX];
    result r = number_parse_u64(text, &u), s = number_parse_i64(text, &i);
    ASSERT(is(r, ERR_SYNTAX) == (!all || minus));
    ASSERT(is(s, ERR_SYNTAX) == !all);
    if (!all)
        return;
    ASSERT(minus || is(r, ERR_RANGE) == !fits);
    ASSERT(failed(r) || u == value);
    uint64_t limit = (uint64_t)INT64_MAX + minus;
    ASSERT(is(s, ERR_RANGE) == (!fits || value > limit));
    ASSERT(failed(s) || i == (minus ? (int64_t)(0 - value) : (int64_t)value));
    if (!failed(s)) {
        size_t len = number_print_i64(i, written);
        int64_t back;
        ASSERT(!failed(number_parse_i64(span_of(written, len), &back)) && back == i);
    }
}

static void check_integer(struct span text)
{
    size_t used = 0, expected = grammar(text);
    bool negative = false, fits = true;
    uint64_t value = 0;
    result r = number_read_integer(text, &used, &negative, &value);
    bool minus = text.len > 0 && text.ptr[0] == '-';
    size_t end = digits(text, minus);
    if (failed(r) || expected == 0) {
        ASSERT(failed(r) && (expected != 0 || is(r, ERR_SYNTAX) || is(r, ERR_TYPE)));
        if (is(r, ERR_RANGE)) {
            (void)magnitude(span_of(text.ptr + minus, end - minus), &fits);
            ASSERT(!fits);
        }
        return;
    }
    ASSERT(used == expected && negative == minus);
    ASSERT(value == magnitude(span_of(text.ptr + minus, expected - minus), &fits) && fits);
}

static bool blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t blanks(struct span s, size_t at)
{
    while (at < s.len && blank(s.ptr[at]))
        at++;
    return at;
}

/* Runs of numbers are what reading them one by one gives. */
static void check_runs(struct span text)
{
    double run[RUN_MAX];
    float run32[RUN_MAX];
    size_t used = 0, used32 = 0;
    size_t n = number_read_f64s(text, RUN_MAX, HUGE_VAL, run, &used);
    size_t n32 = number_read_f32s(text, RUN_MAX, HUGE_VALF, run32, &used32);
    size_t at = 0;
    ASSERT(n <= RUN_MAX && n32 <= RUN_MAX && used <= text.len && used32 <= text.len);
    for (size_t i = 0; i < n; i++) {
        double one;
        size_t len;
        at = blanks(text, at);
        ASSERT(!failed(number_parse_f64(span_from(text, at), &len, &one)));
        ASSERT(same64(one, run[i]));
        at += len;
        if (i + 1 < n) {
            at = blanks(text, at);
            ASSERT(text.ptr[at++] == ',');
        }
    }
    ASSERT(at == used || n == 0);
    ASSERT(n > 0 || used == 0);
    at = 0;
    for (size_t i = 0; i < n32; i++) {
        float one;
        size_t len;
        at = blanks(text, at);
        ASSERT(!failed(number_parse_f32(span_from(text, at), &len, &one)));
        ASSERT(same32(one, run32[i]));
        at += len;
        if (i + 1 < n32) {
            at = blanks(text, at);
            ASSERT(text.ptr[at++] == ',');
        }
    }
    ASSERT(at == used32 || n32 == 0);
}

/* The input's first bytes as values of their own, so that every bit pattern comes. */
static void check_bits(struct span bytes)
{
    double wide;
    float narrow;
    uint16_t half;
    if (bytes.len < sizeof(wide))
        return;
    memcpy(&wide, bytes.ptr, sizeof(wide));
    memcpy(&narrow, bytes.ptr, sizeof(narrow));
    memcpy(&half, bytes.ptr, sizeof(half));
    if (isfinite(wide))
        check_print_f64(wide);
    if (isfinite(narrow))
        check_print_f32(narrow);
    float value = number_f32_of_f16(half), brain = number_f32_of_bf16(half);
    ASSERT(isnan(value) || number_f16_of_f64((double)value) == half);
    ASSERT(isnan(brain) || number_bf16_of_f64((double)brain) == half);
    ASSERT(!isnan(wide) || isnan(number_f32_of_f16(number_f16_of_f64(wide))));
    ASSERT(!isnan(wide) || isnan(number_f32_of_bf16(number_bf16_of_f64(wide))));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct span text = span_of(bytes, MIN(len, (size_t)TEXT_MAX));
    check_bits(text);
    check_floats(text);
    check_whole(text);
    check_integer(text);
    check_runs(text);
    return 0;
}
