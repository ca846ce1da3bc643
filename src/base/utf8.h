/* UTF-8, as the Unicode Standard 15.0 defines it (section 3.9, table 3-7).
 */
#pragma once

#include "base/span.h"

/* Whether all of `bytes` is well-formed: no overlong form, no surrogate, nothing above
 * U+10FFFF, no sequence cut short. */
bool utf8_valid(struct span bytes);
/* Writes a code point and returns its length, 1 to 4; 0, with nothing written, for
 * surrogates and beyond U+10FFFF. */
size_t utf8_encode(uint32_t codepoint, uint8_t out[4]);
