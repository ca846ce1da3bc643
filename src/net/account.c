#include "net/server_private.h"

#include "obs/metrics.h"

#include <stdio.h>

static const char *const request_labels[] = {"server", "route", "code", NULL};
static const char *const route_labels[] = {"server", "route", NULL};
static const char *const server_labels[] = {"server", NULL};
static const char *const handshake_labels[] = {"server", "version", "resumed", NULL};
static const char *const failure_labels[] = {"server", "reason", NULL};

enum {
    M_REQUESTS,
    M_SECONDS,
    M_CONNECTIONS,
    M_IN_FLIGHT,
    M_IN_FLIGHT_BYTES,
    M_REFUSED,
    M_RECEIVED,
    M_SENT,
    M_HANDSHAKES,
    M_HANDSHAKE_FAILURES,
};

const struct metric_def server_metrics[] = {
    [M_REQUESTS] = {"weir_http_requests_total", "Exchanges that have ended, by status code.",
                    METRIC_COUNTER, UNIT_NONE, request_labels},
    [M_SECONDS] = {"weir_http_request_seconds",
                   "From the end of a request's head to the end of its answer.", METRIC_HISTOGRAM,
                   UNIT_SECONDS, route_labels},
    [M_CONNECTIONS] = {"weir_http_connections", "Open connections.", METRIC_GAUGE, UNIT_NONE,
                       server_labels},
    [M_IN_FLIGHT] = {"weir_http_requests_in_flight", "Exchanges that have been admitted.",
                     METRIC_GAUGE, UNIT_NONE, server_labels},
    [M_IN_FLIGHT_BYTES] = {"weir_http_request_in_flight_bytes",
                           "Body bytes reserved for exchanges in flight.", METRIC_GAUGE, UNIT_BYTES,
                           server_labels},
    [M_REFUSED] = {"weir_http_refused_total",
                   "Connections and requests refused because a limit was reached.", METRIC_COUNTER,
                   UNIT_NONE, server_labels},
    [M_RECEIVED] = {"weir_http_received_bytes_total", "Bytes read from clients.", METRIC_COUNTER,
                    UNIT_BYTES, server_labels},
    [M_SENT] = {"weir_http_sent_bytes_total", "Bytes written to clients.", METRIC_COUNTER,
                UNIT_BYTES, server_labels},
    [M_HANDSHAKES] = {"weir_tls_handshakes_total", "TLS handshakes that succeeded.", METRIC_COUNTER,
                      UNIT_NONE, handshake_labels},
    [M_HANDSHAKE_FAILURES] = {"weir_tls_handshake_failures_total",
                              "TLS handshakes that failed, by reason.", METRIC_COUNTER, UNIT_NONE,
                              failure_labels},
};
const size_t server_metrics_len = ARRAY_LEN(server_metrics);

const char *server_route_name(const struct server *server, size_t index)
{
    for (size_t t = 0; t < server->tables_len; t++) {
        if (index < server->tables[t].len)
            return server->tables[t].routes[index].name;
        index -= server->tables[t].len;
    }
    return "none";
}

static struct series *code_series(struct server_loop *sl, size_t route_index, int status)
{
    struct series **slot = &sl->series[route_index].codes[status];
    if (*slot)
        return *slot;
    char code[8];
    snprintf(code, sizeof(code), "%d", status);
    struct span values[] = {span_cstr(sl->server->name),
                            span_cstr(server_route_name(sl->server, route_index)), span_cstr(code)};
    *slot = metrics_series(sl->server->metrics, &server_metrics[M_REQUESTS], values, 3);
    return *slot;
}

static struct series *seconds_series(struct server_loop *sl, size_t route_index)
{
    struct series **slot = &sl->series[route_index].seconds;
    if (*slot)
        return *slot;
    struct span values[] = {span_cstr(sl->server->name),
                            span_cstr(server_route_name(sl->server, route_index))};
    *slot = metrics_series(sl->server->metrics, &server_metrics[M_SECONDS], values, 2);
    return *slot;
}

static struct series *total_series(struct server *server, size_t which)
{
    struct span value = span_cstr(server->name);
    return metrics_series(server->metrics, &server_metrics[which], &value, 1);
}

/* Bytes are counted plainly on the loop and told once an exchange. */
static void account_bytes(struct server_loop *sl)
{
    counter_add(sl->shard, sl->server->series_received, sl->bytes_in);
    counter_add(sl->shard, sl->server->series_sent, sl->bytes_out);
    sl->bytes_in = 0;
    sl->bytes_out = 0;
}

void exchange_account(struct server_loop *sl, size_t route_index, int status, io_time took)
{
    if (status < 0 || status >= ROUTE_CODES)
        status = 0;
    counter_add(sl->shard, code_series(sl, route_index, status), 1);
    histogram_record(sl->shard, seconds_series(sl, route_index), (uint64_t)MAX(took, 0));
    account_bytes(sl);
}

void handshake_account(struct server_loop *sl, const struct tls_info *info)
{
    bool old = strcmp(info->version, "TLSv1.2") == 0;
    struct series **slot = &sl->tls_series.done[old][info->resumed];
    struct span values[] = {span_cstr(sl->server->name), span_cstr(info->version),
                            info->resumed ? SPAN("true") : SPAN("false")};
    if (!*slot)
        *slot = metrics_series(sl->server->metrics, &server_metrics[M_HANDSHAKES], values, 3);
    counter_add(sl->shard, *slot, 1);
}

void handshake_failure_account(struct server_loop *sl, enum tls_failure failure)
{
    struct series **slot = &sl->tls_series.failed[failure];
    struct span values[] = {span_cstr(sl->server->name), span_cstr(tls_failure_label(failure))};
    if (!*slot)
        *slot =
            metrics_series(sl->server->metrics, &server_metrics[M_HANDSHAKE_FAILURES], values, 2);
    counter_add(sl->shard, *slot, 1);
}

static void collect(void *arg)
{
    struct server *server = arg;
    struct server_counts counts;
    server_counts(server, &counts);
    gauge_set(server->series_connections, (double)counts.connections);
    gauge_set(server->series_requests, (double)counts.requests);
    gauge_set(server->series_bytes, (double)counts.request_bytes);
    gauge_set(server->series_refused, (double)counts.refused);
}

result server_account_init(struct server *server)
{
    server->series_received = total_series(server, M_RECEIVED);
    server->series_sent = total_series(server, M_SENT);
    server->series_connections = total_series(server, M_CONNECTIONS);
    server->series_requests = total_series(server, M_IN_FLIGHT);
    server->series_bytes = total_series(server, M_IN_FLIGHT_BYTES);
    server->series_refused = total_series(server, M_REFUSED);
    return metrics_collect(server->metrics, collect, server);
}

void server_account_release(struct server_loop *sl)
{
    for (size_t i = 0; sl->series && i <= sl->server->routes_len; i++) {
        series_put(sl->series[i].seconds);
        for (int code = 0; code < ROUTE_CODES; code++)
            series_put(sl->series[i].codes[code]);
    }
    for (size_t i = 0; i < TLS_FAILURES; i++)
        series_put(sl->tls_series.failed[i]);
    for (int i = 0; i < 4; i++)
        series_put(sl->tls_series.done[i / 2][i % 2]);
}
