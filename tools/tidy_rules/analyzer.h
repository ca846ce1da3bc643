/* Read before each source by clang-tidy only (tools/tidy_rules/clang.py).
 *
 * The analyser looks at one source at a time, so it believes that diag_fail, which
 * lies in another one, may return success; every output behind a TRY would then be
 * reported as unset. Here it is told that these never do.
 */
#pragma once

#include "base/diag.h"

static inline void tidy_reads(const char *format, ...)
{
    (void)format;
}

#define diag_fail(diag, code, ...) ((void)(diag), (void)(code), tidy_reads(__VA_ARGS__), fail(ERR_INTERNAL))
#define diag_fail_errno(diag, errnum, ...) \
    ((void)(diag), (void)(errnum), tidy_reads(__VA_ARGS__), fail(ERR_INTERNAL))
#define diag_fail_at(diag, code, file, line, column, ...) \
    ((void)(diag), (void)(code), (void)(file), (void)(line), (void)(column), \
     tidy_reads(__VA_ARGS__), fail(ERR_INTERNAL))
