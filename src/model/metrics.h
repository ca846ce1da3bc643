/* What models tell about themselves, as metric series of one version on one loop.
 *
 * Owner and threads: the loop's view of the version.
 */
#pragma once

#include "obs/metrics.h"

struct model_request;
struct model_version;

enum reject_reason { REJECT_QUEUE_FULL, REJECT_NOT_AVAILABLE, REJECT_DEADLINE, REJECT_REASONS };

#define GRPC_STATUSES 17

struct version_series {
    struct series *requests[GRPC_STATUSES]; /* made when first needed */
    struct series *rejected[REJECT_REASONS];
    struct series *queue_time, *run_time, *batch_rows;
};

/* Shared by all loops: set at scrapes or by loop 0. */
enum version_gauge { GAUGE_QUEUE_ROWS, GAUGE_STATE, GAUGE_LOAD_TIME };

/* Boot. */
result model_metrics_define(struct metrics *metrics, struct diag *diag);
struct series *version_gauge(struct metrics *metrics, const char *model, int64_t version,
                             enum version_gauge which);

/* `gauge_set`, unless the series is NULL. */
static inline void gauge_set_if(struct series *series, double value)
{
    if (series)
        gauge_set(series, value);
}

void version_series_init(struct version_series *series, struct metrics *metrics, const char *model,
                         int64_t version);
void version_series_release(struct version_series *series);
/* The rest does nothing with a NULL shard. */
void version_count_request(struct version_series *series, struct metrics *metrics,
                           struct metrics_shard *shard, const struct model_request *request);
void version_count_rejected(struct version_series *series, struct metrics *metrics,
                            struct metrics_shard *shard, const struct model_version *version,
                            enum reject_reason reason);
void version_count_run(struct version_series *series, struct metrics_shard *shard, int64_t rows,
                       io_time took);
