/* A server and its callers, under all faults: what each exchange promises holds after
 * every event. Callers are of every kind: brisk, slow, silent, deaf, rude and gone. */
#include "net/server.h"

#include "base/alloc.h"
#include "io/sim/test_world.h"
#include "wire/http1.h"

#define CALLERS_MAX 10
#define ASKS_MAX 40
#define TAGS_MAX (CALLERS_MAX * ASKS_MAX)
#define PIPELINE_MAX 4
#define SLACK (2 * IO_SEC)
/* Until every loop has heard of it; a loop may be paused. */
#define RELOAD_TAKES (2 * IO_SEC)
#define TALK (20 * IO_SEC)

/* What a request is for, and what its handler has seen of it. */
struct ask {
    uint64_t body_len, body_seen;
    uint64_t limit; /* of its body: the least that may have held when it began */
    int begun, ended, gone;
    io_time begun_at;
    io_time nothing_at; /* when it wrote nothing, of which it hears at once; 0: it did not */
    struct exchange *x;
};

enum temper { BRISK, SLOW, SILENT, DEAF, RUDE, TEMPERS };

struct caller {
    struct state *s;
    struct stream *stream;
    enum temper temper;
    int tags[PIPELINE_MAX]; /* asked and not answered, oldest first */
    int tags_len;
    int asked;
    struct text out, in;
    size_t sent;
    bool connected, writing, over, closing, stuck; /* stuck: it never goes on */
    bool told_close;                               /* the last answer said so */
    bool surprises; /* it sent a body whose length is told too late, and which is too long to
                       be thrown away */
    io_time stuck_at, idle_at;
    struct io_timer timer;
    struct h1 h1;
    struct h1_header headers[32];
    int status;
    int tag_seen;
    uint64_t body_seen;
    int answered;
};

struct later {
    struct io_timer timer;
    struct exchange *x;
    int tag;
};

struct state {
    struct life *life;
    struct process *server_process, *client;
    struct metrics *metrics;
    struct slab *slab;
    struct server *server;
    struct server_config config, most; /* in force; and the largest limits so far */
    uint64_t limit_before;             /* of bodies, before the last reloads */
    io_time reloaded_at;
    struct route_table table;
    struct sim_faults faults;
    bool reloads; /* now and then, in the middle of what callers send */
    bool cuts;    /* the network is cut now and then */
    io_time lost; /* in pauses and cuts, so far */
    int callers_len, callers_over;
    struct caller callers[CALLERS_MAX];
    struct ask asks[TAGS_MAX];
    int tags;
    int drained;
    io_time drain_at, drain_deadline;
};

/* ---- handlers ---- */

static int number_in(struct span text)
{
    int number = 0;
    for (size_t i = 0; i < text.len; i++)
        number = number * 10 + (text.ptr[i] - '0');
    return number;
}

static int tag_of(struct exchange *x)
{
    struct span path = exchange_path(x);
    size_t at = path.len;
    while (at > 0 && path.ptr[at - 1] != '/')
        at--;
    return number_in(span_from(path, at));
}

static struct ask *begin(struct exchange *x, struct state *s)
{
    int tag = tag_of(x);
    life_check(s->life, tag >= 0 && tag < s->tags, "tag %d", tag);
    struct ask *ask = &s->asks[tag];
    ask->begun++;
    ask->begun_at = sim_now(s->life->world);
    ask->x = x;
    ask->limit = s->config.body_bytes_max;
    if (ask->begun_at < s->reloaded_at + RELOAD_TAKES)
        ask->limit = MIN(ask->limit, s->limit_before);
    exchange_set_data(x, s);
    return ask;
}

static void end_with(struct exchange *x, result r, uint64_t seen)
{
    struct state *s = exchange_data(x);
    struct ask *ask = &s->asks[tag_of(x)];
    ask->ended++;
    ask->x = NULL;
    if (is(r, ERR_TOO_LARGE))
        life_check(s->life, ask->body_len > ask->limit, "%llu bytes are too large for %llu",
                   (unsigned long long)ask->body_len, (unsigned long long)ask->limit);
    if (failed(r)) {
        exchange_fail(x, (enum err)r.code, NULL);
        return;
    }
    life_check(s->life, seen == ask->body_len, "%llu bytes of %llu", (unsigned long long)seen,
               (unsigned long long)ask->body_len);
    char *text = arena_printf(exchange_arena(x), "%d\n", tag_of(x));
    exchange_respond(x, 200, "text/plain", span_cstr(text));
}

static bool pattern_is(struct span body)
{
    for (size_t i = 0; i < body.len; i++)
        if (body.ptr[i] != 'b')
            return false;
    return true;
}

static void collected(struct exchange *x, result r, struct span body)
{
    struct state *s = exchange_data(x);
    life_check(s->life, failed(r) || pattern_is(body), "a body of other bytes");
    s->asks[tag_of(x)].body_seen = body.len;
    end_with(x, r, body.len);
}

static void collect(struct exchange *x, void *arg)
{
    begin(x, arg);
    exchange_collect(x, UINT64_MAX, collected);
}

static void sipped(struct exchange *x, result r, struct span bytes, bool end)
{
    struct state *s = exchange_data(x);
    struct ask *ask = &s->asks[tag_of(x)];
    ask->body_seen += bytes.len;
    life_check(s->life, failed(r) || pattern_is(bytes), "a body of other bytes");
    if (failed(r) || end)
        end_with(x, r, ask->body_seen);
    else
        exchange_read(x, (struct span_mut){NULL, 0}, sipped);
}

static void sip(struct exchange *x, void *arg)
{
    begin(x, arg);
    exchange_read(x, (struct span_mut){NULL, 0}, sipped);
}

static void later_due(struct io_timer *timer)
{
    struct later *later = CONTAINER_OF(timer, struct later, timer);
    struct state *s = exchange_data(later->x);
    end_with(later->x, OK, s->asks[later->tag].body_len);
}

/* Ends itself when its client goes, else at its time. */
static void later_gone(struct exchange *x)
{
    struct state *s = exchange_data(x);
    s->asks[tag_of(x)].gone++;
}

static void answer_later(struct exchange *x, struct state *s, io_time delay)
{
    begin(x, s);
    struct later *later = ARENA_NEW(exchange_arena(x), struct later);
    *later = (struct later){.timer.fired = later_due, .x = x, .tag = tag_of(x)};
    exchange_on_gone(x, later_gone);
    timer_start(exchange_loop(x), &later->timer, loop_now(exchange_loop(x)) + delay);
}

/* The body, if any, is left to whoever wants it. */
static void later(struct exchange *x, void *arg)
{
    struct state *s = arg;
    answer_later(x, s, (io_time)life_draw(s->life, 300) * IO_MS);
}

static void long_after(struct exchange *x, void *arg)
{
    answer_later(x, arg, 10 * IO_SEC);
}

static void piece_written(struct exchange *x, result r)
{
    struct state *s = exchange_data(x);
    struct ask *ask = &s->asks[tag_of(x)];
    ask->nothing_at = 0;
    if (failed(r)) {
        ask->ended++;
        ask->x = NULL;
        exchange_reset(x, (enum err)r.code);
    } else if (ask->body_seen % 5 == 2 || ask->body_seen % 5 == 3) {
        ask->body_seen++;
        ask->nothing_at = sim_now(s->life->world);
        exchange_write(x, SPAN_NONE, piece_written);
    } else if (ask->body_seen++ < 9) {
        char *text = arena_printf(exchange_arena(x), "%d\n", tag_of(x));
        exchange_write(x, span_cstr(text), piece_written);
    } else {
        ask->ended++;
        ask->x = NULL;
        exchange_finish(x);
    }
}

static void pieces(struct exchange *x, void *arg)
{
    begin(x, arg);
    exchange_begin(x, 200, "text/plain", -1);
    piece_written(x, OK);
}

static void large(struct exchange *x, void *arg)
{
    static uint8_t bytes[200000];
    begin(x, arg);
    struct state *s = arg;
    struct ask *ask = &s->asks[tag_of(x)];
    ask->ended++;
    ask->x = NULL;
    exchange_respond(x, 200, "text/plain", span_of(bytes, sizeof(bytes)));
}

static const struct route routes[] = {
    {ROUTE_ANY, ROUTE_PREFIX, "/collect/", "collect", collect},
    {ROUTE_ANY, ROUTE_PREFIX, "/sip/", "sip", sip},
    {ROUTE_ANY, ROUTE_PREFIX, "/later/", "later", later},
    {ROUTE_ANY, ROUTE_PREFIX, "/long/", "long", long_after},
    {ROUTE_ANY, ROUTE_PREFIX, "/pieces/", "pieces", pieces},
    {ROUTE_ANY, ROUTE_PREFIX, "/large/", "large", large},
};

/* ---- reloads ---- */

static void draw_limits(struct state *s)
{
    s->config.connections_max = 2 + (int64_t)life_draw(s->life, 20);
    s->config.requests_max = 1 + (int64_t)life_draw(s->life, 12);
    s->config.request_bytes_max = 65536 * (1 + life_draw(s->life, 6));
    s->config.body_bytes_max = 1000 + life_draw(s->life, 100000);
    s->most.connections_max = MAX(s->most.connections_max, s->config.connections_max);
    s->most.requests_max = MAX(s->most.requests_max, s->config.requests_max);
    s->most.request_bytes_max = MAX(s->most.request_bytes_max, s->config.request_bytes_max);
    s->most.body_bytes_max = MAX(s->most.body_bytes_max, s->config.body_bytes_max);
}

/* Other limits for what comes from now on, or none if the plan is dropped. */
static void reload(struct state *s)
{
    struct server_config before = s->config;
    void *plan;
    draw_limits(s);
    result r = server_module.prepare(s->server, &before, &s->config, &plan, NULL);
    life_check(s->life, !failed(r), "%s", err_name((enum err)r.code));
    if (life_chance(s->life, 20)) {
        server_module.abort(s->server, plan);
        s->config = before;
        return;
    }
    server_module.commit(s->server, plan);
    bool soon = sim_now(s->life->world) < s->reloaded_at + RELOAD_TAKES;
    s->limit_before = soon ? MIN(s->limit_before, before.body_bytes_max) : before.body_bytes_max;
    s->reloaded_at = sim_now(s->life->world);
}

/* ---- callers ---- */

static const char *const paths[] = {"/collect/", "/collect/", "/sip/",   "/sip/",
                                    "/later/",   "/pieces/",  "/large/", "/long/"};

static struct loop *loop_of(struct caller *c)
{
    return process_loop(c->s->client, 0);
}

static void caller_connect(struct caller *c);

static void caller_closed(void *arg)
{
    struct caller *c = arg;
    struct state *s = c->s;
    c->stream = NULL;
    c->connected = c->closing = false;
    if (c->asked < ASKS_MAX && !s->drain_at && sim_now(s->life->world) < TALK &&
        life_chance(s->life, 80)) {
        caller_connect(c);
        return;
    }
    c->over = true;
    s->callers_over++;
}

static void hang_up(struct caller *c)
{
    if (c->closing)
        return;
    c->closing = true;
    timer_stop(loop_of(c), &c->timer);
    stream_close(c->stream, c->temper == RUDE ? STREAM_RESET : STREAM_CLOSE, caller_closed, c);
}

static void ask_more(struct caller *c);
static void write_more(struct caller *c);

/* The server has ended the connection: in good order, or a fault allows it. */
static void ended_by_server(struct caller *c, result r)
{
    struct state *s = c->s;
    const struct sim_faults *f = &s->faults;
    bool in_order = f->reset_permille == 0 && f->vanish_permille == 0 && f->accept_permille == 0 &&
                    !s->cuts && s->lost == 0 && !s->drain_at && !s->reloaded_at;
    struct server_counts counts;
    server_counts(s->server, &counts);
    if (in_order && c->temper == BRISK && counts.refused == 0 && !c->told_close && !c->surprises)
        life_check(s->life, c->tags_len == 0, "a brisk caller was left without %d answers: %s",
                   c->tags_len, err_name((enum err)r.code));
    hang_up(c);
}

static void answer_whole(struct caller *c)
{
    struct state *s = c->s;
    life_check(s->life, c->tags_len > 0, "an answer that nobody asked for: %d", c->status);
    if (c->status == 200 || c->tag_seen >= 0) /* what is no request to the parser has no id */
        life_check(s->life, c->tag_seen == c->tags[0], "the answer to %d came for %d", c->tag_seen,
                   c->tags[0]);
    if (c->status == 200)
        life_check(s->life, s->asks[c->tags[0]].begun == 1, "answered and not begun");
    memmove(c->tags, c->tags + 1, sizeof(c->tags) - sizeof(c->tags[0]));
    c->tags_len--;
    c->answered++;
    c->idle_at = loop_now(loop_of(c));
}

static void note_head(struct caller *c, const struct h1_head *head)
{
    c->status = head->status;
    c->told_close = !head->keep_alive;
    c->tag_seen = -1;
    for (size_t i = 0; i < head->headers_len; i++)
        if (span_eq_nocase(head->headers[i].name, SPAN("x-request-id")))
            c->tag_seen = number_in(head->headers[i].value);
}

static void parse(struct caller *c)
{
    struct h1_out out = {.headers = c->headers, .headers_max = ARRAY_LEN(c->headers)};
    struct span rest = text_span(&c->in);
    for (;;) {
        size_t used = 0;
        enum h1_event event = h1_read(&c->h1, rest, &used, &out);
        rest = span_from(rest, used);
        if (event == H1_MORE)
            break;
        life_check(c->s->life, event != H1_ERROR, "a broken answer: %s", out.reason);
        if (event == H1_HEAD)
            note_head(c, &out.head);
        if (event != H1_END)
            continue;
        answer_whole(c);
        h1_next(&c->h1);
        h1_expect(&c->h1, METHOD_POST);
    }
    size_t left = rest.len;
    if (left > 0)
        memmove(c->in.ptr, rest.ptr, left);
    c->in.len = left;
}

static void on_read(void *arg, struct stream *stream, result r, struct span bytes)
{
    struct caller *c = arg;
    if (c->closing)
        return;
    if (failed(r) || bytes.len == 0) {
        ended_by_server(c, r);
        return;
    }
    text_append(&c->in, bytes);
    parse(c);
    stream_read(stream, (struct span_mut){NULL, 0}, on_read, c);
    if (c->tags_len == 0 && !c->stuck && !c->told_close)
        ask_more(c);
}

static void on_written(void *arg, struct stream *stream, result r)
{
    struct caller *c = arg;
    c->writing = false;
    if (c->s->reloads && !c->s->drain_at && life_chance(c->s->life, 2))
        reload(c->s);
    if (!failed(r) && !c->closing)
        write_more(c);
}

/* Goes no further; the server has to end it. */
static void get_stuck(struct caller *c)
{
    c->stuck = true;
    c->stuck_at = loop_now(loop_of(c));
}

static void write_more(struct caller *c)
{
    struct state *s = c->s;
    size_t left = c->out.len - c->sent;
    if (c->writing || c->stuck || left == 0)
        return;
    if (c->temper == SILENT && life_chance(s->life, 15)) {
        get_stuck(c);
        return;
    }
    size_t len = c->temper == BRISK ? left : 1 + life_draw(s->life, left);
    struct span part = span_first(span_from(text_span(&c->out), c->sent), len);
    c->sent += len;
    c->writing = true;
    stream_write(c->stream, &part, 1, on_written, c);
}

static void write_ask(struct caller *c)
{
    struct state *s = c->s;
    int tag = s->tags++;
    uint64_t len = life_draw(s->life, 4) ? life_draw(s->life, 3000)
                                         : life_draw(s->life, s->config.body_bytes_max * 5 / 4);
    bool chunked = life_chance(s->life, 30);
    s->asks[tag].body_len = len;
    c->surprises |= chunked && len > MIN(s->config.body_bytes_max, (uint64_t)60000);
    c->tags[c->tags_len++] = tag;
    c->asked++;
    text_printf(&c->out, "POST %s%d HTTP/1.1\r\nHost: x\r\nX-Request-Id: %d\r\n",
                paths[life_draw(s->life, ARRAY_LEN(paths))], tag, tag);
    if (!chunked)
        text_printf(&c->out, "Content-Length: %llu\r\n\r\n", (unsigned long long)len);
    else
        text_printf(&c->out, "Transfer-Encoding: chunked\r\n\r\n");
    for (uint64_t done = 0; done < len;) {
        uint64_t part = chunked ? MIN(len - done, 1 + life_draw(s->life, len)) : len;
        if (chunked)
            text_printf(&c->out, "%llx\r\n", (unsigned long long)part);
        for (uint64_t i = 0; i < part; i++)
            text_append(&c->out, SPAN("b"));
        if (chunked)
            text_append(&c->out, SPAN("\r\n"));
        done += part;
    }
    if (chunked)
        text_append(&c->out, SPAN("0\r\n\r\n"));
}

static void ask_more(struct caller *c)
{
    struct state *s = c->s;
    if (c->writing) {
        get_stuck(c); /* answered before it had all been sent: it says no more */
        return;
    }
    if (c->asked + PIPELINE_MAX > ASKS_MAX || sim_now(s->life->world) > TALK ||
        life_chance(s->life, 10)) {
        if (c->temper == SILENT)
            get_stuck(c);
        else
            hang_up(c);
        return;
    }
    text_clear(&c->out);
    c->sent = 0;
    uint64_t count = 1 + life_draw(s->life, PIPELINE_MAX);
    for (uint64_t i = 0; i < count; i++)
        write_ask(c);
    write_more(c);
}

/* Now and then something else: a deaf one hears again, and a rude one goes. */
static void caller_due(struct io_timer *timer)
{
    struct caller *c = CONTAINER_OF(timer, struct caller, timer);
    struct state *s = c->s;
    timer_start(loop_of(c), timer, loop_now(loop_of(c)) + IO_SEC);
    if (c->temper == RUDE && life_chance(s->life, 30)) {
        hang_up(c);
    } else if (c->temper == DEAF && life_chance(s->life, 20)) {
        c->temper = SILENT;
        stream_read(c->stream, (struct span_mut){NULL, 0}, on_read, c);
    }
    if (sim_now(s->life->world) > 3 * TALK)
        hang_up(c); /* half open, and nobody tells */
}

static void on_connected(void *arg, struct stream *stream, result r)
{
    struct caller *c = arg;
    if (failed(r)) {
        hang_up(c);
        return;
    }
    c->connected = true;
    c->idle_at = loop_now(loop_of(c));
    if (c->temper != DEAF)
        stream_read(stream, (struct span_mut){NULL, 0}, on_read, c);
    c->timer.fired = caller_due;
    timer_start(loop_of(c), &c->timer, loop_now(loop_of(c)) + IO_SEC);
    ask_more(c);
}

static const struct io_address address = {.family = IO_INET, .port = 80, .ip = {127, 0, 0, 1}};

static void caller_connect(struct caller *c)
{
    text_clear(&c->in);
    text_clear(&c->out);
    c->sent = 0;
    c->tags_len = 0;
    c->stuck = c->writing = c->told_close = c->surprises = false;
    c->temper = (enum temper)life_draw(c->s->life, TEMPERS);
    h1_init(&c->h1, H1_CLIENT, &h1_limits_default);
    h1_expect(&c->h1, METHOD_POST);
    result r = stream_connect(loop_of(c), &address, on_connected, c, &c->stream);
    life_check(c->s->life, !failed(r), "%s", err_name((enum err)r.code));
}

/* ---- the world ---- */

static void check_time(struct state *s, struct caller *c)
{
    /* A client's silence ends by one of the time-outs; how a connection is over that has
     * vanished, or was cut, nobody can say. */
    if (!c->connected || !c->stuck || c->closing || c->temper == DEAF ||
        s->faults.vanish_permille || s->cuts)
        return;
    /* The idle time-out is the longest; answers that are late come first. */
    io_time limit = s->config.idle_timeout + 12 * IO_SEC + 2 * s->lost + SLACK;
    io_time since = MAX(c->stuck_at, c->idle_at);
    life_check(s->life, sim_now(s->life->world) <= since + limit,
               "a silent caller was heard for %.3f s",
               (double)(sim_now(s->life->world) - since) / 1e9);
}

static void check(struct life *life)
{
    struct state *s = life->state;
    struct server_counts counts;
    if (!s->server)
        return;
    server_counts(s->server, &counts);
    life_check(life, counts.connections <= (uint64_t)s->most.connections_max, "%llu connections",
               (unsigned long long)counts.connections);
    life_check(life, counts.requests <= (uint64_t)s->most.requests_max, "%llu requests",
               (unsigned long long)counts.requests);
    life_check(life, counts.request_bytes <= s->most.request_bytes_max, "%llu bytes",
               (unsigned long long)counts.request_bytes);
    uint64_t open = 0;
    for (int i = 0; i < s->tags; i++) {
        const struct ask *ask = &s->asks[i];
        life_check(life, ask->begun <= 1 && ask->ended <= ask->begun && ask->gone <= 1,
                   "request %d was begun %d times, ended %d times, gone %d times", i, ask->begun,
                   ask->ended, ask->gone);
        life_check(life, ask->body_seen <= s->most.body_bytes_max, "%llu body bytes",
                   (unsigned long long)ask->body_seen);
        if (ask->nothing_at && s->lost == 0)
            life_check(life, sim_now(life->world) <= ask->nothing_at + 2 * IO_MS,
                       "request %d does not hear that it wrote nothing", i);
        open += (uint64_t)(ask->begun - ask->ended);
    }
    life_check(life, open <= counts.requests, "%llu handlers for %llu requests",
               (unsigned long long)open, (unsigned long long)counts.requests);
    for (int i = 0; i < s->callers_len; i++)
        check_time(s, &s->callers[i]);
    if (s->drain_at && !s->drained && !s->cuts)
        life_check(life, sim_now(life->world) <= s->drain_deadline + SLACK + s->lost,
                   "the drain goes on");
}

static bool callers_over(struct life *life)
{
    struct state *s = life->state;
    return s->callers_over == s->callers_len;
}

static bool nothing_left(struct life *life)
{
    struct state *s = life->state;
    struct server_counts counts;
    struct slab_stats slab;
    server_counts(s->server, &counts);
    slab_stats(s->slab, &slab);
    return counts.connections + counts.requests + counts.request_bytes + slab.bytes_now == 0;
}

static bool drained_and_left(struct life *life)
{
    return ((struct state *)life->state)->drained > 0 && nothing_left(life);
}

static void drained(void *arg, uint64_t cut)
{
    struct state *s = arg;
    s->drained++;
    uint64_t open = 0;
    for (int i = 0; i < s->tags; i++)
        open += (uint64_t)(s->asks[i].begun - s->asks[i].ended);
    life_check(s->life, open <= cut, "%llu are open, %llu were cut", (unsigned long long)open,
               (unsigned long long)cut);
}

/* Faults that last: pauses, cuts, jumps of the clock. */
static void disturb(struct state *s)
{
    struct life *life = s->life;
    io_time for_a_while = (io_time)(1 + life_draw(life, 1500)) * IO_MS;
    switch (life_draw(life, 5)) {
    case 0:
        sim_pause(s->server_process, sim_now(life->world) + for_a_while);
        s->lost += for_a_while;
        break;
    case 1:
        sim_wall_jump(s->server_process, (io_time)life_draw(life, 7200) * IO_SEC - 3600 * IO_SEC);
        break;
    case 2:
        s->cuts = true;
        s->lost += for_a_while;
        if (life_chance(life, 70))
            sim_cut(life->world, "server", "client", true);
        if (life_chance(life, 70))
            sim_cut(life->world, "client", "server", true);
        sim_run_until(life->world, sim_now(life->world) + for_a_while);
        sim_cut(life->world, "server", "client", false);
        sim_cut(life->world, "client", "server", false);
        break;
    default:
        reload(s);
        break;
    }
}

static void make(struct state *s)
{
    struct life *life = s->life;
    int loops = 1 + (int)life_draw(life, 3);
    s->server_process = sim_process_new(life->world, "server", loops);
    s->client = sim_process_new(life->world, "client", 1);
    s->config = (struct server_config){
        .head_bytes_max = 4096,
        .headers_max = 20,
        .head_timeout = IO_SEC,
        .body_timeout = 2 * IO_SEC,
        .idle_timeout = 3 * IO_SEC,
        .half_close = life_chance(life, 30),
    };
    draw_limits(s);
    s->table = (struct route_table){.routes = routes, .len = ARRAY_LEN(routes), .arg = s};
    struct metrics_options metrics = {.loops = loops};
    assert_int_equal(metrics_new(s->server_process, &metrics, &s->metrics, NULL).code, ERR_NONE);
    assert_int_equal(metrics_define(s->metrics, server_metrics, server_metrics_len, NULL).code,
                     ERR_NONE);
    s->slab = slab_host_new(64 << 20, 0);
    struct server_options options = {
        .name = "world",
        .process = s->server_process,
        .metrics = s->metrics,
        .slab = s->slab,
        .config = &s->config,
        .routes = &s->table,
        .routes_len = 1,
    };
    assert_int_equal(server_new(&options, &s->server, NULL).code, ERR_NONE);
    assert_int_equal(server_listen(s->server, &address, NULL, NULL).code, ERR_NONE);
}

static void drain(struct state *s)
{
    struct life *life = s->life;
    s->drain_at = sim_now(life->world);
    s->drain_deadline = s->drain_at + (io_time)life_draw(life, 8000) * IO_MS;
    server_drain(s->server, s->drain_deadline, drained, s);
}

static void play(struct life *life)
{
    struct state *s = life->state;
    s->life = life;
    s->faults = sim_faults_draw(life->world);
    make(s);
    s->reloads = life_chance(life, 30);
    s->callers_len = 1 + (int)life_draw(life, CALLERS_MAX);
    for (int i = 0; i < s->callers_len; i++) {
        struct caller *c = &s->callers[i];
        c->s = s;
        text_init(&c->in, 1 << 20);
        text_init(&c->out, 4 << 20);
        caller_connect(c);
    }
    bool disturbed = life_chance(life, 40), early = life_chance(life, 30);
    for (int i = 0; i < 5 && disturbed && !callers_over(life); i++) {
        sim_run_until(life->world, sim_now(life->world) + (io_time)life_draw(life, 3000) * IO_MS);
        disturb(s);
    }
    if (early) {
        sim_run_until(life->world, sim_now(life->world) + (io_time)life_draw(life, 3000) * IO_MS);
        drain(s);
    }
    life_run(life, callers_over);
    if (!early) {
        life_run(life, nothing_left);
        drain(s);
    }
    life_run(life, drained_and_left);
    sim_run_until(life->world, sim_now(life->world) + IO_SEC);
    life_check(life, s->drained == 1, "drained %d times", s->drained);
    for (int i = 0; i < s->tags; i++)
        life_check(life, s->asks[i].begun == s->asks[i].ended, "request %d never ended", i);
    process_stop(s->server_process);
    server_free(steal(&s->server));
    metrics_free(s->metrics);
    slab_free(s->slab);
    process_free(s->server_process);
    process_free(s->client);
    for (int i = 0; i < s->callers_len; i++) {
        text_release(&s->callers[i].in);
        text_release(&s->callers[i].out);
    }
}

static void a_server_keeps_its_promises_under_all_faults(void **state)
{
    world_play(&(struct world_test){
        .seeds = 300,
        .limit = 300 * IO_SEC,
        .size = sizeof(struct state),
        .play = play,
        .check = check,
    });
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        world_unit_test(a_server_keeps_its_promises_under_all_faults),
    };
    return world_run_tests(argc, argv, tests);
}
