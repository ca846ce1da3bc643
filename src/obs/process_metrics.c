#include "obs/process_metrics.h"

#include "base/alloc.h"

#include <stdio.h>

#define LOOPS_SHOWN_MAX 256

static const char *const version_labels[] = {"version", NULL};
static const char *const loop_labels[] = {"loop", NULL};
static const char *const reason_labels[] = {"reason", NULL};

enum {
    CPU,
    RESIDENT,
    OPEN_FDS,
    MAX_FDS,
    STARTED,
    BUILD,
    TURNS,
    LOG_LINES,
    LOG_LOST,
    DEF_COUNT,
};

static const struct metric_def defs[DEF_COUNT] = {
    [CPU] = {"process_cpu_seconds_total", "CPU time used, user and system.", METRIC_COUNTER,
             UNIT_SECONDS, NULL},
    [RESIDENT] = {"process_resident_memory_bytes", "Resident memory.", METRIC_GAUGE, UNIT_BYTES,
                  NULL},
    [OPEN_FDS] = {"process_open_fds", "Open file descriptors.", METRIC_GAUGE, UNIT_NONE, NULL},
    [MAX_FDS] = {"process_max_fds", "Limit of open file descriptors.", METRIC_GAUGE, UNIT_NONE,
                 NULL},
    [STARTED] = {"process_start_time_seconds", "When the process started, since 1970.",
                 METRIC_GAUGE, UNIT_SECONDS, NULL},
    [BUILD] = {"weir_build_info", "Always 1; the version is its label.", METRIC_GAUGE, UNIT_NONE,
               version_labels},
    [TURNS] = {"weir_loop_turns_total",
               "Turns of each event loop; one that stands still makes none.", METRIC_COUNTER,
               UNIT_NONE, loop_labels},
    [LOG_LINES] = {"weir_log_lines_total", "Log lines written.", METRIC_COUNTER, UNIT_NONE, NULL},
    [LOG_LOST] = {"weir_log_lines_lost_total",
                  "Log lines not written: the ring was full, the file refused them, or the event "
                  "came too often.",
                  METRIC_COUNTER, UNIT_NONE, reason_labels},
};

struct process_metrics {
    struct process *process;
    const struct log *log;
    struct series *single[DEF_COUNT]; /* of metrics without labels; else NULL */
    struct series *full, *failed, *suppressed;
    int loops;
    struct series *turns[LOOPS_SHOWN_MAX];
};

static struct series *labelled(struct metrics *metrics, int def, const char *value)
{
    struct span label = span_cstr(value);
    return metrics_series(metrics, &defs[def], &label, 1);
}

static void collect(void *arg)
{
    struct process_metrics *pm = arg;
    struct process_usage usage;
    process_usage(pm->process, &usage);
    gauge_set(pm->single[CPU], (double)(usage.cpu_user + usage.cpu_system) / (double)IO_SEC);
    gauge_set(pm->single[RESIDENT], (double)usage.resident_bytes);
    gauge_set(pm->single[OPEN_FDS], (double)usage.descriptors_now);
    gauge_set(pm->single[MAX_FDS], (double)usage.descriptors_max);
    gauge_set(pm->single[STARTED], (double)usage.started_at / (double)IO_SEC);
    for (int i = 0; i < pm->loops; i++)
        gauge_set(pm->turns[i], (double)loop_turns(process_loop(pm->process, i)));
    if (!pm->log)
        return;
    struct log_stats stats;
    log_stats(pm->log, &stats);
    gauge_set(pm->single[LOG_LINES], (double)stats.lines);
    gauge_set(pm->full, (double)stats.dropped);
    gauge_set(pm->failed, (double)stats.failed);
    gauge_set(pm->suppressed, (double)stats.suppressed);
}

result process_metrics_new(struct metrics *metrics, struct process *process, const struct log *log,
                           const char *version, struct process_metrics **ret_process_metrics,
                           struct diag *diag)
{
    TRY(metrics_define(metrics, defs, DEF_COUNT, diag));
    struct process_metrics *pm = MEM_NEW(struct process_metrics);
    if (!pm)
        return fail(ERR_NO_MEMORY);
    pm->process = process;
    pm->log = log;
    for (int i = 0; i < DEF_COUNT; i++)
        pm->single[i] = defs[i].labels ? NULL : metrics_series(metrics, &defs[i], NULL, 0);
    pm->full = labelled(metrics, LOG_LOST, "ring_full");
    pm->failed = labelled(metrics, LOG_LOST, "write_failed");
    pm->suppressed = labelled(metrics, LOG_LOST, "rate_limit");
    pm->loops = MIN(process_loop_count(process), LOOPS_SHOWN_MAX);
    for (int i = 0; i < pm->loops; i++) {
        char number[16];
        snprintf(number, sizeof(number), "%d", i);
        pm->turns[i] = labelled(metrics, TURNS, number);
    }
    gauge_set(labelled(metrics, BUILD, version), 1);
    result r = metrics_collect(metrics, collect, pm);
    if (failed(r)) {
        process_metrics_free(pm);
        return r;
    }
    *ret_process_metrics = pm;
    return OK;
}

void process_metrics_free(struct process_metrics *process_metrics)
{
    mem_free(process_metrics);
}
