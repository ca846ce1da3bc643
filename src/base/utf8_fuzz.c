#include "base/test_fuzz.h"
#include "base/utf8.h"

/* The code point at the front by the definition: bits gathered first, judged after. 0 for
 * what is ill-formed. */
static size_t decode(struct span s, uint32_t *ret_codepoint)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t first = s.ptr[0];
    size_t len = first < 0x80             ? 1
                 : (first & 0xe0) == 0xc0 ? 2
                 : (first & 0xf0) == 0xe0 ? 3
                 : (first & 0xf8) == 0xf0 ? 4
                                          : 0;
    if (len == 0 || s.len < len)
        return 0;
    uint32_t value = len == 1 ? first : first & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((s.ptr[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (s.ptr[i] & 0x3f);
    }
    if (value < least[len] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
        return 0;
    *ret_codepoint = value;
    return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct span rest = span_of(bytes, len);
    bool valid = true;
    while (valid && rest.len > 0) {
        uint32_t codepoint;
        uint8_t encoded[4];
        size_t used = decode(rest, &codepoint);
        valid = used > 0;
        if (valid) {
            ASSERT(utf8_encode(codepoint, encoded) == used);
            ASSERT(memcmp(encoded, rest.ptr, used) == 0);
            rest = span_from(rest, used);
        }
    }
    ASSERT(utf8_valid(span_of(bytes, len)) == valid);
    if (len >= 4) {
        uint32_t any;
        uint8_t encoded[4];
        memcpy(&any, bytes, sizeof(any));
        size_t used = utf8_encode(any % 0x120000, encoded);
        ASSERT(used == 0 || utf8_valid(span_of(encoded, used)));
    }
    return 0;
}
