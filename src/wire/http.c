#include "wire/http.h"

#include <stdio.h>

static const char *const method_names[] = {
#define X(name) [METHOD_##name] = #name,
    HTTP_METHODS(X)
#undef X
        [METHOD_OTHER] = "OTHER",
};

const char *http_method_name(enum http_method method)
{
    return (unsigned)method <= METHOD_OTHER ? method_names[method] : "OTHER";
}

enum http_method http_method_of(struct span token)
{
    for (int m = 0; m < METHOD_OTHER; m++)
        if (span_is(token, method_names[m]))
            return (enum http_method)m;
    return METHOD_OTHER;
}

/* long: one table */
const char *http_reason(int status)
{
    switch (status) {
    case 100:
        return "Continue";
    case 101:
        return "Switching Protocols";
    case 200:
        return "OK";
    case 201:
        return "Created";
    case 202:
        return "Accepted";
    case 203:
        return "Non-Authoritative Information";
    case 204:
        return "No Content";
    case 205:
        return "Reset Content";
    case 206:
        return "Partial Content";
    case 300:
        return "Multiple Choices";
    case 301:
        return "Moved Permanently";
    case 302:
        return "Found";
    case 303:
        return "See Other";
    case 304:
        return "Not Modified";
    case 307:
        return "Temporary Redirect";
    case 308:
        return "Permanent Redirect";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 402:
        return "Payment Required";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 406:
        return "Not Acceptable";
    case 407:
        return "Proxy Authentication Required";
    case 408:
        return "Request Timeout";
    case 409:
        return "Conflict";
    case 410:
        return "Gone";
    case 411:
        return "Length Required";
    case 412:
        return "Precondition Failed";
    case 413:
        return "Content Too Large";
    case 414:
        return "URI Too Long";
    case 415:
        return "Unsupported Media Type";
    case 416:
        return "Range Not Satisfiable";
    case 417:
        return "Expectation Failed";
    case 421:
        return "Misdirected Request";
    case 422:
        return "Unprocessable Content";
    case 426:
        return "Upgrade Required";
    case 428:
        return "Precondition Required";
    case 429:
        return "Too Many Requests";
    case 431:
        return "Request Header Fields Too Large";
    case 499:
        return "Client Closed Request";
    case 500:
        return "Internal Server Error";
    case 501:
        return "Not Implemented";
    case 502:
        return "Bad Gateway";
    case 503:
        return "Service Unavailable";
    case 504:
        return "Gateway Timeout";
    case 505:
        return "HTTP Version Not Supported";
    case 511:
        return "Network Authentication Required";
    default:
        return "";
    }
}

/* Days to civil date: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms",
 * civil_from_days. */
static void civil_of_days(int64_t days, int *ret_year, unsigned *ret_month, unsigned *ret_day)
{
    days += 719468;
    int64_t era = days / 146097;
    unsigned day_of_era = (unsigned)(days - era * 146097);
    unsigned year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned month = (5 * day_of_year + 2) / 153;
    *ret_day = day_of_year - (153 * month + 2) / 5 + 1;
    *ret_month = month < 10 ? month + 3 : month - 9;
    *ret_year = (int)(year_of_era + era * 400 + (*ret_month <= 2));
}

/* The way back, days_from_civil of the same paper. */
static int64_t days_of_civil(int year, unsigned month, unsigned day)
{
    year -= month <= 2;
    int64_t era = year / 400;
    unsigned year_of_era = (unsigned)(year - era * 400);
    unsigned day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    unsigned day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

void http_date(int64_t seconds, char text[HTTP_DATE_SIZE])
{
    static const char days[][4] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
    const int64_t last = 253402300799; /* the end of year 9999 */
    seconds = seconds < 0 ? 0 : seconds > last ? last : seconds;
    int year;
    unsigned month, day;
    civil_of_days(seconds / 86400, &year, &month, &day);
    unsigned in_day = (unsigned)(seconds % 86400);
    snprintf(text, HTTP_DATE_SIZE, "%s, %02u %s %04u %02u:%02u:%02u GMT",
             days[(seconds / 86400) % 7], day % 100, months[month - 1], (unsigned)year % 10000,
             in_day / 3600, in_day / 60 % 60, in_day % 60);
}

static unsigned digits(struct span text, size_t at, size_t len)
{
    unsigned value = 0;
    for (size_t i = at; i < at + len; i++)
        value = value * 10 + (unsigned)(text.ptr[i] - '0');
    return value;
}

bool http_date_parse(struct span text, int64_t *ret_seconds)
{
    if (text.len != HTTP_DATE_SIZE - 1)
        return false;
    unsigned month = 1;
    while (month < 12 && memcmp(text.ptr + 8, months[month - 1], 3) != 0)
        month++;
    unsigned year = digits(text, 12, 4);
    int64_t days = days_of_civil((int)(year % 10000), month, digits(text, 5, 2) % 100);
    int64_t in_day = (int64_t)(digits(text, 17, 2) % 100) * 3600 + digits(text, 20, 2) % 100 * 60 +
                     digits(text, 23, 2) % 100;
    int64_t seconds = days * 86400 + in_day;
    /* Whatever was read from what is no date is written otherwise. */
    char back[HTTP_DATE_SIZE];
    http_date(seconds, back);
    if (!span_is(text, back))
        return false;
    *ret_seconds = seconds;
    return true;
}
