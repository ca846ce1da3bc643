#include "net/test_client_rig.h"

#include "io/sim/sim.h"
#include "io/uv/uv.h"

#include <stdio.h>
#include <stdlib.h>

static const struct client_config client_defaults = {
    .connections_max = 16,
    .connections_per_origin_max = 4,
    .waiting_max = 8,
    .connection_requests_max = 1000,
    .connection_age_max = 3600 * IO_SEC,
    .idle_timeout = 60 * IO_SEC,
    .connect_timeout = 2 * IO_SEC,
    .retry = {.attempts = 1, .backoff = 5 * IO_MS, .backoff_max = 40 * IO_MS, .budget_percent = 20},
};
static const struct dns_config dns_defaults = {
    .timeout = 4 * IO_SEC,
    .entries_max = 16,
    .ttl_min = IO_SEC,
    .ttl_max = 60 * IO_SEC,
    .negative_ttl = IO_SEC,
    .stale_max = 100 * IO_SEC,
};

struct probe probes[32];

void rig_drained(void *arg, uint64_t cut)
{
    struct rig *rig = arg;
    rig->drained = true;
    rig->cut = cut;
    process_stop(rig->process);
}

void rig_finish(struct rig *rig)
{
    client_origin_put(steal(&rig->to));
    if (rig->origin.listener)
        listener_close(steal(&rig->origin.listener));
    client_pool_drain(rig->pool, TIME_NEVER, rig_drained, rig);
}

void rig_ended(void *arg, result r, const struct client_response *response)
{
    struct probe *probe = arg;
    struct rig *rig = probe->rig;
    probe->ends++;
    probe->r = r;
    probe->call = NULL;
    probe->order = ++rig->ended;
    probe->took = loop_now(rig->loop) - probe->started;
    if (response) {
        probe->status = response->status;
        snprintf(probe->body, sizeof(probe->body), "%.*s", SPAN_FMT(response->body));
    }
    rig->running--;
    if (probe->ended)
        probe->ended(probe);
    else if (rig->running == 0)
        rig_finish(rig);
}

const struct client_events rig_collecting = {.end = rig_ended};

/* With 10 s to go. */
result rig_send(struct rig *rig, struct probe *probe, enum http_method method, const char *target,
                const struct client_events *events)
{
    probe->rig = rig;
    probe->started = loop_now(rig->loop);
    probe->options.origin = rig->to;
    probe->options.request.method = method;
    probe->options.request.target = span_cstr(target);
    if (!probe->options.request.bytes_max)
        probe->options.request.bytes_max = 1 << 20;
    if (!probe->options.request.deadline)
        probe->options.request.deadline = probe->started + 10 * IO_SEC;
    int before = probe->ends;
    result r = client_pool_send(rig->pool, &probe->options, events, probe, &probe->call);
    assert_int_equal(probe->ends, before); /* P1 */
    rig->running += !failed(r);
    return r;
}

void rig_get(struct rig *rig, struct probe *probe, const char *target)
{
    assert_int_equal(rig_send(rig, probe, METHOD_GET, target, &rig_collecting).code, ERR_NONE);
}

/* ---- the rig ---- */

static void guard_fired(struct io_timer *timer)
{
    struct rig *rig = CONTAINER_OF(timer, struct rig, guard);
    rig->timed_out = true;
    process_stop(rig->process);
}

static void go_posted(struct io_post *post)
{
    struct rig *rig = CONTAINER_OF(post, struct rig, go_post);
    rig->go(rig);
}

static void after_fired(struct io_timer *timer)
{
    struct rig *rig = CONTAINER_OF(timer, struct rig, after);
    rig->then(rig);
}

void rig_after(struct rig *rig, io_time wait, void (*then)(struct rig *rig))
{
    rig->then = then;
    rig->after.fired = after_fired;
    timer_start(rig->loop, &rig->after, loop_now(rig->loop) + wait);
}

void rig_init(struct rig *rig, bool sim)
{
    *rig = (struct rig){.sim = sim, .config = client_defaults, .dns = dns_defaults};
    struct diag diag = {0};
    struct io_uv_options options = {.loops = 1, .compute_threads = 1, .file_threads = 1};
    if (sim) {
        rig->world = sim_world_new(7);
        rig->process = sim_process_new(rig->world, "one", 1);
    } else if (failed(uv_process_new(&options, &rig->process, &diag))) {
        fail_msg("%s", diag.text);
    }
    rig->loop = process_loop(rig->process, 0);
    struct metrics_options metrics = {.loops = 1};
    assert_int_equal(metrics_new(rig->process, &metrics, &rig->metrics, NULL).code, ERR_NONE);
    assert_int_equal(client_account_new(rig->process, rig->metrics, &rig->account, NULL).code,
                     ERR_NONE);
    struct io_address any;
    assert_int_equal(io_address_parse(SPAN("127.0.0.1:0"), &any, NULL).code, ERR_NONE);
    origin_start(&rig->origin, rig->loop, &any);
    rig->origin.arg = rig;
}

void rig_start(struct rig *rig, void (*go)(struct rig *rig))
{
    struct client_account_loop *part = rig->uncounted ? NULL : client_account_part(rig->account, 0);
    assert_int_equal(resolver_new(rig->loop, &rig->dns, part, &rig->resolver).code, ERR_NONE);
    struct client_pool_options options = {
        .loop = rig->loop, .config = &rig->config, .resolver = rig->resolver, .account = part};
    assert_int_equal(client_pool_new(&options, &rig->pool).code, ERR_NONE);
    struct io_endpoint endpoint = {.address = rig->origin.address};
    assert_int_equal(client_origin_get(rig->pool, &endpoint, false, &rig->to).code, ERR_NONE);
    rig->go = go;
    rig->go_post.run = go_posted;
    loop_post(rig->loop, &rig->go_post);
}

void rig_run(struct rig *rig, void (*go)(struct rig *rig))
{
    rig_start(rig, go);
    rig->guard.fired = guard_fired;
    timer_start(rig->loop, &rig->guard, process_clock(rig->process) + 60 * IO_SEC);
    process_run(rig->process);
    assert_false(rig->timed_out);
    assert_true(rig->drained);
    struct client_pool_counts counts;
    client_pool_counts(rig->pool, &counts);
    assert_int_equal(counts.calls + counts.waiting + counts.connections + counts.idle, 0);
    assert_true(rig_metric(rig, "weir_client_connections{state=\"busy\"} ") == 0);
    assert_true(rig_metric(rig, "weir_client_connections{state=\"idle\"} ") == 0);
    assert_true(rig_metric(rig, "weir_client_requests_waiting ") == 0);
}

double rig_metric(struct rig *rig, const char *prefix)
{
    struct text text;
    text_init(&text, 1u << 20);
    assert_int_equal(metrics_write(rig->metrics, &text).code, ERR_NONE);
    const char *line = strstr(text_cstr(&text), prefix);
    double number = line ? strtod(line + strlen(prefix), NULL) : 0;
    text_release(&text);
    return number;
}

void rig_release(struct rig *rig)
{
    client_pool_free(rig->pool);
    resolver_free(rig->resolver);
    client_account_free(rig->account);
    metrics_free(rig->metrics);
    origin_release(&rig->origin);
    process_free(rig->process);
    sim_world_free(rig->world);
}

/* The probes of a test; static, since a rig runs one at a time. */
