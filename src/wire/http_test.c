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

/* The names of RFC 9110 §15 and RFC 6585, written down here a second time: what reads like
 * one status must not be sent as another. 306 is unused, 418 no status. */
static void a_status_has_its_reason_and_an_unknown_one_none(void **state)
{
    static const struct {
        int status;
        const char *reason;
    } named[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {203, "Non-Authoritative Information"},
        {204, "No Content"},
        {205, "Reset Content"},
        {206, "Partial Content"},
        {300, "Multiple Choices"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {402, "Payment Required"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {407, "Proxy Authentication Required"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {426, "Upgrade Required"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {499, "Client Closed Request"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {511, "Network Authentication Required"},
    };
    size_t next = 0;
    for (int status = 0; status < 1000; status++) {
        bool has = next < ARRAY_LEN(named) && named[next].status == status;
        assert_string_equal(http_reason(status), has ? named[next].reason : "");
        next += has;
    }
    assert_int_equal(next, ARRAY_LEN(named));
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
