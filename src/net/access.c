#include "net/server_private.h"

#include "obs/log.h"

bool access_wanted(const struct server_loop *sl, int status)
{
    return sl->config.access_log == ACCESS_ALL ||
           (status >= 500 && sl->config.access_log == ACCESS_ERRORS);
}

void access_log(struct server_loop *sl, const struct access_line *line)
{
    const struct server *server = sl->server;
    char trace[TRACE_ID_LEN + 1];
    trace_id_format(line->trace, trace);
    log_event(server->log, line->status >= 500 ? EVENT_REQUEST_FAILED : EVENT_REQUEST,
              LOG_FIELDS(log_str("server", server->name),
                         log_str("route", server_route_name(server, line->route_index)),
                         log_span("method", line->method), log_span("path", line->path),
                         log_int("status", line->status), log_time("took", line->took),
                         log_uint("received_bytes", line->received),
                         log_span("reason", line->reason), log_str("trace_id", trace),
                         log_span("request_id", line->request_id),
                         line->client ? log_str("client", line->client)
                                      : (struct log_field){NULL, LOG_FIELD_END, {.u = 0}}),
              "%.*s %.*s: %d", SPAN_FMT(line->method), SPAN_FMT(line->path), line->status);
}
