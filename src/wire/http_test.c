#include "wire/http.h"

#include "base/test_cmocka.h"

static void a_date_is_written_as_http_wants_it(void **state)
{
    static const struct {
        int64_t seconds;
        const char *text;
    } cases[] = {
        {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"}, /* RFC 9110 §5.6.7 */
        {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
        {4107542399, "Sun, 28 Feb 2100 23:59:59 GMT"},
        {4107542400, "Mon, 01 Mar 2100 00:00:00 GMT"},
        {253402300799, "Fri, 31 Dec 9999 23:59:59 GMT"},
        {INT64_MAX, "Fri, 31 Dec 9999 23:59:59 GMT"},
        {-1, "Thu, 01 Jan 1970 00:00:00 GMT"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[HTTP_DATE_SIZE];
        http_date(cases[i].seconds, text);
        assert_string_equal(text, cases[i].text);
        int64_t back = -1;
        assert_true(http_date_parse(span_cstr(text), &back));
        assert_true(back == cases[i].seconds || cases[i].seconds < 0 || back == 253402300799);
    }
}

static void what_is_no_date_is_not_read_as_one(void **state)
{
    static const char *const texts[] = {
        "",
        "Sun, 06 Nov 1994 08:49:37 GM",
        "Mon, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:60 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nob 1994 08:49:37 GMT",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun,  6 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GM",
    };
    int64_t seconds = 7;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_false(http_date_parse(span_cstr(texts[i]), &seconds));
    uint8_t bytes[HTTP_DATE_SIZE - 1];
    for (int byte = 0; byte < 256; byte++) {
        memset(bytes, byte, sizeof(bytes));
        assert_false(http_date_parse(span_of(bytes, sizeof(bytes)), &seconds));
    }
    assert_int_equal(seconds, 7);
}

static void a_method_is_found_by_its_exact_name_only(void **state)
{
    assert_int_equal(http_method_of(SPAN("GET")), METHOD_GET);
    assert_int_equal(http_method_of(SPAN("TRACE")), METHOD_TRACE);
    assert_int_equal(http_method_of(SPAN("get")), METHOD_OTHER);
    assert_int_equal(http_method_of(SPAN("GETS")), METHOD_OTHER);
    assert_int_equal(http_method_of(SPAN_NONE), METHOD_OTHER);
    assert_string_equal(http_method_name(METHOD_PATCH), "PATCH");
    assert_string_equal(http_method_name(METHOD_OTHER), "OTHER");
}

static void a_status_has_its_reason_and_an_unknown_one_none(void **state)
{
    assert_string_equal(http_reason(200), "OK");
    assert_string_equal(http_reason(429), "Too Many Requests");
    assert_string_equal(http_reason(511), "Network Authentication Required");
    assert_string_equal(http_reason(299), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_date_is_written_as_http_wants_it),
        cmocka_unit_test(what_is_no_date_is_not_read_as_one),
        cmocka_unit_test(a_method_is_found_by_its_exact_name_only),
        cmocka_unit_test(a_status_has_its_reason_and_an_unknown_one_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
