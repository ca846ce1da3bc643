/* What every version of HTTP shares: methods, status texts, a header field. */
#pragma once

#include "base/span.h"

/* X(name): the methods that Weir routes (RFC 9110 §9.1, RFC 5789). */
#define HTTP_METHODS(X) \
    X(GET) \
    X(HEAD) \
    X(POST) \
    X(PUT) \
    X(DELETE) \
    X(OPTIONS) \
    X(PATCH) \
    X(CONNECT) \
    X(TRACE)

/* METHOD_GET, ...: llhttp.h has taken HTTP_GET. */
enum http_method {
#define X(name) METHOD_##name,
    HTTP_METHODS(X)
#undef X
        METHOD_OTHER, /* any other valid token */
};

struct http_header {
    struct span name, value;
};

/* "GET"; "OTHER" for METHOD_OTHER. */
const char *http_method_name(enum http_method method);
/* Case-sensitive (RFC 9110 §9.1). */
enum http_method http_method_of(struct span token);
/* "Not Found" (RFC 9110 §15, RFC 6585, and 499 as nginx has it); "" when unknown. */
const char *http_reason(int status);

/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 §5.6.7), NUL-terminated, of seconds since
 * 1970. Years outside 1970 to 9999 are clamped. */
#define HTTP_DATE_SIZE 30
void http_date(int64_t seconds, char text[HTTP_DATE_SIZE]);
/* The inverse; false for anything else, the two obsolete forms among it. */
bool http_date_parse(struct span text, int64_t *ret_seconds);
