#include "config/value.h"

#include "base/test_cmocka.h"
#include "base/text.h"

#include <stdio.h>

static const char *const colours[] = {"red", "green", NULL};

static const struct config_key keys[] = {
    [CONFIG_BOOL] = {.type = CONFIG_BOOL},
    [CONFIG_INT] = {.type = CONFIG_INT, .min = INT64_MIN},
    [CONFIG_REAL] = {.type = CONFIG_REAL, .min = -1000000000},
    [CONFIG_SIZE] = {.type = CONFIG_SIZE},
    [CONFIG_TIME] = {.type = CONFIG_TIME, .word = "never", .word_value = TIME_NEVER},
    [CONFIG_TEXT] = {.type = CONFIG_TEXT},
    [CONFIG_PATH] = {.type = CONFIG_PATH},
    [CONFIG_NAME] = {.type = CONFIG_NAME},
    [CONFIG_ENUM] = {.type = CONFIG_ENUM, .choices = colours},
    [CONFIG_ADDRESS] = {.type = CONFIG_ADDRESS, .word = "off"},
    [CONFIG_TEXTS] = {.type = CONFIG_TEXTS},
};

union any {
    bool boolean;
    int64_t number;
    uint64_t size;
    double real;
    const char *text;
    int index;
    struct config_address address;
    struct config_texts texts;
};

struct good_value {
    enum config_type type;
    const char *text, *printed; /* printed NULL: as the text */
    int64_t number;             /* of INT, SIZE, TIME */
};

static const struct good_value good_values[] = {
    {CONFIG_BOOL, "true"},
    {CONFIG_BOOL, "false"},
    {CONFIG_BOOL, "TRUE", "true"},
    {CONFIG_BOOL, "False", "false"},
    {CONFIG_INT, "0", NULL, 0},
    {CONFIG_INT, "-0", "0", 0},
    {CONFIG_INT, "+12", "12", 12},
    {CONFIG_INT, "-12", NULL, -12},
    {CONFIG_INT, "0x1F", "31", 31},
    {CONFIG_INT, "0o600", "384", 384},
    {CONFIG_INT, "9223372036854775807", NULL, INT64_MAX},
    {CONFIG_INT, "-9223372036854775808", NULL, INT64_MIN},
    {CONFIG_INT, "0x7fffffffffffffff", "9223372036854775807", INT64_MAX},
    {CONFIG_REAL, "0.25"},
    {CONFIG_REAL, "-2.5e-7"},
    {CONFIG_REAL, "3", "3.0"},
    {CONFIG_REAL, "0.1"},
    {CONFIG_SIZE, "0", NULL, 0},
    {CONFIG_SIZE, "1", NULL, 1},
    {CONFIG_SIZE, "7B", "7", 7},
    {CONFIG_SIZE, "1000", "1kB", 1000},
    {CONFIG_SIZE, "512kB", "500KiB", 512000},
    {CONFIG_SIZE, "3kB", "3kB", 3000},
    {CONFIG_SIZE, "2MB", NULL, 2000000},
    {CONFIG_SIZE, "7GB", NULL, 7000000000},
    {CONFIG_SIZE, "9TB", NULL, 9000000000000},
    {CONFIG_SIZE, "64MiB", NULL, 64 << 20},
    {CONFIG_SIZE, "1024KiB", "1MiB", 1 << 20},
    {CONFIG_SIZE, "3GiB", NULL, (int64_t)3 << 30},
    {CONFIG_SIZE, "8388607TiB", NULL, (int64_t)8388607 << 40},
    {CONFIG_SIZE, "9223372036854775806", NULL, INT64_MAX - 1},
    {CONFIG_TIME, "0", NULL, 0},
    {CONFIG_TIME, "1ns", NULL, 1},
    {CONFIG_TIME, "250us", NULL, 250 * IO_US},
    {CONFIG_TIME, "1500ms", NULL, 1500 * IO_MS},
    {CONFIG_TIME, "1000ms", "1s", IO_SEC},
    {CONFIG_TIME, "90s", NULL, 90 * IO_SEC},
    {CONFIG_TIME, "120m", "2h", 7200 * IO_SEC},
    {CONFIG_TIME, "2562047h", NULL, 2562047 * (3600 * IO_SEC)},
    {CONFIG_TIME, "9223372036854775806ns", NULL, INT64_MAX - 1},
    {CONFIG_TIME, "never", NULL, TIME_NEVER},
    {CONFIG_TEXT, "plain-text_1.5/x:y@z"},
    {CONFIG_TEXT, "two words", "\"two words\""},
    {CONFIG_TEXT, "", "\"\""},
    {CONFIG_TEXT, "null", "\"null\""},
    {CONFIG_TEXT, "-a", "\"-a\""},
    {CONFIG_TEXT, "a:", "\"a:\""},
    {CONFIG_TEXT, "q\"\\\n", "\"q\\\"\\\\\\x0a\""},
    {CONFIG_PATH, "/srv/weir.d"},
    {CONFIG_NAME, "a"},
    {CONFIG_NAME, "Resnet_50-v1.5"},
    {CONFIG_ENUM, "red"},
    {CONFIG_ENUM, "green"},
    {CONFIG_ADDRESS, "127.0.0.1:8080"},
    {CONFIG_ADDRESS, "off"},
    {CONFIG_TEXTS, "a, b", "[\"a, b\"]"},
};

static void every_type_is_read_and_printed_back_canonically(void **state)
{
    struct arena arena;
    struct text printed;
    arena_init(&arena, 1024, 65536);
    text_init(&printed, 1024);
    for (size_t i = 0; i < ARRAY_LEN(good_values); i++) {
        const struct good_value *good = &good_values[i];
        const struct config_key *key = &keys[good->type];
        union any value = {0};
        struct diag diag = {0};
        if (failed(config_value_parse(key, span_cstr(good->text), false, &arena, &value, &diag)))
            fail_msg("%s: %s", good->text, diag.text);
        if (key->type == CONFIG_INT || key->type == CONFIG_SIZE || key->type == CONFIG_TIME)
            assert_true(value.number == good->number);
        text_clear(&printed);
        config_value_format(key, &value, &printed);
        assert_string_equal(text_cstr(&printed), good->printed ? good->printed : good->text);
    }
    text_release(&printed);
    arena_release(&arena);
}

struct bad_value {
    enum config_type type;
    const char *text, *message;
};

#define WHOLE "expected a whole number of at least -9223372036854775808, got "
#define REAL "expected a number of at least -1000000000, got "
#define SIZE "expected a size such as 64MiB or 512kB, got "
#define TIME "expected never or a time such as 10s or 250ms, got "
#define NAME "expected a name of letters, digits, '_', '-' and '.', got "

static const struct bad_value bad_values[] = {
    {CONFIG_BOOL, "yes", "expected true or false, got 'yes'"},
    {CONFIG_BOOL, "1", "expected true or false, got '1'"},
    {CONFIG_BOOL, "", "expected true or false, got ''"},
    {CONFIG_INT, "", WHOLE "''"},
    {CONFIG_INT, "-", WHOLE "'-'"},
    {CONFIG_INT, "0600", WHOLE "'0600'"},
    {CONFIG_INT, "1_000", WHOLE "'1_000'"},
    {CONFIG_INT, "1e3", WHOLE "'1e3'"},
    {CONFIG_INT, "0x", WHOLE "'0x'"},
    {CONFIG_INT, "0o8", WHOLE "'0o8'"},
    {CONFIG_INT, "-0x1", WHOLE "'-0x1'"},
    {CONFIG_INT, "9223372036854775808", WHOLE "'9223372036854775808'"},
    {CONFIG_INT, "-9223372036854775809", WHOLE "'-9223372036854775809'"},
    {CONFIG_INT, "18446744073709551616", WHOLE "'18446744073709551616'"},
    {CONFIG_REAL, ".5", REAL "'.5'"},
    {CONFIG_REAL, "1.", REAL "'1.'"},
    {CONFIG_REAL, ".inf", REAL "'.inf'"},
    {CONFIG_REAL, ".nan", REAL "'.nan'"},
    {CONFIG_REAL, "1e999", REAL "'1e999'"},
    {CONFIG_REAL, "0x1p3", REAL "'0x1p3'"},
    {CONFIG_REAL, "-2e9", REAL "'-2e9'"},
    {CONFIG_SIZE, "-1", SIZE "'-1'"},
    {CONFIG_SIZE, "1.5MiB", SIZE "'1.5MiB'"},
    {CONFIG_SIZE, "1 MiB", SIZE "'1 MiB'"},
    {CONFIG_SIZE, "1mib", SIZE "'1mib'"},
    {CONFIG_SIZE, "MiB", SIZE "'MiB'"},
    {CONFIG_SIZE, "9223372036854775807", SIZE "'9223372036854775807'"},
    {CONFIG_SIZE, "8388608TiB", SIZE "'8388608TiB'"},
    {CONFIG_SIZE, "16777216TiB", SIZE "'16777216TiB'"},
    {CONFIG_TIME, "10", TIME "'10'"},
    {CONFIG_TIME, "1d", TIME "'1d'"},
    {CONFIG_TIME, "-1s", TIME "'-1s'"},
    {CONFIG_TIME, "2562048h", TIME "'2562048h'"},
    {CONFIG_TIME, "9223372036854775807ns", TIME "'9223372036854775807ns'"},
    {CONFIG_PATH, "", "expected a path, got ''"},
    {CONFIG_NAME, "", NAME "''"},
    {CONFIG_NAME, ".a", NAME "'.a'"},
    {CONFIG_NAME, "a/b", NAME "'a/b'"},
    {CONFIG_NAME, "caf\xc3\xa9", NAME "'caf..'"},
    {CONFIG_ENUM, "Red", "expected one of red, green, got 'Red'"},
};

static void a_wrong_value_is_refused_and_leaves_the_field_alone(void **state)
{
    struct arena arena;
    arena_init(&arena, 1024, 65536);
    for (size_t i = 0; i < ARRAY_LEN(bad_values); i++) {
        union any value, before;
        struct diag diag = {0};
        memset(&value, 0x5a, sizeof(value));
        memcpy(&before, &value, sizeof(before));
        result r = config_value_parse(&keys[bad_values[i].type], span_cstr(bad_values[i].text),
                                      false, &arena, &value, &diag);
        assert_true(failed(r));
        assert_string_equal(diag.text, bad_values[i].message);
        assert_memory_equal(&value, &before, sizeof(value));
    }
    arena_release(&arena);
}

static void limits_are_inclusive_and_words_are_free_of_them(void **state)
{
    static const struct config_key key = {
        .type = CONFIG_TIME, .min = IO_MS, .max = IO_SEC, .word = "off", .word_value = 0};
    static const struct {
        const char *text;
        bool good;
    } cases[] = {{"1ms", true},       {"1s", true},     {"999999ns", false},
                 {"1001ms", false},   {"off", true},    {"0", false},
                 {"1000000ns", true}, {"never", false}, {"1000ms", true}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        io_time value = 0;
        struct diag diag = {0};
        result r = config_value_parse(&key, span_cstr(cases[i].text), false, NULL, &value, &diag);
        assert_true(failed(r) != cases[i].good);
        assert_true(cases[i].good || strstr(diag.text, "from 1ms to 1s, got"));
    }
}

static void texts_have_a_longest_length(void **state)
{
    static char text[4098];
    static const struct config_key name = {.type = CONFIG_NAME};
    struct arena arena;
    arena_init(&arena, 1024, 65536);
    memset(text, 'a', sizeof(text) - 1);
    const char *value = NULL;
    struct config_texts texts = {0};
    assert_true(
        is(config_value_parse(&keys[CONFIG_TEXT], span_of(text, 4097), false, &arena, &value, NULL),
           ERR_TOO_LARGE));
    assert_false(failed(
        config_value_parse(&keys[CONFIG_TEXT], span_of(text, 4096), false, &arena, &value, NULL)));
    assert_true(is(config_value_parse(&name, span_of(text, 129), false, &arena, &value, NULL),
                   ERR_TOO_LARGE));
    assert_false(
        failed(config_value_parse(&name, span_of(text, 128), false, &arena, &value, NULL)));
    assert_true(is(
        config_value_parse(&keys[CONFIG_TEXTS], span_of(text, 4097), false, &arena, &texts, NULL),
        ERR_TOO_LARGE));
    arena_release(&arena);
}

static void quotes_make_a_text_of_a_number_but_not_of_a_size(void **state)
{
    int64_t number = 0;
    uint64_t size = 0;
    struct diag diag = {0};
    assert_true(is(config_value_parse(&keys[CONFIG_INT], SPAN("8080"), true, NULL, &number, &diag),
                   ERR_TYPE));
    assert_string_equal(diag.text, WHOLE "the text \"8080\" (remove the quotes)");
    assert_false(
        failed(config_value_parse(&keys[CONFIG_SIZE], SPAN("1KiB"), true, NULL, &size, NULL)));
    assert_int_equal(size, 1024);
}

static void a_secret_is_never_printed(void **state)
{
    static const struct config_key key = {.type = CONFIG_TEXT, .secret = true};
    struct text printed;
    text_init(&printed, 100);
    const char *value = "hunter2";
    config_value_format(&key, &value, &printed);
    assert_string_equal(text_cstr(&printed), "(secret)");
    text_clear(&printed);
    value = NULL;
    config_value_format(&key, &value, &printed);
    assert_string_equal(text_cstr(&printed), "null");
    text_release(&printed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_is_read_and_printed_back_canonically),
        cmocka_unit_test(a_wrong_value_is_refused_and_leaves_the_field_alone),
        cmocka_unit_test(limits_are_inclusive_and_words_are_free_of_them),
        cmocka_unit_test(texts_have_a_longest_length),
        cmocka_unit_test(quotes_make_a_text_of_a_number_but_not_of_a_size),
        cmocka_unit_test(a_secret_is_never_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
