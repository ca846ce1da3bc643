/* Structured logs: one line an event, as text for people or JSON for machines.
 *
 * Only roles, run and cmd log; libraries return errors. Each event has a stable name
 * and a level in one table (obs/events.h); the sentence may change, the name not.
 *
 * Way of a line. While loops run, a line is formatted on the calling thread, copied
 * into a bounded ring and written by a job of the log's own worker, so that a stalled
 * pipe or a full disk never holds a loop up: a full ring drops the line and counts it.
 * Lines that could not be written are counted too, and a line that says how many are
 * missing follows as soon as writing works again. Before `log_start` and after
 * `log_stop` lines are written at once.
 *
 * JSON lines: time (RFC 3339, UTC, microseconds), level, event, role, message, then
 * the fields by their keys. Each is valid JSON and UTF-8 whatever bytes the fields
 * hold: invalid ones become U+FFFD. A line longer than LOG_LINE_MAX loses its end: the
 * value that did not fit ends in "..." and `"cut":true` follows. Text lines escape
 * control bytes, so that a field cannot forge a line or move a terminal's cursor.
 *
 * Limits. The ring's length; LOG_LINE_MAX; and per event `rate_max` lines a second:
 * what is more is counted and told as the field `suppressed` of the event's next line,
 * or at `log_stop`. EVENT_REQUEST is exempt: whoever keeps the access log chooses.
 *
 * Owner:   whoever called `log_new`. No globals: every process has its own.
 * Threads: log_event, log_wants, log_set_level, log_reopen, log_stats from any thread;
 *          the rest at boot or after `process_run` has returned.
 */
#pragma once

#include "base/diag.h"
#include "base/result.h"
#include "base/span.h"
#include "io/io.h"
#include "obs/events.h"

struct log;

#define LOG_LINE_MAX 4096

enum log_format {
    LOG_AUTO, /* text on a terminal, else JSON */
    LOG_TEXT, /* colours only on a terminal, and not where NO_COLOR is set */
    LOG_JSON,
};

struct log_options {
    const char *role; /* "serve"; outlives the log */
    const char *path; /* NULL: standard error */
    enum log_format format;
    enum log_level level; /* events below it are not logged */
    uint32_t ring_lines;  /* a power of two; 0: 512 */
    uint32_t rate_max;    /* lines a second and event; 0: 100 */
};

result log_new(struct process *process, const struct log_options *options, struct log **ret_log,
               struct diag *diag);
/* After `log_stop`, or where `log_start` never was. NULL is allowed. */
void log_free(struct log *log);

/* Right before `process_run`: from here on lines go through the ring. */
void log_start(struct log *log);
/* After `process_run` has returned: writes what the ring holds, what was suppressed
 * and how many lines are missing; gives up at the first failure. Waits for a slow file
 * as file_append does, for at most the ring's lines. */
void log_stop(struct log *log);

/* ---- writing ---- */

enum log_field_type {
    LOG_FIELD_END,
    LOG_FIELD_SPAN,
    LOG_FIELD_INT,
    LOG_FIELD_UINT,
    LOG_FIELD_DOUBLE,
    LOG_FIELD_BOOL,
    LOG_FIELD_DURATION,
};

struct log_field {
    const char *key; /* static: lower case, digits and '_' */
    enum log_field_type type;
    union {
        struct span span;
        int64_t i;
        uint64_t u;
        double d;
        bool b;
    } value;
};

/* NULL is shown as an empty string. */
static inline struct log_field log_str(const char *key, const char *text)
{
    return (struct log_field){key, LOG_FIELD_SPAN, {.span = span_cstr(text)}};
}
static inline struct log_field log_span(const char *key, struct span bytes)
{
    return (struct log_field){key, LOG_FIELD_SPAN, {.span = bytes}};
}
static inline struct log_field log_int(const char *key, int64_t value)
{
    return (struct log_field){key, LOG_FIELD_INT, {.i = value}};
}
static inline struct log_field log_uint(const char *key, uint64_t value)
{
    return (struct log_field){key, LOG_FIELD_UINT, {.u = value}};
}
/* JSON has no NaN and no infinities: they become null. */
static inline struct log_field log_double(const char *key, double value)
{
    return (struct log_field){key, LOG_FIELD_DOUBLE, {.d = value}};
}
static inline struct log_field log_bool(const char *key, bool value)
{
    return (struct log_field){key, LOG_FIELD_BOOL, {.b = value}};
}
/* A duration; shown in seconds, to the nanosecond. */
static inline struct log_field log_time(const char *key, io_time duration)
{
    return (struct log_field){key, LOG_FIELD_DURATION, {.i = duration}};
}

/* The fields of one line: LOG_FIELDS(log_str("model", name), log_int("version", 3)). */
#define LOG_FIELDS(...) ((const struct log_field[]){__VA_ARGS__, {NULL, LOG_FIELD_END, {.u = 0}}})
#define LOG_NO_FIELDS ((const struct log_field *)NULL)

/* Whether events of that level are logged now: one relaxed load. For callers whose
 * fields are dear to compute; log_event asks by itself. */
bool log_wants(const struct log *log, enum log_level level);
/* One line. The format makes a sentence for people, without a period or newline.
 * `log` may be NULL: nothing is logged. Never blocks while loops run, never fails. */
void log_event(struct log *log, enum event event, const struct log_field *fields,
               const char *format, ...) PRINTF_LIKE(4, 5);

/* ---- control ---- */

void log_set_level(struct log *log, enum log_level level);
/* Opens the file by its path anew, after it was moved away; when that fails, goes on
 * with the old one and logs it. Nothing happens for standard error. */
void log_reopen(struct log *log);

/* The last lines, oldest first, written or not. `log` is a struct log; for the crash report
 * (io.h), whose signal handler calls it. */
void log_tail(const void *log, void (*put)(struct span bytes));

struct log_stats {
    uint64_t lines;      /* written */
    uint64_t dropped;    /* for want of room in the ring */
    uint64_t failed;     /* refused by the file */
    uint64_t suppressed; /* by the rate limit */
};
void log_stats(const struct log *log, struct log_stats *ret_stats);
/* "debug", "info", "warn" or "error"; false, and nothing written, for another word. */
bool log_level_parse(struct span text, enum log_level *ret_level);
/* The stable name of an event. */
const char *event_name(enum event event);
