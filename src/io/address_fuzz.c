#include "base/number.h"
#include "base/test_fuzz.h"
#include "io/io.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct io_address address, again;
    struct diag diag = {0};
    char text[160];
    address = (struct io_address){.family = IO_UNIX, .port = 7, .path = "untouched"};
    if (failed(io_address_parse(span_of(bytes, len), &address, &diag))) {
        ASSERT(diag.code != ERR_NONE && diag.text[0] != '\0');
        ASSERT(address.family == IO_UNIX && address.port == 7);
        ASSERT(strcmp(address.path, "untouched") == 0);
        return 0;
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
    ASSERT(address.family == again.family && address.port == again.port);
    ASSERT(memcmp(address.ip, again.ip, sizeof(again.ip)) == 0);
    ASSERT(strcmp(address.path, again.path) == 0);
    /* However small the buffer is. */
    for (size_t size = 1; size <= written; size++) {
        char *small = text + sizeof(text) - size;
        ASSERT(io_address_format(&address, small, size) < size);
        ASSERT(strlen(small) < size);
    }
    return 0;
}
