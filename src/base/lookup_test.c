#include "base/lookup.h"
#include "base/test_cmocka.h"

static const char *const keys[] = {
    "models", "listeners", "log_level", "port", "max_batch_size", "batch_timeout",
};

static const char *nearest(const char *word)
{
    return text_nearest(span_cstr(word), keys, ARRAY_LEN(keys));
}

static void each_kind_of_slip_finds_its_key(void **state)
{
    (void)state;
    assert_string_equal(nearest("modls"), "models");
    assert_string_equal(nearest("moddels"), "models");
    assert_string_equal(nearest("modals"), "models");
    assert_string_equal(nearest("prot"), "port");
    assert_string_equal(nearest("Port"), "port");
    assert_string_equal(nearest("LOG-LEVEL"), "log_level");
    assert_string_equal(nearest("batch_timout"), "batch_timeout");
    assert_string_equal(nearest("maxbatchsize"), "max_batch_size");
    assert_string_equal(nearest("port"), "port");
}

static void words_that_are_far_from_all_find_none(void **state)
{
    (void)state;
    assert_null(nearest("colour"));
    assert_null(nearest("x"));
    assert_null(nearest(""));
    assert_null(nearest("part_two"));
    assert_null(text_nearest(SPAN("port"), keys, 0));
    char word[LOOKUP_WORD_MAX + 2];
    memset(word, 'p', sizeof(word));
    const char *const candidates[] = {"pppp"};
    assert_null(text_nearest(span_of(word, sizeof(word)), candidates, 1));
}

static void of_two_equally_near_the_earlier_wins(void **state)
{
    (void)state;
    const char *const candidates[] = {"bat", "cat", "hat"};
    assert_string_equal(text_nearest(SPAN("rat"), candidates, 3), "bat");
    assert_string_equal(text_nearest(SPAN("ct"), candidates, 3), "cat");
}

static void candidates_that_are_too_long_are_passed_over(void **state)
{
    (void)state;
    char big[LOOKUP_WORD_MAX + 2];
    memset(big, 'p', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    const char *const candidates[] = {big, big + 1};
    struct span word = span_of(big, LOOKUP_WORD_MAX);
    assert_ptr_equal(text_nearest(word, candidates, 2), big + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_of_slip_finds_its_key),
        cmocka_unit_test(words_that_are_far_from_all_find_none),
        cmocka_unit_test(of_two_equally_near_the_earlier_wins),
        cmocka_unit_test(candidates_that_are_too_long_are_passed_over),
    };
    return cmocka_run_group_tests_name("base/lookup", tests, NULL, NULL);
}
