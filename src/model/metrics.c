#include "model/metrics.h"

#include "model/model.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    METRIC_REQUESTS,
    METRIC_REJECTED,
    METRIC_QUEUE_TIME,
    METRIC_RUN_TIME,
    METRIC_BATCH_ROWS,
    METRIC_QUEUE_ROWS,
    METRIC_STATE,
    METRIC_LOAD_TIME,
};

static const char *const version_labels[] = {"model", "version", NULL};
static const char *const code_labels[] = {"model", "version", "code", NULL};
static const char *const reason_labels[] = {"model", "version", "reason", NULL};

static const struct metric_def defs[] = {
    [METRIC_REQUESTS] = {"weir_model_requests_total",
                         "Requests that a model version has completed, by gRPC status.",
                         METRIC_COUNTER, UNIT_NONE, code_labels},
    [METRIC_REJECTED] = {"weir_model_rejected_total",
                         "Requests that were refused before they were queued, by reason.",
                         METRIC_COUNTER, UNIT_NONE, reason_labels},
    [METRIC_QUEUE_TIME] = {"weir_model_queue_seconds",
                           "Time from a request's submission to the start of its run.",
                           METRIC_HISTOGRAM, UNIT_SECONDS, version_labels},
    [METRIC_RUN_TIME] = {"weir_model_run_seconds", "Time that one run of the model took.",
                         METRIC_HISTOGRAM, UNIT_SECONDS, version_labels},
    [METRIC_BATCH_ROWS] = {"weir_model_batch_rows", "Rows that ran together.", METRIC_HISTOGRAM,
                           UNIT_NONE, version_labels},
    [METRIC_QUEUE_ROWS] = {"weir_model_queue_rows", "Rows that wait for a run.", METRIC_GAUGE,
                           UNIT_NONE, version_labels},
    [METRIC_STATE] = {"weir_model_state",
                      "State of the version: 10 start, 20 loading, 30 available, 40 unloading, "
                      "50 end.",
                      METRIC_GAUGE, UNIT_NONE, version_labels},
    [METRIC_LOAD_TIME] = {"weir_model_load_seconds", "Time that loading the version took.",
                          METRIC_GAUGE, UNIT_SECONDS, version_labels},
};

static const char *const reasons[] = {
    [REJECT_QUEUE_FULL] = "queue_full",
    [REJECT_NOT_AVAILABLE] = "not_available",
    [REJECT_DEADLINE] = "deadline",
};

result model_metrics_define(struct metrics *metrics, struct diag *diag)
{
    return metrics_define(metrics, defs, ARRAY_LEN(defs), diag);
}

static struct series *series_get(struct metrics *metrics, int which, const char *model,
                                 int64_t version, const char *third)
{
    char number[24];
    int len = snprintf(number, sizeof(number), "%" PRId64, version);
    struct span values[] = {span_cstr(model), span_of(number, (size_t)len), span_cstr(third)};
    return metrics_series(metrics, &defs[which], values, third ? 3 : 2);
}

struct series *version_gauge(struct metrics *metrics, const char *model, int64_t version,
                             enum version_gauge which)
{
    static const int gauges[] = {
        [GAUGE_QUEUE_ROWS] = METRIC_QUEUE_ROWS,
        [GAUGE_STATE] = METRIC_STATE,
        [GAUGE_LOAD_TIME] = METRIC_LOAD_TIME,
    };
    return series_get(metrics, gauges[which], model, version, NULL);
}

void version_series_init(struct version_series *series, struct metrics *metrics, const char *model,
                         int64_t version)
{
    *series = (struct version_series){
        .queue_time = series_get(metrics, METRIC_QUEUE_TIME, model, version, NULL),
        .run_time = series_get(metrics, METRIC_RUN_TIME, model, version, NULL),
        .batch_rows = series_get(metrics, METRIC_BATCH_ROWS, model, version, NULL),
    };
}

void version_series_release(struct version_series *series)
{
    for (int i = 0; i < GRPC_STATUSES; i++)
        series_put(series->requests[i]);
    for (int i = 0; i < REJECT_REASONS; i++)
        series_put(series->rejected[i]);
    series_put(series->queue_time);
    series_put(series->run_time);
    series_put(series->batch_rows);
    *series = (struct version_series){.queue_time = NULL};
}

void version_count_request(struct version_series *series, struct metrics *metrics,
                           struct metrics_shard *shard, const struct model_request *request)
{
    if (!shard)
        return;
    enum grpc_status status = err_grpc(request->error);
    struct series **place = &series->requests[status];
    if (!*place) {
        char code[8];
        snprintf(code, sizeof(code), "%d", (int)status);
        *place = series_get(metrics, METRIC_REQUESTS, version_model(request->version),
                            version_number(request->version), code);
    }
    counter_add(shard, *place, 1);
    if (request->started_at > 0 && request->started_at >= request->queued_at)
        histogram_record(shard, series->queue_time,
                         (uint64_t)(request->started_at - request->queued_at));
}

void version_count_rejected(struct version_series *series, struct metrics *metrics,
                            struct metrics_shard *shard, const struct model_version *version,
                            enum reject_reason reason)
{
    if (!shard)
        return;
    struct series **place = &series->rejected[reason];
    if (!*place)
        *place = series_get(metrics, METRIC_REJECTED, version_model(version),
                            version_number(version), reasons[reason]);
    counter_add(shard, *place, 1);
}

void version_count_run(struct version_series *series, struct metrics_shard *shard, int64_t rows,
                       io_time took)
{
    if (!shard)
        return;
    histogram_record(shard, series->run_time, (uint64_t)took);
    histogram_record(shard, series->batch_rows, (uint64_t)rows);
}
