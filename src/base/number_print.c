#include "base/number.h"

#include "base/number_private.h"

#include <math.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* ---- digits ---- */

static const char pairs[200] = "00010203040506070809101112131415161718192021222324"
                               "25262728293031323334353637383940414243444546474849"
                               "50515253545556575859606162636465666768697071727374"
                               "75767778798081828384858687888990919293949596979899";

static void put2(char *out, uint32_t value)
{
    memcpy(out, pairs + 2 * (size_t)value, 2);
}

static void put4(char *out, uint32_t value)
{
    put2(out, value / 100);
    put2(out + 2, value % 100);
}

static void put8(char *out, uint32_t value)
{
    put4(out, value / 10000);
    put4(out + 4, value % 10000);
}

/* Up to 8 digits, none in front. */
static size_t put_short(char *out, uint32_t value)
{
    char buffer[8];
    size_t skip = 0;

    put8(buffer, value);
    while (skip < 7 && buffer[skip] == '0')
        skip++;
    memcpy(out, buffer + skip, 8 - skip);
    return 8 - skip;
}

size_t number_print_u64(uint64_t value, char *out)
{
    if (value < 100000000)
        return put_short(out, (uint32_t)value);
    uint64_t high = value / 100000000;
    size_t n = number_print_u64(high, out);
    put8(out + n, (uint32_t)(value - high * 100000000));
    return n + 8;
}

size_t number_print_i64(int64_t value, char *out)
{
    if (value >= 0)
        return number_print_u64((uint64_t)value, out);
    *out = '-';
    return 1 + number_print_u64(0 - (uint64_t)value, out + 1);
}

/* ---- shortest decimal ---- */

/* value = digits · 10^exponent; the digits may end in zeros. */
struct shortest {
    uint64_t digits;
    int exponent;
};

/* floor(log10(2^e)), floor(log10(3/4 · 2^e)) and floor(log2(10^e)) in the range of
 * doubles (Giulietti 2021, §9). */
static int log10_pow2(int e)
{
    return (e * 1262611) >> 22;
}
static int log10_three_quarters_pow2(int e)
{
    return (e * 1262611 - 524031) >> 22;
}
static int log2_pow10(int e)
{
    return (e * 1741647) >> 19;
}

/* The power rounded up: 10^k is exact in 128 bits only for 0 <= k <= 55. */
static struct number_pow10 power_above(int k)
{
    struct number_pow10 g = number_pow10[k - NUMBER_POW10_MIN];

    if (k < 0 || k > 55) {
        g.lo++;
        g.hi += g.lo == 0;
    }
    return g;
}

/* g · c / 2^128, cut off, the last bit set when something was cut ("round to odd"). */
static uint64_t product_f64(struct number_pow10 g, uint64_t c)
{
    unsigned __int128 low = (unsigned __int128)g.lo * c;
    unsigned __int128 high = (unsigned __int128)g.hi * c + (uint64_t)(low >> 64);

    return (uint64_t)(high >> 64) | ((uint64_t)high > 1);
}

static uint64_t product_f32(uint64_t g, uint64_t c)
{
    unsigned __int128 p = (unsigned __int128)g * c;

    return (uint64_t)(p >> 64) | ((uint32_t)(p >> 32) > 1);
}

/* What is to be chosen from: four times the value and the ends of its rounding
 * interval, in units of 10^k, each rounded to odd (Giulietti 2021, §8.2). The ends belong
 * to it when the significand is even. */
static struct shortest choose(uint64_t low, uint64_t value, uint64_t high, bool even, int k)
{
    uint64_t s = value / 4;

    low += !even;
    high -= !even;
    if (s >= 10) {
        uint64_t tens = s / 10;
        bool below = low <= 40 * tens, above = 40 * tens + 40 <= high;
        if (below != above)
            return (struct shortest){tens + above, k + 1};
    }
    bool below = low <= 4 * s, above = 4 * s + 4 <= high;
    if (below != above)
        return (struct shortest){s + above, k};
    uint64_t middle = 4 * s + 2;
    bool up = value > middle || (value == middle && (s & 1));
    return (struct shortest){s + up, k};
}

/* Always right, and slow: three long products and branches that guess badly. */
static NOINLINE struct shortest exact_f64(uint64_t c, int q, bool closer)
{
    int k = closer ? log10_three_quarters_pow2(q) : log10_pow2(q);
    int h = q + log2_pow10(-k) + 1;
    struct number_pow10 g = power_above(-k);

    return choose(product_f64(g, (4 * c - 2 + closer) << h), product_f64(g, (4 * c) << h),
                  product_f64(g, (4 * c + 2) << h), !(c & 1), k);
}

static NOINLINE struct shortest exact_f32(uint64_t c, int q, bool closer)
{
    int k = closer ? log10_three_quarters_pow2(q) : log10_pow2(q);
    int h = q + log2_pow10(-k) + 1;
    /* 64 bits are enough for floats: the power rounded up to them. */
    struct number_pow10 power = power_above(-k);
    uint64_t g = power.hi + (power.lo != 0);

    return choose(product_f32(g, (4 * c - 2 + closer) << h), product_f32(g, (4 * c) << h),
                  product_f32(g, (4 * c + 2) << h), !(c & 1), k);
}

/* The choice from one product: `whole` and `fraction` are the value in units of 10^k, half
 * the distance to its neighbours is `half`, all fixed point with 60 bits behind the point
 * and wrong by less than `doubt`. False where that could matter.
 *
 * Half the distance is 0.5 to 5 units: a multiple of ten within it is the shortest, else
 * the nearest whole number is. Its digits may end in a zero, which costs nothing later;
 * a branch would. */
static inline bool choose_fast(uint64_t whole, uint64_t fraction, uint64_t half, uint64_t doubt,
                               uint64_t *ret_digits)
{
    const uint64_t one = (uint64_t)1 << 60;
    uint64_t tens = whole / 10;
    uint64_t above = (whole - tens * 10) * one + fraction, below = 10 * one - above;
    bool up = below < above;
    uint64_t near = up ? below : above;
    uint64_t ten = (tens + up) * 10, single = whole + (fraction > one / 2);

    *ret_digits = near < half ? ten : single;
    /* Unsigned: both differences are farther from 0 than `doubt`, on either side. */
    return near - half + doubt > 2 * doubt && fraction - one / 2 + doubt > 2 * doubt;
}

/* c · 2^q, c and q from the bits of a positive finite value. `closer`: the value below
 * is half as far as the one above, because c is a power of two. */
static inline struct shortest shortest_f64(uint64_t c, int q, bool closer)
{
    int k = log10_pow2(q);
    int h = q + log2_pow10(-k) + 1;
    struct number_pow10 g = number_pow10[-k - NUMBER_POW10_MIN];
    uint64_t digits;

    unsigned __int128 value =
        (unsigned __int128)g.hi * (c << h) + (uint64_t)(((unsigned __int128)g.lo * (c << h)) >> 64);
    if (LIKELY(!closer && choose_fast((uint64_t)(value >> 64), (uint64_t)value >> 4,
                                      g.hi >> (5 - h), 16, &digits)))
        return (struct shortest){digits, k};
    return exact_f64(c, q, closer);
}

static inline struct shortest shortest_f32(uint64_t c, int q, bool closer)
{
    int k = log10_pow2(q);
    int h = q + log2_pow10(-k) + 1;
    uint64_t g = number_pow10[-k - NUMBER_POW10_MIN].hi;
    uint64_t digits;

    unsigned __int128 value = (unsigned __int128)g * (c << h);
    if (LIKELY(!closer && choose_fast((uint64_t)(value >> 64), (uint64_t)value >> 4, g >> (5 - h),
                                      (uint64_t)1 << 28, &digits)))
        return (struct shortest){digits, k};
    return exact_f32(c, q, closer);
}

/* ---- layout ---- */

/* Eight digits as characters, the first in the lowest byte: split in halves three times,
 * each step on all parts at once. */
static uint64_t chars8(uint32_t value)
{
    uint64_t v = value / 10000 | (uint64_t)(value % 10000) << 32;
    uint64_t q = (v * 10486 >> 20) & 0x0000007f0000007f;

    v = q | (v - q * 100) << 16;
    q = (v * 103 >> 10) & 0x000f000f000f000f;
    return (q | (v - q * 10) << 8) | 0x3030303030303030;
}

static void store8(char *out, uint64_t chars)
{
    memcpy(out, &chars, sizeof(chars));
}

/* Seventeen digits, the first of which is not 0: `first`, then those of `high` and `low`.
 * Zeros at the end are not significant. */
struct digits {
    uint64_t high, low;
    int significant;
    int point; /* digits in front of the point; beyond both ends it means zeros */
    char first;
};

/* Two times eight digits as chars8 makes them, and how many are left without the zeros at
 * their end. */
#if defined(__SSE2__)
static int chars16(uint32_t high, uint32_t low, struct digits *d)
{
    /* The same three steps on all parts: by 10000 in 32 bits, by 100 and 10 in 16. */
    __m128i v = _mm_set_epi64x(low, high);
    __m128i q = _mm_srli_epi64(_mm_mul_epu32(v, _mm_set1_epi32((int)0xd1b71759)), 45);
    v = _mm_sub_epi32(v, _mm_mul_epu32(q, _mm_set1_epi32(10000)));
    v = _mm_or_si128(q, _mm_slli_epi64(v, 32));
    q = _mm_srli_epi16(_mm_mulhi_epu16(v, _mm_set1_epi16(5243)), 3);
    v = _mm_sub_epi16(v, _mm_mullo_epi16(q, _mm_set1_epi16(100)));
    v = _mm_or_si128(q, _mm_slli_epi32(v, 16));
    q = _mm_mulhi_epu16(v, _mm_set1_epi16(6554));
    v = _mm_sub_epi16(v, _mm_mullo_epi16(q, _mm_set1_epi16(10)));
    v = _mm_or_si128(q, _mm_slli_epi16(v, 8));
    uint32_t zeros = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_setzero_si128()));
    v = _mm_or_si128(v, _mm_set1_epi8('0'));
    d->high = (uint64_t)_mm_cvtsi128_si64(v);
    d->low = (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(v, v));
    return 32 - __builtin_clz((zeros ^ 0xffff) << 1 | 1) - 1;
}
#else
static int chars16(uint32_t high, uint32_t low, struct digits *d)
{
    d->high = chars8(high);
    d->low = chars8(low);
    if (low)
        return 16 - __builtin_clzll(d->low ^ 0x3030303030303030) / 8;
    return high ? 8 - __builtin_clzll(d->high ^ 0x3030303030303030) / 8 : 0;
}
#endif

static struct digits digits17(struct shortest s)
{
    static const uint64_t scale[] = {1, 10, 100};
    struct digits d;
    const uint64_t least = 10000000000000000;
    int missing = (s.digits < least) + (s.digits < least / 10);

    s.digits *= scale[missing];
    while (UNLIKELY(s.digits < least)) { /* subnormals */
        s.digits *= 10;
        missing++;
    }
    uint64_t first = s.digits / least, rest = s.digits - first * least;
    uint32_t high = (uint32_t)(rest / 100000000);
    d.significant = 1 + chars16(high, (uint32_t)(rest - (uint64_t)high * 100000000), &d);
    d.first = (char)('0' + first);
    d.point = 17 + s.exponent - missing;
    return d;
}

/* The same with nine digits, for floats; `low` is all zeros. */
static struct digits digits9(struct shortest s)
{
    static const uint64_t scale[] = {1, 10, 100};
    struct digits d;
    const uint64_t least = 100000000;
    int missing = (s.digits < least) + (s.digits < least / 10);

    s.digits *= scale[missing];
    while (UNLIKELY(s.digits < least)) {
        s.digits *= 10;
        missing++;
    }
    uint32_t first = (uint32_t)(s.digits / least);
    d.high = chars8((uint32_t)(s.digits - first * least));
    d.low = 0x3030303030303030;
    d.first = (char)('0' + first);
    d.point = 9 + s.exponent - missing;
    uint64_t high_values = d.high ^ 0x3030303030303030;
    d.significant = high_values ? 9 - __builtin_clzll(high_values) / 8 : 1;
    return d;
}

/* All digits behind `out`, whatever their number. */
static void put_digits(char *out, const struct digits *d)
{
    out[0] = d->first;
    store8(out + 1, d->high);
    store8(out + 9, d->low);
}

/* Puts a point between the digits that stand at `out`: those behind it are written
 * again, one place on. */
static void put_point(char *out, const struct digits *d)
{
    if (d->point <= 8) {
        store8(out + d->point + 1, d->high >> 8 * (d->point - 1));
        store8(out + 10, d->low);
    } else {
        store8(out + d->point + 1, d->low >> 8 * (d->point - 9));
    }
    out[d->point] = '.';
}

/* By the rules of the header. */
static inline size_t layout(char *out, const struct digits *d, int point_max)
{
    if (d->point <= 0 && d->point > -5) {
        store8(out, 0x3030303030302e30); /* 0.000000 */
        put_digits(out + 2 - d->point, d);
        return (size_t)(d->significant - d->point) + 2;
    }
    put_digits(out, d);
    if (d->point > 0 && d->point <= point_max) {
        if (d->significant > d->point) {
            put_point(out, d);
            return (size_t)d->significant + 1;
        }
        memcpy(out + d->point, ".0", 2);
        return (size_t)d->point + 2;
    }
    size_t n = 1;
    if (d->significant > 1) {
        store8(out + 2, d->high);
        store8(out + 10, d->low);
        out[1] = '.';
        n = (size_t)d->significant + 1;
    }
    out[n++] = 'e';
    return n + number_print_i64(d->point - 1, out + n);
}

/* A whole number that its type counts exactly needs no search. */
static size_t print_whole(uint64_t value, char *out)
{
    size_t n = number_print_u64(value, out);
    memcpy(out + n, ".0", 2);
    return n + 2;
}

size_t number_print_f64(double value, char *out)
{
    uint64_t bits;

    /* Signs are hard to predict: no branch. */
    memcpy(&bits, &value, sizeof(bits));
    size_t sign = bits >> 63;
    *out = '-';
    out += sign;
    value = fabs(value);
    if (value < 0x1p53 && (double)(int64_t)value == value)
        return sign + print_whole((uint64_t)value, out);
    uint64_t fraction = bits & (((uint64_t)1 << 52) - 1);
    int exponent = (int)(bits >> 52 & 0x7ff);
    struct digits d =
        digits17(exponent ? shortest_f64(fraction | (uint64_t)1 << 52, exponent - 1075,
                                         fraction == 0 && exponent > 1)
                          : shortest_f64(fraction, -1074, false));
    return sign + layout(out, &d, 17);
}

size_t number_print_f32(float value, char *out)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    size_t sign = bits >> 31;
    *out = '-';
    out += sign;
    value = fabsf(value);
    if (value < 0x1p24f && (float)(int32_t)value == value)
        return sign + print_whole((uint64_t)value, out);
    uint32_t fraction = bits & 0x7fffff;
    int exponent = (int)(bits >> 23 & 0xff);
    struct digits d = digits9(
        exponent ? shortest_f32(fraction | 0x800000, exponent - 150, fraction == 0 && exponent > 1)
                 : shortest_f32(fraction, -149, false));
    return sign + layout(out, &d, 9);
}
