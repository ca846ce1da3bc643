#include "net/client_account.h"

#include "base/alloc.h"

#include <stdio.h>

enum {
    M_REQUESTS,
    M_SECONDS,
    M_CONNECTIONS,
    M_WAITING,
    M_EVENTS,
    M_LOOKUPS,
    M_CACHED,
};

static const char *const code_labels[] = {"code", NULL};
static const char *const state_labels[] = {"state", NULL};
static const char *const event_labels[] = {"event", NULL};
static const char *const result_labels[] = {"result", NULL};
static const char *const source_labels[] = {"source", NULL};

const struct metric_def client_metrics[] = {
    [M_REQUESTS] = {"weir_client_requests_total",
                    "Requests sent to others that have ended, by status code or reason.",
                    METRIC_COUNTER, UNIT_NONE, code_labels},
    [M_SECONDS] = {"weir_client_request_seconds",
                   "From a request's start to the end of its answer, waits and retries included.",
                   METRIC_HISTOGRAM, UNIT_SECONDS, NULL},
    [M_CONNECTIONS] = {"weir_client_connections", "Connections to others, by state.", METRIC_GAUGE,
                       UNIT_NONE, state_labels},
    [M_WAITING] = {"weir_client_requests_waiting", "Requests that wait for a connection.",
                   METRIC_GAUGE, UNIT_NONE, NULL},
    [M_EVENTS] = {"weir_client_events_total",
                  "Connections made and reused, waits, refusals, retries.", METRIC_COUNTER,
                  UNIT_NONE, event_labels},
    [M_LOOKUPS] = {"weir_dns_lookups_total", "Lookups that name servers were asked for.",
                   METRIC_COUNTER, UNIT_NONE, result_labels},
    [M_CACHED] = {"weir_dns_cached_total", "Names answered from the cache.", METRIC_COUNTER,
                  UNIT_NONE, source_labels},
};
const size_t client_metrics_len = ARRAY_LEN(client_metrics);

static const char *const event_names[ACCOUNT_EVENTS] = {
    [ACCOUNT_CONNECT] = "connect", [ACCOUNT_CONNECT_FAILED] = "connect_failed",
    [ACCOUNT_REUSE] = "reuse",     [ACCOUNT_WAIT] = "wait",
    [ACCOUNT_REFUSED] = "refused", [ACCOUNT_RETRY] = "retry",
    [ACCOUNT_REPLAY] = "replay",   [ACCOUNT_RETRY_REFUSED] = "retry_refused",
};

enum { LOOKUP_OK, LOOKUP_NOT_FOUND, LOOKUP_FAILED, LOOKUP_RESULTS };
static const char *const lookup_names[LOOKUP_RESULTS] = {"ok", "not_found", "failed"};
static const char *const source_names[ACCOUNT_NAME_KINDS] = {"fresh", "stale"};

#define STATUS_MAX 600

struct client_account_loop {
    struct metrics *metrics;
    struct metrics_shard *shard;
    struct series *statuses[STATUS_MAX], *errors[ERR_COUNT];
    struct series *events[ACCOUNT_EVENTS], *lookups[LOOKUP_RESULTS], *names[ACCOUNT_NAME_KINDS];
    struct series *seconds;
    struct quota gauges[ACCOUNT_GAUGES];
};

struct client_account {
    int loops_len;
    struct series *open, *idle, *waiting;
    struct client_account_loop loops[];
};

static struct series *series_of(struct client_account_loop *part, struct series **slot, int which,
                                const char *label)
{
    struct span value = span_cstr(label);
    if (!*slot)
        *slot = metrics_series(part->metrics, &client_metrics[which], &value, 1);
    return *slot;
}

static uint64_t total(struct client_account *account, enum account_gauge gauge)
{
    uint64_t sum = 0;
    for (int i = 0; i < account->loops_len; i++)
        sum += quota_now(&account->loops[i].gauges[gauge]);
    return sum;
}

static void collect(void *arg)
{
    struct client_account *account = arg;
    uint64_t open = total(account, ACCOUNT_OPEN), idle = total(account, ACCOUNT_IDLE);
    gauge_set(account->open, (double)(open - MIN(open, idle)));
    gauge_set(account->idle, (double)idle);
    gauge_set(account->waiting, (double)total(account, ACCOUNT_WAITING));
}

result client_account_new(struct process *process, struct metrics *metrics,
                          struct client_account **ret_account, struct diag *diag)
{
    int loops = process_loop_count(process);
    struct client_account *account =
        mem_zalloc(1, sizeof(*account) + (size_t)loops * sizeof(account->loops[0]));
    if (!account)
        return diag_fail(diag, ERR_NO_MEMORY, "no memory for the client's metrics");
    result r = metrics_define(metrics, client_metrics, client_metrics_len, diag);
    if (!failed(r))
        r = metrics_collect(metrics, collect, account);
    if (failed(r)) {
        mem_free(account);
        return r;
    }
    account->loops_len = loops;
    struct span busy = SPAN("busy"), idle = SPAN("idle");
    account->open = metrics_series(metrics, &client_metrics[M_CONNECTIONS], &busy, 1);
    account->idle = metrics_series(metrics, &client_metrics[M_CONNECTIONS], &idle, 1);
    account->waiting = metrics_series(metrics, &client_metrics[M_WAITING], NULL, 0);
    for (int i = 0; i < loops; i++) {
        struct client_account_loop *part = &account->loops[i];
        part->metrics = metrics;
        part->shard = metrics_shard(metrics, i);
        part->seconds = metrics_series(metrics, &client_metrics[M_SECONDS], NULL, 0);
        for (int g = 0; g < ACCOUNT_GAUGES; g++)
            quota_init(&part->gauges[g], UINT64_MAX);
    }
    *ret_account = account;
    return OK;
}

static void put_all(struct series **series, size_t len)
{
    for (size_t i = 0; i < len; i++)
        series_put(series[i]);
}

void client_account_free(struct client_account *account)
{
    if (!account)
        return;
    series_put(account->open);
    series_put(account->idle);
    series_put(account->waiting);
    for (int i = 0; i < account->loops_len; i++) {
        struct client_account_loop *part = &account->loops[i];
        put_all(part->statuses, STATUS_MAX);
        put_all(part->errors, ERR_COUNT);
        put_all(part->events, ACCOUNT_EVENTS);
        put_all(part->lookups, LOOKUP_RESULTS);
        put_all(part->names, ACCOUNT_NAME_KINDS);
        series_put(part->seconds);
    }
    mem_free(account);
}

struct client_account_loop *client_account_part(struct client_account *account, int loop_index)
{
    return account ? &account->loops[loop_index] : NULL;
}

void client_account_name(struct client_account_loop *part, enum account_name kind)
{
    if (part)
        counter_add(part->shard, series_of(part, &part->names[kind], M_CACHED, source_names[kind]),
                    1);
}

void client_account_lookup(struct client_account_loop *part, result r)
{
    int which = !failed(r) ? LOOKUP_OK : is(r, ERR_NOT_FOUND) ? LOOKUP_NOT_FOUND : LOOKUP_FAILED;
    if (part)
        counter_add(part->shard,
                    series_of(part, &part->lookups[which], M_LOOKUPS, lookup_names[which]), 1);
}

void client_account_more(struct client_account_loop *part, enum account_gauge gauge)
{
    if (part)
        quota_take(&part->gauges[gauge], 1);
}

void client_account_less(struct client_account_loop *part, enum account_gauge gauge)
{
    if (part)
        quota_give(&part->gauges[gauge], 1);
}

void client_account_event(struct client_account_loop *part, enum account_event event)
{
    if (part)
        counter_add(part->shard,
                    series_of(part, &part->events[event], M_EVENTS, event_names[event]), 1);
}

void client_account_request(struct client_account_loop *part, int status, result r, io_time took)
{
    struct series *series;
    if (!part)
        return;
    if (!failed(r) && status > 0 && status < STATUS_MAX) {
        char code[8];
        snprintf(code, sizeof(code), "%d", status);
        series = series_of(part, &part->statuses[status], M_REQUESTS, code);
    } else {
        series = series_of(part, &part->errors[r.code], M_REQUESTS, err_name((enum err)r.code));
    }
    counter_add(part->shard, series, 1);
    histogram_record(part->shard, part->seconds, (uint64_t)MAX(took, 0));
}
