/* Handlers of every kind: how they read, when and how they answer. */
#include "base/alloc.h"
#include "net/test_fixture.h"

#include <stdio.h>

struct span test_pattern(size_t len)
{
    static uint8_t bytes[TEST_PATTERN_MAX];
    if (!bytes[0])
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (uint8_t)('a' + i % 26);
    assert_true(len <= sizeof(bytes));
    return span_of(bytes, len);
}

static void seen(struct exchange *x, void *arg)
{
    assert_true(quota_take(&((struct fx *)arg)->started, 1));
    exchange_set_data(x, arg);
}

static void fixed(struct exchange *x, void *arg)
{
    seen(x, arg);
    exchange_respond(x, 200, "text/plain", SPAN("fixed\n"));
}

/* ---- bodies ---- */

static void echo_body(struct exchange *x, result r, struct span body)
{
    if (failed(r))
        exchange_fail(x, (enum err)r.code, NULL);
    else
        exchange_respond(x, 200, "application/octet-stream", body);
}

static void echo(struct exchange *x, void *arg)
{
    seen(x, arg);
    exchange_collect(x, UINT64_MAX, echo_body);
}

static void sum_body(struct exchange *x, result r, struct span body)
{
    if (failed(r)) {
        exchange_fail(x, (enum err)r.code, NULL);
        return;
    }
    size_t same = 0;
    for (size_t i = 0; i < body.len; i++)
        same += body.ptr[i] == body.ptr[0];
    exchange_respond(x, 200, NULL, span_cstr(arena_printf(exchange_arena(x), "%zu\n", same)));
}

/* How many bytes are as the first. */
static void sum(struct exchange *x, void *arg)
{
    seen(x, arg);
    exchange_collect(x, UINT64_MAX, sum_body);
}

static void collect_few(struct exchange *x, void *arg)
{
    seen(x, arg);
    exchange_collect(x, 10, echo_body);
}

/* Reads and counts, through memory of its own of `into_len` bytes, 0 for none. */
struct sip {
    size_t into_len, total, full;
    uint64_t sum;
    uint8_t *into;
};

static void sip_got(struct exchange *x, result r, struct span bytes, bool end);

static void sip_more(struct exchange *x, struct sip *sip)
{
    exchange_read(x, (struct span_mut){sip->into, sip->into_len}, sip_got);
}

static void sip_got(struct exchange *x, result r, struct span bytes, bool end)
{
    struct sip *sip = exchange_data(x);
    if (failed(r)) {
        exchange_fail(x, (enum err)r.code, NULL);
        return;
    }
    for (size_t i = 0; i < bytes.len; i++)
        sip->sum = sip->sum * 31 + bytes.ptr[i];
    sip->total += bytes.len;
    sip->full += sip->into_len && bytes.len == sip->into_len;
    bool right = !sip->into_len || bytes.len == sip->into_len || end;
    if (!end && right) {
        sip_more(x, sip);
        return;
    }
    char *text =
        arena_printf(exchange_arena(x), "%zu %llu\n", sip->total, (unsigned long long)sip->sum);
    exchange_respond(x, right ? 200 : 500, "text/plain", span_cstr(text));
}

static void sip_start(struct exchange *x, void *arg, size_t into_len)
{
    seen(x, arg);
    struct sip *sip = ARENA_NEW(exchange_arena(x), struct sip);
    sip->into_len = into_len;
    sip->into = into_len ? arena_alloc(exchange_arena(x), into_len) : NULL;
    exchange_set_data(x, sip);
    sip_more(x, sip);
}

static void sip_small(struct exchange *x, void *arg)
{
    sip_start(x, arg, 7);
}
static void sip_large(struct exchange *x, void *arg)
{
    sip_start(x, arg, 100000);
}
static void sip_none(struct exchange *x, void *arg)
{
    sip_start(x, arg, 0);
}

/* ---- answers in pieces ---- */

static void stream_wrote(struct exchange *x, result r);

static void stream_got(struct exchange *x, result r, struct span bytes, bool end)
{
    uint8_t *ended = exchange_data(x);
    if (failed(r)) {
        exchange_reset(x, (enum err)r.code);
        return;
    }
    *ended = end;
    const char *copy = arena_copy(exchange_arena(x), bytes);
    if (copy)
        exchange_write(x, span_of(copy, bytes.len), stream_wrote);
    else
        exchange_reset(x, ERR_NO_MEMORY);
}

static void stream_wrote(struct exchange *x, result r)
{
    uint8_t *ended = exchange_data(x);
    if (failed(r))
        exchange_reset(x, (enum err)r.code);
    else if (*ended)
        exchange_finish(x);
    else
        exchange_read(x, (struct span_mut){NULL, 0}, stream_got);
}

static void stream(struct exchange *x, void *arg)
{
    seen(x, arg);
    exchange_set_data(x, ARENA_NEW(exchange_arena(x), uint8_t));
    exchange_begin(x, 200, "application/octet-stream", exchange_content_length(x));
    exchange_read(x, (struct span_mut){NULL, 0}, stream_got);
}

struct pieces {
    const char *const *at;
    bool reset;
};

static void pieces_wrote(struct exchange *x, result r)
{
    struct pieces *pieces = exchange_data(x);
    if (failed(r) || (!*pieces->at && pieces->reset))
        exchange_reset(x, ERR_INTERNAL);
    else if (*pieces->at)
        exchange_write(x, span_cstr(*pieces->at++), pieces_wrote);
    else
        exchange_finish(x);
}

static void pieces_start(struct exchange *x, void *arg, const char *const *texts, int64_t length,
                         bool reset)
{
    seen(x, arg);
    struct pieces *pieces = ARENA_NEW(exchange_arena(x), struct pieces);
    *pieces = (struct pieces){texts, reset};
    exchange_set_data(x, pieces);
    exchange_begin(x, 200, "text/plain", length);
    pieces_wrote(x, OK);
}

static const char *const five[] = {"one ", "two ", "", "three ", "four\n", NULL};
static const char *const ten[] = {"01234", "56789", NULL};
static const char *const fifteen[] = {"01234", "56789", "abcde", NULL};
static const char *const one[] = {"01234", NULL};
static const char *const none[] = {NULL};

static void pieces_five(struct exchange *x, void *arg)
{
    pieces_start(x, arg, five, -1, false);
}
static void pieces_length(struct exchange *x, void *arg)
{
    pieces_start(x, arg, ten, 10, false);
}
static void pieces_long(struct exchange *x, void *arg)
{
    pieces_start(x, arg, fifteen, 10, false);
}
static void pieces_short(struct exchange *x, void *arg)
{
    pieces_start(x, arg, one, 10, false);
}
static void pieces_reset(struct exchange *x, void *arg)
{
    pieces_start(x, arg, one, -1, true);
}
static void pieces_none(struct exchange *x, void *arg)
{
    pieces_start(x, arg, none, -1, false);
}

/* ---- later ---- */

struct later {
    struct io_timer timer;
    struct io_post post;
    struct io_work work;
    struct exchange *x;
};

static void later_timer(struct io_timer *timer)
{
    exchange_respond(CONTAINER_OF(timer, struct later, timer)->x, 200, NULL, SPAN("later\n"));
}
static void later_post(struct io_post *post)
{
    exchange_respond(CONTAINER_OF(post, struct later, post)->x, 200, NULL, SPAN("later\n"));
}
static void later_work(struct io_work *work)
{
}
static void later_worked(struct io_work *work)
{
    exchange_respond(CONTAINER_OF(work, struct later, work)->x, 200, NULL, SPAN("later\n"));
}

static struct later *later_new(struct exchange *x, void *arg)
{
    seen(x, arg);
    struct later *later = ARENA_NEW(exchange_arena(x), struct later);
    later->x = x;
    return later;
}

static void by_timer(struct exchange *x, void *arg)
{
    struct later *later = later_new(x, arg);
    later->timer.fired = later_timer;
    timer_start(exchange_loop(x), &later->timer, loop_now(exchange_loop(x)) + 20 * IO_MS);
}
static void by_post(struct exchange *x, void *arg)
{
    struct later *later = later_new(x, arg);
    later->post.run = later_post;
    loop_post(exchange_loop(x), &later->post);
}
static void by_work(struct exchange *x, void *arg)
{
    struct later *later = later_new(x, arg);
    later->work =
        (struct io_work){.run = later_work, .done = later_worked, .home = exchange_loop(x)};
    work_submit(loop_process(exchange_loop(x)), WORK_COMPUTE, &later->work);
}

/* Waits until the client has gone or the test answers; loop 0 only. */
static void never_gone(struct exchange *x)
{
    struct fx *fx = exchange_data(x);
    int at = 0;
    while (at < fx->waiting_len && fx->waiting[at] != x)
        at++;
    if (at == fx->waiting_len)
        fx_fail(fx, "told twice that its client has gone");
    else
        fx->waiting[at] = fx->waiting[--fx->waiting_len];
    fx->gone++;
    exchange_fail(x, ERR_CANCELLED, NULL);
}

static void never(struct exchange *x, void *arg)
{
    struct fx *fx = arg;
    seen(x, arg);
    exchange_on_gone(x, never_gone);
    fx->waiting[fx->waiting_len++] = x;
}

/* Waits for body bytes, and has to learn by that read that the client has gone. */
static void reads_got(struct exchange *x, result r, struct span bytes, bool end)
{
    struct fx *fx = exchange_data(x);
    if (failed(r)) {
        fx->gone++;
        exchange_fail(x, (enum err)r.code, NULL);
    } else if (end) {
        exchange_respond(x, 200, NULL, SPAN_NONE);
    } else {
        exchange_read(x, (struct span_mut){NULL, 0}, reads_got);
    }
}
static void reads(struct exchange *x, void *arg)
{
    seen(x, arg);
    exchange_read(x, (struct span_mut){NULL, 0}, reads_got);
}

/* ---- the rest ---- */

static void reset(struct exchange *x, void *arg)
{
    seen(x, arg);
    exchange_reset(x, ERR_INTERNAL);
}
static void headers(struct exchange *x, void *arg)
{
    seen(x, arg);
    exchange_add_header(x, "X-One", SPAN("1"));
    exchange_add_header(x, "X-Evil", SPAN("1\r\nX-Two: 2"));
    exchange_add_header(x, "X-Seen", exchange_header(x, SPAN("x-sent")));
    exchange_respond(x, 201, "text/plain", exchange_query(x));
}
static void no_content(struct exchange *x, void *arg)
{
    seen(x, arg);
    exchange_respond(x, 204, NULL, SPAN_NONE);
}
static void not_modified(struct exchange *x, void *arg)
{
    seen(x, arg);
    exchange_respond(x, 304, NULL, SPAN_NONE);
}
static void big(struct exchange *x, void *arg)
{
    seen(x, arg);
    exchange_respond(x, 200, "application/octet-stream", test_pattern(3000000));
}
static void busy(struct exchange *x, void *arg)
{
    seen(x, arg);
    exchange_fail(x, ERR_EXHAUSTED, "no room");
}

static void too_late(struct exchange *x, void *arg)
{
    seen(x, arg);
    exchange_fail(x, ERR_DEADLINE, NULL);
}

#define GET ROUTE_METHOD(METHOD_GET)
#define POST ROUTE_METHOD(METHOD_POST)

const struct route test_routes[] = {
    {GET | POST, ROUTE_EXACT, "/fixed", "fixed", fixed},
    {POST, ROUTE_EXACT, "/echo", "echo", echo},
    {POST, ROUTE_EXACT, "/sum", "sum", sum},
    {POST, ROUTE_EXACT, "/collect", "collect", collect_few},
    {POST, ROUTE_EXACT, "/stream", "stream", stream},
    {POST, ROUTE_EXACT, "/sip/small", "sip", sip_small},
    {POST, ROUTE_EXACT, "/sip/large", "sip", sip_large},
    {POST, ROUTE_EXACT, "/sip/none", "sip", sip_none},
    {GET, ROUTE_EXACT, "/pieces", "pieces", pieces_five},
    {GET, ROUTE_EXACT, "/pieces/length", "pieces", pieces_length},
    {GET, ROUTE_EXACT, "/pieces/long", "pieces", pieces_long},
    {GET, ROUTE_EXACT, "/pieces/short", "pieces", pieces_short},
    {GET, ROUTE_EXACT, "/pieces/reset", "pieces", pieces_reset},
    {GET, ROUTE_EXACT, "/pieces/none", "pieces", pieces_none},
    {GET, ROUTE_EXACT, "/timer", "later", by_timer},
    {GET, ROUTE_EXACT, "/post", "later", by_post},
    {GET, ROUTE_EXACT, "/work", "later", by_work},
    {ROUTE_ANY, ROUTE_EXACT, "/never", "never", never},
    {POST, ROUTE_EXACT, "/reads", "reads", reads},
    {GET | POST, ROUTE_EXACT, "/reset", "reset", reset},
    {GET, ROUTE_EXACT, "/headers", "headers", headers},
    {GET, ROUTE_EXACT, "/204", "bare", no_content},
    {GET, ROUTE_EXACT, "/304", "bare", not_modified},
    {GET, ROUTE_EXACT, "/big", "big", big},
    {GET | POST, ROUTE_EXACT, "/busy", "busy", busy},
    {GET, ROUTE_EXACT, "/late", "late", too_late},
    {GET, ROUTE_PREFIX, "/below/", "below", fixed},
    {GET, ROUTE_PREFIX_NOCASE, "/AnyCase/", "any-case", fixed},
};
const size_t test_routes_len = ARRAY_LEN(test_routes);
