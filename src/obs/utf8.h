/* One UTF-8 sequence at a time, for output that must be valid whatever comes in. */
#pragma once

#include "base/utf8.h"

/* What stands for bytes that are not UTF-8: U+FFFD. */
#define UTF8_REPLACEMENT "\xEF\xBF\xBD"

/* The length, 1 to 4, of the well-formed sequence at the front of `s`, which is not
 * empty; 0 when there is none. */
static inline size_t utf8_sequence(struct span s)
{
    uint8_t lead = s.ptr[0];
    if (lead < 0x80)
        return 1;
    size_t len = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    return s.len >= len && utf8_valid(span_first(s, len)) ? len : 0;
}
