#include "wire/url.h"

enum {
    TARGET = 1,     /* may stand in a request target */
    UNRESERVED = 2, /* RFC 3986 §2.3 */
    SUB_DELIM = 4,  /* RFC 3986 §2.2 */
    SEGMENT = 8,    /* ':' and '@', which a segment holds bare beside the two above */
    HEX = 16,
};

#define ALNUM (TARGET | UNRESERVED)
#define XDIGIT (TARGET | UNRESERVED | HEX)
#define SUB (TARGET | SUB_DELIM)

static const uint8_t kinds[256] = {
    ['0' ... '9'] = XDIGIT,
    ['A' ... 'F'] = XDIGIT,
    ['G' ... 'Z'] = ALNUM,
    ['a' ... 'f'] = XDIGIT,
    ['g' ... 'z'] = ALNUM,
    ['-'] = ALNUM,
    ['.'] = ALNUM,
    ['_'] = ALNUM,
    ['~'] = ALNUM,
    ['!'] = SUB,
    ['$'] = SUB,
    ['&'] = SUB,
    ['\''] = SUB,
    ['('] = SUB,
    [')'] = SUB,
    ['*'] = SUB,
    ['+'] = SUB,
    [','] = SUB,
    [';'] = SUB,
    ['='] = SUB,
    [':'] = TARGET | SEGMENT,
    ['@'] = TARGET | SEGMENT,
    ['/'] = TARGET,
    ['?'] = TARGET,
    ['%'] = TARGET,
    ['['] = TARGET,
    [']'] = TARGET,
    ['{'] = TARGET,
    ['}'] = TARGET,
    ['|'] = TARGET,
    ['\\'] = TARGET,
    ['^'] = TARGET,
    ['`'] = TARGET,
};

static int hex_value(uint8_t c)
{
    return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* Whether `s` has two hexadecimal digits at `at`. */
static bool hex_pair_at(struct span s, size_t at)
{
    return s.len - at >= 2 && (kinds[s.ptr[at]] & HEX) && (kinds[s.ptr[at + 1]] & HEX);
}

static bool port_parse(struct span digits, int32_t *ret_port)
{
    if (digits.len == 0) {
        *ret_port = -1;
        return true;
    }
    uint32_t port = 0;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.ptr[i] < '0' || digits.ptr[i] > '9')
            return false;
        port = port * 10 + (uint32_t)(digits.ptr[i] - '0');
        if (port > UINT16_MAX)
            return false;
    }
    *ret_port = (int32_t)port;
    return true;
}

/* The inside of "[...]": groups of up to four hexadecimal digits between colons, at
 * most one "::", perhaps an IPv4 tail. A number's meaning is left to whoever connects. */
static bool ipv6_shaped(struct span text)
{
    int colons = 0, doubles = 0, group = 0;
    bool dotted = false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];
        if (c == ':') {
            if (dotted)
                return false;
            colons++;
            doubles += i > 0 && text.ptr[i - 1] == ':';
            group = 0;
        } else if (c == '.') {
            dotted = true;
            group = 0;
        } else if (!(kinds[c] & HEX) || ++group > 4) {
            return false;
        }
    }
    int full = dotted ? 6 : 7;
    return doubles == 1 ? colons >= 2 && colons <= full : doubles == 0 && colons == full;
}

static bool reg_name_valid(struct span name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] == '%') {
            if (!hex_pair_at(name, i + 1))
                return false;
            i += 2;
        } else if (!(kinds[name.ptr[i]] & (UNRESERVED | SUB_DELIM))) {
            return false;
        }
    }
    return true;
}

result url_authority_parse(struct span text, struct url_authority *ret_authority)
{
    struct url_authority found = {.port = -1};
    struct span tail;
    if (text.len > 0 && text.ptr[0] == '[') {
        size_t close = span_find(text, ']');
        if (close == text.len || !ipv6_shaped(span_of(text.ptr + 1, close - 1)))
            return fail(ERR_SYNTAX);
        found.host = span_first(text, close + 1);
        tail = span_from(text, close + 1);
    } else {
        size_t colon = span_find(text, ':');
        found.host = span_first(text, colon);
        tail = span_from(text, colon);
        if (!reg_name_valid(found.host) || (found.host.len == 0 && tail.len > 0))
            return fail(ERR_SYNTAX);
    }
    if (tail.len > 0 && (tail.ptr[0] != ':' || !port_parse(span_from(tail, 1), &found.port)))
        return fail(ERR_SYNTAX);
    *ret_authority = found;
    return OK;
}

void url_split_query(struct span target, struct span *ret_path, struct span *ret_query)
{
    size_t mark = span_find(target, '?');
    *ret_path = span_first(target, mark);
    *ret_query = mark < target.len ? span_from(target, mark + 1) : SPAN_NONE;
}

result url_parse(struct span text, struct url *ret_url)
{
    size_t colon = span_find(text, ':');
    struct url url = {.scheme = span_first(text, colon)};
    struct span rest = span_from(text, colon);
    if (!span_starts(rest, SPAN("://")))
        return fail(ERR_SYNTAX);
    if (!span_eq_nocase(url.scheme, SPAN("http")) && !span_eq_nocase(url.scheme, SPAN("https")))
        return fail(ERR_UNSUPPORTED);
    if (!url_target_valid(rest))
        return fail(ERR_SYNTAX);
    rest = span_from(rest, 3);
    size_t end = 0;
    while (end < rest.len && rest.ptr[end] != '/' && rest.ptr[end] != '?')
        end++;
    TRY(url_authority_parse(span_first(rest, end), &url.authority));
    if (url.authority.host.len == 0)
        return fail(ERR_SYNTAX);
    url_split_query(span_from(rest, end), &url.path, &url.query);
    if (url.path.len == 0)
        url.path = SPAN("/");
    *ret_url = url;
    return OK;
}

bool url_target_valid(struct span target)
{
    uint8_t all = TARGET;
    for (size_t i = 0; i < target.len; i++)
        all &= kinds[target.ptr[i]];
    return all & TARGET;
}

/* Reads one '.' or "%2e" at `*at` and moves past it. */
static bool take_dot(struct span s, size_t *at)
{
    if (*at < s.len && s.ptr[*at] == '.') {
        *at += 1;
        return true;
    }
    if (s.len - *at >= 3 && s.ptr[*at] == '%' && s.ptr[*at + 1] == '2' &&
        (s.ptr[*at + 2] | 0x20) == 'e') {
        *at += 3;
        return true;
    }
    return false;
}

bool url_path_has_dots(struct span path)
{
    struct span segment;
    while (url_segment_next(&path, &segment)) {
        size_t at = 0;
        if (!take_dot(segment, &at))
            continue;
        (void)take_dot(segment, &at);
        if (at == segment.len)
            return true;
    }
    return false;
}

bool url_segment_next(struct span *rest, struct span *ret_segment)
{
    if (rest->len == 0)
        return false;
    struct span s = rest->ptr[0] == '/' ? span_from(*rest, 1) : *rest;
    size_t end = span_find(s, '/');
    *ret_segment = span_first(s, end);
    *rest = span_from(s, end);
    return true;
}

bool url_query_next(struct span *rest, struct span *ret_key, struct span *ret_value)
{
    while (rest->len > 0) {
        struct span piece = span_cut(rest, '&');
        if (piece.len == 0)
            continue;
        size_t equals = span_find(piece, '=');
        *ret_key = span_first(piece, equals);
        *ret_value = span_from(piece, equals + 1);
        return true;
    }
    return false;
}

static result decode(struct span text, struct span_mut into, uint8_t plus, size_t *ret_len)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];
        if (c == '%') {
            if (!hex_pair_at(text, i + 1))
                return fail(ERR_SYNTAX);
            c = (uint8_t)(hex_value(text.ptr[i + 1]) << 4 | hex_value(text.ptr[i + 2]));
            i += 2;
        } else if (c == '+') {
            c = plus;
        }
        if (c == 0)
            return fail(ERR_SYNTAX);
        if (len == into.len)
            return fail(ERR_TOO_LARGE);
        into.ptr[len++] = c;
    }
    *ret_len = len;
    return OK;
}

result url_decode(struct span text, struct span_mut into, size_t *ret_len)
{
    return decode(text, into, '+', ret_len);
}

result url_decode_form(struct span text, struct span_mut into, size_t *ret_len)
{
    return decode(text, into, ' ', ret_len);
}

result url_encode(struct span bytes, enum url_part part, struct span_mut into, size_t *ret_len)
{
    static const char digits[] = "0123456789ABCDEF";
    uint8_t keep = part == URL_SEGMENT ? UNRESERVED | SUB_DELIM | SEGMENT : UNRESERVED;
    size_t len = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        uint8_t c = bytes.ptr[i];
        bool bare = kinds[c] & keep;
        if (into.len - len < (bare ? 1 : 3))
            return fail(ERR_TOO_LARGE);
        if (bare) {
            into.ptr[len++] = c;
            continue;
        }
        into.ptr[len++] = '%';
        into.ptr[len++] = (uint8_t)digits[c >> 4];
        into.ptr[len++] = (uint8_t)digits[c & 15];
    }
    *ret_len = len;
    return OK;
}
