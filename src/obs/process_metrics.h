/* What every process shows of itself, whatever its role: the names that Prometheus'
 * client libraries agree on (process_*), the build, the loops and the log.
 *
 * Owner: the caller; freed after the registry's last scrape.
 */
#pragma once

#include "obs/log.h"
#include "obs/metrics.h"

struct process_metrics;

/* Boot. Defines the metrics and registers their collector. `log` may be NULL.
 * `version` is copied. */
result process_metrics_new(struct metrics *metrics, struct process *process, const struct log *log,
                           const char *version, struct process_metrics **ret_process_metrics,
                           struct diag *diag);
void process_metrics_free(struct process_metrics *process_metrics);
