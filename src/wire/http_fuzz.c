/* Dates, held against the C library's calendar; methods and reasons. */
#include "base/test_fuzz.h"
#include "wire/http.h"

#include <time.h>

static void check_date(int64_t seconds)
{
    char text[HTTP_DATE_SIZE], again[HTTP_DATE_SIZE], expected[64];
    int64_t back = -1;
    http_date(seconds, text);
    ASSERT(http_date_parse(span_cstr(text), &back));
    http_date(back, again);
    ASSERT(strcmp(text, again) == 0);
    if (seconds < 0 || seconds > 253402300799)
        return;
    struct tm tm;
    time_t time = (time_t)seconds;
    ASSERT(back == seconds && gmtime_r(&time, &tm));
    ASSERT(strftime(expected, sizeof(expected), "%a, %d %b %Y %H:%M:%S GMT", &tm) > 0);
    ASSERT(strcmp(text, expected) == 0);
}

static void check_reason(int status)
{
    for (const char *c = http_reason(status); *c; c++)
        ASSERT(*c >= ' ' && *c <= '~');
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct span text = span_of(bytes, len);
    char again[HTTP_DATE_SIZE];
    int64_t seconds = INT64_MIN;
    if (http_date_parse(text, &seconds)) {
        http_date(seconds, again);
        ASSERT(span_is(text, again));
        check_date(seconds);
    } else {
        ASSERT(seconds == INT64_MIN);
    }
    enum http_method method = http_method_of(text);
    ASSERT((method == METHOD_OTHER) != span_is(text, http_method_name(method)) ||
           span_is(text, "OTHER"));
    check_date((int64_t)(fuzz_seed(text) >> 24));
    check_date((int64_t)fuzz_seed(text));
    for (int status = 0; status < 600; status++)
        check_reason(status);
    return 0;
}
