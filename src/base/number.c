#include "base/number.h"

#include "base/number_private.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "digits are read eight at a time");

/* ---- integers ---- */

static bool is_digit(uint8_t c)
{
    return (uint8_t)(c - '0') < 10;
}

result number_parse_u64(struct span text, uint64_t *ret_value)
{
    uint64_t value = 0;

    if (!text.len)
        return fail(ERR_SYNTAX);
    for (size_t i = 0; i < text.len; i++)
        if (!is_digit(text.ptr[i]))
            return fail(ERR_SYNTAX);
    for (size_t i = 0; i < text.len; i++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, text.ptr[i] - '0', &value))
            return fail(ERR_RANGE);
    *ret_value = value;
    return OK;
}

result number_parse_i64(struct span text, int64_t *ret_value)
{
    bool negative = text.len && text.ptr[0] == '-';
    uint64_t magnitude;

    TRY(number_parse_u64(span_from(text, negative), &magnitude));
    if (magnitude > (uint64_t)INT64_MAX + negative)
        return fail(ERR_RANGE);
    *ret_value = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return OK;
}

result number_read_integer(struct span text, size_t *ret_used, bool *ret_negative,
                           uint64_t *ret_magnitude)
{
    bool negative = text.len && text.ptr[0] == '-';
    size_t i = negative;
    uint64_t value = 0;
    bool overflow = false;

    for (; i < text.len && is_digit(text.ptr[i]); i++)
        overflow |= __builtin_mul_overflow(value, 10, &value) ||
                    __builtin_add_overflow(value, text.ptr[i] - '0', &value);
    size_t digits = i - negative;
    if (!digits || (digits > 1 && text.ptr[negative] == '0'))
        return fail(ERR_SYNTAX);
    if (i < text.len && (text.ptr[i] == '.' || (text.ptr[i] | 0x20) == 'e'))
        return fail(ERR_TYPE);
    if (overflow)
        return fail(ERR_RANGE);
    *ret_used = i;
    *ret_negative = negative;
    *ret_magnitude = value;
    return OK;
}

/* ---- decimal text ---- */

/* The number (-1)^negative · w · 10^exponent, where `w` holds the first 19 significant
 * digits and `truncated` says that others that are not zero follow. */
struct decimal {
    uint64_t w;
    int64_t exponent;
    bool negative, truncated;
    const uint8_t *whole, *whole_end;       /* the digits in front of the point */
    const uint8_t *fraction, *fraction_end; /* and behind it */
    int64_t exponent_written;
};

static uint64_t load8(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

/* Eight digits, the first in the lowest byte, as values 0 to 9. */
static uint64_t join8(uint64_t v)
{
    v = v * 10 + (v >> 8);
    return ((v & 0x000000ff000000ff) * (100 + (1000000ULL << 32)) +
            ((v >> 16) & 0x000000ff000000ff) * (1 + (10000ULL << 32))) >>
           32;
}

static const uint64_t power10_u64[] = {
    1,    10,   100,  1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000,
    1e10, 1e11, 1e12, 1e13, 1e14,  1e15,   1e16,    1e17,     1e18,      10000000000000000000u,
};

/* Appends digits to `*w`, modulo 2^64. Returns where they end. */
static inline const uint8_t *digits(const uint8_t *p, const uint8_t *end, uint64_t *w)
{
    while (end - p >= 8) {
        uint64_t v = load8(p) ^ 0x3030303030303030;
        uint64_t other = ((v + 0x7676767676767676) | v) & 0x8080808080808080;
        if (!other) {
            *w = *w * 100000000 + join8(v);
            p += 8;
            continue;
        }
        int n = __builtin_ctzll(other) / 8;
        if (n) {
            *w = *w * power10_u64[n] + join8(v << (64 - 8 * n));
            p += n;
        }
        return p;
    }
    for (; p < end && is_digit(*p); p++)
        *w = *w * 10 + (uint64_t)(*p - '0');
    return p;
}

/* NULL where no exponent stands behind the letter. What is far beyond any float is
 * held at ±99999999, far enough below INT64_MAX for sums with a text's length. */
static const uint8_t *exponent(const uint8_t *p, const uint8_t *end, int64_t *ret_exponent)
{
    bool negative = p < end && *p == '-';
    int64_t value = 0;

    if (p < end && (*p == '-' || *p == '+'))
        p++;
    if (p == end || !is_digit(*p))
        return NULL;
    for (; p < end && is_digit(*p); p++)
        if (value < 10000000)
            value = value * 10 + (*p - '0');
        else
            value = 99999999;
    *ret_exponent = negative ? -value : value;
    return p;
}

/* More than 19 digits: `w` has wrapped. Reads them again, without leading zeros. */
static NOINLINE void decimal_long(struct decimal *d)
{
    const uint8_t *p = d->whole;
    bool in_fraction = false;
    int taken = 0;
    int64_t dropped = 0;

    d->w = 0;
    d->truncated = false;
    for (;; p++) {
        if (!in_fraction && p == d->whole_end) {
            in_fraction = true;
            p = d->fraction;
        }
        if (in_fraction && p == d->fraction_end)
            break;
        if (taken < 19) {
            d->w = d->w * 10 + (uint64_t)(*p - '0');
            taken += d->w != 0;
        } else {
            d->truncated |= *p != '0';
            dropped++;
        }
    }
    d->exponent = d->exponent_written - (d->fraction_end - d->fraction) + dropped;
}

/* Returns where the number ends, or NULL. */
static inline const uint8_t *decimal_read(struct span text, struct decimal *d)
{
    const uint8_t *p = text.ptr, *end = text.ptr + text.len;

    d->w = 0;
    d->truncated = false;
    d->exponent_written = 0;
    d->negative = p < end && *p == '-';
    p += d->negative;
    d->whole = p;
    for (; p < end && is_digit(*p); p++)
        d->w = d->w * 10 + (uint64_t)(*p - '0');
    d->whole_end = d->fraction = d->fraction_end = p;
    if (p == d->whole || (*d->whole == '0' && p - d->whole > 1))
        return NULL;
    if (p < end && *p == '.') {
        d->fraction = ++p;
        d->fraction_end = p = digits(p, end, &d->w);
        if (p == d->fraction)
            return NULL;
    }
    if (p < end && (*p | 0x20) == 'e') {
        p = exponent(p + 1, end, &d->exponent_written);
        if (!p)
            return NULL;
    }
    d->exponent = d->exponent_written - (d->fraction_end - d->fraction);
    if (UNLIKELY((d->whole_end - d->whole) + (d->fraction_end - d->fraction) > 19))
        decimal_long(d);
    return p;
}

/* ---- to binary ---- */

/* A binary format of IEEE 754 and the range of decimal exponents in which a product
 * w · 10^q with w < 2^64 can be anything but zero or infinity, or lie exactly between
 * two of its values (Lemire 2021, §8 and §9). */
struct format {
    int fraction_bits;
    int exponent_min; /* bias, negated */
    int exponent_infinite;
    int power_min, power_max;
    int tie_min, tie_max;
};

static const struct format binary64 = {52, -1023, 0x7ff, -342, 308, -4, 23};
static const struct format binary32 = {23, -127, 0xff, -65, 38, -17, 10};

static uint64_t format_infinity(const struct format *f)
{
    return (uint64_t)f->exponent_infinite << f->fraction_bits;
}

/* m · 2^e to the nearest, ties up: `m` has one bit more than the format keeps, and ties
 * that go down have been cleared of it. */
static uint64_t assemble(uint64_t m, int e, const struct format *f)
{
    if (e <= 0) {
        if (1 - e >= 64)
            return 0;
        m >>= 1 - e;
        return (m + (m & 1)) >> 1; /* it may round up to the least normal value */
    }
    m = (m + (m & 1)) >> 1;
    if (m >> (f->fraction_bits + 1)) {
        m >>= 1;
        e++;
    }
    if (e >= f->exponent_infinite)
        return format_infinity(f);
    return (uint64_t)e << f->fraction_bits | (m & (((uint64_t)1 << f->fraction_bits) - 1));
}

static bool may_tie(int64_t q, const struct format *f)
{
    return q >= f->tie_min && q <= f->tie_max;
}

/* The bits of w · 10^q, for w > 0 and q within the format's; false when 128 bits of the power do
 * not decide. */
static bool product(uint64_t w, int64_t q, const struct format *f, uint64_t *ret_bits)
{
    struct number_pow10 power = number_pow10[q - NUMBER_POW10_MIN];
    /* The lower half rounds up where 5^-q fits 64 bits, so that a tie is seen as one. */
    power.lo += q < 0 && q >= -27;
    int zeros = __builtin_clzll(w);
    w <<= zeros;
    unsigned __int128 high = (unsigned __int128)w * power.hi;
    uint64_t hi = (uint64_t)(high >> 64), lo = (uint64_t)high;
    uint64_t mask = UINT64_MAX >> (f->fraction_bits + 3);
    if ((hi & mask) == mask) {
        uint64_t more = (uint64_t)(((unsigned __int128)w * power.lo) >> 64);
        lo += more;
        hi += lo < more;
        if (lo == UINT64_MAX && (q < -27 || q > 55))
            return false;
    }
    int top = (int)(hi >> 63);
    int shift = top + 64 - f->fraction_bits - 3;
    uint64_t m = hi >> shift;
    int e = (int)((217706 * q) >> 16) + 63 + top - zeros - f->exponent_min;
    if (lo <= 1 && e > 0 && (m & 3) == 1 && m << shift == hi && may_tie(q, f))
        m &= ~(uint64_t)1; /* the value below is even */
    *ret_bits = assemble(m, e, f);
    return true;
}

/* 767 significant digits decide any double, 112 any float; a further one that is not
 * zero stands for all behind them. */
#define SLOW_DIGITS 780

/* Digits and an exponent, without a point: the C library then has no use for its
 * locale. */
static void decimal_copy(const struct decimal *d, char *buffer, size_t size)
{
    size_t n = 0;
    int64_t dropped = 0;
    bool rest = false;
    const uint8_t *part[2][2] = {{d->whole, d->whole_end}, {d->fraction, d->fraction_end}};

    for (int i = 0; i < 2; i++)
        for (const uint8_t *p = part[i][0]; p < part[i][1]; p++) {
            if (n < SLOW_DIGITS) {
                if (n || *p != '0')
                    buffer[n++] = (char)*p;
            } else {
                dropped++;
                rest |= *p != '0';
            }
        }
    if (rest) {
        buffer[n++] = '1';
        dropped--;
    }
    buffer[n++] = 'e';
    int64_t e = d->exponent_written - (d->fraction_end - d->fraction) + dropped;
    if (e < 0)
        buffer[n++] = '-';
    n += number_print_u64((uint64_t)(e < 0 ? -e : e), buffer + n);
    ASSERT(n < size);
    buffer[n] = '\0';
}

static NOINLINE uint64_t decimal_slow(const struct decimal *d, const struct format *f)
{
    char buffer[SLOW_DIGITS + 32] UNINITIALIZED;
    uint64_t bits = 0;

    decimal_copy(d, buffer, sizeof(buffer));
    if (f == &binary64) {
        double value = strtod(buffer, NULL);
        memcpy(&bits, &value, sizeof(value));
    } else {
        float value = strtof(buffer, NULL);
        memcpy(&bits, &value, sizeof(value));
    }
    return bits;
}

/* Without the sign. */
static NOINLINE uint64_t decimal_bits(const struct decimal *d, const struct format *f)
{
    uint64_t bits, above;

    if (!d->w || d->exponent < f->power_min)
        return 0;
    if (d->exponent > f->power_max)
        return format_infinity(f);
    if (!product(d->w, d->exponent, f, &bits))
        return decimal_slow(d, f);
    /* The digits cut off lie between w and w + 1: good when both round alike. */
    if (d->truncated && (!product(d->w + 1, d->exponent, f, &above) || above != bits))
        return decimal_slow(d, f);
    return bits;
}

static const double power10_f64[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                     1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                     1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* Whether one operation of the machine gives the correctly rounded double: both
 * operands are exact. */
static inline bool decimal_easy(const struct decimal *d, double *ret_value)
{
    if (d->truncated || d->w > (uint64_t)1 << 53 || d->exponent < -22 || d->exponent > 22)
        return false;
    *ret_value = d->exponent < 0 ? (double)d->w / power10_f64[-d->exponent]
                                 : (double)d->w * power10_f64[d->exponent];
    return true;
}

/* NULL when no number is there. One that rounds to infinity gives infinity. */
static inline const uint8_t *read_f64(struct span text, double *ret_value)
{
    struct decimal d;
    const uint8_t *end = decimal_read(text, &d);
    double value;
    uint64_t bits;

    if (UNLIKELY(!end))
        return NULL;
    if (decimal_easy(&d, &value))
        memcpy(&bits, &value, sizeof(bits));
    else
        bits = decimal_bits(&d, &binary64);
    bits |= (uint64_t)d.negative << 63;
    memcpy(ret_value, &bits, sizeof(bits));
    return end;
}

static inline const uint8_t *read_f32(struct span text, float *ret_value)
{
    struct decimal d;
    const uint8_t *end = decimal_read(text, &d);
    double wide;
    uint32_t bits;

    if (UNLIKELY(!end))
        return NULL;
    bool easy = decimal_easy(&d, &wide);
    if (easy) {
        /* Rounding twice is wrong only where the double has become the exact middle
         * of two floats. Its range here, 1e-22 to 1e38, holds no subnormal float. */
        uint64_t wide_bits;
        float value = (float)wide;
        memcpy(&wide_bits, &wide, sizeof(wide_bits));
        easy = (wide_bits & 0x1fffffff) != 0x10000000;
        memcpy(&bits, &value, sizeof(bits));
    }
    if (!easy)
        bits = (uint32_t)decimal_bits(&d, &binary32);
    bits |= (uint32_t)d.negative << 31;
    memcpy(ret_value, &bits, sizeof(bits));
    return end;
}

result number_parse_f64(struct span text, size_t *ret_used, double *ret_value)
{
    double value;
    const uint8_t *end = read_f64(text, &value);

    if (!end)
        return fail(ERR_SYNTAX);
    if (isinf(value))
        return fail(ERR_RANGE);
    *ret_used = (size_t)(end - text.ptr);
    *ret_value = value;
    return OK;
}

result number_parse_f32(struct span text, size_t *ret_used, float *ret_value)
{
    float value;
    const uint8_t *end = read_f32(text, &value);

    if (!end)
        return fail(ERR_SYNTAX);
    if (isinf(value))
        return fail(ERR_RANGE);
    *ret_used = (size_t)(end - text.ptr);
    *ret_value = value;
    return OK;
}

/* ---- many ---- */

static inline const uint8_t *skip_space(const uint8_t *p, const uint8_t *end)
{
    while (p < end && *p <= ' ' && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p;
}

/* Where the number behind the comma begins; NULL when there is no comma. */
static inline const uint8_t *skip_comma(const uint8_t *p, const uint8_t *end)
{
    p = skip_space(p, end);
    return p < end && *p == ',' ? skip_space(p + 1, end) : NULL;
}

/* A whole number of one to three digits with more bytes behind it. Returns where it ends,
 * or NULL for any other text. */
static inline const uint8_t *short_whole(const uint8_t *p, const uint8_t *end, int *ret_value)
{
    if (end - p < 4 || !is_digit(*p))
        return NULL;
    int value = *p++ - '0';
    if (is_digit(*p)) {
        if (value == 0)
            return NULL;
        value = value * 10 + (*p++ - '0');
        if (is_digit(*p))
            value = value * 10 + (*p++ - '0');
    }
    *ret_value = value;
    return *p == ',' || *p == ']' || *p == ' ' || *p == '\n' ? p : NULL;
}

/* Arrays of counts and pixels are all whole, others hardly ever: the short way is tried
 * again only behind a number that could have taken it. */
#define SHORT_LEN 3

size_t number_read_f32s(struct span text, size_t n, float limit, float *out, size_t *ret_used)
{
    const uint8_t *end = text.ptr + text.len, *used = text.ptr, *p = skip_space(used, end);
    size_t i = 0;
    bool try_short = true;

    limit = MIN(limit, FLT_MAX);
    while (i < n && p) {
        float value;
        int whole;
        const uint8_t *start = p;
        if (try_short && (p = short_whole(start, end, &whole)) != NULL) {
            value = (float)whole;
        } else {
            p = read_f32(span_of(start, (size_t)(end - start)), &value);
            try_short = p && p - start <= SHORT_LEN;
        }
        if (!p || fabsf(value) > limit)
            break;
        out[i++] = value;
        used = p;
        p = skip_comma(p, end);
    }
    *ret_used = (size_t)(used - text.ptr);
    return i;
}

size_t number_read_f64s(struct span text, size_t n, double limit, double *out, size_t *ret_used)
{
    const uint8_t *end = text.ptr + text.len, *used = text.ptr, *p = skip_space(used, end);
    size_t i = 0;
    bool try_short = true;

    limit = MIN(limit, DBL_MAX);
    while (i < n && p) {
        double value;
        int whole;
        const uint8_t *start = p;
        if (try_short && (p = short_whole(start, end, &whole)) != NULL) {
            value = (double)whole;
        } else {
            p = read_f64(span_of(start, (size_t)(end - start)), &value);
            try_short = p && p - start <= SHORT_LEN;
        }
        if (!p || fabs(value) > limit)
            break;
        out[i++] = value;
        used = p;
        p = skip_comma(p, end);
    }
    *ret_used = (size_t)(used - text.ptr);
    return i;
}

/* ---- 16-bit floats ---- */

/* The float at or next to `value`, with the last bit set when it is not exact: a
 * further rounding to half as many bits is then as if it were the only one. */
static uint32_t float_to_odd(double value)
{
    float near = (float)value;
    uint32_t bits;

    memcpy(&bits, &near, sizeof(bits));
    if ((double)near == value || value != value)
        return bits;
    if ((double)(near < 0 ? -near : near) > (value < 0 ? -value : value))
        bits--;
    return bits | 1;
}

uint16_t number_bf16_of_f64(double value)
{
    uint32_t bits = float_to_odd(value);

    if (value != value)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float number_f32_of_bf16(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

uint16_t number_f16_of_f64(double value)
{
    uint32_t bits = float_to_odd(value);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    uint32_t magnitude = bits & 0x7fffffff;

    if (magnitude > 0x7f800000)
        return sign | 0x7e00;
    if (magnitude >= 0x47800000) /* 65536 */
        return sign | 0x7c00;
    if (magnitude < 0x38800000) {   /* 2^-14: a subnormal, in units of 2^-24 */
        if (magnitude < 0x33000000) /* 2^-25 */
            return sign;
        uint32_t m = (magnitude & 0x7fffff) | 0x800000;
        uint32_t shift = 126 - (magnitude >> 23);
        uint32_t rest = m & ((1u << shift) - 1), middle = 1u << (shift - 1);
        m >>= shift;
        return (uint16_t)(sign | (m + (rest > middle || (rest == middle && (m & 1)))));
    }
    magnitude -= (uint32_t)(127 - 15) << 23;
    /* Above 65504 by half a step or more, the carry makes it infinity. */
    return (uint16_t)(sign | (magnitude + 0xfff + (magnitude >> 13 & 1)) >> 13);
}

float number_f32_of_f16(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t magnitude = half & 0x7fff;
    uint32_t bits;
    float value;

    if (magnitude < 0x400) {
        value = (float)magnitude * 0x1p-24f;
        return sign ? -value : value;
    }
    if (magnitude >= 0x7c00)
        bits = sign | 0x7f800000 | (magnitude & 0x3ff) << 13;
    else
        bits = sign | ((magnitude << 13) + ((uint32_t)(127 - 15) << 23));
    memcpy(&value, &bits, sizeof(value));
    return value;
}
