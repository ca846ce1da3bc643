/* From log_event to the file.
 *
 *   any thread   level, rate -> ring_claim -> format in place -> ring_commit -> schedule
 *   WORK_LOG     log_work: reopen if asked, then peek -> file_append -> consume
 *
 * `scheduled` is true from the submission of the job until it has found the ring empty.
 * Both sides change it by an exchange with acquire and release: a producer who finds it
 * true has committed before the job's own exchange, so the job's look after that one
 * finds his line; a producer who finds it false submits. So no line is left behind, and
 * the job is in the queue at most once.
 *
 * What only the writer uses (`file`, `torn`, `reported`) needs no lock: there is one
 * WORK_LOG thread, and the direct mode runs when no job can. */
#include "obs/log.h"

#include "base/alloc.h"
#include "base/ring.h"
#include "obs/log_line.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

#define RING_LINES_DEFAULT 512
#define RING_LINES_MAX 65536
#define RATE_DEFAULT 100
#define MESSAGE_MAX 2048
#define TAIL_LINES 64
/* Of `window`: the second above, how many lines it had below. */
#define WINDOW_COUNT_BITS 24
#define WINDOW_COUNT_MAX ((1u << WINDOW_COUNT_BITS) - 1)

struct record {
    uint32_t len;
    uint8_t bytes[LOG_LINE_MAX];
};

struct rate {
    _Atomic uint64_t window;
    _Atomic uint64_t suppressed; /* since the event's last line */
};

struct log {
    struct process *process;
    struct log_options options;
    struct log_style style;
    char *path; /* NULL: standard error */
    atomic_int level;
    struct rate rates[EVENT_COUNT];
    bool direct; /* changes only while no other thread is there */
    struct ring ring;
    struct io_work work;
    atomic_bool scheduled, reopen;
    _Atomic uint64_t lines, failed, suppressed; /* the writer's; read anywhere */
    struct file *file;
    bool torn;         /* the last write failed, perhaps in the middle of a line */
    uint64_t reported; /* missing lines that a log_dropped line has told */
};

/* ---- the writer ---- */

static bool write_bytes(struct log *log, struct span bytes)
{
    bool written = (!log->torn || !failed(file_append(log->file, SPAN("\n")))) &&
                   !failed(file_append(log->file, bytes));
    log->torn = !written;
    return written;
}

/* A line that the writer itself has to say; past the ring. */
static bool write_own(struct log *log, enum event event, const struct log_field *fields,
                      const char *message)
{
    uint8_t buffer[LOG_LINE_MAX];
    struct log_line line = {
        .event = event,
        .wall = process_wall(log->process),
        .role = log->options.role,
        .message = span_cstr(message),
        .fields = fields,
    };
    if ((int)event_level(event) < atomic_load_explicit(&log->level, memory_order_relaxed))
        return true;
    return write_bytes(log, span_of(buffer, log_line_format(&line, &log->style, buffer)));
}

static void write_missing(struct log *log)
{
    uint64_t missing = ring_refused(&log->ring) +
                       atomic_load_explicit(&log->failed, memory_order_relaxed) - log->reported;
    if (missing == 0)
        return;
    char message[64];
    snprintf(message, sizeof(message), "%llu lines dropped", (unsigned long long)missing);
    if (write_own(log, EVENT_LOG_DROPPED, LOG_FIELDS(log_uint("lines", missing)), message))
        log->reported += missing;
}

static bool write_line(struct log *log, struct span bytes)
{
    bool written = write_bytes(log, bytes);
    atomic_fetch_add_explicit(written ? &log->lines : &log->failed, 1, memory_order_relaxed);
    if (written)
        write_missing(log);
    return written;
}

static void reopen_if_asked(struct log *log)
{
    if (!atomic_exchange_explicit(&log->reopen, false, memory_order_acquire) || !log->path)
        return;
    struct diag diag = {.code = ERR_NONE};
    struct file *file;
    /* A log that cannot say so has no better place to say it: the results of these two
     * lines only matter to `torn`. */
    if (failed(file_append_open(log->process, log->path, &file, &diag))) {
        (void)write_own(log, EVENT_LOG_REOPEN_FAILED,
                        LOG_FIELDS(log_str("path", log->path), log_str("reason", diag.text)),
                        "cannot open the log file anew; going on with the old one");
        return;
    }
    file_close(log->file);
    log->file = file;
    log->torn = false;
    (void)write_own(log, EVENT_LOG_REOPENED, LOG_FIELDS(log_str("path", log->path)),
                    "opened the log file anew");
}

/* False at the first line that could not be written, when that is to be the end. */
static bool drain(struct log *log, bool stop_at_failure)
{
    struct record *record;
    while ((record = ring_peek(&log->ring)) != NULL) {
        reopen_if_asked(log);
        bool written = write_line(log, span_of(record->bytes, record->len));
        ring_consume(&log->ring);
        if (!written && stop_at_failure)
            return false;
    }
    return true;
}

static void log_work(struct io_work *work)
{
    struct log *log = CONTAINER_OF(work, struct log, work);
    do {
        reopen_if_asked(log);
        (void)drain(log, false);
        atomic_exchange_explicit(&log->scheduled, false, memory_order_acq_rel);
    } while ((ring_peek(&log->ring) || atomic_load_explicit(&log->reopen, memory_order_relaxed)) &&
             !atomic_exchange_explicit(&log->scheduled, true, memory_order_acq_rel));
}

static void schedule(struct log *log)
{
    if (!atomic_exchange_explicit(&log->scheduled, true, memory_order_acq_rel))
        work_submit(log->process, WORK_LOG, &log->work);
}

/* ---- any thread ---- */

/* Whether one more line of the event may be written in this second; if so, takes over
 * how many were suppressed before it. */
static bool rate_pass(struct log *log, enum event event, uint64_t *ret_suppressed)
{
    struct rate *rate = &log->rates[event];
    uint64_t second = (uint64_t)(process_clock(log->process) / IO_SEC);
    /* Relaxed: counters only, nothing is published by them. */
    uint64_t window = atomic_load_explicit(&rate->window, memory_order_relaxed), next;
    do {
        bool same = window >> WINDOW_COUNT_BITS == second;
        if (same && (window & WINDOW_COUNT_MAX) >= log->options.rate_max) {
            atomic_fetch_add_explicit(&rate->suppressed, 1, memory_order_relaxed);
            atomic_fetch_add_explicit(&log->suppressed, 1, memory_order_relaxed);
            return false;
        }
        next = same ? window + 1 : (second << WINDOW_COUNT_BITS) + 1;
    } while (!atomic_compare_exchange_weak_explicit(&rate->window, &window, next,
                                                    memory_order_relaxed, memory_order_relaxed));
    *ret_suppressed = atomic_exchange_explicit(&rate->suppressed, 0, memory_order_relaxed);
    return true;
}

bool log_wants(const struct log *log, enum log_level level)
{
    return log && (int)level >= atomic_load_explicit(&log->level, memory_order_relaxed);
}

static void line_put(struct log *log, const struct log_line *line)
{
    if (log->direct) {
        uint8_t buffer[LOG_LINE_MAX] UNINITIALIZED;
        reopen_if_asked(log);
        (void)write_line(log, span_of(buffer, log_line_format(line, &log->style, buffer)));
        return;
    }
    struct record *record = ring_claim(&log->ring);
    if (record) {
        record->len = (uint32_t)log_line_format(line, &log->style, record->bytes);
        ring_commit(&log->ring, record);
    } else {
        atomic_fetch_add_explicit(&log->rates[line->event].suppressed, line->suppressed,
                                  memory_order_relaxed);
    }
    schedule(log);
}

void log_event(struct log *log, enum event event, const struct log_field *fields,
               const char *format, ...)
{
    if (!log_wants(log, event_level(event)))
        return;
    struct log_line line = {.event = event, .role = log->options.role, .fields = fields};
    if (event != EVENT_REQUEST && !rate_pass(log, event, &line.suppressed))
        return;
    char message[MESSAGE_MAX] UNINITIALIZED;
    va_list args;
    va_start(args, format);
    int len = vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    line.message_cut = len >= MESSAGE_MAX;
    line.message = span_of(message, len < 0 ? 0 : MIN((size_t)len, sizeof(message) - 1));
    line.wall = process_wall(log->process);
    line_put(log, &line);
}

void log_set_level(struct log *log, enum log_level level)
{
    atomic_store_explicit(&log->level, (int)level, memory_order_relaxed);
}

void log_reopen(struct log *log)
{
    atomic_store_explicit(&log->reopen, true, memory_order_release);
    if (!log->direct)
        schedule(log);
}

void log_stats(const struct log *log, struct log_stats *ret_stats)
{
    ret_stats->lines = atomic_load_explicit(&log->lines, memory_order_relaxed);
    ret_stats->dropped = ring_refused(&log->ring);
    ret_stats->failed = atomic_load_explicit(&log->failed, memory_order_relaxed);
    ret_stats->suppressed = atomic_load_explicit(&log->suppressed, memory_order_relaxed);
}

void log_tail(const void *log, void (*put)(struct span bytes))
{
    const struct ring *ring = &((const struct log *)log)->ring;
    for (uint64_t back = TAIL_LINES; back-- > 0;) {
        const struct record *record = ring_recent(ring, back);
        if (record && record->len <= LOG_LINE_MAX)
            put(span_of(record->bytes, record->len));
    }
}

/* ---- life ---- */

static struct log_style style_choose(struct process *process, enum log_format format,
                                     struct file *file)
{
    bool terminal = file_is_terminal(file);
    const char *no_color = process_env(process, "NO_COLOR");
    const char *term = process_env(process, "TERM");
    bool json = format == LOG_JSON || (format == LOG_AUTO && !terminal);
    bool able = terminal && (!term || strcmp(term, "dumb") != 0);
    return (struct log_style){.json = json, .colour = !json && able && (!no_color || !no_color[0])};
}

static result options_check(struct log_options *options, struct diag *diag)
{
    if (!options->role)
        options->role = "";
    if (!options->ring_lines)
        options->ring_lines = RING_LINES_DEFAULT;
    if (!options->rate_max)
        options->rate_max = RATE_DEFAULT;
    if (options->ring_lines < 2 || options->ring_lines > RING_LINES_MAX ||
        (options->ring_lines & (options->ring_lines - 1)) != 0)
        return diag_fail(diag, ERR_RANGE, "log ring: expected a power of two from 2 to %d, got %u",
                         RING_LINES_MAX, options->ring_lines);
    if (options->rate_max > WINDOW_COUNT_MAX)
        return diag_fail(diag, ERR_RANGE, "log rate: expected at most %u lines a second, got %u",
                         WINDOW_COUNT_MAX, options->rate_max);
    return OK;
}

static result log_open(struct log *log, struct diag *diag)
{
    TRY(options_check(&log->options, diag));
    if (log->options.path) {
        log->path = mem_strdup(log->options.path);
        if (!log->path)
            return fail(ERR_NO_MEMORY);
    }
    TRY(ring_init(&log->ring, sizeof(struct record), log->options.ring_lines));
    if (log->path)
        TRY(file_append_open(log->process, log->path, &log->file, diag));
    else
        log->file = file_standard(log->process, 2);
    log->style = style_choose(log->process, log->options.format, log->file);
    return OK;
}

result log_new(struct process *process, const struct log_options *options, struct log **ret_log,
               struct diag *diag)
{
    struct log *log = MEM_NEW(struct log);
    if (!log)
        return fail(ERR_NO_MEMORY);
    log->process = process;
    log->options = *options;
    log->direct = true;
    log->work.run = log_work;
    log_set_level(log, options->level);
    result r = log_open(log, diag);
    if (failed(r)) {
        log_free(log);
        return r;
    }
    *ret_log = log;
    return OK;
}

void log_free(struct log *log)
{
    if (!log)
        return;
    if (log->path && log->file)
        file_close(log->file);
    ring_release(&log->ring);
    mem_free(log->path);
    mem_free(log);
}

void log_start(struct log *log)
{
    log->direct = false;
}

void log_stop(struct log *log)
{
    log->direct = true;
    if (!drain(log, true))
        return;
    for (int i = 0; i < EVENT_COUNT; i++) {
        uint64_t n = atomic_exchange_explicit(&log->rates[i].suppressed, 0, memory_order_relaxed);
        char message[64];
        snprintf(message, sizeof(message), "suppressed %llu", (unsigned long long)n);
        if (n > 0 && !write_own(log, EVENT_LOG_SUPPRESSED,
                                LOG_FIELDS(log_str("suppressed_event", event_name((enum event)i)),
                                           log_uint("suppressed", n)),
                                message))
            return;
    }
    write_missing(log);
}
