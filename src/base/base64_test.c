#include "base/base64.h"
#include "base/test_cmocka.h"
#include "base/test_random.h"

/* RFC 4648 section 10. */
static const char *const vectors[][2] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
};

static void check(const char *encoded, bool lenient, const char *expected)
{
    uint8_t out[64];
    size_t len = 99;
    result r =
        base64_decode(span_cstr(encoded), (struct span_mut){out, sizeof(out)}, lenient, &len);
    if (!expected) {
        if (!is(r, ERR_SYNTAX) || len != 99)
            fail_msg("'%s' is taken, or changes the length", encoded);
    } else if (failed(r) || !span_is(span_of(out, len), expected)) {
        fail_msg("'%s' is not taken for '%s'", encoded, expected);
    }
}

static void the_vectors_of_the_rfc_hold_both_ways(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        struct text text;
        text_init(&text, 100);
        base64_encode(&text, span_cstr(vectors[i][0]));
        assert_string_equal(text_cstr(&text), vectors[i][1]);
        assert_int_equal(text.len, base64_encoded_size(strlen(vectors[i][0])));
        check(vectors[i][1], false, vectors[i][0]);
        check(vectors[i][1], true, vectors[i][0]);
        text_release(&text);
    }
}

static void strict_decoding_takes_one_spelling_only(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "Z",        "Zg",   "Zg=",  "Zg===",     "Zm8",      "Zm8==", "Zm9v=",   "=",
        "====",     "Zh==", "Zm9=", "Zm9v Zm9v", "Zm9v\n",   " Zm9v", "Zm9-",    "Zm9_",
        "Zg==Zg==", "Zg..", "Zm=9", "Z===",      "Zm9v\xff", "Zm9v!", "Zm9vYm=",
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        check(wrong[i], false, NULL);
}

static void lenient_decoding_takes_spaces_and_missing_padding(void **state)
{
    (void)state;
    check("Zg", true, "f");
    check("Zm8", true, "fo");
    check("Zm9vYg", true, "foob");
    check(" Z\tm\n9\rv Y m\v F\fy \n", true, "foobar");
    check("Zm9v\nYmE=\n", true, "fooba");
    check("Zg = =", true, "f");
    check("Zg..", true, "f");
    check("Zg.=", true, "f");
    check("Zh==", true, "f");
    check(" \n", true, "");
}

static void lenient_decoding_refuses_the_rest(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "Z",        "Zm9vY", "Zg=",  "Zg===", "Zm8==",    "Zm9v=",   "=",
        "Zg==Zg==", "Zm9-",  "Zm9_", "Zm9v!", "Zm9v\xff", "Z g = x",
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        check(wrong[i], true, NULL);
    uint8_t out[8];
    size_t len;
    assert_true(
        is(base64_decode(span_of("Zm9v\0", 5), (struct span_mut){out, 8}, true, &len), ERR_SYNTAX));
}

static void too_little_room_is_told(void **state)
{
    (void)state;
    uint8_t out[6];
    size_t len = 99;
    for (size_t room = 0; room < 6; room++) {
        assert_true(is(base64_decode(SPAN("Zm9vYmFy"), (struct span_mut){out, room}, false, &len),
                       ERR_TOO_LARGE));
        if (room < 5)
            assert_true(is(base64_decode(SPAN("Zm9vYmE"), (struct span_mut){out, room}, true, &len),
                           ERR_TOO_LARGE));
    }
    assert_int_equal(len, 99);
    assert_false(failed(base64_decode(SPAN_NONE, (struct span_mut){NULL, 0}, false, &len)));
    assert_int_equal(len, 0);
}

static void any_bytes_come_back_also_in_place(void **state)
{
    (void)state;
    uint64_t seed = 3;
    for (size_t len = 0; len < 300; len++) {
        uint8_t bytes[300];
        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)test_random(&seed);
        struct text text;
        text_init(&text, 500);
        base64_encode(&text, span_of(bytes, len));
        assert_false(failed(text_result(&text)));
        assert_true(base64_decoded_max(text.len) >= len);
        size_t back = 0;
        assert_false(failed(base64_decode(text_span(&text), (struct span_mut){text.ptr, text.len},
                                          len % 2, &back)));
        assert_int_equal(back, len);
        assert_true(span_eq(span_of(text.ptr, back), span_of(bytes, len)));
        text_release(&text);
    }
}

static void the_sizes_are_exact_or_just_enough(void **state)
{
    (void)state;
    assert_int_equal(base64_encoded_size(0), 0);
    assert_int_equal(base64_encoded_size(1), 4);
    assert_int_equal(base64_encoded_size(3), 4);
    assert_int_equal(base64_encoded_size(4), 8);
    assert_true(base64_encoded_size(SIZE_MAX) == SIZE_MAX);
    assert_int_equal(base64_decoded_max(0), 0);
    assert_int_equal(base64_decoded_max(2), 1);
    assert_int_equal(base64_decoded_max(3), 2);
    assert_int_equal(base64_decoded_max(8), 6);
    struct text text;
    text_init(&text, 7);
    base64_encode(&text, SPAN("abcdef"));
    assert_true(is(text_result(&text), ERR_TOO_LARGE));
    text_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_of_the_rfc_hold_both_ways),
        cmocka_unit_test(strict_decoding_takes_one_spelling_only),
        cmocka_unit_test(lenient_decoding_takes_spaces_and_missing_padding),
        cmocka_unit_test(lenient_decoding_refuses_the_rest),
        cmocka_unit_test(too_little_room_is_told),
        cmocka_unit_test(any_bytes_come_back_also_in_place),
        cmocka_unit_test(the_sizes_are_exact_or_just_enough),
    };
    return cmocka_run_group_tests_name("base/base64", tests, NULL, NULL);
}
