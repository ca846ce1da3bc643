/* A pool in simulated worlds: many calls of all kinds against a server that delays, closes,
 * resets, answers half, is busy, crashes and comes back, behind names that change, fail and
 * get lost. What must hold, whatever the seed:
 *
 *   - each call ends once, by its deadline;
 *   - connections and calls stay within their bounds, and nothing is left at the end;
 *   - what is not idempotent reaches the server once, at most;
 *   - nothing is sent again unless the policy says so, but the one replay;
 *   - what is answered is what that call's own request asked for. */
#include "net/client_pool.h"

#include "io/sim/test_world.h"
#include "net/test_origin.h"

#include <stdio.h>
#include <stdlib.h>

#define CALLS 150
#define PORT 8000
/* Of a timer, and of the few turns in which a connection is given up. */
#define LATE_MAX (5 * IO_MS)

struct call {
    struct act *act;
    struct client_call *handle;
    enum http_method method;
    char target[32], expected[64];
    uint8_t got[64];
    size_t got_len;
    struct io_timer cancel;
    io_time deadline;
    int ends, hits, heads, status;
    bool streamed, in_parts, will_cancel, cancelled;
    result r;
};

struct act {
    struct life *life;
    struct world *world;
    struct process *server, *client;
    struct loop *loop;
    struct origin origin;
    struct client_config config;
    struct dns_config dns;
    struct resolver *resolver;
    struct client_pool *pool;
    struct client_origin *to[2];
    struct io_timer next;
    struct call calls[CALLS];
    int sent, refused;
    bool drained, done;
    uint64_t cut;
};

/* Of all lives: it must not have been in vain. */
static int played, answered;

static uint64_t below(struct act *act, uint64_t bound)
{
    return life_draw(act->life, bound);
}

/* ---- the server ---- */

static void choose(struct origin *origin, const struct origin_request *request,
                   struct origin_reply *reply)
{
    struct act *act = origin->arg;
    size_t index = (size_t)strtoul((const char *)request->target.ptr + 1, NULL, 10);
    assert_true(index < CALLS);
    struct call *call = &act->calls[index];
    call->hits++;
    reply->body = span_cstr(call->expected);
    reply->delay = (io_time)below(act, 20 * IO_MS);
    reply->chunked = below(act, 2);
    reply->close_after = below(act, 10) == 0;
    switch (below(act, 12)) {
    case 0:
        reply->how = ORIGIN_CLOSE;
        break;
    case 1:
        reply->how = ORIGIN_RESET;
        break;
    case 2:
        reply->how = ORIGIN_HALF;
        break;
    case 3:
        reply->how = ORIGIN_NEVER;
        break;
    case 4:
        reply->status = 503;
        reply->headers = below(act, 2) ? "Retry-After: 0\r\n" : NULL;
        break;
    }
}

static void server_start(struct act *act)
{
    struct io_address at = {.family = IO_INET, .ip = {127, 0, 0, 1}, .port = PORT};
    act->server = sim_process_new(act->world, "server", 1);
    act->origin = (struct origin){.choose = choose, .arg = act};
    origin_start(&act->origin, process_loop(act->server, 0), &at);
}

static void server_crash(struct act *act)
{
    origin_release(&act->origin);
    process_free(act->server);
    act->server = NULL;
}

/* ---- the calls ---- */

static void ended(void *arg, result r, const struct client_response *response)
{
    struct call *call = arg;
    call->ends++;
    call->handle = NULL;
    call->r = r;
    timer_stop(call->act->loop, &call->cancel);
    assert_true(failed(r) == !response);
    assert_true(loop_now(call->act->loop) <= call->deadline + LATE_MAX);
    if (!response)
        return;
    call->status = response->status;
    struct span body = call->streamed ? span_of(call->got, call->got_len) : response->body;
    assert_true(span_is(body, call->expected));
}

static void on_head(void *arg, const struct client_response *response)
{
    struct call *call = arg;
    assert_false(call->cancelled);
    assert_int_equal(++call->heads, 1);
    client_call_more(call->handle);
}

static void on_body(void *arg, struct span bytes)
{
    struct call *call = arg;
    assert_false(call->cancelled);
    assert_true(call->got_len + bytes.len <= sizeof(call->got));
    memcpy(call->got + call->got_len, bytes.ptr, bytes.len);
    call->got_len += bytes.len;
    client_call_more(call->handle);
}

static const struct client_events collected = {.end = ended};
static const struct client_events streamed = {on_head, on_body, ended};

static void cancel(struct io_timer *timer)
{
    struct call *call = CONTAINER_OF(timer, struct call, cancel);
    call->cancelled = true;
    client_call_cancel(call->handle);
    assert_int_equal(call->ends, 0);
}

static void part_written(void *arg, result r)
{
    struct call *call = arg;
    if (!failed(r) && call->handle)
        ignore(client_call_write(call->handle, SPAN("end"), true, NULL)); /* it may be over */
}

static void call_start(struct act *act, struct call *call)
{
    static const enum http_method methods[] = {METHOD_GET, METHOD_GET, METHOD_PUT, METHOD_POST,
                                               METHOD_POST};
    call->act = act;
    call->method = methods[below(act, ARRAY_LEN(methods))];
    call->streamed = below(act, 2);
    call->in_parts = call->method == METHOD_POST && below(act, 2);
    call->deadline = loop_now(act->loop) + IO_MS + (io_time)below(act, IO_SEC);
    int index = (int)(call - act->calls);
    snprintf(call->target, sizeof(call->target), "/%d", index);
    snprintf(call->expected, sizeof(call->expected), "answer to /%d", index);
    struct client_call_options options = {
        .origin = act->to[below(act, 2)],
        .request = {.method = call->method,
                    .target = span_cstr(call->target),
                    .in_parts = call->in_parts,
                    .parts_len = below(act, 2) ? -1 : 8,
                    .bytes_max = 1000,
                    .deadline = call->deadline},
    };
    if (!call->in_parts && call->method != METHOD_GET)
        options.request.body = test_pattern(below(act, 3) ? 100 : 100000);
    result r = client_pool_send(act->pool, &options, call->streamed ? &streamed : &collected, call,
                                &call->handle);
    if (failed(r)) {
        assert_int_equal(r.code, ERR_EXHAUSTED);
        act->refused++;
        return;
    }
    act->sent++;
    if (call->in_parts)
        assert_false(failed(client_call_write(call->handle, SPAN("start"), false, part_written)));
    call->will_cancel = below(act, 8) == 0;
    call->cancel.fired = cancel;
    if (call->will_cancel)
        timer_start(act->loop, &call->cancel,
                    loop_now(act->loop) + (io_time)below(act, 50 * IO_MS));
}

static void drained(void *arg, uint64_t cut)
{
    struct act *act = arg;
    act->drained = true;
    act->cut = cut;
}

/* Mostly short; now and then long enough for connections to idle away. */
static io_time pause_of(struct act *act)
{
    return (io_time)below(act, (below(act, 8) ? 20 : 1000) * IO_MS);
}

static void next_calls(struct io_timer *timer)
{
    struct act *act = CONTAINER_OF(timer, struct act, next);
    static const size_t bursts[] = {1, 1, 2, 10};
    size_t burst = bursts[below(act, ARRAY_LEN(bursts))];
    int begun = act->sent + act->refused;
    for (size_t i = 0; i < burst && begun < CALLS; i++)
        call_start(act, &act->calls[begun++]);
    if (begun < CALLS) {
        timer_start(act->loop, timer, loop_now(act->loop) + pause_of(act));
        return;
    }
    act->done = true;
    client_origin_put(steal(&act->to[0]));
    client_origin_put(steal(&act->to[1]));
    client_pool_drain(act->pool, loop_now(act->loop) + (io_time)below(act, 2 * IO_SEC), drained,
                      act);
}

/* ---- the world ---- */

static void act_init(struct act *act, struct life *life)
{
    act->life = life;
    act->world = life->world;
    struct sim_faults faults = {
        .delay_min = IO_US,
        .delay_max = 2 * IO_MS,
        .short_read_percent = 30,
        .short_write_percent = 30,
        .reset_permille = (unsigned)below(act, 20),
        .refuse_permille = (unsigned)below(act, 100),
        .name_fail_permille = (unsigned)below(act, 200),
        .name_lost_permille = (unsigned)below(act, 100),
        .name_delay_max = 10 * IO_MS,
        .buffer_bytes = 2000 + below(act, 100000),
    };
    sim_world_faults(act->world, &faults);
    server_start(act);
    act->client = sim_process_new(act->world, "client", 1);
    process_dns(act->client, &(struct dns_options){.timeout = 50 * IO_MS});
    act->loop = process_loop(act->client, 0);
    act->dns = (struct dns_config){.timeout = 200 * IO_MS,
                                   .entries_max = 8,
                                   .ttl_max = IO_SEC,
                                   .negative_ttl = 10 * IO_MS,
                                   .stale_max = 100 * IO_MS};
    act->config = (struct client_config){
        .connections_max = 1 + (int64_t)below(act, 8),
        .connections_per_origin_max = 1 + (int64_t)below(act, 6),
        .waiting_max = 1 + (int64_t)below(act, 30),
        .connection_requests_max = 1 + (int64_t)below(act, 20),
        .connection_age_max = IO_MS + (io_time)below(act, IO_SEC),
        .idle_timeout = IO_MS + (io_time)below(act, 100 * IO_MS),
        .connect_timeout = 10 * IO_MS + (io_time)below(act, 300 * IO_MS),
        .retry = {.attempts = life->seed % 2 ? 3 : 1,
                  .backoff = 2 * IO_MS,
                  .backoff_max = 10 * IO_MS,
                  .budget_percent = (int64_t)below(act, 100)},
    };
    assert_false(failed(resolver_new(act->loop, &act->dns, NULL, &act->resolver)));
    struct client_pool_options options = {
        .loop = act->loop, .config = &act->config, .resolver = act->resolver};
    assert_false(failed(client_pool_new(&options, &act->pool)));
    struct io_endpoint literal = {.address = act->origin.address};
    struct io_endpoint named = {.named = true, .name = "server.test", .address.port = PORT};
    assert_false(failed(client_origin_get(act->pool, &literal, false, &act->to[0])));
    assert_false(failed(client_origin_get(act->pool, &named, false, &act->to[1])));
    act->next.fired = next_calls;
    timer_start(act->loop, &act->next, 0);
}

static void disturb(struct act *act)
{
    struct io_address good = {.family = IO_INET, .ip = {127, 0, 0, 1}};
    struct io_address addresses[] = {{.family = IO_INET, .ip = {127, 0, 0, 9}}, good};
    switch (below(act, 12)) {
    case 0:
        if (act->server)
            server_crash(act);
        break;
    case 1:
        if (act->server)
            origin_close_connections(&act->origin, below(act, 2) ? STREAM_RESET : STREAM_CLOSE);
        break;
    case 2:
        sim_name_put(act->world, "server.test", addresses, 2, IO_SEC);
        break;
    case 3:
        sim_name_fail(act->world, "server.test", below(act, 2) ? ERR_NOT_FOUND : ERR_UNAVAILABLE);
        break;
    case 4:
    case 5:
        sim_name_put(act->world, "server.test", &good, 1, (io_time)below(act, IO_SEC));
        break;
    default:
        if (!act->server)
            server_start(act);
        break;
    }
}

static void check_bounds(struct life *life)
{
    struct act *act = life->state;
    struct client_pool_counts counts;
    if (!act->pool)
        return;
    client_pool_counts(act->pool, &counts);
    size_t connections = (size_t)act->config.connections_max;
    life_check(life, counts.connections <= connections, "%zu connections", counts.connections);
    life_check(life, counts.idle <= counts.connections, "%zu idle", counts.idle);
    life_check(life, counts.calls <= connections + (size_t)act->config.waiting_max, "%zu calls",
               counts.calls);
    life_check(life, counts.waiting <= counts.calls, "%zu wait", counts.waiting);
}

static void check_calls(struct act *act)
{
    int64_t attempts = act->config.retry.attempts;
    for (int i = 0; i < CALLS; i++) {
        struct call *call = &act->calls[i];
        bool idempotent = retry_idempotent(call->method);
        assert_true(call->ends <= 1); /* and none is missing: see the sum */
        assert_true(call->hits <= (idempotent ? attempts + 1 : 1));
        assert_true(!call->cancelled || is(call->r, ERR_CANCELLED));
    }
    int all = 0;
    for (int i = 0; i < CALLS; i++)
        all += act->calls[i].ends;
    assert_int_equal(all, act->sent);
    assert_int_equal(act->sent + act->refused, CALLS);
}

static void play(struct life *life)
{
    struct act *act = life->state;
    act_init(act, life);
    while (!act->drained) {
        sim_run_until(act->world, sim_now(act->world) + (io_time)below(act, 10 * IO_MS));
        life_check(life, sim_now(act->world) - life->began_at <= life->test->limit,
                   "the pool is never empty");
        disturb(act);
    }
    struct client_pool_counts counts;
    client_pool_counts(act->pool, &counts);
    assert_int_equal(counts.calls + counts.waiting + counts.connections + counts.idle, 0);
    check_calls(act);
    played++;
    for (int i = 0; i < CALLS; i++)
        answered += act->calls[i].status == 200;
    client_pool_free(steal(&act->pool));
    resolver_free(act->resolver);
    process_free(act->client);
    if (act->server)
        server_crash(act);
}

static void whatever_happens_each_call_ends_once_in_time_within_bounds(void **state)
{
    played = answered = 0;
    world_play(&(struct world_test){.seeds = 40,
                                    .limit = 60 * IO_SEC,
                                    .size = sizeof(struct act),
                                    .play = play,
                                    .check = check_bounds});
    assert_true(answered > played * CALLS / 10);
}

int main(int argc, char **argv)
{
    test_pattern(1);
    const struct CMUnitTest tests[] = {
        world_unit_test(whatever_happens_each_call_ends_once_in_time_within_bounds),
    };
    return world_run_tests(argc, argv, tests);
}
