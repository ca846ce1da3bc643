/* One log line as bytes. For log.c only; the manual is obs/log.h. */
#pragma once

#include "obs/log.h"

struct log_line {
    enum event event;
    io_time wall; /* since 1970 */
    const char *role;
    struct span message;
    const struct log_field *fields; /* NULL for none */
    uint64_t suppressed;            /* shown when above 0 */
    bool message_cut;
};

struct log_style {
    bool json;
    bool colour; /* of text */
};

/* The line with its newline, at most LOG_LINE_MAX bytes; returns how many. */
size_t log_line_format(const struct log_line *line, const struct log_style *style,
                       uint8_t buffer[LOG_LINE_MAX]);
enum log_level event_level(enum event event);
