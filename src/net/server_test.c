/* One table of exchanges, over both codecs and both implementations of io: a handler
 * cannot tell them apart. And what happens to exchanges whose clients go away. */
#include "base/alloc.h"
#include "net/client.h"
#include "net/test_fixture.h"
#include "support/toymux.h"

#include <stdio.h>
#include <stdlib.h>

struct exchange_case {
    const char *name;
    enum http_method method;
    const char *target;
    size_t body; /* bytes of the pattern */
    bool broken; /* the client must see a failure instead of an answer */
    int status;
    const char *answer; /* NULL: the body echoed; "": none */
    const char *header; /* "name" must be `value`; NULL value: must be there */
    const char *value;
    size_t answer_len; /* of the pattern, when not 0 */
};

static const struct exchange_case cases[] = {
    {"a fixed answer", METHOD_GET, "/fixed", 0, .status = 200, .answer = "fixed\n",
     .header = "content-type", .value = "text/plain"},
    {"a query", METHOD_GET, "/headers?a=b&c", 0, .status = 201, .answer = "a=b&c",
     .header = "x-one", .value = "1"},
    {"a header of the request", METHOD_GET, "/headers", 0, .status = 201, .answer = "",
     .header = "x-seen", .value = "sent"},
    {"an empty body", METHOD_POST, "/echo", 0, .status = 200},
    {"a small body", METHOD_POST, "/echo", 10, .status = 200},
    {"a body of the arena", METHOD_POST, "/echo", 16384, .status = 200},
    {"a body of a block", METHOD_POST, "/echo", 300000, .status = 200},
    {"a large body", METHOD_POST, "/echo", 3000000, .status = 200},
    {"a body within its limit", METHOD_POST, "/collect", 10, .status = 200},
    {"a body above its limit", METHOD_POST, "/collect", 11, .status = 413,
     .answer = "the input is larger than its limit\n", .header = "weir-reason",
     .value = "TOO_LARGE"},
    {"a body streamed back", METHOD_POST, "/stream", 200000, .status = 200},
    {"an empty body streamed back", METHOD_POST, "/stream", 0, .status = 200},
    {"a body through 7 bytes", METHOD_POST, "/sip/small", 1000, .status = 200,
     .answer = "1000 6454090660190563764\n"},
    {"a body through one more than 7 bytes", METHOD_POST, "/sip/small", 8, .status = 200,
     .answer = "8 2758628677764\n"},
    {"a body through just 7 bytes", METHOD_POST, "/sip/small", 7, .status = 200,
     .answer = "7 88988021860\n"},
    {"a body through 100 kB", METHOD_POST, "/sip/large", 1000000, .status = 200,
     .answer = "1000000 924729294320526304\n"},
    {"a body through the codec's memory", METHOD_POST, "/sip/none", 1000000, .status = 200,
     .answer = "1000000 924729294320526304\n"},
    {"an answer in pieces", METHOD_GET, "/pieces", 0, .status = 200,
     .answer = "one two three four\n"},
    {"an answer in no pieces", METHOD_GET, "/pieces/none", 0, .status = 200, .answer = ""},
    {"an answer in pieces of a known length", METHOD_GET, "/pieces/length", 0, .status = 200,
     .answer = "0123456789"},
    {"an answer broken off", METHOD_GET, "/pieces/reset", 0, .broken = true},
    {"a reset", METHOD_GET, "/reset", 0, .broken = true},
    {"a reset with a body", METHOD_POST, "/reset", 100000, .broken = true},
    {"a large answer", METHOD_GET, "/big", 0, .status = 200, .answer_len = 3000000},
    {"an answer before the body", METHOD_POST, "/fixed", 1000, .status = 200, .answer = "fixed\n"},
    {"an answer before a body of just 64 kB", METHOD_POST, "/fixed", 65536, .status = 200,
     .answer = "fixed\n"},
    {"a later answer by timer", METHOD_GET, "/timer", 0, .status = 200, .answer = "later\n"},
    {"a later answer by post", METHOD_GET, "/post", 0, .status = 200, .answer = "later\n"},
    {"a later answer by work", METHOD_GET, "/work", 0, .status = 200, .answer = "later\n"},
    {"no route", METHOD_GET, "/nowhere", 0, .status = 404, .answer = "404 not found\n"},
    {"no method", METHOD_GET, "/echo", 0, .status = 405, .answer = "405 method not allowed\n",
     .header = "allow", .value = "POST"},
    {"no method of two", METHOD_DELETE, "/fixed", 0, .status = 405,
     .answer = "405 method not allowed\n", .header = "allow", .value = "GET, HEAD, POST"},
    {"below a prefix", METHOD_GET, "/below/some/path", 0, .status = 200, .answer = "fixed\n"},
    {"below a prefix in another case", METHOD_GET, "/anycase/x", 0, .status = 200,
     .answer = "fixed\n"},
    {"not below a prefix in another case", METHOD_GET, "/Below/x", 0, .status = 404,
     .answer = "404 not found\n"},
    {"HEAD", METHOD_HEAD, "/fixed", 0, .status = 200, .answer = ""},
    {"HEAD of an answer in pieces", METHOD_HEAD, "/pieces", 0, .status = 200, .answer = ""},
    {"HEAD of a large answer", METHOD_HEAD, "/big", 0, .status = 200, .answer = ""},
    {"no content", METHOD_GET, "/204", 0, .status = 204, .answer = ""},
    {"not modified", METHOD_GET, "/304", 0, .status = 304, .answer = ""},
    {"a reason", METHOD_GET, "/busy", 0, .status = 429, .answer = "no room\n",
     .header = "weir-reason", .value = "EXHAUSTED; no room"},
    {"a deadline of the handler's own", METHOD_GET, "/late", 0, .status = 504,
     .answer = "the deadline has passed\n", .header = "weir-reason", .value = "DEADLINE"},
    {"when to come again", METHOD_GET, "/busy", 0, .status = 429, .answer = "no room\n",
     .header = "retry-after", .value = "1"},
};

struct call {
    struct fx *fx;
    const struct exchange_case *with;
    struct client *client;
    struct client_request request;
    int left; /* requests to come on this connection */
    struct io_timer timer;
};

static const struct http_header sent[] = {{SPAN_INIT("X-Sent"), SPAN_INIT("sent")}};

static struct client_request request_of(const struct exchange_case *with)
{
    return (struct client_request){
        .method = with->method,
        .target = span_cstr(with->target),
        .headers = sent,
        .headers_len = 1,
        .body = test_pattern(with->body),
        .bytes_max = UINT32_MAX,
        .deadline = TIME_NEVER,
    };
}

static struct span answer_of(const struct exchange_case *with)
{
    if (with->answer_len)
        return test_pattern(with->answer_len);
    return with->answer ? span_cstr(with->answer) : test_pattern(with->body);
}

static void check(struct fx *fx, const struct exchange_case *with, result r,
                  const struct client_response *response)
{
    if (with->broken) {
        if (!failed(r))
            fx_fail(fx, "%s: expected a failure, got %d", with->name, response->status);
        return;
    }
    if (failed(r)) {
        if (!fx->options.reset_permille)
            fx_fail(fx, "%s: %s", with->name, err_name((enum err)r.code));
        return;
    }
    struct span value = with->header ? client_header(response, span_cstr(with->header)) : SPAN_NONE;
    if (response->status != with->status)
        fx_fail(fx, "%s: expected %d, got %d", with->name, with->status, response->status);
    else if (!span_eq(response->body, answer_of(with)))
        fx_fail(fx, "%s: another body came, %zu bytes, \"%.*s\"", with->name, response->body.len,
                (int)MIN(response->body.len, (size_t)200), (const char *)response->body.ptr);
    else if (with->value && !span_is(value, with->value))
        fx_fail(fx, "%s: expected %s: %s, got \"%.*s\"", with->name, with->header, with->value,
                SPAN_FMT(value));
    else if (client_header(response, SPAN("x-two")).ptr)
        fx_fail(fx, "%s: a value has become a header", with->name);
}

/* ---- over HTTP/1 ---- */

static void call_send(struct call *call);

static void call_end(struct call *call)
{
    struct fx *fx = call->fx;
    client_close(call->client);
    mem_free(call);
    fx_client_done(fx);
}

static void on_response(void *arg, struct client *client, result r,
                        const struct client_response *response)
{
    struct call *call = arg;
    check(call->fx, call->with, r, response);
    if (--call->left && response && response->keep_alive)
        call_send(call);
    else
        call_end(call);
}

static void call_send(struct call *call)
{
    result r = client_send(call->client, &call->request, on_response, call);
    if (failed(r) && !call->fx->options.reset_permille)
        fx_fail(call->fx, "%s: cannot send: %s", call->with->name, err_name((enum err)r.code));
    if (failed(r))
        call_end(call);
}

static void on_connected(void *arg, struct client *client, result r)
{
    struct call *call = arg;
    if (failed(r))
        call_end(call);
    else
        call_send(call);
}

static void http1_call(struct fx *fx, const struct exchange_case *with)
{
    struct call *call = mem_must(MEM_NEW(struct call), sizeof(*call));
    call->fx = fx;
    call->with = with;
    call->request = request_of(with);
    call->left = 3;
    fx->running++;
    result r = client_connect(process_loop(fx->process, 0), &fx->address, on_connected, call,
                              &call->client);
    assert_int_equal(r.code, ERR_NONE);
}

/* ---- over toymux ---- */

struct toy_run {
    struct fx *fx;
    struct toymux_client *client;
    int left;
};

struct toy_call {
    struct toy_run *run;
    const struct exchange_case *with;
};

static void on_toy_response(void *arg, result r, const struct client_response *response)
{
    struct toy_call *call = arg;
    struct toy_run *run = call->run;
    check(run->fx, call->with, r, response);
    mem_free(call);
    if (--run->left)
        return;
    toymux_close(run->client);
    fx_client_done(run->fx);
    mem_free(run);
}

static void toy_calls(struct fx *fx)
{
    struct toy_run *run = mem_must(MEM_NEW(struct toy_run), sizeof(*run));
    run->fx = fx;
    fx->running++;
    result r = toymux_connect(process_loop(fx->process, 0), &fx->address, &run->client);
    assert_int_equal(r.code, ERR_NONE);
    run->left = (int)ARRAY_LEN(cases);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct toy_call *call = mem_must(MEM_NEW(struct toy_call), sizeof(*call));
        *call = (struct toy_call){run, &cases[i]};
        struct client_request request = request_of(&cases[i]);
        toymux_send(run->client, &request, on_toy_response, call);
    }
}

static void all_cases(const struct fx_options *options)
{
    struct fx fx;
    fx_init(&fx, options);
    fx_serve(&fx);
    if (options->toymux)
        toy_calls(&fx);
    else
        for (size_t i = 0; i < ARRAY_LEN(cases); i++)
            http1_call(&fx, &cases[i]);
    fx_run(&fx);
    assert_int_equal(fx.gone, 0);
    if (!options->reset_permille)
        assert_true(fx_metric(&fx, "weir_http_requests_total{server=\"test\",route=\"fixed\","
                                   "code=\"200\"") >= 2);
    fx_release(&fx);
}

static void an_exchange_is_the_same_over_http1_on_uv(void **state)
{
    all_cases(&(struct fx_options){0});
}

static void an_exchange_is_the_same_over_toymux_on_uv(void **state)
{
    all_cases(&(struct fx_options){.toymux = true});
}

static void an_exchange_is_the_same_on_every_loop(void **state)
{
    all_cases(&(struct fx_options){.loops = 3});
    all_cases(&(struct fx_options){.loops = 3, .sim = true});
}

static void an_exchange_is_the_same_on_the_simulator(void **state)
{
    all_cases(&(struct fx_options){.sim = true});
    all_cases(&(struct fx_options){.sim = true, .toymux = true});
}

#define SEEDS 10

static void an_exchange_survives_short_reads_and_writes_and_delays(void **state)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        all_cases(&(struct fx_options){.sim = true, .faults = true, .seed = seed});
        all_cases(&(struct fx_options){.sim = true, .faults = true, .seed = seed, .toymux = true});
    }
}

/* What is asked of the answers then is in `check`; what is asked of the server, that each
 * exchange ends once and that all is given back, in the fixture. */
static void everything_is_given_back_when_connections_are_reset(void **state)
{
    for (uint64_t seed = 0; seed < 2 * SEEDS; seed++) {
        struct fx_options options = {
            .sim = true, .faults = true, .seed = seed, .reset_permille = 20};
        all_cases(&options);
        options.toymux = true;
        options.reset_permille = 2;
        all_cases(&options);
    }
}

/* ---- clients that go away ---- */

static void the_handler_is_told_once_when_the_client_closes(void **state)
{
    for (int sim = 0; sim < 2; sim++) {
        struct fx fx;
        fx_init(&fx, &(struct fx_options){.sim = sim});
        fx_serve(&fx);
        fx_script(&fx, SEND("GET /never HTTP/1.1\r\nHost: a\r\n\r\n"), WAIT(20 * IO_MS), CLOSE_NOW);
        fx_script(&fx, SEND("GET /never HTTP/1.1\r\nHost: a\r\n\r\n"), WAIT(20 * IO_MS), RESET_NOW);
        fx_script(&fx,
                  SEND("POST /never HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nsome body"),
                  WAIT(20 * IO_MS), CLOSE_NOW);
        fx_script(&fx,
                  SEND("POST /never HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nsome body"),
                  WAIT(20 * IO_MS), RESET_NOW);
        fx_run(&fx);
        assert_int_equal(quota_now(&fx.started), 4);
        assert_int_equal(fx.gone, 4);
        fx_release(&fx);
    }
}

static void a_read_fails_when_the_client_goes(void **state)
{
    for (int sim = 0; sim < 2; sim++) {
        struct fx fx;
        fx_init(&fx, &(struct fx_options){.sim = sim});
        fx_serve(&fx);
        fx_script(&fx,
                  SEND("POST /reads HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nsome body"),
                  WAIT(20 * IO_MS), CLOSE_NOW);
        fx_script(
            &fx, SEND("POST /reads HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"),
            WAIT(20 * IO_MS), RESET_NOW);
        fx_script(&fx, SEND("POST /sip/large HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n"),
                  SEND_TIMES("bytes", 10000), WAIT(20 * IO_MS), CLOSE_NOW);
        fx_run(&fx);
        assert_int_equal(fx.gone, 2);
        fx_release(&fx);
    }
}

static void a_write_fails_when_the_client_goes(void **state)
{
    for (int sim = 0; sim < 2; sim++) {
        struct fx fx;
        fx_init(&fx, &(struct fx_options){.sim = sim});
        fx_serve(&fx);
        fx_script(&fx, SEND("GET /big HTTP/1.1\r\nHost: a\r\n\r\n"), WAIT(IO_MS), RESET_NOW);
        fx_script(&fx, SEND("GET /pieces HTTP/1.1\r\nHost: a\r\n\r\n"), RESET_NOW);
        fx_script(&fx, SEND("POST /stream HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\nabc"),
                  WAIT(10 * IO_MS), RESET_NOW);
        fx_run(&fx);
        fx_release(&fx);
    }
}

/* ---- memory that is not to be had ---- */

static void fail_soon(struct fx *fx)
{
    mem_fail_after(fx->countdown, false);
}

/* Whatever fails, the server goes on and gives all back. The clients' own allocations fail
 * as well; what they get is not looked at. */
static void a_failed_allocation_ends_one_request_at_most(void **state)
{
    for (uint64_t n = 1; n <= 40; n++) {
        struct fx fx;
        fx_init(&fx, &(struct fx_options){0});
        fx.countdown = n;
        fx_serve(&fx);
        fx_script(&fx, WAIT(IO_MS), CALL(fail_soon),
                  SEND("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"),
                  SEND_TIMES("0123456789", 10000), WAIT(5 * IO_MS),
                  SEND("POST /stream HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3"),
                  WAIT(5 * IO_MS), SEND("\r\nabc\r\n0\r\n\r\n"), WAIT(5 * IO_MS), CLOSE_NOW);
        fx_run(&fx);
        mem_fail_after(0, false);
        fx_release(&fx);
    }
}

/* One stream is cancelled, another is not, and then the connection goes. */
struct toy_cancel {
    struct fx *fx;
    struct toymux_client *client;
    struct io_timer timer;
    uint32_t first;
    int lost, gone_first;
};

static void cancel_response(void *arg, result r, const struct client_response *response)
{
    struct toy_cancel *cancel = arg;
    cancel->lost += is(r, ERR_CANCELLED);
}

static void cancel_end(struct io_timer *timer)
{
    struct toy_cancel *cancel = CONTAINER_OF(timer, struct toy_cancel, timer);
    cancel->gone_first = cancel->fx->gone;
    toymux_close(cancel->client);
    fx_client_done(cancel->fx);
}

static void cancel_first(struct io_timer *timer)
{
    struct toy_cancel *cancel = CONTAINER_OF(timer, struct toy_cancel, timer);
    struct loop *loop = process_loop(cancel->fx->process, 0);
    toymux_cancel(cancel->client, cancel->first);
    timer->fired = cancel_end;
    timer_start(loop, timer, loop_now(loop) + 20 * IO_MS);
}

static void one_exchange_of_many_may_be_cancelled(void **state)
{
    for (int sim = 0; sim < 2; sim++) {
        struct fx fx;
        struct toy_cancel cancel = {.fx = &fx, .timer.fired = cancel_first};
        fx_init(&fx, &(struct fx_options){.sim = sim, .toymux = true});
        fx_serve(&fx);
        struct loop *loop = process_loop(fx.process, 0);
        fx.running++;
        assert_int_equal(toymux_connect(loop, &fx.address, &cancel.client).code, ERR_NONE);
        struct client_request request = {.target = SPAN("/never"), .body = test_pattern(100000)};
        cancel.first = toymux_send(cancel.client, &request, cancel_response, &cancel);
        toymux_send(cancel.client, &request, cancel_response, &cancel);
        timer_start(loop, &cancel.timer, process_clock(fx.process) + 20 * IO_MS);
        fx_run(&fx);
        assert_int_equal(cancel.gone_first, 1);
        assert_int_equal(cancel.lost, 1);
        assert_int_equal(fx.gone, 2);
        fx_release(&fx);
    }
}

/* ---- drain ---- */

static void drain_soon(struct fx *fx)
{
    fx_drain(fx, 5 * IO_SEC);
}

static void drain_shortly(struct fx *fx)
{
    fx_drain(fx, 100 * IO_MS);
}

static void a_drain_closes_idle_connections_and_lets_busy_ones_end(void **state)
{
    for (int loops = 1; loops <= 2; loops++) {
        struct fx fx;
        fx_init(&fx, &(struct fx_options){.sim = true, .loops = loops});
        fx_serve(&fx);
        fx_script(&fx, SEND("GET /fixed HTTP/1.1\r\nHost: a\r\n\r\n"),
                  EXPECT(200, .header = "!Connection"), AWAIT_EOF);
        fx_script(&fx, WAIT(45 * IO_MS), SEND("GET /timer HTTP/1.1\r\nHost: a\r\n\r\n"),
                  EXPECT(200, .header = "Connection: close", .body = "later\n"), AWAIT_EOF);
        /* Has not asked for anything yet, and may do so. */
        fx_script(&fx, WAIT(100 * IO_MS), SEND("GET /fixed HTTP/1.1\r\nHost: a\r\n\r\n"),
                  EXPECT(200, .header = "Connection: close"), AWAIT_EOF);
        fx_script(&fx, WAIT(50 * IO_MS), CALL(drain_soon));
        fx_run(&fx);
        assert_true(fx.drained);
        assert_int_equal(fx.cut, 0);
        fx_release(&fx);
    }
}

static void what_is_not_done_at_the_deadline_is_cut_and_counted(void **state)
{
    struct fx fx;
    fx_init(&fx, &(struct fx_options){.sim = true});
    fx_serve(&fx);
    fx_script(&fx, SEND("GET /never HTTP/1.1\r\nHost: a\r\n\r\n"), AWAIT_END);
    fx_script(&fx, SEND("POST /reads HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"), AWAIT_END);
    fx_script(&fx, SEND("GET /fixed HTTP/1.1\r\nHost: a\r\n\r\n"), EXPECT(200), AWAIT_EOF);
    fx_script(&fx, WAIT(50 * IO_MS), CALL(drain_shortly));
    fx_run(&fx);
    assert_true(fx.drained);
    assert_int_equal(fx.cut, 2);
    assert_int_equal(fx.gone, 2);
    fx_release(&fx);
}

struct toy_drain {
    struct fx *fx;
    struct toymux_client *client;
    struct io_timer timer;
    int answered, refused;
    bool asked;
};

static void drain_response(void *arg, result r, const struct client_response *response)
{
    struct toy_drain *drain = arg;
    drain->answered += !failed(r);
    drain->refused += failed(r);
    if (drain->answered + drain->refused < 2)
        return;
    toymux_close(drain->client);
    fx_client_done(drain->fx);
}

static void drain_and_ask(struct io_timer *timer)
{
    struct toy_drain *drain = CONTAINER_OF(timer, struct toy_drain, timer);
    struct loop *loop = process_loop(drain->fx->process, 0);
    struct client_request request = {.target = SPAN("/fixed"), .bytes_max = 100};
    if (!drain->asked) {
        drain->asked = true;
        fx_drain(drain->fx, 5 * IO_SEC);
        timer_start(loop, timer, loop_now(loop) + 5 * IO_MS);
        return;
    }
    if (!toymux_going_away(drain->client))
        fx_fail(drain->fx, "expected GOAWAY");
    toymux_send(drain->client, &request, drain_response, drain);
}

static void a_drain_lets_exchanges_end_and_takes_no_new_ones(void **state)
{
    struct fx fx;
    struct toy_drain drain = {.fx = &fx, .timer.fired = drain_and_ask};
    fx_init(&fx, &(struct fx_options){.sim = true, .toymux = true});
    fx_serve(&fx);
    struct loop *loop = process_loop(fx.process, 0);
    fx.running++;
    assert_int_equal(toymux_connect(loop, &fx.address, &drain.client).code, ERR_NONE);
    struct client_request request = {.target = SPAN("/timer"), .bytes_max = 100};
    toymux_send(drain.client, &request, drain_response, &drain);
    timer_start(loop, &drain.timer, process_clock(fx.process) + 5 * IO_MS);
    fx_run(&fx);
    assert_int_equal(drain.answered, 1);
    assert_int_equal(drain.refused, 1);
    assert_true(fx.drained);
    assert_int_equal(fx.cut, 0);
    fx_release(&fx);
}

/* ---- a reload ---- */

static void reload(struct fx *fx)
{
    struct server_config config = fx->config;
    void *plan = NULL;
    config.requests_max = 1;
    config.head_bytes_max = 512;
    config.body_bytes_max = 10;
    if (failed(server_module.prepare(fx->server, &fx->config, &config, &plan, NULL)))
        fx_fail(fx, "cannot prepare");
    server_module.abort(fx->server, plan);
    plan = NULL;
    if (failed(server_module.prepare(fx->server, &fx->config, &config, &plan, NULL)))
        fx_fail(fx, "cannot prepare");
    server_module.commit(fx->server, plan);
}

static void a_reload_holds_for_the_next_request(void **state)
{
    static char head[900] = "GET /fixed HTTP/1.1\r\nHost: a\r\nX-Long: ";
    struct fx fx;
    memset(head + strlen(head), 'x', 700);
    memcpy(head + strlen(head), "\r\n\r\n", 5);
    fx_init(&fx, &(struct fx_options){.sim = true, .loops = 2});
    fx_serve(&fx);
    fx_script(&fx, SEND(head), EXPECT(200), SEND("POST /echo HTTP/1.1\r\nHost: a\r\n"),
              SEND("Content-Length: 11\r\n\r\n12345"), WAIT(20 * IO_MS), CALL(reload),
              WAIT(20 * IO_MS), SEND("678901"), EXPECT(200, .body = "12345678901"),
              SEND("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n12345678901"),
              EXPECT(413), SEND(head), EXPECT(431), AWAIT_EOF);
    /* Halfway through a line that is longer than what holds afterwards. */
    fx_script(&fx, SEND("GET /fixed?"), SEND_TIMES("0123456789", 100), WAIT(60 * IO_MS),
              SEND(" HTTP/1.1\r\nHost: a\r\n\r\n"), EXPECT(200), SEND("GET /fixed?"),
              SEND_TIMES("0123456789", 100), EXPECT(414), AWAIT_EOF);
    /* A body of unknown length, in the middle; and a connection that idles meanwhile. */
    fx_script(&fx, SEND("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
              SEND("5\r\n12345\r\n"), WAIT(50 * IO_MS), SEND("6\r\n678901\r\n0\r\n\r\n"),
              EXPECT(200, .body = "12345678901"));
    fx_script(&fx, SEND("GET /fixed HTTP/1.1\r\nHost: a\r\n\r\n"), EXPECT(200), WAIT(70 * IO_MS),
              SEND(head), EXPECT(431), AWAIT_EOF);
    fx_run(&fx);
    fx_release(&fx);
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_exchange_is_the_same_over_http1_on_uv),
        cmocka_unit_test(an_exchange_is_the_same_over_toymux_on_uv),
        cmocka_unit_test(an_exchange_is_the_same_on_the_simulator),
        cmocka_unit_test(an_exchange_is_the_same_on_every_loop),
        cmocka_unit_test(an_exchange_survives_short_reads_and_writes_and_delays),
        cmocka_unit_test(everything_is_given_back_when_connections_are_reset),
        cmocka_unit_test(the_handler_is_told_once_when_the_client_closes),
        cmocka_unit_test(a_read_fails_when_the_client_goes),
        cmocka_unit_test(a_write_fails_when_the_client_goes),
        cmocka_unit_test(a_failed_allocation_ends_one_request_at_most),
        cmocka_unit_test(one_exchange_of_many_may_be_cancelled),
        cmocka_unit_test(a_drain_lets_exchanges_end_and_takes_no_new_ones),
        cmocka_unit_test(a_drain_closes_idle_connections_and_lets_busy_ones_end),
        cmocka_unit_test(what_is_not_done_at_the_deadline_is_cut_and_counted),
        cmocka_unit_test(a_reload_holds_for_the_next_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
