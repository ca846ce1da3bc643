/* A client and a server that answers as servers do and as they should not: each request has
 * one outcome, by its deadline, and an answer that comes is its own. */
#include "net/client.h"

#include "base/alloc.h"
#include "io/sim/test_world.h"
#include "wire/http1.h"

#include <stdio.h>

#define USERS_MAX 8
#define PEERS_MAX 400
#define ASKS 15
#define BYTES_MAX 20000
#define TOLERANCE (2 * IO_MS)

struct state;

struct user {
    struct state *s;
    struct client *client;
    struct io_timer timer;
    int left, tag;
    bool pending, connecting, over;
    io_time deadline;
    uint8_t *body;
    size_t body_len, body_cap;
};

enum manner {
    GOOD,
    CHUNKED,
    TILL_CLOSE,
    IN_PIECES,
    EARLY,
    INTERIM,
    GOOD_MANNERS = INTERIM,
    GARBAGE,
    TOO_LONG,
    SILENT,
    CUT_SHORT,
    UNASKED,
    MANNERS
};

/* The server's end of a connection. */
struct peer {
    struct state *s;
    struct stream *stream;
    struct h1 h1;
    struct h1_limits limits;
    struct h1_header headers[32];
    struct text in, out;
    size_t sent;
    enum manner manner;
    int tag;
    bool writing, closing, last;
};

struct state {
    struct life *life;
    struct process *server, *client;
    struct listener *listener;
    struct user users[USERS_MAX];
    struct peer peers[PEERS_MAX];
    enum manner manners[USERS_MAX * ASKS];
    int users_len, users_over, peers_len, tags, answered;
};

static const struct io_address address = {.family = IO_INET, .port = 80, .ip = {127, 0, 0, 1}};

/* ---- the server ---- */

static void peer_closed(void *arg)
{
    struct peer *peer = arg;
    peer->stream = NULL;
    text_release(&peer->in);
    text_release(&peer->out);
}

static void peer_close(struct peer *peer, enum stream_close_how how)
{
    if (peer->closing)
        return;
    peer->closing = true;
    stream_close(peer->stream, how, peer_closed, peer);
}

static void peer_write(struct peer *peer);

static void peer_written(void *arg, struct stream *stream, result r)
{
    struct peer *peer = arg;
    peer->writing = false;
    if (failed(r))
        peer_close(peer, STREAM_CLOSE);
    else
        peer_write(peer);
}

static void peer_write(struct peer *peer)
{
    size_t left = peer->out.len - peer->sent;
    if (peer->writing || peer->closing)
        return;
    if (left == 0) {
        text_clear(&peer->out);
        peer->sent = 0;
        if (peer->last)
            peer_close(peer, STREAM_CLOSE);
        return;
    }
    size_t len = peer->manner == IN_PIECES ? 1 + life_draw(peer->s->life, left) : left;
    struct span part = span_first(span_from(text_span(&peer->out), peer->sent), len);
    peer->sent += len;
    peer->writing = true;
    stream_write(peer->stream, &part, 1, peer_written, peer);
}

/* "17 17 17 ...": so that it cannot be taken for another's, nor for a part of its own. */
static void body_of(int tag, struct text *text)
{
    for (int i = 0; i <= tag % 200 * 10; i++)
        text_printf(text, "%d ", tag);
    text_str(text, "end");
}

static void answer_chunked(struct peer *peer, struct span body)
{
    text_str(&peer->out, "Transfer-Encoding: chunked\r\n\r\n");
    while (body.len > 0) {
        struct span part = span_first(body, 1 + life_draw(peer->s->life, body.len));
        text_printf(&peer->out, "%zx\r\n%.*s\r\n", part.len, SPAN_FMT(part));
        body = span_from(body, part.len);
    }
    text_str(&peer->out, "0\r\n\r\n");
}

static void answer(struct peer *peer)
{
    struct text body;
    text_init(&body, 1 << 16);
    body_of(peer->tag, &body);
    struct span span = text_span(&body);
    if (peer->manner == INTERIM)
        text_str(&peer->out, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n");
    if (peer->manner == GARBAGE)
        text_str(&peer->out, "SSH-2.0-weir\r\n\r\n");
    else if (peer->manner != SILENT)
        text_str(&peer->out, "HTTP/1.1 200 OK\r\n");
    switch (peer->manner) {
    case SILENT:
    case GARBAGE:
        break;
    case CHUNKED:
        answer_chunked(peer, span);
        break;
    case TILL_CLOSE:
        text_printf(&peer->out, "\r\n%.*s", SPAN_FMT(span));
        peer->last = true;
        break;
    case TOO_LONG:
        text_printf(&peer->out, "Content-Length: %d\r\n\r\n", BYTES_MAX + 1);
        for (int i = 0; i <= BYTES_MAX; i++)
            text_str(&peer->out, "x");
        break;
    case CUT_SHORT:
        text_printf(&peer->out, "Content-Length: %zu\r\n\r\n%.*s", span.len + 1, SPAN_FMT(span));
        peer->last = true;
        break;
    default:
        text_printf(&peer->out, "Content-Length: %zu\r\n\r\n%.*s", span.len, SPAN_FMT(span));
        break;
    }
    if (peer->manner == UNASKED)
        text_str(&peer->out, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsurprise!");
    text_release(&body);
    peer_write(peer);
}

static void peer_head(struct peer *peer, struct span path)
{
    struct state *s = peer->s;
    peer->tag = 0;
    for (size_t i = 1; i < path.len; i++)
        peer->tag = peer->tag * 10 + (path.ptr[i] - '0');
    peer->manner = life_chance(s->life, 70) ? (enum manner)life_draw(s->life, GOOD_MANNERS + 1)
                                            : (enum manner)life_draw(s->life, MANNERS);
    s->manners[peer->tag] = peer->manner;
    if (peer->manner == EARLY)
        answer(peer);
}

static void peer_read(void *arg, struct stream *stream, result r, struct span bytes)
{
    struct peer *peer = arg;
    if (peer->closing)
        return;
    if (failed(r) || bytes.len == 0) {
        peer_close(peer, STREAM_CLOSE);
        return;
    }
    text_append(&peer->in, bytes);
    struct h1_out out = {.headers = peer->headers, .headers_max = ARRAY_LEN(peer->headers)};
    struct span rest = text_span(&peer->in);
    for (;;) {
        size_t used = 0;
        enum h1_event event = h1_read(&peer->h1, rest, &used, &out);
        rest = span_from(rest, used);
        life_check(peer->s->life, event != H1_ERROR, "a broken request: %s", out.reason);
        if (event == H1_MORE)
            break;
        if (event == H1_HEAD)
            peer_head(peer, out.head.path);
        for (size_t i = 0; event == H1_BODY && i < out.body.len; i++)
            life_check(peer->s->life, out.body.ptr[i] == 0, "a body whose memory was given back");
        if (event == H1_END && peer->manner != EARLY)
            answer(peer);
        if (event == H1_END)
            h1_next(&peer->h1);
    }
    if (peer->closing)
        return;
    if (rest.len > 0)
        memmove(peer->in.ptr, rest.ptr, rest.len);
    peer->in.len = rest.len;
    stream_read(stream, (struct span_mut){NULL, 0}, peer_read, peer);
}

static void accepted(void *arg, struct listener *listener, struct io_detached detached)
{
    struct state *s = arg;
    if (s->peers_len == PEERS_MAX) {
        detached_close(s->server, detached);
        return;
    }
    struct peer *peer = &s->peers[s->peers_len++];
    peer->s = s;
    text_init(&peer->in, 1 << 20);
    text_init(&peer->out, 1 << 20);
    peer->limits = h1_limits_default;
    h1_init(&peer->h1, H1_SERVER, &peer->limits);
    ignore(stream_adopt(process_loop(s->server, 0), detached, &peer->stream)); /* cannot fail */
    stream_read(peer->stream, (struct span_mut){NULL, 0}, peer_read, peer);
}

/* ---- its users ---- */

static void user_go_on(struct user *user);

static struct loop *loop_of(struct user *user)
{
    return process_loop(user->s->client, (int)(user - user->s->users) % 2);
}

static void user_give_up(struct user *user)
{
    client_close(steal(&user->client));
    user->pending = user->connecting = false;
}

static void check_answer(struct user *user, const struct client_response *response)
{
    struct state *s = user->s;
    struct text body;
    text_init(&body, 1 << 16);
    body_of(user->tag, &body);
    enum manner manner = s->manners[user->tag];
    life_check(s->life, manner <= GOOD_MANNERS || manner == UNASKED, "taken, of manner %d", manner);
    life_check(s->life, response->status == 200 && span_eq(response->body, text_span(&body)),
               "%d is answered by %.*s", user->tag, (int)MIN(response->body.len, (size_t)20),
               (const char *)response->body.ptr);
    text_release(&body);
    s->answered++;
}

/* Whoever looked at it now would see that it is no more. */
static void body_free(struct user *user)
{
    if (user->body)
        memset(user->body, 'x', user->body_cap);
    mem_free(steal(&user->body));
}

static void on_response(void *arg, struct client *client, result r,
                        const struct client_response *response)
{
    struct user *user = arg;
    struct state *s = user->s;
    life_check(s->life, user->client == client && user->pending, "told twice, or after the end");
    user->pending = false;
    body_free(user);
    if (is(r, ERR_DEADLINE))
        life_check(s->life, loop_now(loop_of(user)) >= user->deadline, "too early");
    if (!failed(r))
        check_answer(user, response);
    if (failed(r) || !response->keep_alive)
        user_give_up(user);
    user_go_on(user);
}

static void user_send(struct user *user)
{
    struct state *s = user->s;
    char target[20];
    user->tag = s->tags++;
    user->left--;
    user->body_len = life_draw(s->life, 3) ? life_draw(s->life, 100) : life_draw(s->life, 300000);
    body_free(user);
    user->body = mem_zalloc(1, user->body_len + 1);
    user->body_cap = user->body_len;
    user->deadline = loop_now(loop_of(user)) + (io_time)(1 + life_draw(s->life, 3000)) * IO_MS;
    if (life_chance(s->life, 20)) { /* its own patience instead */
        timer_start(loop_of(user), &user->timer, user->deadline);
        user->deadline = TIME_NEVER;
    }
    struct client_request request = {
        .method = METHOD_POST,
        .target = span_of(target, (size_t)snprintf(target, sizeof(target), "/%d", user->tag)),
        .body = span_of(user->body, user->body_len),
        .bytes_max = BYTES_MAX,
        .deadline = user->deadline,
    };
    user->pending = true;
    result r = client_send(user->client, &request, on_response, user);
    if (!failed(r))
        return;
    /* The connection has ended meanwhile, or the last request is still being written. */
    life_check(s->life, is(r, ERR_CLOSED) || is(r, ERR_PRECONDITION), "%s",
               err_name((enum err)r.code));
    user_give_up(user);
    user_go_on(user);
}

static void on_connected(void *arg, struct client *client, result r)
{
    struct user *user = arg;
    life_check(user->s->life, user->connecting && user->client == client, "connected twice");
    user->connecting = false;
    if (failed(r)) {
        user->left--;
        user_give_up(user);
        user_go_on(user);
    } else {
        user_send(user);
    }
}

/* Later: also from inside of a callback of the client that was just closed. */
static void user_go_on(struct user *user)
{
    io_time pause = (io_time)life_draw(user->s->life, 50) * IO_MS;
    timer_start(loop_of(user), &user->timer, loop_now(loop_of(user)) + pause);
}

static void user_due(struct io_timer *timer)
{
    struct user *user = CONTAINER_OF(timer, struct user, timer);
    struct state *s = user->s;
    if (user->pending)
        user_give_up(user);
    if (user->left <= 0) {
        user_give_up(user);
        user->over = true;
        s->users_over++;
    } else if (user->client) {
        user_send(user);
    } else {
        user->connecting = true;
        result r = client_connect(loop_of(user), &address, on_connected, user, &user->client);
        life_check(s->life, !failed(r), "%s", err_name((enum err)r.code));
    }
}

/* ---- the world ---- */

static void check(struct life *life)
{
    struct state *s = life->state;
    for (int i = 0; i < s->users_len; i++) {
        const struct user *user = &s->users[i];
        if (user->pending && user->deadline != TIME_NEVER)
            life_check(life, sim_now(life->world) <= user->deadline + TOLERANCE,
                       "request %d has no outcome by its deadline", user->tag);
    }
}

static bool over(struct life *life)
{
    struct state *s = life->state;
    /* A caller whose patience ends before the deadline, now and then. */
    struct user *user = &s->users[life_draw(life, (uint64_t)s->users_len)];
    if (user->client && (user->pending || user->connecting) && life_draw(life, 3000) == 0) {
        user->left -= user->connecting;
        user_give_up(user);
        user_go_on(user);
    }
    return s->users_over == s->users_len;
}

static void play(struct life *life)
{
    struct state *s = life->state;
    s->life = life;
    sim_faults_draw(life->world);
    s->server = sim_process_new(life->world, "server", 1);
    s->client = sim_process_new(life->world, "client", 2);
    result r =
        listener_open(process_loop(s->server, 0), &address, NULL, accepted, s, &s->listener, NULL);
    assert_int_equal(r.code, ERR_NONE);
    s->users_len = 1 + (int)life_draw(life, USERS_MAX);
    for (int i = 0; i < s->users_len; i++) {
        s->users[i] = (struct user){.s = s, .left = ASKS, .timer.fired = user_due};
        user_go_on(&s->users[i]);
    }
    for (int i = 0; i < 3 && life_chance(life, 40); i++) {
        io_time long_as = (io_time)life_draw(life, 4000) * IO_MS;
        sim_run_until(life->world, sim_now(life->world) + long_as);
        sim_cut(life->world, life_chance(life, 50) ? "server" : "client",
                life_chance(life, 50) ? "server" : "client", true);
        sim_pause(s->server, sim_now(life->world) + long_as / 2);
        sim_run_until(life->world, sim_now(life->world) + long_as);
        sim_cut(life->world, "server", "client", false);
        sim_cut(life->world, "client", "server", false);
        sim_cut(life->world, "client", "client", false);
        sim_cut(life->world, "server", "server", false);
    }
    life_run(life, over);
    sim_run_until(life->world, sim_now(life->world) + IO_SEC);
    listener_close(s->listener);
    for (int i = 0; i < s->peers_len; i++)
        if (s->peers[i].stream)
            peer_close(&s->peers[i], STREAM_CLOSE);
    sim_run_until(life->world, sim_now(life->world) + IO_SEC);
    for (int i = 0; i < s->users_len; i++)
        body_free(&s->users[i]);
    process_free(s->server);
    process_free(s->client);
}

static void a_request_has_one_outcome_in_time_and_its_own_answer(void **state)
{
    world_play(&(struct world_test){
        .seeds = 200,
        .limit = 900 * IO_SEC,
        .size = sizeof(struct state),
        .play = play,
        .check = check,
    });
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        world_unit_test(a_request_has_one_outcome_in_time_and_its_own_answer),
    };
    return world_run_tests(argc, argv, tests);
}
