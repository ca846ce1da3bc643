#include "base/number.h"

#include "base/alloc.h"
#include "base/number_private.h"
#include "base/test_cmocka.h"
#include "base/test_random.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ROUNDS 50000
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ROUNDS 50000
#endif
#endif
#ifndef ROUNDS
#define ROUNDS 1000000
#endif

static uint64_t bits_of_f64(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static double f64_of_bits(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static uint32_t bits_of_f32(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static float f32_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* Reads `text` as both types and compares with the C library, to the bit. */
static void reads_as_libc(const char *text)
{
    struct span span = span_cstr(text);
    double expected = strtod(text, NULL), value = 0;
    float expected_f32 = strtof(text, NULL), value_f32 = 0;
    size_t used = 0;

    result r = number_parse_f64(span, &used, &value);
    if (isinf(expected)
            ? !is(r, ERR_RANGE)
            : failed(r) || used != span.len || bits_of_f64(value) != bits_of_f64(expected))
        fail_msg("%s: expected %a, got %a (%s)", text, expected, value, err_name(r.code));
    r = number_parse_f32(span, &used, &value_f32);
    if (isinf(expected_f32)
            ? !is(r, ERR_RANGE)
            : failed(r) || used != span.len || bits_of_f32(value_f32) != bits_of_f32(expected_f32))
        fail_msg("%s: expected float %a, got %a (%s)", text, (double)expected_f32,
                 (double)value_f32, err_name(r.code));
}

/* ---- integers ---- */

struct integer_case {
    const char *text;
    enum err code;
    uint64_t value;
};

static void unsigned_integers_are_read_whole_or_not_at_all(void **state)
{
    (void)state;
    static const struct integer_case cases[] = {
        {"0", ERR_NONE, 0},
        {"007", ERR_NONE, 7},
        {"18446744073709551615", ERR_NONE, UINT64_MAX},
        {"18446744073709551616", ERR_RANGE, 0},
        {"99999999999999999999", ERR_RANGE, 0},
        {"", ERR_SYNTAX, 0},
        {"-1", ERR_SYNTAX, 0},
        {"+1", ERR_SYNTAX, 0},
        {" 1", ERR_SYNTAX, 0},
        {"1 ", ERR_SYNTAX, 0},
        {"1.0", ERR_SYNTAX, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t value = 0;
        result r = number_parse_u64(span_cstr(cases[i].text), &value);
        if (!is(r, cases[i].code) || value != cases[i].value)
            fail_msg("\"%s\": %s, %llu", cases[i].text, err_name(r.code),
                     (unsigned long long)value);
    }
}

static void signed_integers_reach_both_ends_of_their_range(void **state)
{
    (void)state;
    static const struct integer_case cases[] = {
        {"-0", ERR_NONE, 0},
        {"-1", ERR_NONE, UINT64_MAX},
        {"9223372036854775807", ERR_NONE, INT64_MAX},
        {"-9223372036854775808", ERR_NONE, (uint64_t)INT64_MIN},
        {"9223372036854775808", ERR_RANGE, 0},
        {"-9223372036854775809", ERR_RANGE, 0},
        {"-", ERR_SYNTAX, 0},
        {"--1", ERR_SYNTAX, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t value = 0;
        result r = number_parse_i64(span_cstr(cases[i].text), &value);
        if (!is(r, cases[i].code) || (uint64_t)value != cases[i].value)
            fail_msg("\"%s\": %s, %lld", cases[i].text, err_name(r.code), (long long)value);
    }
}

static void integers_of_json_end_where_they_end(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum err code;
        size_t used;
        bool negative;
        uint64_t magnitude;
    } cases[] = {
        {"0,", ERR_NONE, 1, false, 0},
        {"-12]", ERR_NONE, 3, true, 12},
        {"18446744073709551615", ERR_NONE, 20, false, UINT64_MAX},
        {"-18446744073709551615", ERR_NONE, 21, true, UINT64_MAX},
        {"18446744073709551616", ERR_RANGE, 0, false, 0},
        {"1.0", ERR_TYPE, 0, false, 0},
        {"1e2", ERR_TYPE, 0, false, 0},
        {"1E2", ERR_TYPE, 0, false, 0},
        {"01", ERR_SYNTAX, 0, false, 0},
        {"-", ERR_SYNTAX, 0, false, 0},
        {"+1", ERR_SYNTAX, 0, false, 0},
        {"", ERR_SYNTAX, 0, false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t used = 0;
        bool negative = false;
        uint64_t magnitude = 0;
        result r = number_read_integer(span_cstr(cases[i].text), &used, &negative, &magnitude);
        if (!is(r, cases[i].code) || used != cases[i].used || negative != cases[i].negative ||
            magnitude != cases[i].magnitude)
            fail_msg("\"%s\": %s", cases[i].text, err_name(r.code));
    }
}

static void integers_are_written_as_libc_writes_them(void **state)
{
    (void)state;
    uint64_t random = 7;
    for (int i = 0; i < 100000; i++) {
        uint64_t value = test_random(&random) >> (i % 64);
        char out[NUMBER_I64_MAX + 1], expected[32];
        out[number_print_u64(value, out)] = '\0';
        snprintf(expected, sizeof(expected), "%llu", (unsigned long long)value);
        assert_string_equal(out, expected);
        int64_t negative = (int64_t)(0 - value);
        out[number_print_i64(negative, out)] = '\0';
        snprintf(expected, sizeof(expected), "%lld", (long long)negative);
        assert_string_equal(out, expected);
    }
}

/* ---- floats, reading ---- */

static void only_the_grammar_of_json_is_a_number(void **state)
{
    (void)state;
    static const char *const refused[] = {
        "",    "-",  "+1",  ".5",  "1.",  "1.e5", "1e", "1e+", "1e-",  "01",
        "-01", "00", "NaN", "inf", "0x1", " 1",   "e5", "-.5", "1.-5", "--1",
    };
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        size_t used;
        double value;
        float value_f32;
        if (strcmp(refused[i], "0x1") == 0) {
            assert_false(failed(number_parse_f64(span_cstr("0x1"), &used, &value)));
            assert_int_equal(used, 1); /* the zero, and no further */
            continue;
        }
        if (!is(number_parse_f64(span_cstr(refused[i]), &used, &value), ERR_SYNTAX) ||
            !is(number_parse_f32(span_cstr(refused[i]), &used, &value_f32), ERR_SYNTAX))
            fail_msg("\"%s\" was taken", refused[i]);
    }
}

static const char *const hard_decimals[] = {
    "0",
    "-0",
    "0.0",
    "-0.0e5",
    "0e400",
    "-0e-400",
    "1",
    "-1.5",
    "3.14159265358979",
    /* 2^53 and its neighbours, 2^24 and its */
    "9007199254740991",
    "9007199254740992",
    "9007199254740993",
    "9007199254740994",
    "9007199254740993.00000000000000000000000000000001",
    "16777215",
    "16777216",
    "16777217",
    "16777217.0000000000000000000000000000000000000001",
    "16777219",
    /* halves of the least subnormals, and beside them */
    "2.4703282292062327208e-324",
    "2.4703282292062328e-324",
    "2.47032822920623272e-324",
    "4.9406564584124654e-324",
    "7.4109846876186981626485318930233205854758970392e-324",
    "7.006492321624085e-46",
    "7.0064923216240853e-46",
    "7.006492321624086e-46",
    "1.4e-45",
    /* least normals */
    "2.2250738585072011e-308",
    "2.2250738585072012e-308",
    "2.2250738585072014e-308",
    "1.1754942807573643e-38",
    "1.1754943508222875e-38",
    "1.17549435e-38",
    /* greatest, and where they become infinity */
    "1.7976931348623157e308",
    "1.7976931348623158e308",
    "1.7976931348623159e308",
    "1.797693134862315807e308",
    "1e308",
    "1e309",
    "1e400",
    "1e99999999999999999999",
    "-1e400",
    "3.4028234663852886e38",
    "3.4028235677973366e38",
    "3.40282356e38",
    "3.4028236e38",
    "1e-400",
    "-1e-99999999999999999999",
    /* ties of the fast path through doubles */
    "1.00000017881393432617187499",
    "1.000000178813934326171875",
    "1.00000017881393432617187501",
    "1.00000005960464477539062500",
    "1.00000005960464477539062501",
    /* long and awkward (from the literature on strtod) */
    "6.631236846766476e-316",
    "3.237883913302901e-319",
    "1.0E-325",
    "8.5e-12",
    "89255.0e-22",
    "104308485241983990666713401708072175773165034278682682111762292935809e-49",
    "7.8459735791271921e65",
    "2.2250738585072012e-308",
    "1.8446744073709551616e19",
    "12345678901234567890123456789",
    "0.000000000000000000000000000000000000000000000000001",
    "1000000000000000000000000000000000000000000000000000e-60",
    "123456789012345678e-30",
    "9.5367431640625e-7",
    "1.0000000000000002",
    "1.00000000000000011102230246251565404",
    "1.00000000000000011102230246251565405",
    "5e-324",
    "1e23",
    "8.41e21",
    "9.0e15",
};

static void hard_decimals_are_rounded_correctly(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(hard_decimals); i++)
        reads_as_libc(hard_decimals[i]);
}

/* The decimal expansion of the middle of two doubles, exactly, then a digit more or less
 * far behind it. */
static void a_digit_far_behind_a_tie_decides_it(void **state)
{
    (void)state;
    static const double below[] = {1.0, 9007199254740992.0, 0.1, 5e-324, 1e-300, 123456.789};
    for (size_t i = 0; i < ARRAY_LEN(below); i++) {
        /* The middle has one bit more than long double's 64 need to hold. */
        long double middle =
            ((long double)below[i] + (long double)nextafter(below[i], INFINITY)) / 2;
        char exact[1200], text[2400];
        snprintf(exact, sizeof(exact), "%.1100Lf", middle);
        reads_as_libc(exact);
        snprintf(text, sizeof(text), "%s%0900d1", exact, 0);
        reads_as_libc(text);
    }
}

static void eight_hundred_digits_are_read_to_the_last(void **state)
{
    (void)state;
    char text[1000];
    uint64_t random = 99;
    for (int round = 0; round < 200; round++) {
        size_t n = 0;
        text[n++] = (char)('1' + test_random(&random) % 9);
        if (round & 1)
            text[n++] = '.';
        while (n < 800)
            text[n++] = (char)('0' + test_random(&random) % 10);
        snprintf(text + n, sizeof(text) - n, "e%d", (int)(test_random(&random) % 400) - 700);
        reads_as_libc(text);
    }
}

static void random_decimals_are_rounded_correctly(void **state)
{
    (void)state;
    uint64_t random = 5;
    for (int i = 0; i < ROUNDS / 2; i++) {
        char text[64];
        size_t n = 0;
        int digits = 1 + (int)(test_random(&random) % 24);
        int point = (int)(test_random(&random) % (uint64_t)digits);
        text[n++] = '-';
        n -= test_random(&random) & 1;
        for (int d = 0; d < digits; d++) {
            text[n++] = (char)('0' + test_random(&random) % 10);
            if (d == 0 && digits > 1 && point == 0)
                text[n++] = '.';
            else if (d == 0 && text[n - 1] == '0')
                text[n - 1] = '7';
            else if (d > 0 && d == point && d + 1 < digits)
                text[n++] = '.';
        }
        text[n] = '\0';
        if (i % 3)
            snprintf(text + n, sizeof(text) - n, "e%d",
                     (int)(test_random(&random) % (i % 2 ? 660 : 90)) - (i % 2 ? 340 : 50));
        reads_as_libc(text);
    }
}

static void a_run_ends_before_what_it_cannot_take(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t n, count, used;
    } cases[] = {
        {"1,2,3]", 10, 3, 5},
        {" 1 ,\n2\t, 3 ]", 10, 3, 10},
        {"1,2,3]", 2, 2, 3},
        {"", 10, 0, 0},
        {"]", 10, 0, 0},
        {"1,NaN,3]", 10, 1, 1},
        {"1,,2", 10, 1, 1},
        {"1,2,", 10, 2, 3},
        {"1 2", 10, 1, 1},
        {"1,2,999,3", 10, 2, 3},
        {"1,-999", 10, 1, 1},
        {"1,1e999", 10, 1, 1},
        {"-0.5e1,\"x\"", 10, 1, 6},
        {"1,[2", 10, 1, 1},
        {"1\v,2", 10, 1, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        float floats[10];
        double doubles[10];
        size_t used;
        struct span text = span_cstr(cases[i].text);
        size_t count = number_read_f32s(text, cases[i].n, 100, floats, &used);
        if (count != cases[i].count || used != cases[i].used)
            fail_msg("\"%s\": %zu floats in %zu bytes", cases[i].text, count, used);
        count = number_read_f64s(text, cases[i].n, 100, doubles, &used);
        if (count != cases[i].count || used != cases[i].used)
            fail_msg("\"%s\": %zu doubles in %zu bytes", cases[i].text, count, used);
        for (size_t j = 0; j < count; j++)
            assert_true((double)floats[j] == doubles[j]);
    }
}

/* In a block of just its size, so that a read beyond it is seen. */
static void no_byte_behind_the_text_is_read(void **state)
{
    (void)state;
    const char *text = "-1234567890.1234567890123e-12";
    for (size_t len = 0; len <= strlen(text); len++) {
        uint8_t *copy = mem_alloc(len);
        size_t used = 0;
        double value;
        memcpy(copy, text, len);
        result r = number_parse_f64(span_of(copy, len), &used, &value);
        assert_true(failed(r) || used == len);
        mem_free(copy);
    }
}

/* ---- floats, writing ---- */

static const char *printed_f64(double value)
{
    static char out[NUMBER_F64_MAX + 1]; /* of a test, used at once */
    out[number_print_f64(value, out)] = '\0';
    return out;
}

static const char *printed_f32(float value)
{
    static char out[NUMBER_F32_MAX + 1];
    out[number_print_f32(value, out)] = '\0';
    return out;
}

static void values_have_the_documented_form(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } doubles[] = {
        {0.0, "0.0"},
        {-0.0, "-0.0"},
        {1, "1.0"},
        {2.5, "2.5"},
        {-1234.5, "-1234.5"},
        {0.1, "0.1"},
        {100, "100.0"},
        {1e-5, "0.00001"},
        {1.234e-5, "0.00001234"},
        {9.9e-6, "9.9e-6"},
        {1e16, "10000000000000000.0"},
        {12345678901234567.0, "12345678901234568.0"},
        {1e17, "1e17"},
        {1.5e300, "1.5e300"},
        {5e-324, "5e-324"},
        {DBL_MAX, "1.7976931348623157e308"},
        {DBL_MIN, "2.2250738585072014e-308"},
        {9007199254740991.0, "9007199254740991.0"},
        {9007199254740992.0, "9007199254740992.0"},
        {9007199254740994.0, "9007199254740994.0"},
        {123456789.123, "123456789.123"},
        {1234567890123.4567, "1234567890123.4568"},
        {0.3, "0.3"},
        {0.1 + 0.2, "0.30000000000000004"},
        {2e-44, "2e-44"},
        {1e23, "1e23"},
    };
    static const struct {
        float value;
        const char *text;
    } floats[] = {
        {0.0f, "0.0"},
        {-0.0f, "-0.0"},
        {0.1f, "0.1"},
        {0.2f, "0.2"},
        {3.1415927f, "3.1415927"},
        {16777216.0f, "16777216.0"},
        {33554432.0f, "33554432.0"},
        {100000000.0f, "100000000.0"},
        {1e9f, "1e9"},
        {1e-5f, "0.00001"},
        {9e-6f, "9e-6"},
        {FLT_MAX, "3.4028235e38"},
        {FLT_MIN, "1.1754944e-38"},
        {1e-45f, "1e-45"},
        {555557.5f, "555557.5"},
        {-2.5f, "-2.5"},
    };
    for (size_t i = 0; i < ARRAY_LEN(doubles); i++)
        assert_string_equal(printed_f64(doubles[i].value), doubles[i].text);
    for (size_t i = 0; i < ARRAY_LEN(floats); i++)
        assert_string_equal(printed_f32(floats[i].value), floats[i].text);
}

/* Significant digits in a text: those from the first that is not 0 to the last. */
static int significant(const char *text)
{
    int digits = 0, zeros = 0;
    for (; *text && *text != 'e'; text++) {
        if (*text < '0' || *text > '9' || (*text == '0' && digits == 0))
            continue;
        digits++;
        zeros = *text == '0' ? zeros + 1 : 0;
    }
    return digits - zeros;
}

/* libc's shortest text that reads back as the value. */
static int shortest_f64(double value)
{
    char text[64];
    for (int digits = 1; digits < 17; digits++) {
        snprintf(text, sizeof(text), "%.*e", digits - 1, value);
        if (strtod(text, NULL) == value)
            return significant(text);
    }
    return 17;
}

static int shortest_f32(float value)
{
    char text[64];
    for (int digits = 1; digits < 9; digits++) {
        snprintf(text, sizeof(text), "%.*e", digits - 1, (double)value);
        if (strtof(text, NULL) == value)
            return significant(text);
    }
    return 9;
}

static void round_trip_f64(double value, bool check_length)
{
    const char *text = printed_f64(value);
    double back = 0;
    size_t used = 0;
    result r = number_parse_f64(span_cstr(text), &used, &back);
    if (failed(r) || used != strlen(text) || bits_of_f64(back) != bits_of_f64(value))
        fail_msg("%a became %s, read as %a", value, text, back);
    if (!strpbrk(text, ".e"))
        fail_msg("%s looks like an integer", text);
    if (check_length && value != 0 && significant(text) > shortest_f64(value))
        fail_msg("%a became %s, longer than %d digits", value, text, shortest_f64(value));
}

static void round_trip_f32(float value, bool check_length)
{
    const char *text = printed_f32(value);
    float back = 0;
    size_t used = 0;
    result r = number_parse_f32(span_cstr(text), &used, &back);
    if (failed(r) || used != strlen(text) || bits_of_f32(back) != bits_of_f32(value))
        fail_msg("%a became %s, read as %a", (double)value, text, (double)back);
    if (!strpbrk(text, ".e"))
        fail_msg("%s looks like an integer", text);
    if (check_length && value != 0 && significant(text) > shortest_f32(value))
        fail_msg("%a became %s, longer than %d digits", (double)value, text, shortest_f32(value));
}

static void any_value_reads_back_as_itself_from_the_shortest_text(void **state)
{
    (void)state;
    uint64_t random = 88172645463325252u;
    for (int i = 0; i < ROUNDS; i++) {
        double value = f64_of_bits(test_random(&random));
        float value_f32 = f32_of_bits((uint32_t)(test_random(&random) >> 32));
        bool check_length = i % 16 == 0; /* libc's search is slow */
        if (isfinite(value))
            round_trip_f64(value, check_length);
        if (isfinite(value_f32))
            round_trip_f32(value_f32, check_length);
    }
}

static void values_at_powers_of_two_and_their_neighbours_read_back(void **state)
{
    (void)state;
    for (int e = -1074; e <= 1023; e++) {
        double value = ldexp(1, e);
        round_trip_f64(value, true);
        round_trip_f64(nextafter(value, 0), true);
        round_trip_f64(nextafter(value, INFINITY), true);
    }
    for (int e = -149; e <= 127; e++) {
        float value = ldexpf(1, e);
        round_trip_f32(value, true);
        round_trip_f32(nextafterf(value, 0), true);
        round_trip_f32(nextafterf(value, INFINITY), true);
    }
    for (int e = -323; e <= 308; e++) {
        char text[16];
        snprintf(text, sizeof(text), "1e%d", e);
        round_trip_f64(strtod(text, NULL), true);
    }
}

/* Of two texts of equal length, the nearer: libc rounds to a given length correctly. */
static void the_nearest_of_the_shortest_is_chosen(void **state)
{
    (void)state;
    uint64_t random = 3;
    for (int i = 0; i < 100000; i++) {
        double value = f64_of_bits(test_random(&random));
        char text[64];
        if (!isfinite(value) || value == 0)
            continue;
        snprintf(text, sizeof(text), "%.*e", significant(printed_f64(value)) - 1, value);
        if (strtod(text, NULL) == value && strtod(printed_f64(value), NULL) == value) {
            /* Both round trip: the digits must be the same. */
            long double ours = strtold(printed_f64(value), NULL), libc = strtold(text, NULL);
            if (fabsl(ours - value) > fabsl(libc - value) * (1 + 1e-6L))
                fail_msg("%a: %s is farther than %s", value, printed_f64(value), text);
        }
    }
}

/* ---- the table ---- */

static void the_table_holds_powers_of_ten(void **state)
{
    (void)state;
    /* Each entry is ten times the one before it, cut to 128 bits: 5/4 or 5/8 of the
     * doubled one. An error of one unit may come from the cut below. */
    for (int k = NUMBER_POW10_MIN; k < NUMBER_POW10_MAX; k++) {
        struct number_pow10 a = number_pow10[k - NUMBER_POW10_MIN];
        struct number_pow10 b = number_pow10[k + 1 - NUMBER_POW10_MIN];
        unsigned __int128 x = (unsigned __int128)a.hi << 64 | a.lo;
        unsigned __int128 y = (unsigned __int128)b.hi << 64 | b.lo;
        unsigned __int128 quarter = x >> 2;
        unsigned __int128 times = x + quarter; /* 10 = 8 · 5/4 */
        if (times < x)
            times = (times >> 1) | (unsigned __int128)1 << 127;
        unsigned __int128 apart = y > times ? y - times : times - y;
        if (b.hi == (uint64_t)1 << 63 && b.lo == 0)
            apart = MIN(apart, 0 - times); /* 10^0: one unit more, and one bit */
        if (apart > 2 || !(b.hi >> 63))
            fail_msg("10^%d does not follow from 10^%d", k + 1, k);
    }
    assert_true(number_pow10[0 - NUMBER_POW10_MIN].hi == (uint64_t)1 << 63);
    assert_true(number_pow10[0 - NUMBER_POW10_MIN].lo == 0);
    assert_true(number_pow10[19 - NUMBER_POW10_MIN].hi == 10000000000000000000u);
}

/* ---- 16-bit floats ---- */

static void each_half_float_comes_back_from_its_value(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits <= 0xffff; bits++) {
        float half = number_f32_of_f16((uint16_t)bits), bfloat = number_f32_of_bf16((uint16_t)bits);
        if (isnan(half))
            assert_true(isnan(number_f32_of_f16(number_f16_of_f64((double)half))));
        else
            assert_int_equal(number_f16_of_f64((double)half), bits);
        if (isnan(bfloat))
            assert_true(isnan(number_f32_of_bf16(number_bf16_of_f64((double)bfloat))));
        else
            assert_int_equal(number_bf16_of_f64((double)bfloat), bits);
    }
}

/* Between each two neighbours: the quarter goes down, three quarters up, the middle to
 * the even one. */
static void half_floats_round_to_the_nearest_ties_to_even(void **state)
{
    (void)state;
    for (uint16_t bits = 0; bits < 0x7bff; bits++) {
        double low = (double)number_f32_of_f16(bits), high = (double)number_f32_of_f16(bits + 1);
        double step = high - low;
        uint16_t even = bits & 1 ? bits + 1 : bits;
        assert_int_equal(number_f16_of_f64(low + step / 4), bits);
        assert_int_equal(number_f16_of_f64(low + step * 3 / 4), bits + 1);
        assert_int_equal(number_f16_of_f64(low + step / 2), even);
        assert_int_equal(number_f16_of_f64(-(low + step / 2)), 0x8000 | even);
        assert_int_equal(number_f16_of_f64(low + step / 2 * (1 + 0x1p-40)),
                         low + step / 2 * (1 + 0x1p-40) > low + step / 2 ? bits + 1 : even);
    }
    for (uint16_t bits = 0; bits < 0x7f7f; bits++) {
        double low = (double)number_f32_of_bf16(bits), high = (double)number_f32_of_bf16(bits + 1);
        double step = high - low;
        assert_int_equal(number_bf16_of_f64(low + step / 4), bits);
        assert_int_equal(number_bf16_of_f64(low + step * 3 / 4), bits + 1);
        assert_int_equal(number_bf16_of_f64(low + step / 2), bits & 1 ? bits + 1 : bits);
    }
}

static void half_floats_beyond_their_range_are_infinite(void **state)
{
    (void)state;
    assert_int_equal(number_f16_of_f64(65504), 0x7bff);
    assert_int_equal(number_f16_of_f64(65519.99), 0x7bff);
    assert_int_equal(number_f16_of_f64(65520), 0x7c00);
    assert_int_equal(number_f16_of_f64(-1e300), 0xfc00);
    assert_int_equal(number_f16_of_f64(INFINITY), 0x7c00);
    assert_int_equal(number_bf16_of_f64((double)FLT_MAX), 0x7f80);
    assert_int_equal(number_bf16_of_f64(-INFINITY), 0xff80);
    assert_int_equal(number_f16_of_f64(1e-300), 0);
    assert_int_equal(number_f16_of_f64(-1e-300), 0x8000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unsigned_integers_are_read_whole_or_not_at_all),
        cmocka_unit_test(signed_integers_reach_both_ends_of_their_range),
        cmocka_unit_test(integers_of_json_end_where_they_end),
        cmocka_unit_test(integers_are_written_as_libc_writes_them),
        cmocka_unit_test(only_the_grammar_of_json_is_a_number),
        cmocka_unit_test(hard_decimals_are_rounded_correctly),
        cmocka_unit_test(a_digit_far_behind_a_tie_decides_it),
        cmocka_unit_test(eight_hundred_digits_are_read_to_the_last),
        cmocka_unit_test(random_decimals_are_rounded_correctly),
        cmocka_unit_test(a_run_ends_before_what_it_cannot_take),
        cmocka_unit_test(no_byte_behind_the_text_is_read),
        cmocka_unit_test(values_have_the_documented_form),
        cmocka_unit_test(any_value_reads_back_as_itself_from_the_shortest_text),
        cmocka_unit_test(values_at_powers_of_two_and_their_neighbours_read_back),
        cmocka_unit_test(the_nearest_of_the_shortest_is_chosen),
        cmocka_unit_test(the_table_holds_powers_of_ten),
        cmocka_unit_test(each_half_float_comes_back_from_its_value),
        cmocka_unit_test(half_floats_round_to_the_nearest_ties_to_even),
        cmocka_unit_test(half_floats_beyond_their_range_are_infinite),
    };
    return cmocka_run_group_tests_name("base/number", tests, NULL, NULL);
}
