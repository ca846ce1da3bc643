/* Weir's HTTP/1 as a server that says what it understood: every request is answered
 *
 *     X-Echo: METHOD PATH BYTES-OF-BODY
 *
 * The port is printed on a line once connections are taken. Ends when it is killed.
 */
#include "io/uv/uv.h"
#include "net/server.h"

#include <stdio.h>

static void say(struct exchange *x, result r, struct span body)
{
    if (failed(r)) {
        exchange_fail(x, (enum err)r.code, NULL);
        return;
    }
    char *echo =
        arena_printf(exchange_arena(x), "%s %.*s %zu", http_method_name(exchange_method(x)),
                     SPAN_FMT(exchange_path(x)), body.len);
    exchange_add_header(x, "x-echo", span_cstr(echo));
    exchange_respond(x, 200, NULL, SPAN_NONE);
}

static void echo(struct exchange *x, void *arg)
{
    exchange_collect(x, UINT64_MAX, say);
}

static const struct route routes[] = {
    {ROUTE_ANY & ~ROUTE_METHOD(METHOD_CONNECT), ROUTE_PREFIX, "", "echo", echo},
};

/* The limits that tests/conformance/http1_cases are written for, but for the body. */
static const struct server_config config = {
    .connections_max = 1024,
    .requests_max = 1024,
    .request_bytes_max = 1u << 30,
    .body_bytes_max = 64u << 20,
    .head_bytes_max = 32768,
    .headers_max = 100,
    .head_timeout = 60 * IO_SEC,
    .body_timeout = 60 * IO_SEC,
    .idle_timeout = 60 * IO_SEC,
};

static result serve(struct diag *diag)
{
    struct io_uv_options uv = {.loops = 1, .connections_max = config.connections_max};
    struct metrics_options loops = {.loops = 1};
    struct route_table table = {.routes = routes, .len = 1};
    struct io_address address = {.family = IO_INET, .ip = {127, 0, 0, 1}};
    struct process *process;
    struct metrics *metrics;
    struct server *server;
    TRY(uv_process_new(&uv, &process, diag));
    TRY(metrics_new(process, &loops, &metrics, diag));
    TRY(metrics_define(metrics, server_metrics, server_metrics_len, diag));
    struct server_options options = {
        .name = "http",
        .process = process,
        .metrics = metrics,
        .slab = slab_host_new(1u << 30, 0),
        .config = &config,
        .routes = &table,
        .routes_len = 1,
    };
    TRY(server_new(&options, &server, diag));
    TRY(server_listen(server, &address, NULL, diag));
    if (!server_address(server, 0, &address))
        return fail(ERR_INTERNAL);
    printf("%u\n", address.port);
    fflush(stdout);
    process_run(process);
    return OK;
}

int main(void)
{
    struct diag diag = {0};
    if (failed(serve(&diag))) {
        fprintf(stderr, "differential-echo: %s\n", diag.text);
        return 1;
    }
    return 0;
}
