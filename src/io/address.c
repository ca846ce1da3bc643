#include "io/io.h"

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
    if (span_is(host, "localhost")) {
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
                     "(no DNS yet)",
                     quoted);
}

result io_address_parse(struct span text, struct io_address *ret_address, struct diag *diag)
{
    if (span_starts(text, SPAN("unix:")))
        return parse_unix(span_from(text, 5), ret_address, diag);
    size_t colon = text.len;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == ':')
            colon = i;
    }
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
