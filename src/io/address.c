#include "io/lookup.h"

#include "base/number.h"

#include <arpa/inet.h>
#include <stdio.h>

static const char expected[] = "expected HOST:PORT, [IPV6]:PORT, :PORT or unix:PATH";

static result bad(struct diag *diag, struct span text)
{
    char quoted[80];
    return diag_fail(diag, ERR_SYNTAX, "%s, got \"%s\"", expected,
                     diag_quote(text, quoted, sizeof(quoted)));
}

static result parse_port(struct span text, uint16_t *ret_port, struct diag *diag)
{
    uint64_t value;
    if (failed(number_parse_u64(text, &value)) || value > UINT16_MAX) {
        char quoted[40];
        return diag_fail(diag, ERR_RANGE, "expected a port from 0 to 65535, got \"%s\"",
                         diag_quote(text, quoted, sizeof(quoted)));
    }
    *ret_port = (uint16_t)value;
    return OK;
}

static result parse_unix(struct span path, struct io_address *ret_address, struct diag *diag)
{
    struct io_address address = {.family = IO_UNIX};
    if (path.len == 0 || span_find(path, '\0') < path.len)
        return diag_fail(diag, ERR_SYNTAX, "expected a path after \"unix:\"");
    if (path.len >= sizeof(address.path))
        return diag_fail(diag, ERR_TOO_LARGE,
                         "expected a UNIX socket path of at most %zu bytes, got %zu",
                         sizeof(address.path) - 1, path.len);
    memcpy(address.path, path.ptr, path.len);
    *ret_address = address;
    return OK;
}

/* Fills `ip` from a literal; false when it is none. */
static bool parse_ip(struct span host, int family, uint8_t *ip)
{
    char text[INET6_ADDRSTRLEN];
    if (host.len == 0 || host.len >= sizeof(text) || span_find(host, '\0') < host.len)
        return false;
    memcpy(text, host.ptr, host.len);
    text[host.len] = '\0';
    return inet_pton(family, text, ip) == 1;
}

static result parse_host(struct span host, struct io_address *address, struct diag *diag)
{
    if (host.len == 0) {
        address->family = IO_INET6; /* the zero address: any */
        return OK;
    }
    if (host.ptr[0] == '[') {
        address->family = IO_INET6;
        struct span inner = host.len > 2 ? span_of(host.ptr + 1, host.len - 2) : SPAN_NONE;
        if (host.ptr[host.len - 1] == ']' && parse_ip(inner, AF_INET6, address->ip))
            return OK;
        return bad(diag, host);
    }
    address->family = IO_INET;
    if (span_eq_nocase(host, SPAN("localhost"))) {
        memcpy(address->ip, (const uint8_t[]){127, 0, 0, 1}, 4);
        return OK;
    }
    if (parse_ip(host, AF_INET, address->ip))
        return OK;
    char quoted[80];
    diag_quote(host, quoted, sizeof(quoted));
    if (span_find(host, ':') < host.len)
        return diag_fail(diag, ERR_SYNTAX, "expected an IPv6 address in brackets, got \"%s\"",
                         quoted);
    return diag_fail(diag, ERR_UNSUPPORTED,
                     "expected an IP address or localhost, got \"%s\": names are not looked up "
                     "here",
                     quoted);
}

/* Where the port begins: behind the last colon. */
static size_t last_colon(struct span text)
{
    size_t colon = text.len;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == ':')
            colon = i;
    }
    return colon;
}

result io_address_parse(struct span text, struct io_address *ret_address, struct diag *diag)
{
    if (span_starts(text, SPAN("unix:")))
        return parse_unix(span_from(text, 5), ret_address, diag);
    size_t colon = last_colon(text);
    if (colon == text.len)
        return bad(diag, text);
    struct io_address address = {0};
    TRY(parse_host(span_first(text, colon), &address, diag));
    TRY(parse_port(span_from(text, colon + 1), &address.port, diag));
    *ret_address = address;
    return OK;
}

size_t io_address_format(const struct io_address *address, char *buffer, size_t size)
{
    ASSERT(size > 0);
    char ip[INET6_ADDRSTRLEN] = "";
    int len = 0;
    switch (address->family) {
    case IO_INET:
        inet_ntop(AF_INET, address->ip, ip, sizeof(ip));
        len = snprintf(buffer, size, "%s:%u", ip, address->port);
        break;
    case IO_INET6:
        inet_ntop(AF_INET6, address->ip, ip, sizeof(ip));
        len = snprintf(buffer, size, "[%s]:%u", ip, address->port);
        break;
    case IO_UNIX:
        len = snprintf(buffer, size, "unix:%s", address->path);
        break;
    }
    return MIN((size_t)len, size - 1);
}

/* ---- endpoints ------------------------------------------------------------------------ */

static bool is_name_byte(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

bool io_name_valid(struct span name)
{
    if (span_ends(name, SPAN(".")))
        name.len--;
    if (name.len == 0 || name.len > IO_NAME_MAX)
        return false;
    size_t label = 0;
    for (size_t i = 0; i < name.len; i++) {
        bool dot = name.ptr[i] == '.';
        if (dot ? label == 0 : label == 63 || !is_name_byte(name.ptr[i]))
            return false;
        label = dot ? 0 : label + 1;
    }
    return label > 0;
}

/* Digits and dots alone are a mistyped IPv4 address: no top-level domain is a number
 * (RFC 1123 §2.1). "UNIX:80" in lower case would be a path. */
static bool is_name(struct span host)
{
    bool letter = false;
    for (size_t i = 0; i < host.len; i++)
        letter |= host.ptr[i] != '.' && (host.ptr[i] < '0' || host.ptr[i] > '9');
    return letter && !span_eq_nocase(host, SPAN("localhost")) &&
           !span_eq_nocase(host, SPAN("unix")) && io_name_valid(host);
}

result io_endpoint_parse(struct span text, struct io_endpoint *ret_endpoint, struct diag *diag)
{
    struct io_endpoint endpoint = {0};
    size_t colon = last_colon(text);
    struct span host = span_first(text, colon);
    bool is_unix = span_starts(text, SPAN("unix:"));
    if (!is_unix && (colon == text.len || host.len == 0))
        return bad(diag, text);
    if (is_unix || !is_name(host)) {
        TRY(io_address_parse(text, &endpoint.address, diag));
    } else {
        endpoint.named = true;
        TRY(parse_port(span_from(text, colon + 1), &endpoint.address.port, diag));
        for (size_t i = 0; i < host.len; i++) {
            uint8_t c = host.ptr[i];
            endpoint.name[i] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
        }
    }
    if (!is_unix && endpoint.address.port == 0)
        return diag_fail(diag, ERR_RANGE, "expected a port from 1 to 65535, got 0");
    *ret_endpoint = endpoint;
    return OK;
}

size_t io_endpoint_format(const struct io_endpoint *endpoint, char *buffer, size_t size)
{
    if (!endpoint->named)
        return io_address_format(&endpoint->address, buffer, size);
    int len = snprintf(buffer, size, "%s:%u", endpoint->name, endpoint->address.port);
    return MIN((size_t)len, size - 1);
}
