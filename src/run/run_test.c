/* A role's life in a simulated world: one process under test, one that calls it. */
#include "run/run.h"

#include "base/alloc.h"
#include "base/test_cmocka.h"
#include "io/sim/test_world.h"
#include "net/client.h"

#include <signal.h>
#include <stdio.h>
#include <sysexits.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#else
static void __lsan_disable(void)
{
}
static void __lsan_enable(void)
{
}
#endif

/* ---- the role under test ---- */

struct role {
    struct run *run;
    struct io_timer load_timer, answer_timer;
    struct exchange *held; /* by /slow */
};

/* What a test wants of its role. Read at `start`, by way of the world's one script. */
static struct {
    io_time load_takes;   /* then run_ready; TIME_NEVER: never */
    enum err load_fails;  /* run_fail instead */
    io_time answer_takes; /* of /slow; TIME_NEVER: never */
    enum err start_fails;
} plan;

static void hello(struct exchange *x, void *arg)
{
    exchange_respond(x, 200, "text/plain", SPAN("hello\n"));
}

static void slow_answer(struct io_timer *timer)
{
    struct role *role = CONTAINER_OF(timer, struct role, answer_timer);
    exchange_respond(steal(&role->held), 200, "text/plain", SPAN("late\n"));
}

static void slow(struct exchange *x, void *arg)
{
    struct role *role = arg;
    role->held = x;
    role->answer_timer.fired = slow_answer;
    if (plan.answer_takes != TIME_NEVER)
        timer_start(exchange_loop(x), &role->answer_timer,
                    loop_now(exchange_loop(x)) + plan.answer_takes);
}

static const struct route routes[] = {
    {ROUTE_METHOD(METHOD_GET), ROUTE_EXACT, "/hello", "hello", hello},
    {ROUTE_METHOD(METHOD_GET), ROUTE_EXACT, "/slow", "slow", slow},
};

static result role_start(struct run *run, void **ret_role, struct route_table *ret_routes,
                         struct diag *diag)
{
    if (plan.start_fails)
        return diag_fail(diag, plan.start_fails, "the role was told to fail");
    struct role *role = MEM_NEW(struct role);
    mem_must(role, sizeof(*role));
    role->run = run;
    *ret_role = role;
    *ret_routes = (struct route_table){routes, ARRAY_LEN(routes), role, NULL};
    return OK;
}

static void loaded(struct io_timer *timer)
{
    struct role *role = CONTAINER_OF(timer, struct role, load_timer);
    if (plan.load_fails)
        run_fail(role->run, plan.load_fails, "the load was told to fail");
    else
        run_ready(role->run);
}

static void role_load(void *arg)
{
    struct role *role = arg;
    struct loop *loop = process_loop(run_process(role->run), 0);
    role->load_timer.fired = loaded;
    timer_start(loop, &role->load_timer, loop_now(loop) + plan.load_takes);
}

static void role_free(void *role)
{
    mem_free(role);
}

static const struct run_role role_kind = {
    .name = "test",
    .start = role_start,
    .load = role_load,
    .free = role_free,
};

/* ---- the caller: a script of steps at given times ---- */

struct step {
    io_time at;
    const char *get;  /* a path to ask for, or NULL */
    int status;       /* expected; 0: no answer */
    const char *has;  /* a part of the body, or NULL */
    int signal;       /* to send, or 0 */
    const char *file; /* what weir.yaml holds from now on, or NULL */
};

#define STEPS_MAX 16

struct call {
    const struct step *step;
    struct caller *caller;
    struct io_timer timer;
    struct client *client;
    bool answered;
};

struct caller {
    struct process *process, *server;
    struct call calls[STEPS_MAX];
    size_t len;
    struct io_post post;
};

static const struct io_address address = {.family = IO_INET, .port = 8080, .ip = {127, 0, 0, 1}};

static void got(void *arg, struct client *client, result r, const struct client_response *response)
{
    struct call *call = arg;
    call->answered = !failed(r);
    if (!failed(r)) {
        assert_int_equal(response->status, call->step->status);
        if (call->step->has)
            assert_true(span_search(response->body, span_cstr(call->step->has)) <
                        response->body.len);
    }
    client_close(client);
}

static void connected(void *arg, struct client *client, result r)
{
    struct call *call = arg;
    struct client_request request = {
        .method = METHOD_GET,
        .target = span_cstr(call->step->get),
        .bytes_max = 65536,
        .deadline = TIME_NEVER,
    };
    if (failed(r) || failed(client_send(client, &request, got, call)))
        client_close(client);
}

static void step_due(struct io_timer *timer)
{
    struct call *call = CONTAINER_OF(timer, struct call, timer);
    const struct step *step = call->step;
    if (!call->caller->server)
        return;
    if (step->file)
        sim_file_put(call->caller->server, "/weir.yaml", span_cstr(step->file));
    if (step->signal)
        sim_signal(call->caller->server, step->signal);
    if (step->get)
        ignore(client_connect(process_loop(call->caller->process, 0), &address, connected, call,
                              &call->client)); /* a step that expects no answer may fail */
}

static void script_begins(struct io_post *post)
{
    struct caller *caller = CONTAINER_OF(post, struct caller, post);
    struct loop *loop = process_loop(caller->process, 0);
    for (size_t i = 0; i < caller->len; i++) {
        caller->calls[i].timer.fired = step_due;
        timer_start(loop, &caller->calls[i].timer, loop_now(loop) + caller->calls[i].step->at);
    }
}

/* ---- one life ---- */

struct story {
    const struct step *steps;
    size_t steps_len;
    const char *file; /* weir.yaml at the start; NULL: none */
    int loops;
    bool cut; /* work will be cut, and what it uses not be freed */
};

struct notices {
    char text[1024];
};

static void collect_notice(void *arg, const char *path, struct span bytes)
{
    struct notices *notices = arg;
    size_t len = strlen(notices->text);
    snprintf(notices->text + len, sizeof(notices->text) - len, "%.*s|", SPAN_FMT(bytes));
}

static int live(uint64_t seed, const struct story *life, struct notices *notices)
{
    struct world *world = sim_world_new(seed);
    struct process *server = sim_process_new(world, "server", life->loops);
    struct process *process = sim_process_new(world, "caller", 1);
    struct caller caller = {.process = process, .server = server, .len = life->steps_len};
    sim_env_put(server, "NOTIFY_SOCKET", "/notify");
    if (life->file)
        sim_file_put(server, "/weir.yaml", span_cstr(life->file));
    for (size_t i = 0; i < life->steps_len; i++)
        caller.calls[i] = (struct call){.step = &life->steps[i], .caller = &caller};
    caller.post.run = script_begins;
    loop_post(process_loop(process, 0), &caller.post);
    struct run_options options = {
        .process = server,
        .role = &role_kind,
        .config_path = life->file ? "/weir.yaml" : NULL,
    };
    if (life->cut)
        __lsan_disable();
    int code = run_role(&options);
    if (life->cut)
        __lsan_enable();
    *notices = (struct notices){""};
    sim_datagrams(world, collect_notice, notices);
    process_free(steal(&caller.server));
    /* Answers that are still on their way arrive. */
    sim_run_until(world, sim_now(world) + 10 * IO_SEC);
    for (size_t i = 0; i < life->steps_len; i++)
        assert_int_equal(caller.calls[i].answered, life->steps[i].status != 0);
    process_free(process);
    sim_world_free(world);
    return code;
}

/* The same promise, whatever the order of events. */
static void expect(const struct story *life, int code, const char *notice)
{
    uint64_t seeds = world_seeds(20);
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        struct notices notices;
        struct story one = *life;
        one.loops = 1 + (int)(seed % 3);
        assert_int_equal(live(seed, &one, &notices), code);
        if (notice && !strstr(notices.text, notice))
            fail_msg("seed %llu: no '%s' in '%s'", (unsigned long long)seed, notice, notices.text);
    }
}

#define LIFE(...) \
    {.steps = (const struct step[]){__VA_ARGS__}, \
     .steps_len = sizeof((const struct step[]){__VA_ARGS__}) / sizeof(struct step)}

static int setup(void **state)
{
    plan.load_takes = 100 * IO_MS;
    plan.answer_takes = 500 * IO_MS;
    plan.load_fails = ERR_NONE;
    plan.start_fails = ERR_NONE;
    return 0;
}

static void readiness_comes_with_the_load_and_liveness_before(void **state)
{
    struct story life =
        LIFE({.at = 50 * IO_MS, .get = "/readyz", .status = 503},
             {.at = 51 * IO_MS, .get = "/livez", .status = 200, .has = "ok"},
             {.at = 52 * IO_MS, .get = "/hello", .status = 200, .has = "hello"},
             {.at = 300 * IO_MS, .get = "/readyz", .status = 200, .has = "ok"},
             {.at = 301 * IO_MS, .get = "/healthz?verbose", .status = 200, .has = "[+]loops ok"},
             {.at = 400 * IO_MS, .signal = SIGTERM});
    expect(&life, EX_OK, "READY=1\nSTATUS=ready\n|STOPPING=1");
}

static void a_role_that_cannot_start_ends_with_its_reason(void **state)
{
    struct story life = LIFE({.at = 400 * IO_MS, .signal = SIGTERM});
    plan.start_fails = ERR_NOT_FOUND;
    struct notices notices;
    life.loops = 1;
    assert_int_equal(live(1, &life, &notices), EX_NOINPUT);
}

static void a_load_that_fails_ends_the_process_with_its_code(void **state)
{
    struct story life = LIFE({.at = 50 * IO_MS, .get = "/readyz", .status = 503});
    plan.load_fails = ERR_CORRUPT;
    expect(&life, EX_DATAERR, NULL);
}

static void a_drain_lets_open_work_end(void **state)
{
    struct story life = LIFE({.at = 200 * IO_MS, .get = "/slow", .status = 200, .has = "late"},
                             {.at = 300 * IO_MS, .signal = SIGTERM},
                             {.at = 400 * IO_MS, .get = "/hello", .status = 0});
    expect(&life, EX_OK, "STOPPING=1");
}

static void work_that_does_not_end_is_cut_at_the_drains_limit(void **state)
{
    struct story life = LIFE({.at = 200 * IO_MS, .get = "/slow", .status = 0},
                             {.at = 300 * IO_MS, .signal = SIGTERM});
    life.file = "version: 1\ndrain_timeout: 2s\n";
    life.cut = true;
    plan.answer_takes = TIME_NEVER;
    expect(&life, RUN_EXIT_CUT, "STOPPING=1");
}

static void a_second_signal_ends_at_once(void **state)
{
    struct story life =
        LIFE({.at = 200 * IO_MS, .get = "/slow", .status = 0},
             {.at = 300 * IO_MS, .signal = SIGTERM}, {.at = 400 * IO_MS, .signal = SIGINT});
    life.cut = true;
    plan.answer_takes = 5 * IO_SEC;
    expect(&life, RUN_EXIT_CUT, NULL);
}

static void a_lame_duck_answers_but_is_not_ready(void **state)
{
    struct story life = LIFE({.at = 200 * IO_MS, .signal = SIGTERM},
                             {.at = 300 * IO_MS, .get = "/readyz", .status = 503},
                             {.at = 301 * IO_MS, .get = "/hello", .status = 200},
                             {.at = 2 * IO_SEC, .get = "/hello", .status = 0});
    life.file = "version: 1\nlame_duck: 1s\n";
    expect(&life, EX_OK, "STOPPING=1");
}

static void a_reload_that_fails_changes_nothing_and_the_next_is_taken(void **state)
{
    static const char broken[] = "version: 1\nserver: {requests_max: many}\ndrain_timeout: 1s\n";
    static const char good[] = "version: 1\ndrain_timeout: 1s\n";
    struct story life = LIFE({.at = 200 * IO_MS, .file = broken, .signal = SIGHUP},
                             {.at = 300 * IO_MS, .get = "/hello", .status = 200},
                             {.at = 400 * IO_MS, .file = good, .signal = SIGHUP},
                             {.at = 500 * IO_MS, .get = "/slow", .status = 0},
                             {.at = 600 * IO_MS, .signal = SIGTERM});
    /* Only the good file's limit cuts the answer, which takes 3 s. */
    life.file = "version: 1\ndrain_timeout: 20s\n";
    life.cut = true;
    plan.answer_takes = 3 * IO_SEC;
    expect(&life, RUN_EXIT_CUT, "RELOADING=1");
    struct story stays = LIFE({.at = 200 * IO_MS, .file = broken, .signal = SIGHUP},
                              {.at = 500 * IO_MS, .get = "/slow", .status = 200},
                              {.at = 600 * IO_MS, .signal = SIGTERM});
    stays.file = life.file;
    expect(&stays, EX_OK, "RELOADING=1");
}

static void a_configuration_that_is_wrong_is_told_before_anything_starts(void **state)
{
    struct story life = LIFE({.at = 400 * IO_MS, .signal = SIGTERM});
    life.file = "version: 1\ndrain_timout: 1s\n";
    life.loops = 1;
    struct notices notices;
    assert_int_equal(live(1, &life, &notices), EX_CONFIG);
}

static void metrics_are_shown(void **state)
{
    struct story life = LIFE({.at = 200 * IO_MS, .get = "/hello", .status = 200},
                             {.at = 300 * IO_MS,
                              .get = "/metrics",
                              .status = 200,
                              .has = "weir_http_requests_total{server=\"http\",route=\"hello\","
                                     "code=\"200\"} 1"},
                             {.at = 400 * IO_MS, .signal = SIGTERM});
    expect(&life, EX_OK, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(readiness_comes_with_the_load_and_liveness_before, setup),
        cmocka_unit_test_setup(a_role_that_cannot_start_ends_with_its_reason, setup),
        cmocka_unit_test_setup(a_load_that_fails_ends_the_process_with_its_code, setup),
        cmocka_unit_test_setup(a_drain_lets_open_work_end, setup),
        cmocka_unit_test_setup(work_that_does_not_end_is_cut_at_the_drains_limit, setup),
        cmocka_unit_test_setup(a_second_signal_ends_at_once, setup),
        cmocka_unit_test_setup(a_lame_duck_answers_but_is_not_ready, setup),
        cmocka_unit_test_setup(a_reload_that_fails_changes_nothing_and_the_next_is_taken, setup),
        cmocka_unit_test_setup(a_configuration_that_is_wrong_is_told_before_anything_starts, setup),
        cmocka_unit_test_setup(metrics_are_shown, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
