/* Health, as kube-apiserver has it: the status code is for machines, `?verbose` for
 * people. `live` depends on nothing but the loops; `ready` on the role.
 */
#include "run/run_private.h"

#include "base/alloc.h"
#include "wire/url.h"

/* A loop that has not made a turn for so long stands still: an idle one makes one a
 * second. */
#define STILL_MAX (10 * IO_SEC)

static bool loops_move(struct run_loop *here, struct text *text)
{
    struct run *run = here->run;
    io_time now = process_clock(run->process);
    bool all = true;
    for (int i = 0; i < run->loops_len; i++) {
        uint64_t turns = loop_turns(run->loops[i].loop);
        if (turns != here->turns[i] || here->moved_at[i] == 0) {
            here->turns[i] = turns;
            here->moved_at[i] = now;
        } else if (now - here->moved_at[i] > STILL_MAX) {
            text_printf(text, "loop %d has stood still for %lld s ", i,
                        (long long)((now - here->moved_at[i]) / IO_SEC));
            all = false;
        }
    }
    return all;
}

static void check_line(struct text *out, bool passed, const char *name, struct text *detail)
{
    text_printf(out, "[%c]%s %s", passed ? '+' : '-', name, passed ? "ok" : "failed");
    if (detail->len)
        text_printf(out, ": %.*s", SPAN_FMT(text_span(detail)));
    text_byte(out, '\n');
    text_clear(detail);
}

#define TEXT_TYPE "text/plain; charset=utf-8"

enum { HEALTH_LIVE = 1, HEALTH_READY = 2 };

static bool checks_run(struct run_loop *here, int which, struct text *out)
{
    struct run *run = here->run;
    struct text detail;
    text_init(&detail, 4096);
    bool all = true;
    if (which & HEALTH_LIVE) {
        bool passed = loops_move(here, &detail);
        check_line(out, passed, "loops", &detail);
        all = all && passed;
    }
    if (which & HEALTH_READY) {
        if (!here->ready)
            text_str(&detail, "starting or draining");
        check_line(out, here->ready, "lifecycle", &detail);
        all = all && here->ready;
        for (size_t i = 0; i < run->checks_len; i++) {
            bool passed = run->checks[i].check(run->checks[i].arg, here->loop, &detail);
            check_line(out, passed, run->checks[i].name, &detail);
            all = all && passed;
        }
    }
    text_release(&detail);
    return all;
}

static bool is_verbose(struct exchange *x)
{
    struct span query = exchange_query(x);
    struct span key, value;
    while (url_query_next(&query, &key, &value))
        if (span_is(key, "verbose"))
            return !span_is(value, "0") && !span_is(value, "false");
    return false;
}

static void health(struct exchange *x, void *arg, int which, const char *name)
{
    struct run *run = arg;
    struct run_loop *here = &run->loops[loop_index(exchange_loop(x))];
    struct text out;
    text_init(&out, 65536);
    bool passed = checks_run(here, which, &out);
    text_printf(&out, "%s check %s\n", name, passed ? "passed" : "failed");
    char *body = failed(text_result(&out)) ? NULL : arena_copy(exchange_arena(x), text_span(&out));
    size_t len = out.len;
    text_release(&out);
    /* What a probe asks is answered though memory is short. */
    if (passed && !is_verbose(x))
        exchange_respond(x, 200, TEXT_TYPE, SPAN("ok"));
    else if (body)
        exchange_respond(x, passed ? 200 : 503, TEXT_TYPE, span_of(body, len));
    else
        exchange_fail(x, passed ? ERR_NO_MEMORY : ERR_UNAVAILABLE, NULL);
}

static void livez(struct exchange *x, void *arg)
{
    health(x, arg, HEALTH_LIVE, "livez");
}

static void readyz(struct exchange *x, void *arg)
{
    health(x, arg, HEALTH_READY, "readyz");
}

static void healthz(struct exchange *x, void *arg)
{
    health(x, arg, HEALTH_LIVE | HEALTH_READY, "healthz");
}

/* ---- metrics ---- */

/* A scrape is written by a worker: it may be long. */
struct scrape {
    struct io_work work;
    struct exchange *x;
    struct metrics *metrics;
    struct text text;
    result r;
};

#define SCRAPE_MAX ((size_t)64 << 20)

static void scrape_run(struct io_work *work)
{
    struct scrape *scrape = CONTAINER_OF(work, struct scrape, work);
    scrape->r = metrics_write(scrape->metrics, &scrape->text);
}

static void scrape_done(struct io_work *work)
{
    struct scrape *scrape = CONTAINER_OF(work, struct scrape, work);
    if (failed(scrape->r))
        exchange_fail(scrape->x, (enum err)scrape->r.code, "the metrics cannot be written");
    else
        exchange_respond(scrape->x, 200, METRICS_CONTENT_TYPE, text_span(&scrape->text));
}

static void scrape_release(void *arg)
{
    struct scrape *scrape = arg;
    text_release(&scrape->text);
}

static void metrics_route(struct exchange *x, void *arg)
{
    struct run *run = arg;
    struct scrape *scrape = ARENA_NEW(exchange_arena(x), struct scrape);
    if (!scrape || failed(arena_on_clear(exchange_arena(x), scrape_release, scrape))) {
        exchange_fail(x, ERR_NO_MEMORY, NULL);
        return;
    }
    text_init(&scrape->text, SCRAPE_MAX);
    scrape->x = x;
    scrape->metrics = run->metrics;
    scrape->work = (struct io_work){
        .run = scrape_run,
        .done = scrape_done,
        .home = exchange_loop(x),
    };
    work_submit(run->process, WORK_FILE, &scrape->work);
}

const struct route health_routes[] = {
    {ROUTE_METHOD(METHOD_GET), ROUTE_EXACT, "/livez", "livez", livez, true},
    {ROUTE_METHOD(METHOD_GET), ROUTE_EXACT, "/readyz", "readyz", readyz, true},
    {ROUTE_METHOD(METHOD_GET), ROUTE_EXACT, "/healthz", "healthz", healthz, true},
    {ROUTE_METHOD(METHOD_GET), ROUTE_EXACT, "/metrics", "metrics", metrics_route, true},
};
const size_t health_routes_len = ARRAY_LEN(health_routes);

/* ---- readiness, published ---- */

static void ready_arrived(struct io_post *post)
{
    CONTAINER_OF(post, struct run_loop, ready_post)->ready = true;
}

static void unready_arrived(struct io_post *post)
{
    CONTAINER_OF(post, struct run_loop, unready_post)->ready = false;
}

/* Each comes once in the life of a process, in this order, so one post each will do. */
void run_publish_ready(struct run *run, bool ready)
{
    for (int i = 0; i < run->loops_len; i++) {
        struct run_loop *there = &run->loops[i];
        struct io_post *post = ready ? &there->ready_post : &there->unready_post;
        post->run = ready ? ready_arrived : unready_arrived;
        loop_post(there->loop, post);
    }
}
