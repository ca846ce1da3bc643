#include "base/utf8.h"

/* The length of the well-formed sequence of two to four bytes at the front of `s`; 0 if
 * there is none. Table 3-7: only the second byte's range depends on the first. */
static size_t sequence_len(struct span s)
{
    uint8_t first = s.ptr[0], low = 0x80, high = 0xbf;
    size_t len = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || s.len < len)
        return 0;
    if (first == 0xe0)
        low = 0xa0; /* below: overlong */
    else if (first == 0xed)
        high = 0x9f; /* above: surrogates */
    else if (first == 0xf0)
        low = 0x90; /* below: overlong */
    else if (first == 0xf4)
        high = 0x8f; /* above: beyond U+10FFFF */
    if (s.ptr[1] < low || s.ptr[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((s.ptr[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

bool utf8_valid(struct span bytes)
{
    size_t at = 0;
    while (at < bytes.len) {
        uint64_t eight;
        while (bytes.len - at >= sizeof(eight)) {
            memcpy(&eight, bytes.ptr + at, sizeof(eight));
            if (eight & 0x8080808080808080u)
                break;
            at += sizeof(eight);
        }
        while (at < bytes.len && bytes.ptr[at] < 0x80)
            at++;
        /* Text that is not ASCII mostly goes on so. */
        while (at < bytes.len && bytes.ptr[at] >= 0x80) {
            size_t len = sequence_len(span_from(bytes, at));
            if (len == 0)
                return false;
            at += len;
        }
    }
    return true;
}

size_t utf8_encode(uint32_t codepoint, uint8_t out[4])
{
    if (codepoint > 0x10ffff || (codepoint >= 0xd800 && codepoint <= 0xdfff))
        return 0;
    if (codepoint < 0x80) {
        out[0] = (uint8_t)codepoint;
        return 1;
    }
    size_t len = codepoint < 0x800 ? 2 : codepoint < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--, codepoint >>= 6)
        out[i] = (uint8_t)(0x80 | (codepoint & 0x3f));
    static const uint8_t first_bits[5] = {0, 0, 0xc0, 0xe0, 0xf0};
    out[0] = (uint8_t)(first_bits[len] | codepoint);
    return len;
}
