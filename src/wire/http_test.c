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
    }
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
        cmocka_unit_test(a_method_is_found_by_its_exact_name_only),
        cmocka_unit_test(a_status_has_its_reason_and_an_unknown_one_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
