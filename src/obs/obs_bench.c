/* Run by hand: what recording and logging cost. `ninja src/obs/obs-bench`. */
#include "obs/log.h"
#include "obs/metrics.h"
#include "obs/test_process.h"

#include <stdio.h>

enum { ROUNDS = 50 * 1000 * 1000, LINES = 200 * 1000 };

static const struct metric_def counter_def = {"weir_bench_total", "Bench.", METRIC_COUNTER,
                                              UNIT_NONE, NULL};
static const struct metric_def histogram_def = {"weir_bench_seconds", "Bench.", METRIC_HISTOGRAM,
                                                UNIT_SECONDS, NULL};

static void report(const char *what, io_time took, int count)
{
    printf("%-28s %6.2f ns\n", what, (double)took / count);
}

int main(void)
{
    struct process *process = test_process_new(1);
    struct metrics_options options = {.loops = 1};
    struct metrics *metrics;
    if (failed(metrics_new(process, &options, &metrics, NULL)) ||
        failed(metrics_define(metrics, &counter_def, 1, NULL)) ||
        failed(metrics_define(metrics, &histogram_def, 1, NULL)))
        return 1;
    struct metrics_shard *shard = metrics_shard(metrics, 0);
    struct series *counter = metrics_series(metrics, &counter_def, NULL, 0);
    struct series *histogram = metrics_series(metrics, &histogram_def, NULL, 0);

    io_time start = process_clock(process);
    for (int i = 0; i < ROUNDS; i++)
        counter_add(shard, counter, 1);
    report("counter_add", process_clock(process) - start, ROUNDS);

    start = process_clock(process);
    for (int i = 0; i < ROUNDS; i++)
        histogram_record(shard, histogram, 123456);
    report("histogram_record, one value", process_clock(process) - start, ROUNDS);

    uint64_t value = 88172645463325252u;
    start = process_clock(process);
    for (int i = 0; i < ROUNDS; i++) {
        value = value * 6364136223846793005u + 1442695040888963407u;
        histogram_record(shard, histogram, (value >> 44) + 1000);
    }
    report("histogram_record, any value", process_clock(process) - start, ROUNDS);

    struct log_options quiet = {.role = "bench", .path = "/dev/null", .format = LOG_JSON};
    struct log *log;
    if (failed(log_new(process, &quiet, &log, NULL)))
        return 1;
    start = process_clock(process);
    for (int i = 0; i < LINES; i++)
        log_event(log, EVENT_REQUEST,
                  LOG_FIELDS(log_str("path", "/v1/models/a:predict"), log_int("status", 200),
                             log_time("took", 123456)),
                  "POST %s", "/v1/models/a:predict");
    report("log_event, to /dev/null", process_clock(process) - start, LINES);
    log_set_level(log, LOG_WARN);
    start = process_clock(process);
    for (int i = 0; i < ROUNDS; i++)
        log_event(log, EVENT_REQUEST, LOG_NO_FIELDS, "not logged");
    report("log_event, below the level", process_clock(process) - start, ROUNDS);
    log_free(log);
    metrics_free(metrics);
    process_free(process);
    return 0;
}
