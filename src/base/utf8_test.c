#include "base/test_cmocka.h"
#include "base/test_random.h"
#include "base/utf8.h"

/* Table 3-7 of the Unicode Standard 15.0, written down as a table. */
static const struct row {
    uint8_t len, low[4], high[4];
} table[] = {
    {1, {0x00}, {0x7f}},
    {2, {0xc2, 0x80}, {0xdf, 0xbf}},
    {3, {0xe0, 0xa0, 0x80}, {0xe0, 0xbf, 0xbf}},
    {3, {0xe1, 0x80, 0x80}, {0xec, 0xbf, 0xbf}},
    {3, {0xed, 0x80, 0x80}, {0xed, 0x9f, 0xbf}},
    {3, {0xee, 0x80, 0x80}, {0xef, 0xbf, 0xbf}},
    {4, {0xf0, 0x90, 0x80, 0x80}, {0xf0, 0xbf, 0xbf, 0xbf}},
    {4, {0xf1, 0x80, 0x80, 0x80}, {0xf3, 0xbf, 0xbf, 0xbf}},
    {4, {0xf4, 0x80, 0x80, 0x80}, {0xf4, 0x8f, 0xbf, 0xbf}},
};

static size_t table_len(const uint8_t *bytes, size_t len)
{
    for (size_t r = 0; r < ARRAY_LEN(table); r++) {
        size_t i = 0;
        while (i < table[r].len && i < len && bytes[i] >= table[r].low[i] &&
               bytes[i] <= table[r].high[i])
            i++;
        if (i == table[r].len)
            return i;
    }
    return 0;
}

static bool valid_by_table(const uint8_t *bytes, size_t len)
{
    for (size_t at = 0, step; at < len; at += step)
        if ((step = table_len(bytes + at, len - at)) == 0)
            return false;
    return true;
}

static void every_two_bytes_are_judged_as_the_table_says(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 0x10000; i++) {
        uint8_t bytes[2] = {(uint8_t)(i >> 8), (uint8_t)i};
        assert_int_equal(utf8_valid(span_of(bytes, 2)), valid_by_table(bytes, 2));
    }
}

static void longer_texts_are_judged_as_the_table_says(void **state)
{
    (void)state;
    /* Bytes at and beside the edges of the table's ranges make most cases near ones. */
    static const uint8_t edges[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
                                    0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee,
                                    0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff};
    uint64_t seed = 7;
    int valid = 0;
    for (int i = 0; i < 400000; i++) {
        uint8_t bytes[24];
        size_t ascii = test_random(&seed) % 18, tail = 1 + test_random(&seed) % 6;
        memset(bytes, 'x', sizeof(bytes));
        for (size_t j = 0; j < tail; j++)
            bytes[ascii + j] = edges[test_random(&seed) % sizeof(edges)];
        size_t len = ascii + tail;
        bool expected = valid_by_table(bytes, len);
        valid += expected;
        if (utf8_valid(span_of(bytes, len)) != expected)
            fail_msg("case %d", i);
    }
    assert_in_range(valid, 1000, 399000);
}

static void every_code_point_survives_and_nothing_else_is_written(void **state)
{
    (void)state;
    for (uint32_t point = 0; point < 0x110800; point++) {
        uint8_t out[4] = {0xee, 0xee, 0xee, 0xee};
        size_t len = utf8_encode(point, out);
        if (point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) {
            assert_int_equal(len, 0);
            assert_int_equal(out[0], 0xee);
            continue;
        }
        if (len != table_len(out, len) || !utf8_valid(span_of(out, len)))
            fail_msg("U+%04X is not well-formed", point);
        uint32_t back = len == 1 ? out[0] : out[0] & (0xffu >> (len + 1));
        for (size_t i = 1; i < len; i++)
            back = back << 6 | (out[i] & 0x3f);
        if (back != point)
            fail_msg("U+%04X comes back as U+%04X", point, back);
    }
    uint8_t out[4];
    assert_int_equal(utf8_encode(UINT32_MAX, out), 0);
}

static void nothing_is_valid(void **state)
{
    (void)state;
    assert_true(utf8_valid(SPAN_NONE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_two_bytes_are_judged_as_the_table_says),
        cmocka_unit_test(longer_texts_are_judged_as_the_table_says),
        cmocka_unit_test(every_code_point_survives_and_nothing_else_is_written),
        cmocka_unit_test(nothing_is_valid),
    };
    return cmocka_run_group_tests_name("base/utf8", tests, NULL, NULL);
}
