/* A growing run of bytes with a maximum given at its start.
 *
 * The first failure sticks: later appends do nothing, and `text_result` tells
 * once at the end, so that a writer of many pieces needs one check.
 * NUL-terminated after every call (`text_cstr`), the NUL not counted.
 *
 * Owner: the caller; `text_release` frees. One thread at a time.
 */
#pragma once

#include "base/result.h"
#include "base/span.h"

struct text {
    uint8_t *ptr; /* `cap` + 1 bytes */
    size_t len, cap, max;
    uint16_t error; /* enum err; sticks */
};

/* Takes no memory yet. `max`: bytes it may grow to. */
void text_init(struct text *text, size_t max);
/* Takes a zeroed one; leaves it as after `text_init` with the same maximum. */
void text_release(struct text *text);
/* Empties and keeps the memory; forgets a failure. */
void text_clear(struct text *text);

/* All or nothing. `bytes` does not lie in `text` itself. */
void text_append(struct text *text, struct span bytes);
void text_str(struct text *text, const char *cstr);
void text_byte(struct text *text, uint8_t byte);
void text_printf(struct text *text, const char *format, ...) PRINTF_LIKE(2, 3);
/* Makes room for `len` more bytes and returns where they go, or NULL; what was
 * written, at most that much, is added with `text_wrote`. */
uint8_t *text_reserve(struct text *text, size_t len);
void text_wrote(struct text *text, size_t len);

/* OK, ERR_NO_MEMORY, or ERR_TOO_LARGE for the maximum. */
result text_result(const struct text *text);
static inline struct span text_span(const struct text *text)
{
    return span_of(text->ptr, text->len);
}
/* "" for one that never grew. */
const char *text_cstr(const struct text *text);
