#include "wire/http1_head.h"

#include "wire/url.h"

#define FAULT(code, text) ((struct h1_fault){(code), (text)})
#define FINE FAULT(0, NULL)

/* ---- names ---- */

static const uint8_t tchars[256] = {
    ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1, ['!'] = 1, ['#'] = 1, ['$'] = 1,
    ['%'] = 1,         ['&'] = 1,         ['\''] = 1,        ['*'] = 1, ['+'] = 1, ['-'] = 1,
    ['.'] = 1,         ['^'] = 1,         ['_'] = 1,         ['`'] = 1, ['|'] = 1, ['~'] = 1,
};

bool h1_tchar(uint8_t c)
{
    return tchars[c];
}

static bool is_token(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!tchars[s.ptr[i]])
            return false;
    return s.len > 0;
}

static const struct span known_names[] = {
#define X(id, first, name) [H1_FIELD_##id] = SPAN_INIT(name),
    H1_KNOWN(X)
#undef X
};

enum h1_known h1_known_of(struct span name)
{
    enum h1_known id;
    if (name.len == 0 || name.len > 255)
        return H1_FIELD_UNKNOWN;
    switch (name.len << 8 | (name.ptr[0] | 0x20)) {
#define X(id_, first, text) \
    case (sizeof(text) - 1) << 8 | (first): \
        id = H1_FIELD_##id_; \
        break;
        H1_KNOWN(X)
#undef X
    default:
        return H1_FIELD_UNKNOWN;
    }
    return span_eq_nocase(name, known_names[id]) ? id : H1_FIELD_UNKNOWN;
}

/* ---- first lines ---- */

/* "HTTP/1.1"; anything from 1.1 to 1.9 is 1.1 (RFC 9110 §2.5). */
static struct h1_fault read_version(struct span text, uint8_t *ret_minor)
{
    if (text.len != 8 || !span_starts(text, SPAN("HTTP/")) || text.ptr[6] != '.' ||
        text.ptr[5] < '0' || text.ptr[5] > '9' || text.ptr[7] < '0' || text.ptr[7] > '9')
        return FAULT(400, "malformed HTTP version");
    if (text.ptr[5] != '1')
        return FAULT(505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    *ret_minor = text.ptr[7] != '0';
    return FINE;
}

/* The four forms of RFC 9112 §3.2. */
static struct h1_fault read_target(struct h1_head *head)
{
    struct span target = head->target;
    head->port = -1;
    if (!url_target_valid(target))
        return FAULT(400, "a byte that may not stand in a request target");
    if (head->method == METHOD_CONNECT) {
        struct url_authority authority;
        if (failed(url_authority_parse(target, &authority)) || authority.host.len == 0 ||
            authority.port < 0)
            return FAULT(400, "CONNECT needs host:port as its target");
        head->host = authority.host;
        head->port = authority.port;
        return FINE;
    }
    if (target.ptr[0] == '/') {
        url_split_query(target, &head->path, &head->query);
        return FINE;
    }
    if (target.ptr[0] == '*') {
        if (target.len != 1 || head->method != METHOD_OPTIONS)
            return FAULT(400, "an asterisk is a target for OPTIONS only");
        head->path = target;
        return FINE;
    }
    struct url url;
    if (failed(url_parse(target, &url)))
        return FAULT(400, "the target is neither a path nor an http URI");
    head->host = url.authority.host;
    head->port = url.authority.port;
    head->path = url.path;
    head->query = url.query;
    return FINE;
}

bool h1_preface_line(struct span line)
{
    return span_eq(line, SPAN("PRI * HTTP/2.0"));
}

struct h1_fault h1_request_line(struct span line, struct h1_head *head)
{
    size_t space = span_find(line, ' ');
    head->method_text = span_first(line, space);
    if (!is_token(head->method_text))
        return FAULT(400, "the method is no token");
    struct span rest = span_from(line, space + 1);
    space = span_find(rest, ' ');
    head->target = span_first(rest, space);
    if (head->target.len == 0)
        return FAULT(400, "no request target");
    if (space == rest.len)
        return FAULT(400, "no HTTP version: HTTP/0.9 is not served");
    struct h1_fault fault = read_version(span_from(rest, space + 1), &head->minor);
    if (fault.status)
        return fault;
    head->method = http_method_of(head->method_text);
    return read_target(head);
}

struct h1_fault h1_status_line(struct span line, struct h1_head *head)
{
    struct h1_fault fault = read_version(span_first(line, 8), &head->minor);
    if (fault.status)
        return FAULT(502, fault.reason);
    struct span rest = span_from(line, 8);
    if (rest.len < 4 || rest.ptr[0] != ' ')
        return FAULT(502, "malformed status line");
    int status = 0;
    for (int i = 1; i < 4; i++) {
        if (rest.ptr[i] < '0' || rest.ptr[i] > '9')
            return FAULT(502, "the status code is not three digits");
        status = status * 10 + (rest.ptr[i] - '0');
    }
    if (status < 100)
        return FAULT(502, "the status code is below 100");
    rest = span_from(rest, 4);
    if (rest.len > 0 && rest.ptr[0] != ' ')
        return FAULT(502, "the status code is not three digits");
    head->status = status;
    head->reason = span_from(rest, 1);
    for (size_t i = 0; i < head->reason.len; i++) {
        uint8_t c = head->reason.ptr[i];
        if ((c < ' ' && c != '\t') || c == 0x7f)
            return FAULT(502, "a control byte in the reason phrase");
    }
    return FINE;
}

/* ---- fields ---- */

/* What the fields say one by one, before it is put together. */
struct gathered {
    struct span host;
    unsigned hosts, lengths;
    bool coded, chunked, other_coding; /* Transfer-Encoding */
    bool close, keep_alive, upgrade;   /* Connection */
    bool expect_continue, expect_other;
};

/* The next element of a comma-separated list, trimmed; may be empty. */
static bool list_next(struct span *rest, struct span *ret_element)
{
    if (!rest->ptr)
        return false;
    *ret_element = span_trim(span_cut(rest, ','));
    return true;
}

/* RFC 9112 §6.1: chunked once and last. Elements may be spread over several fields. */
static struct h1_fault gather_coding(struct gathered *g, struct span value)
{
    struct span element;
    g->coded = true;
    while (list_next(&value, &element)) {
        if (element.len == 0)
            return FAULT(400, "an empty element in Transfer-Encoding");
        if (g->chunked)
            return FAULT(400, "chunked is not the last transfer coding");
        if (span_eq_nocase(element, SPAN("chunked")))
            g->chunked = true;
        else
            g->other_coding = true;
    }
    return FINE;
}

/* RFC 9110 §8.6: digits and nothing else. */
static struct h1_fault gather_length(struct gathered *g, struct span value, struct h1_head *head)
{
    int64_t length = 0;
    if (g->lengths++ > 0)
        return FAULT(400, "more than one Content-Length");
    if (value.len == 0)
        return FAULT(400, "an empty Content-Length");
    for (size_t i = 0; i < value.len; i++) {
        int digit = value.ptr[i] - '0';
        if (digit < 0 || digit > 9)
            return FAULT(400, "Content-Length is no decimal number");
        if (__builtin_mul_overflow(length, 10, &length) ||
            __builtin_add_overflow(length, digit, &length))
            return FAULT(400, "Content-Length is out of range");
    }
    head->content_length = length;
    return FINE;
}

static void gather_connection(struct gathered *g, struct span value)
{
    struct span element;
    while (list_next(&value, &element)) {
        if (span_eq_nocase(element, SPAN("close")))
            g->close = true;
        else if (span_eq_nocase(element, SPAN("keep-alive")))
            g->keep_alive = true;
        else if (span_eq_nocase(element, SPAN("upgrade")))
            g->upgrade = true;
    }
}

/* RFC 9110 §10.1.1 */
static void gather_expect(struct gathered *g, struct span value)
{
    struct span element;
    while (list_next(&value, &element)) {
        if (span_eq_nocase(element, SPAN("100-continue")))
            g->expect_continue = true;
        else if (element.len > 0)
            g->expect_other = true;
    }
}

static struct h1_fault gather(struct gathered *g, struct h1_head *head)
{
    struct h1_fault fault = FINE;
    for (size_t i = 0; i < head->headers_len && !fault.status; i++) {
        struct h1_header *header = &head->headers[i];
        header->id = h1_known_of(header->name);
        header->value = span_trim(header->value);
        switch (header->id) {
        case H1_FIELD_HOST:
            g->host = header->value;
            g->hosts++;
            break;
        case H1_FIELD_TRANSFER_ENCODING:
            fault = gather_coding(g, header->value);
            break;
        case H1_FIELD_CONTENT_LENGTH:
            fault = gather_length(g, header->value, head);
            break;
        case H1_FIELD_CONNECTION:
            gather_connection(g, header->value);
            break;
        case H1_FIELD_UPGRADE:
            head->upgrade_to = header->value;
            break;
        case H1_FIELD_EXPECT:
            gather_expect(g, header->value);
            break;
        case H1_FIELD_CONTENT_TYPE:
            head->content_type = header->value;
            break;
        default:
            break;
        }
    }
    return fault;
}

/* RFC 9112 §3.2, §3.2.2: exactly one in HTTP/1.1, valid even where the target has an
 * authority of its own, which then counts instead. */
static struct h1_fault check_host(const struct gathered *g, struct h1_head *head)
{
    struct url_authority authority = {.port = -1};
    if (g->hosts == 0 && head->minor == 1)
        return FAULT(400, "no Host");
    if (g->hosts > 1)
        return FAULT(400, "more than one Host");
    if (g->hosts && failed(url_authority_parse(g->host, &authority)))
        return FAULT(400, "malformed Host");
    if (!head->host.ptr) {
        head->host = authority.host;
        head->port = authority.port;
    }
    return FINE;
}

/* RFC 9112 §6.1, §6.3 for both roles. */
static struct h1_fault check_coding(const struct gathered *g, const struct h1_head *head)
{
    if (!g->coded)
        return FINE;
    if (head->minor == 0)
        return FAULT(400, "Transfer-Encoding in HTTP/1.0");
    if (g->lengths)
        return FAULT(400, "both Transfer-Encoding and Content-Length");
    if (!g->chunked)
        return FAULT(400, "chunked is not the last transfer coding");
    if (g->other_coding)
        return FAULT(501, "a transfer coding other than chunked");
    return FINE;
}

static void set_connection(const struct gathered *g, struct h1_head *head)
{
    head->keep_alive = !g->close && (head->minor == 1 || g->keep_alive);
    head->upgrade = head->minor == 1 && g->upgrade && head->upgrade_to.len > 0;
}

struct h1_fault h1_request_fields(struct h1_head *head)
{
    struct gathered g = {0};
    head->content_length = 0;
    struct h1_fault fault = gather(&g, head);
    if (!fault.status)
        fault = check_coding(&g, head);
    if (!fault.status)
        fault = check_host(&g, head);
    if (fault.status)
        return fault;
    if (g.chunked)
        head->content_length = -1;
    if (head->method == METHOD_CONNECT && head->content_length != 0)
        return FAULT(400, "CONNECT with a body");
    head->chunked = g.chunked;
    head->no_body = head->content_length == 0;
    set_connection(&g, head);
    /* RFC 9110 §10.1.1: an HTTP/1.0 client cannot expect anything. */
    if (head->minor == 0)
        return FINE;
    if (g.expect_other)
        return FAULT(417, "an expectation other than 100-continue");
    head->expect_continue = g.expect_continue && !head->no_body;
    return FINE;
}

/* RFC 9112 §6.3, rules 1 and 2. */
static bool response_without_body(int status, enum http_method request_method)
{
    return request_method == METHOD_HEAD || status < 200 || status == 204 || status == 304 ||
           (request_method == METHOD_CONNECT && status < 300);
}

struct h1_fault h1_response_fields(struct h1_head *head, enum http_method request_method)
{
    struct gathered g = {0};
    head->content_length = -1;
    struct h1_fault fault = gather(&g, head);
    if (!fault.status)
        fault = check_coding(&g, head);
    if (fault.status)
        return FAULT(502, fault.reason);
    set_connection(&g, head);
    head->no_body =
        head->content_length == 0 || response_without_body(head->status, request_method);
    if (head->no_body)
        return FINE;
    head->chunked = g.chunked;
    head->until_close = !g.chunked && head->content_length < 0;
    if (head->until_close)
        head->keep_alive = false;
    return FINE;
}

struct h1_fault h1_trailer_fields(struct h1_head *head)
{
    for (size_t i = 0; i < head->headers_len; i++) {
        struct h1_header *header = &head->headers[i];
        header->id = h1_known_of(header->name);
        header->value = span_trim(header->value);
        switch (header->id) {
        case H1_FIELD_CONNECTION:
        case H1_FIELD_CONTENT_LENGTH:
        case H1_FIELD_EXPECT:
        case H1_FIELD_HOST:
        case H1_FIELD_TE:
        case H1_FIELD_TRAILER:
        case H1_FIELD_TRANSFER_ENCODING:
        case H1_FIELD_UPGRADE:
            return FAULT(400, "a trailer that frames or routes the message");
        default:
            break;
        }
    }
    return FINE;
}
