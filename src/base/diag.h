/* What went wrong, in words: the nullable last parameter of functions off the hot
 * path. It names what was expected, what came, and where.
 *
 * A fixed buffer, so that reporting a failure cannot fail. The first report wins:
 * whoever is nearest to the cause knows most; callers may put a prefix in front.
 */
#pragma once

#include "base/result.h"
#include "base/span.h"

#define DIAG_TEXT_MAX 1024

/* Zeroed: empty. */
struct diag {
    enum err code;
    char file[256];           /* "" when the input has no name */
    int line, column;         /* from 1; 0 when unknown */
    char key[128];            /* "models[0].name"; "" when it is not about a key */
    char text[DIAG_TEXT_MAX]; /* one sentence, no trailing period or newline */
};

/* Returns `fail(code)` and, when `diag` is not NULL and empty, fills its code and
 * text. The text says "expected …, got …" wherever that fits. */
result diag_fail(struct diag *diag, enum err code, const char *format, ...) PRINTF_LIKE(3, 4);
/* The same with a place. `file` may be NULL, `line` and `column` 0. */
result diag_fail_at(struct diag *diag, enum err code, const char *file, int line, int column,
                    const char *format, ...) PRINTF_LIKE(6, 7);
/* The same for a failed system call: "cannot <what>: <strerror>". */
result diag_fail_errno(struct diag *diag, int errnum, const char *format, ...) PRINTF_LIKE(3, 4);
/* Puts "<prefix>: " in front of the text, if there is a report. NULL is allowed. */
void diag_prefix(struct diag *diag, const char *format, ...) PRINTF_LIKE(2, 3);
/* "file:line:column: key: text" with the parts that are known ("line 3, column 4: "
 * without a file), the code's own line where there is no text, cut at `size`, which is
 * at least 1. Always NUL-terminated. Returns its length. */
size_t diag_format(const struct diag *diag, char *buffer, size_t size);
/* A printable, cut copy of input bytes for a message: control and non-ASCII bytes
 * become '.', at most `size - 1` bytes with "..." at the end when cut. Returns
 * `buffer`. */
const char *diag_quote(struct span bytes, char *buffer, size_t size);
