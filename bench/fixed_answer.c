/* The cost of net by itself: a server whose one handler answers every request with the
 * same few bytes. Compared with bench-floor-epoll, which sends the same and parses nothing.
 *
 *   bench-fixed-answer PORT BODY_BYTES
 *
 * Listens on 127.0.0.1:PORT with one loop, until it is killed.
 */
#include "io/uv/uv.h"
#include "net/server.h"

#include <stdio.h>
#include <stdlib.h>

#define BODY_MAX 65536

struct answer {
    struct span body;
};

static void answer(struct exchange *x, void *arg)
{
    const struct answer *fixed = arg;
    exchange_respond(x, 200, "text/plain", fixed->body);
}

static const struct route routes[] = {
    {ROUTE_ANY, ROUTE_PREFIX, "/", "fixed", answer},
};

static const struct server_config config = {
    .connections_max = 16384,
    .requests_max = 4096,
    .request_bytes_max = 1u << 30,
    .body_bytes_max = 1u << 20,
    .head_bytes_max = 32768,
    .headers_max = 100,
    .head_timeout = 10 * IO_SEC,
    .body_timeout = 30 * IO_SEC,
    .idle_timeout = 75 * IO_SEC,
};

static result serve(uint16_t port, struct answer *fixed, struct diag *diag)
{
    struct io_uv_options uv = {.loops = 1, .connections_max = config.connections_max};
    struct metrics_options loops = {.loops = 1};
    struct route_table table = {.routes = routes, .len = 1, .arg = fixed};
    struct io_address address = {.family = IO_INET, .port = port, .ip = {127, 0, 0, 1}};
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
    process_run(process);
    return OK;
}

int main(int argc, char **argv)
{
    static uint8_t bytes[BODY_MAX];
    struct diag diag = {0};
    if (argc != 3 || strtoul(argv[2], NULL, 10) > BODY_MAX) {
        fprintf(stderr, "usage: bench-fixed-answer PORT BODY_BYTES (at most %d)\n", BODY_MAX);
        return 64;
    }
    memset(bytes, 'x', sizeof(bytes));
    struct answer fixed = {.body = span_of(bytes, strtoul(argv[2], NULL, 10))};
    if (failed(serve((uint16_t)strtoul(argv[1], NULL, 10), &fixed, &diag))) {
        fprintf(stderr, "bench-fixed-answer: %s\n", diag.text);
        return 1;
    }
    return 0;
}
