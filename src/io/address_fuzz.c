/* HOST:PORT as an address, and as an endpoint whose host may be a name. */
#include "base/number.h"
#include "base/test_fuzz.h"
#include "io/lookup.h"

static bool same_address(const struct io_address *a, const struct io_address *b)
{
    return a->family == b->family && a->port == b->port &&
           memcmp(a->ip, b->ip, sizeof(a->ip)) == 0 && strcmp(a->path, b->path) == 0;
}

static void check_name(const struct io_endpoint *endpoint)
{
    ASSERT(io_name_valid(span_cstr(endpoint->name)));
    for (const char *c = endpoint->name; *c; c++)
        ASSERT(*c < 'A' || *c > 'Z');
}

/* An endpoint is what an address is, if it names one host and port, and names besides. */
static void check_endpoint(struct span text, const struct io_address *address)
{
    struct io_endpoint endpoint = {.named = true, .name = "untouched"}, again;
    struct diag diag = {0};
    char written[IO_NAME_MAX + 16];
    if (failed(io_endpoint_parse(text, &endpoint, &diag))) {
        ASSERT(diag.code != ERR_NONE && diag.text[0] != '\0');
        ASSERT(endpoint.named && strcmp(endpoint.name, "untouched") == 0);
        ASSERT(!address ||
               (address->family != IO_UNIX && (address->port == 0 || text.ptr[0] == ':')));
        return;
    }
    ASSERT(endpoint.named == !address);
    if (endpoint.named)
        check_name(&endpoint);
    else
        ASSERT(same_address(&endpoint.address, address));
    ASSERT(endpoint.address.port > 0 || endpoint.address.family == IO_UNIX);
    size_t len = io_endpoint_format(&endpoint, written, sizeof(written));
    ASSERT(len < sizeof(written) && written[len] == '\0');
    ASSERT(!failed(io_endpoint_parse(span_of(written, len), &again, NULL)));
    ASSERT(again.named == endpoint.named && strcmp(again.name, endpoint.name) == 0);
    ASSERT(same_address(&again.address, &endpoint.address));
    for (size_t size = 1; size <= len; size++) {
        char *small = written + sizeof(written) - size;
        ASSERT(io_endpoint_format(&endpoint, small, size) < size);
        ASSERT(strlen(small) < size);
    }
}

/* True and the address, if there is one. */
static bool check_address(const uint8_t *bytes, size_t len, struct io_address *ret_address)
{
    struct io_address address, again;
    struct diag diag = {0};
    char text[160];
    address = (struct io_address){.family = IO_UNIX, .port = 7, .path = "untouched"};
    if (failed(io_address_parse(span_of(bytes, len), &address, &diag))) {
        ASSERT(diag.code != ERR_NONE && diag.text[0] != '\0');
        ASSERT(address.family == IO_UNIX && address.port == 7);
        ASSERT(strcmp(address.path, "untouched") == 0);
        return false;
    }
    if (address.family != IO_UNIX) {
        uint64_t port = 0;
        size_t digits = len;
        while (bytes[digits - 1] != ':')
            digits--;
        ASSERT(digits < len &&
               !failed(number_parse_u64(span_of(bytes + digits, len - digits), &port)));
        ASSERT(port == address.port);
    }
    /* What was understood can be written and read again, and is the same. */
    size_t written = io_address_format(&address, text, sizeof(text));
    ASSERT(written < sizeof(text) && text[written] == '\0');
    ASSERT(!failed(io_address_parse(span_of(text, written), &again, NULL)));
    ASSERT(same_address(&address, &again));
    /* However small the buffer is. */
    for (size_t size = 1; size <= written; size++) {
        char *small = text + sizeof(text) - size;
        ASSERT(io_address_format(&address, small, size) < size);
        ASSERT(strlen(small) < size);
    }
    *ret_address = address;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct io_address address;
    bool good = check_address(bytes, len, &address);
    check_endpoint(span_of(bytes, len), good ? &address : NULL);
    return 0;
}
