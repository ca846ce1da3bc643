/* The whole role in a simulated world, and each of its allocations failed in turn: once,
 * and in a second pass all from that one on until the request is over.
 *
 * Each point is a world of its own: the process starts, the hook is armed, a caller sends
 * the scenario's bytes (or a signal comes), the hook is lifted, and then a plain request
 * must be answered right, every counter be back at zero, and the process end with 0 and
 * all of its memory. A sweep ends with the first index that a scenario does not reach; so
 * none is left out, however many there are.
 */
#include "base/alloc.h"
#include "base/slab.h"
#include "base/test_cmocka.h"
#include "faults/talk.h"
#include "io/sim/sim.h"
#include "model/model.h"
#include "net/server.h"
#include "serve/serve.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <yyjson.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#else
static int __lsan_do_recoverable_leak_check(void)
{
    return 0;
}
#endif

#define LOOPS 2
#define REQUEST_MAX ((size_t)2 << 20)

/* ---- scenarios ---- */

struct expected {
    int status;
    const char *has; /* a part of the body */
};

struct scenario {
    const char *name;
    void (*request)(struct text *text);
    struct expected answers[TALK_ANSWERS_MAX + 1]; /* up to the first with status 0 */
    int signal;                                    /* instead of a request, or during it */
    bool tls;
    bool distrusts; /* the server's certificate */
    bool leaves;    /* the caller does not wait */
    bool batched;   /* with another, in one run */
};

static void post(struct text *text, const char *path, const char *body)
{
    text_printf(text, "POST %s HTTP/1.1\r\nHost: t\r\nContent-Length: %zu\r\n\r\n%s", path,
                strlen(body), body);
}

static void get(struct text *text, const char *path)
{
    text_printf(text, "GET %s HTTP/1.1\r\nHost: t\r\n\r\n", path);
}

static void predict_small(struct text *text)
{
    post(text, "/v1/models/plus:predict", "{\"instances\":[{\"a\":1,\"b\":2},{\"a\":3,\"b\":4}]}");
}

static void infer_small(struct text *text)
{
    post(text, "/v2/models/plus/infer",
         "{\"id\":\"one\",\"inputs\":[{\"name\":\"a\",\"datatype\":\"FP32\",\"shape\":[2],"
         "\"data\":[1,3]},{\"name\":\"b\",\"datatype\":\"FP32\",\"shape\":[2],\"data\":[2,4]}]}");
}

static void columns(struct text *text, const char *before, const char *between, const char *after,
                    int rows)
{
    text_str(text, before);
    for (int column = 0; column < 2; column++) {
        for (int i = 0; i < rows; i++)
            text_printf(text, "%s%d.%d", i ? "," : "", i % 1000, 5 * (i & 1));
        text_str(text, column == 0 ? between : after);
    }
}

static void sized(struct text *text, const char *path, const struct text *body)
{
    text_printf(text, "POST %s HTTP/1.1\r\nHost: t\r\nContent-Length: %zu\r\n\r\n", path,
                body->len);
    text_append(text, text_span(body));
}

static void predict_rows(struct text *text, int rows)
{
    struct text body;
    text_init(&body, REQUEST_MAX);
    columns(&body, "{\"inputs\":{\"a\":[", "],\"b\":[", "]}}", rows);
    sized(text, "/v1/models/plus:predict", &body);
    text_release(&body);
}

/* Bodies in a slab block; decoded on the loop, and by a worker. */
static void predict_middle(struct text *text)
{
    predict_rows(text, 3000);
}

static void predict_large(struct text *text)
{
    predict_rows(text, 40000);
}

static void infer_large(struct text *text)
{
    struct text body;
    text_init(&body, REQUEST_MAX);
    columns(&body,
            "{\"inputs\":[{\"name\":\"a\",\"datatype\":\"FP32\",\"shape\":[30000],\"data\":[",
            "]},{\"name\":\"b\",\"datatype\":\"FP32\",\"shape\":[30000],\"data\":[", "]}]}", 30000);
    sized(text, "/v2/models/plus/infer", &body);
    text_release(&body);
}

static void predict_chunked(struct text *text)
{
    struct text body;
    text_init(&body, REQUEST_MAX);
    columns(&body, "{\"inputs\":{\"a\":[", "],\"b\":[", "]}}", 9000);
    text_str(text, "POST /v1/models/plus:predict HTTP/1.1\r\nHost: t\r\n"
                   "Transfer-Encoding: chunked\r\n\r\n");
    for (struct span rest = text_span(&body); rest.len > 0;) {
        struct span part = span_first(rest, 30000);
        text_printf(text, "%zx\r\n%.*s\r\n", part.len, SPAN_FMT(part));
        rest = span_from(rest, part.len);
    }
    text_str(text, "0\r\n\r\n");
    text_release(&body);
}

static void pipelined(struct text *text)
{
    predict_small(text);
    infer_small(text);
    get(text, "/v1/models/plus");
    predict_small(text);
}

static void broken_messages(struct text *text)
{
    post(text, "/v1/models/plus:predict", "{\"instances\":[{\"a\":1,\"b\":}]}");
    post(text, "/v2/models/plus/infer", "{\"inputs\":[{\"name\":\"c\"}]}");
    post(text, "/v1/models/absent:predict", "{\"instances\":[1]}");
    post(text, "/v1/models/plus:predict", "{\"instances\":[{\"a\":1}]}");
}

static void broken_requests(struct text *text)
{
    get(text, "/nowhere");
    post(text, "/livez", "x");
    text_str(text, "POST /v1/models/plus:predict HTTP/1.1\r\nHost: t\r\n"
                   "Content-Length: 9000000\r\n\r\n");
}

static void no_http(struct text *text)
{
    text_str(text, "GET / HTTP/1.1\r\nHost t\r\n\r\n");
}

static void watched(struct text *text)
{
    get(text, "/livez");
    get(text, "/readyz?verbose");
    get(text, "/healthz?verbose");
    get(text, "/metrics");
}

static void pages(struct text *text)
{
    get(text, "/");
    text_str(text, "GET / HTTP/1.1\r\nHost: t\r\nAccept: text/html\r\n\r\n");
    get(text, "/v2/models/plus");
    get(text, "/v1/models/plus/metadata");
}

static void named_request(struct text *text)
{
    const char *body = "{\"instances\":[{\"a\":1,\"b\":2}]}";
    text_printf(text,
                "POST /v1/models/plus:predict HTTP/1.1\r\nHost: t\r\nX-Request-Id: r-1\r\n"
                "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
                "Expect: 100-continue\r\nContent-Length: %zu\r\n\r\n%s",
                strlen(body), body);
}

static const struct scenario scenarios[] = {
    {"predict small", predict_small, {{200, "3.0"}}},
    {"infer small", infer_small, {{200, "\"id\":\"one\""}}},
    {"predict 24 kB", predict_middle, {{200, "\"outputs\""}}},
    {"predict 400 kB", predict_large, {{200, "\"outputs\""}}},
    {"infer 300 kB", infer_large, {{200, "\"outputs\""}}},
    {"predict chunked", predict_chunked, {{200, "\"outputs\""}}},
    {"four pipelined",
     pipelined,
     {{200, "3.0"}, {200, "\"id\""}, {200, "AVAILABLE"}, {200, "3.0"}}},
    {"named and traced", named_request, {{200, "3.0"}}},
    {"broken messages", broken_messages, {{400, NULL}, {400, NULL}, {404, NULL}, {400, NULL}}},
    {"broken requests", broken_requests, {{404, NULL}, {405, NULL}, {413, NULL}}},
    {"no HTTP", no_http, {{400, NULL}}},
    {"health and metrics", watched, {{200, "ok"}, {200, "[+]"}, {200, "[+]"}, {200, "weir_"}}},
    {"page and metadata",
     pages,
     {{200, "plus:predict"}, {200, "FP32"}, {200, "\"FP32\""}, {200, "plus"}}},
    {"two in a batch", predict_small, {{200, "3.0"}}, .batched = true},
    {"caller leaves", predict_large, {{200, NULL}}, .leaves = true},
    {"TLS, kept alive",
     pipelined,
     {{200, "3.0"}, {200, "\"id\""}, {200, "AVAILABLE"}, {200, "3.0"}},
     .tls = true},
    {"TLS, predict 400 kB", predict_large, {{200, "\"outputs\""}}, .tls = true},
    {"TLS, distrusted", predict_small, .tls = true, .distrusts = true},
    {"TLS, caller leaves", predict_large, {{200, NULL}}, .tls = true, .leaves = true},
    {"TLS, reload (HUP)", .signal = SIGHUP, .tls = true},
    {"reload (HUP)", .signal = SIGHUP},
    {"log reopened (USR1)", .signal = SIGUSR1},
    {"drain (TERM)", predict_large, {{200, "\"outputs\""}}, .signal = SIGTERM},
};

/* ---- the process under test: the role itself, which lets the test see it ---- */

static struct run *run_now;

static result start_seen(struct run *run, void **ret_role, struct route_table *ret_routes,
                         struct diag *diag)
{
    run_now = run;
    return serve_role.start(run, ret_role, ret_routes, diag);
}

static const char *folder(const char *variable)
{
    const char *path = getenv(variable);
    assert_non_null(path);
    return path;
}

/* What weir.yaml says; the second one takes no large body. */
static void configure(struct process *server, const struct scenario *scenario, bool small_bodies)
{
    char yaml[2048];
    snprintf(yaml, sizeof(yaml),
             "version: 1\n"
             "models: {path: %s/tests/fixtures/models/plus.arith, backends_path: "
             "%s/tests/conformance/backends, engines_path: /none, max_batch_size: %d, "
             "max_queue_delay: 1ms}\n"
             "log: {path: /log/weir.log}\n"
             "server: {access_log: all, body_bytes_max: \"${BODY_MAX:-%s}\"%s}\n",
             folder("WEIR_SOURCE"), folder("WEIR_BUILD"), scenario->batched ? 8 : 1,
             small_bodies ? "1KiB" : "4MiB",
             scenario->tls ? ", tls: {certificate: /tls/cert, key: /tls/key}" : "");
    /* Another certificate each time, and one of them with a key that takes a worker. */
    sim_file_put(server, "/tls/cert",
                 small_bodies ? SPAN("name: server.test\nissuer: authority\nkey: 2\n")
                              : SPAN("name: server.test\nissuer: authority\nkey: 1\n"));
    sim_file_put(server, "/tls/key", small_bodies ? SPAN("key: 2\nslow: yes\n") : SPAN("key: 1\n"));
    sim_file_put(server, "/weir.yaml", span_cstr(yaml));
}

static struct process *make_server(struct world *world, const struct scenario *scenario)
{
    static const struct span real = SPAN_INIT("it is the real file that is opened");
    struct process *server = sim_process_new(world, "server", LOOPS);
    char path[1024];
    snprintf(path, sizeof(path), "%s/tests/fixtures/models/plus.arith", folder("WEIR_SOURCE"));
    sim_file_put(server, path, real);
    snprintf(path, sizeof(path), "%s/tests/conformance/backends/arithmetic.so",
             folder("WEIR_BUILD"));
    sim_file_put(server, path, real);
    sim_file_put(server, "/log/weir.log", SPAN(""));
    sim_env_put(server, "NOTIFY_SOCKET", "/notify");
    sim_env_put(server, "RUNTIME_DIRECTORY", "/run");
    configure(server, scenario, false);
    return server;
}

/* ---- one point ---- */

enum stage { STAGE_ARM, STAGE_FAULT, STAGE_NEXT, STAGE_SECOND, STAGE_COUNTERS };

struct point {
    const struct scenario *scenario;
    uint64_t index; /* which allocation fails */
    bool persistent;
    struct text request, plain;
    struct process *server;
    struct tls_context *trusting, *distrusting; /* the caller's; NULL without TLS */
    struct talk talk, twin;
    int talks; /* that are under way */
    struct io_post begin;
    struct io_timer timer;
    enum stage stage;
    uint64_t attempts; /* allocations while the hook was armed */
};

static const struct io_address address = {.family = IO_INET, .port = 8080, .ip = {127, 0, 0, 1}};

static int answers_of(const struct scenario *scenario)
{
    int len = 0;
    while (scenario->answers[len].status)
        len++;
    return len;
}

/* Told at once and judged at the end of the sweep: so one run shows all that is wrong. */
static int wrongs;

#define wrong(point, ...) \
    do { \
        wrongs++; \
        print_error("%s: allocation %llu%s: ", (point)->scenario->name, \
                    (unsigned long long)(point)->index, (point)->persistent ? " and on" : ""); \
        print_error(__VA_ARGS__); \
        print_error("\n"); \
    } while (0)

static bool is_right(const struct talk_answer *answer, const struct expected *expected)
{
    return answer->status == expected->status &&
           (!expected->has ||
            span_search(answer->body, span_cstr(expected->has)) < answer->body.len);
}

/* An error, and whole: what says to be JSON is JSON. */
static bool is_error(const struct talk_answer *answer)
{
    if (answer->status != 500 && answer->status != 503 && answer->status != 429)
        return false;
    if (!span_is(answer->type, "application/json"))
        return true;
    yyjson_doc *doc = yyjson_read((const char *)answer->body.ptr, answer->body.len, 0);
    bool good = yyjson_is_obj(yyjson_doc_get_root(doc));
    yyjson_doc_free(doc);
    return good;
}

static void check_answers(struct point *p, const struct talk *talk)
{
    if (p->scenario->distrusts && talk->connected)
        wrong(p, "a wrong certificate was taken");
    if (talk->hung)
        wrong(p, "no answer, and no end of the connection");
    if (talk->broken)
        wrong(p, "an answer is no HTTP: '%.*s'", (int)MIN(talk->len - talk->taken, (size_t)300),
              (const char *)talk->bytes + talk->taken);
    bool faultless = !p->scenario->signal && p->index > p->attempts;
    if (faultless && !talk->leaves && talk->answers_len < answers_of(p->scenario))
        wrong(p, "%d answers without a fault", talk->answers_len);
    for (int i = 0; i < talk->answers_len; i++) {
        const struct talk_answer *answer = &talk->answers[i];
        if (!is_right(answer, &p->scenario->answers[i]) && (faultless || !is_error(answer)))
            wrong(p, "answer %d is %d '%.*s'", i, answer->status,
                  (int)MIN(answer->body.len, (size_t)300), (const char *)answer->body.ptr);
    }
}

static double metric(struct span text, const char *name)
{
    size_t at = span_search(text, span_cstr(name));
    return at < text.len ? strtod((const char *)text.ptr + at + strlen(name), NULL) : -1;
}

static void check_counters(struct point *p)
{
    static const char *const zero[] = {
        "\nweir_http_requests_in_flight{server=\"http\"}",
        "\nweir_http_request_in_flight_bytes{server=\"http\"}",
        "\nweir_model_queue_rows{model=\"plus\",version=\"1\"}",
    };
    struct span body = p->talk.answers[0].body;
    struct slab_stats stats;
    if (p->talk.answers_len != 1 || p->talk.answers[0].status != 200)
        wrong(p, "no metrics afterwards");
    /* Among them the one that asks. */
    if (metric(body, "\nweir_http_connections{server=\"http\"}") != 1)
        wrong(p, "a connection was not counted back");
    for (size_t i = 0; i < ARRAY_LEN(zero); i++)
        if (metric(body, zero[i]) != 0)
            wrong(p, "not zero: %s", zero[i] + 1);
    slab_stats(run_slab(run_now), &stats);
    if (stats.bytes_now)
        wrong(p, "%llu bytes of the slab are in use", (unsigned long long)stats.bytes_now);
}

static void talk_over(struct talk *talk);

static void wait(struct point *p, io_time delay)
{
    timer_start(p->talk.loop, &p->timer, loop_now(p->talk.loop) + delay);
}

static void fault_over(struct point *p)
{
    bool ends = p->scenario->signal == SIGTERM; /* then the hook is lifted after the end */
    if (!ends)
        p->attempts = mem_fail_after(0, false);
    if (p->scenario->request)
        check_answers(p, &p->talk);
    if (p->scenario->batched)
        check_answers(p, &p->twin);
    if (ends)
        return;
    p->stage = STAGE_NEXT;
    wait(p, 20 * IO_MS);
}

static void talk_over(struct talk *talk)
{
    struct point *p = talk->arg;
    static const struct expected plain = {200, "3.0"};
    switch (p->stage) {
    case STAGE_ARM: /* not before it is armed */
        break;
    case STAGE_FAULT:
        if (--p->talks == 0)
            fault_over(p);
        break;
    case STAGE_NEXT:
        if (talk->answers_len != 1 || !is_right(&talk->answers[0], &plain))
            wrong(p, "the next request was answered by %d", talk->answers[0].status);
        p->stage = STAGE_COUNTERS;
        if (p->scenario->signal == SIGHUP) {
            p->stage = STAGE_SECOND;
            sim_signal(p->server, SIGHUP);
        }
        wait(p, 20 * IO_MS);
        break;
    case STAGE_SECOND:
        if (talk->answers_len != 1 || talk->answers[0].status != 413)
            wrong(p, "the next reload was not taken");
        p->stage = STAGE_COUNTERS;
        wait(p, 20 * IO_MS);
        break;
    case STAGE_COUNTERS:
        check_counters(p);
        sim_signal(p->server, SIGTERM);
        break;
    }
}

static void begin_fault(struct point *p)
{
    int sent = p->scenario->signal;
    p->talk.leaves = p->scenario->leaves;
    p->talk.tls = p->scenario->distrusts ? p->distrusting : p->trusting;
    if (sent == SIGHUP)
        configure(p->server, p->scenario, true);
    mem_fail_after(p->index, p->persistent);
    p->talks = !!p->scenario->request + p->scenario->batched;
    if (p->talks > 0)
        talk_start(&p->talk, &address, text_span(&p->request), answers_of(p->scenario), talk_over,
                   p);
    if (p->talks > 1)
        talk_start(&p->twin, &address, text_span(&p->request), answers_of(p->scenario), talk_over,
                   p);
    if (sent == SIGTERM)
        wait(p, 2 * IO_MS);
    else if (sent) {
        sim_signal(p->server, sent);
        wait(p, 50 * IO_MS);
    }
}

static void go_on(struct io_timer *timer)
{
    struct point *p = CONTAINER_OF(timer, struct point, timer);
    bool held = mem_fail_hold(true);
    static const struct span scrape = SPAN_INIT("GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n");
    switch (p->stage) {
    case STAGE_ARM:
        p->stage = STAGE_FAULT;
        begin_fault(p);
        break;
    case STAGE_FAULT:
        if (p->scenario->signal == SIGTERM)
            sim_signal(p->server, SIGTERM);
        else
            fault_over(p);
        break;
    case STAGE_NEXT:
        p->talk.leaves = false;
        p->talk.tls = p->trusting;
        talk_start(&p->talk, &address, text_span(&p->plain), 1, talk_over, p);
        break;
    case STAGE_SECOND:
        talk_start(&p->talk, &address, text_span(&p->request), 1, talk_over, p);
        break;
    case STAGE_COUNTERS:
        talk_start(&p->talk, &address, scrape, 1, talk_over, p);
        break;
    }
    mem_fail_hold(held);
}

static void begin(struct io_post *begin)
{
    struct point *p = CONTAINER_OF(begin, struct point, begin);
    wait(p, 100 * IO_MS); /* by then the model has been loaded */
}

static struct tls_context *trust(struct process *caller, const char *authority)
{
    struct tls_options options = {.ca.text = span_cstr(authority)};
    struct tls_context *made;
    result r = tls_client_new(caller, &options, &made, NULL);
    assert_false(failed(r));
    return made;
}

/* Whether the allocation was reached. */
static bool point(const struct scenario *scenario, uint64_t index, bool persistent)
{
    struct world *world = sim_world_new(index);
    struct process *caller = sim_process_new(world, "caller", 1);
    struct point p = {.scenario = scenario, .index = index, .persistent = persistent};
    p.server = make_server(world, scenario);
    text_init(&p.request, REQUEST_MAX);
    text_init(&p.plain, REQUEST_MAX);
    if (scenario->request)
        scenario->request(&p.request);
    else
        predict_large(&p.request);
    predict_small(&p.plain);
    assert_false(failed(text_result(&p.request)));
    if (scenario->tls) {
        p.trusting = trust(caller, "ca: authority\n");
        p.distrusting = trust(caller, "ca: other\n");
    }
    talk_init(&p.talk, process_loop(caller, 0));
    talk_init(&p.twin, process_loop(caller, 0));
    p.begin.run = begin;
    p.timer.fired = go_on;
    loop_post(process_loop(caller, 0), &p.begin);
    struct run_role role = serve_role;
    role.start = start_seen;
    struct run_options options = {.process = p.server, .role = &role, .config_path = "/weir.yaml"};
    int code = run_role(&options);
    if (scenario->signal == SIGTERM)
        p.attempts = mem_fail_after(0, false);
    if (code != 0)
        wrong(&p, "ended with %d", code);
    process_free(p.server);
    tls_context_unref(p.trusting);
    tls_context_unref(p.distrusting);
    process_free(caller);
    talk_release(&p.talk);
    talk_release(&p.twin);
    text_release(&p.request);
    text_release(&p.plain);
    sim_world_free(world);
    return p.attempts >= index;
}

/* ---- sweeps ---- */

/* How many allocations there were, each of which has failed. */
static unsigned sweep(const struct scenario *scenario, bool persistent)
{
    unsigned index = 1;
    while (point(scenario, index, persistent))
        index++;
    return index - 1;
}

static void each_allocation_may_fail(void **state)
{
    const struct scenario *scenario = *state;
    wrongs = 0;
    unsigned once = sweep(scenario, false), on = sweep(scenario, true);
    assert_true(once > 0 && on > 0);
    assert_int_equal(wrongs, 0);
    print_message("# %-20s allocations: once %u of %u, from there on %u of %u\n", scenario->name,
                  once, once, on, on);
    assert_int_equal(__lsan_do_recoverable_leak_check(), 0);
}

int main(void)
{
    struct CMUnitTest tests[ARRAY_LEN(scenarios)];
    for (size_t i = 0; i < ARRAY_LEN(scenarios); i++)
        tests[i] = (struct CMUnitTest){
            .name = scenarios[i].name,
            .test_func = each_allocation_may_fail,
            .initial_state = (void *)(uintptr_t)&scenarios[i],
        };
    return _cmocka_run_group_tests("faults/alloc", tests, ARRAY_LEN(tests), NULL, NULL);
}
