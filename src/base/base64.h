/* Base64, RFC 4648 section 4: the standard alphabet with padding.
 */
#pragma once

#include "base/result.h"
#include "base/span.h"
#include "base/text.h"

/* Bytes of text that encode `len` bytes; SIZE_MAX when that is too much to count. */
size_t base64_encoded_size(size_t len);
/* The most bytes that `len` bytes of text can stand for. */
size_t base64_decoded_max(size_t len);

void base64_encode(struct text *text, struct span bytes);
/* Decodes into `out`, which may begin where `text` begins.
 *
 * Strict: padding is required, unused bits are zero, and no other byte is allowed.
 * Lenient, as TensorFlow Serving reads {"b64": ...}, which is absl::Base64Unescape:
 * white space is skipped; padding may be missing but is complete where there is some;
 * '.' pads like '='; unused bits are ignored.
 *
 * ERR_SYNTAX; ERR_TOO_LARGE when `out` is too short. `out` may be half written then. */
result base64_decode(struct span text, struct span_mut out, bool lenient, size_t *ret_len);
