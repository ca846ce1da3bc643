#include "net/test_fixture.h"

#include "base/alloc.h"
#include "config/config.h"
#include "io/sim/sim.h"
#include "io/uv/uv.h"
#include "support/toymux.h"

#include <stdio.h>
#include <stdlib.h>

#define GUARD_TIME (60 * IO_SEC)
#define SETTLE_TIME (20 * IO_SEC)

static const struct server_config config_default = {
    .connections_max = 16384,
    .requests_max = 4096,
    .request_bytes_max = 1u << 30,
    .body_bytes_max = 256u << 20,
    .head_bytes_max = 32768,
    .headers_max = 100,
    .head_timeout = 10 * IO_SEC,
    .body_timeout = 30 * IO_SEC,
    .idle_timeout = 75 * IO_SEC,
};

static void process_make(struct fx *fx)
{
    int loops = MAX(fx->options.loops, 1);
    if (!fx->options.sim) {
        /* Prepared for descriptors as the program is, so that memory may fail afterwards. */
        struct io_uv_options options = {
            .loops = loops, .compute_threads = 1, .file_threads = 1, .connections_max = 256};
        struct diag diag = {0};
        result r = uv_process_new(&options, &fx->process, &diag);
        if (failed(r))
            fail_msg("%s", diag.text);
        return;
    }
    fx->world = sim_world_new(fx->options.seed + 1);
    if (fx->options.faults) {
        struct sim_faults faults = {
            .delay_min = 1 * IO_US,
            .delay_max = 2 * IO_MS,
            .short_read_percent = 50,
            .short_write_percent = 50,
            .reset_permille = fx->options.reset_permille,
            .buffer_bytes = 5000 + fx->options.seed * 7919 % 100000,
        };
        sim_world_faults(fx->world, &faults);
    }
    fx->process = sim_process_new(fx->world, "server", loops);
}

void fx_init(struct fx *fx, const struct fx_options *options)
{
    *fx = (struct fx){.options = *options, .config = config_default};
    quota_init(&fx->started, UINT64_MAX);
    test_pattern(1); /* made before there are threads */
    process_make(fx);
    struct metrics_options metrics = {.loops = process_loop_count(fx->process)};
    assert_int_equal(metrics_new(fx->process, &metrics, &fx->metrics, NULL).code, ERR_NONE);
    assert_int_equal(metrics_define(fx->metrics, server_metrics, server_metrics_len, NULL).code,
                     ERR_NONE);
    fx->slab = slab_host_new(1u << 30, 0);
    assert_non_null(fx->slab);
    if (options->tls)
        fx_tls_make(fx);
}

void fx_serve(struct fx *fx)
{
    fx->table = (struct route_table){.routes = test_routes, .len = test_routes_len, .arg = fx};
    struct server_options options = {
        .name = "test",
        .process = fx->process,
        .metrics = fx->metrics,
        .slab = fx->slab,
        .config = &fx->config,
        .routes = &fx->table,
        .routes_len = 1,
        .tls = fx->server_tls,
        .accept = fx->options.toymux ? toymux_accept : NULL,
    };
    struct diag diag = {0};
    result r = server_new(&options, &fx->server, &diag);
    if (failed(r))
        fail_msg("%s", diag.text);
    struct io_address address;
    assert_int_equal(io_address_parse(SPAN("127.0.0.1:0"), &address, NULL).code, ERR_NONE);
    r = server_listen(fx->server, &address, NULL, &diag);
    if (failed(r))
        fail_msg("%s", diag.text);
    assert_true(server_address(fx->server, 0, &fx->address));
}

void fx_fail(struct fx *fx, const char *format, ...)
{
    if (fx->failure[0])
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(fx->failure, sizeof(fx->failure), format, args);
    va_end(args);
}

/* ---- running ---- */

struct server_counts fx_counts(struct fx *fx)
{
    struct server_counts counts;
    server_counts(fx->server, &counts);
    return counts;
}

static void guard_fired(struct io_timer *timer)
{
    struct fx *fx = CONTAINER_OF(timer, struct fx, guard);
    fx_fail(fx, "%d clients have not finished in time", fx->running);
    process_stop(fx->process);
}

static void settle_fired(struct io_timer *timer)
{
    struct fx *fx = CONTAINER_OF(timer, struct fx, settle);
    struct loop *loop = process_loop(fx->process, 0);
    struct server_counts counts = fx_counts(fx);
    struct slab_stats slab;
    slab_stats(fx->slab, &slab);
    fx->settled = counts.connections == fx->connections_left && !counts.requests &&
                  !counts.request_bytes && !slab.bytes_now;
    if (!fx->settled && loop_now(loop) < fx->settle_until) {
        timer_start(loop, timer, loop_now(loop) + IO_MS);
        return;
    }
    if (!fx->settled)
        fx_fail(fx, "left: %llu connections, %llu requests, %llu bytes, %llu bytes in blocks",
                (unsigned long long)counts.connections, (unsigned long long)counts.requests,
                (unsigned long long)counts.request_bytes, (unsigned long long)slab.bytes_now);
    process_stop(fx->process);
}

void fx_client_done(struct fx *fx)
{
    struct loop *loop = process_loop(fx->process, 0);
    if (--fx->running)
        return;
    timer_stop(loop, &fx->guard);
    fx->settle_until = loop_now(loop) + SETTLE_TIME;
    fx->settle.fired = settle_fired;
    timer_start(loop, &fx->settle, loop_now(loop));
}

void fx_run_loosely(struct fx *fx)
{
    struct loop *loop = process_loop(fx->process, 0);
    fx->guard.fired = guard_fired;
    timer_start(loop, &fx->guard, loop_now(loop) + GUARD_TIME);
    process_run(fx->process);
}

void fx_run(struct fx *fx)
{
    fx_run_loosely(fx);
    if (fx->failure[0])
        fail_msg("%s%s, seed %llu: %s", fx->options.sim ? "sim" : "uv",
                 fx->options.toymux ? ", toymux" : "", (unsigned long long)fx->options.seed,
                 fx->failure);
}

void fx_release(struct fx *fx)
{
    server_free(fx->server);
    fx_tls_release(fx);
    metrics_free(fx->metrics);
    slab_free(fx->slab);
    process_free(fx->process);
    sim_world_free(fx->world);
}

void fx_answer_waiting(struct fx *fx)
{
    for (int i = 0; i < fx->waiting_len; i++)
        exchange_respond(fx->waiting[i], 200, "text/plain", SPAN("late\n"));
    fx->waiting_len = 0;
}

static void drained(void *arg, uint64_t cut)
{
    struct fx *fx = arg;
    fx->drained = true;
    fx->cut = cut;
}

void fx_drain(struct fx *fx, io_time after)
{
    server_drain(fx->server, loop_now(process_loop(fx->process, 0)) + after, drained, fx);
}

double fx_metric(struct fx *fx, const char *prefix)
{
    struct text text;
    text_init(&text, 1u << 20);
    assert_int_equal(metrics_write(fx->metrics, &text).code, ERR_NONE);
    const char *line = strstr(text_cstr(&text), prefix);
    const char *value = line ? strchr(line + strlen(prefix), ' ') : NULL;
    double number = value ? strtod(value, NULL) : -1;
    text_release(&text);
    return number;
}
