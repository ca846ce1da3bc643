/* The client against a peer that says what each case wants it to. */
#include "net/client.h"

#include "base/alloc.h"
#include "net/test_fixture.h"

#include <stdio.h>

struct answer_case {
    const char *name;
    const char *says; /* when the request's head has come */
    bool closes;      /* then */
    enum err code;
    int status;
    const char *body;
    bool keep_alive;
    enum http_method method;
    uint64_t bytes_max; /* 0: plenty */
    size_t sends;       /* bytes of the request's body */
    enum err or_code;   /* will do as well */
    bool either;        /* keep-alive or not: what spoils it may come later */
};

static const struct answer_case cases[] = {
    {"a length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", false, ERR_NONE, 200, "ab",
     true},
    {"no body", "HTTP/1.1 204 No Content\r\n\r\n", false, ERR_NONE, 204, "", true},
    {"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n",
     false, ERR_NONE, 200, "ab", true},
    {"until the end", "HTTP/1.1 200 OK\r\n\r\nab", true, ERR_NONE, 200, "ab", false},
    {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", false, ERR_NONE, 200, "", true,
     METHOD_HEAD},
    {"an interim answer",
     "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 1\r\n\r\nx", false, ERR_NONE,
     404, "x", true, METHOD_POST},
    {"the peer's wish to close",
     "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", true, ERR_NONE, 200, "",
     false},
    {"more than was asked for", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n",
     false, ERR_NONE, 200, "", false, .either = true},
    {"a short body", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", true, ERR_CLOSED},
    {"a short head", "HTTP/1.1 200 OK\r\nContent-", true, ERR_CLOSED},
    {"nothing", "", true, ERR_CLOSED},
    {"no answer in time", "", false, ERR_DEADLINE},
    {"half an answer in time", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", false,
     ERR_DEADLINE},
    {"no HTTP", "SSH-2.0-OpenSSH\r\n", false, ERR_SYNTAX},
    {"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", false,
     ERR_SYNTAX},
    {"a body above its limit", "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n01234567890", false,
     ERR_TOO_LARGE, .bytes_max = 10},
    {"a body at its limit", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789", false,
     ERR_NONE, 200, "0123456789", true, .bytes_max = 10},
    {"an answer before the request is written", "HTTP/1.1 429 No\r\nContent-Length: 1\r\n\r\nx",
     false, ERR_NONE, 429, "x", false, METHOD_POST, .sends = TEST_PATTERN_MAX},
    {"an end before the request is written", "", true, ERR_RESET, .method = METHOD_POST,
     .sends = TEST_PATTERN_MAX, .or_code = ERR_CLOSED},
};

/* One case: a client, its request, and the peer. */
struct talk {
    struct fx *fx;
    const struct answer_case *with;
    struct listener *listener;
    struct client *client;
    struct client_request request;
    struct stream *peer;
    struct span says;
    size_t seen; /* of the end of a head */
    int answers;
    bool said;
    uint8_t *body; /* the request's, freed with the answer */
};

static void peer_gone(void *arg)
{
    struct talk *talk = arg;
    struct fx *fx = talk->fx;
    mem_free(talk);
    fx_client_done(fx);
}

static void peer_close(struct talk *talk)
{
    if (talk->peer)
        stream_close(steal(&talk->peer), STREAM_CLOSE, NULL, NULL);
}

static void peer_wrote(void *arg, struct stream *stream, result r)
{
    struct talk *talk = arg;
    if (talk->peer && talk->with->closes)
        peer_close(talk);
}

/* Reads no more once a head has come, so that a long request stays unwritten. */
static void peer_read(void *arg, struct stream *stream, result r, struct span bytes)
{
    struct talk *talk = arg;
    if (!talk->peer || failed(r) || !bytes.len)
        return;
    for (size_t i = 0; i < bytes.len && talk->seen < 4; i++)
        talk->seen = bytes.ptr[i] == (uint8_t) "\r\n\r\n"[talk->seen] ? talk->seen + 1
                                                                      : bytes.ptr[i] == '\r';
    if (talk->seen == 4)
        stream_write(stream, &talk->says, 1, peer_wrote, talk);
    else
        stream_read(stream, (struct span_mut){NULL, 0}, peer_read, talk);
}

static void accepted(void *arg, struct listener *listener, struct io_detached detached)
{
    struct talk *talk = arg;
    if (failed(stream_adopt(process_loop(talk->fx->process, 0), detached, &talk->peer)))
        fx_fail(talk->fx, "cannot adopt");
    else
        stream_read(talk->peer, (struct span_mut){NULL, 0}, peer_read, talk);
}

static void talk_end(struct talk *talk)
{
    client_close(talk->client);
    listener_close(talk->listener);
    mem_free(steal(&talk->body));
    if (talk->peer)
        stream_close(steal(&talk->peer), STREAM_CLOSE, peer_gone, talk);
    else
        peer_gone(talk);
}

static void check(struct talk *talk, result r, const struct client_response *response)
{
    const struct answer_case *with = talk->with;
    if (r.code != with->code && (!with->or_code || r.code != with->or_code))
        fx_fail(talk->fx, "%s: expected %s, got %s", with->name, err_name(with->code),
                err_name((enum err)r.code));
    else if (failed(r) != !response)
        fx_fail(talk->fx, "%s: a response with a failure, or neither", with->name);
    else if (response && (response->status != with->status || !span_is(response->body, with->body)))
        fx_fail(talk->fx, "%s: got %d, \"%.*s\"", with->name, response->status,
                SPAN_FMT(response->body));
    else if (response && response->keep_alive != with->keep_alive && !with->either)
        fx_fail(talk->fx, "%s: keep-alive is %d", with->name, response->keep_alive);
}

/* Asks again: that works where the connection goes on, and then nothing may come of it, as
 * the client is closed at once. */
static void answered(void *arg, struct client *client, result r,
                     const struct client_response *response)
{
    struct talk *talk = arg;
    bool may = response && response->keep_alive;
    check(talk, r, response);
    if (++talk->answers > 1)
        fx_fail(talk->fx, "%s: a second answer", talk->with->name);
    result again = client_send(client, &talk->request, answered, talk);
    if (!is(again, may ? ERR_NONE : ERR_CLOSED))
        fx_fail(talk->fx, "%s: a second request gives %s", talk->with->name,
                err_name((enum err)again.code));
    talk_end(talk);
}

static void connected(void *arg, struct client *client, result r)
{
    struct talk *talk = arg;
    if (failed(r))
        fx_fail(talk->fx, "cannot connect");
    r = client_send(client, &talk->request, answered, talk);
    if (failed(r))
        fx_fail(talk->fx, "cannot send: %s", err_name((enum err)r.code));
    if (!is(client_send(client, &talk->request, answered, talk), ERR_PRECONDITION))
        fx_fail(talk->fx, "a second request beside the first");
}

static void talk_start(struct fx *fx, const struct answer_case *with)
{
    struct loop *loop = process_loop(fx->process, 0);
    struct talk *talk = mem_must(MEM_NEW(struct talk), sizeof(*talk));
    struct io_address address;
    talk->fx = fx;
    talk->with = with;
    talk->says = span_cstr(with->says);
    talk->body = mem_must(mem_alloc(with->sends), with->sends);
    memset(talk->body, 'x', with->sends);
    talk->request = (struct client_request){
        .method = with->method,
        .target = SPAN("/"),
        .body = span_of(talk->body, with->sends),
        .bytes_max = with->bytes_max ? with->bytes_max : 1000,
        .deadline = process_clock(fx->process) + 200 * IO_MS,
    };
    fx->running++;
    assert_int_equal(io_address_parse(SPAN("127.0.0.1:0"), &address, NULL).code, ERR_NONE);
    assert_int_equal(
        listener_open(loop, &address, NULL, accepted, talk, &talk->listener, NULL).code, ERR_NONE);
    listener_address(talk->listener, &address);
    assert_int_equal(client_connect(loop, &address, connected, talk, &talk->client).code, ERR_NONE);
}

static void run_cases(const struct fx_options *options)
{
    struct fx fx;
    fx_init(&fx, options);
    fx_serve(&fx);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        talk_start(&fx, &cases[i]);
    fx_run(&fx);
    fx_release(&fx);
}

static void a_request_ends_as_its_answer_says(void **state)
{
    run_cases(&(struct fx_options){0});
}

static void a_request_ends_alike_on_the_simulator(void **state)
{
    for (uint64_t seed = 0; seed < 20; seed++)
        run_cases(&(struct fx_options){.sim = true, .faults = seed > 0, .seed = seed});
}

/* ---- before there is a connection ---- */

static void not_connected(void *arg, struct client *client, result r)
{
    struct fx *fx = arg;
    if (!is(r, ERR_REFUSED))
        fx_fail(fx, "expected REFUSED, got %s", err_name((enum err)r.code));
    client_close(client);
    fx_client_done(fx);
}

static void a_connection_refused_is_told(void **state)
{
    for (int sim = 0; sim < 2; sim++) {
        struct fx fx;
        struct client *client;
        fx_init(&fx, &(struct fx_options){.sim = sim});
        fx_serve(&fx);
        struct io_address nobody = fx.address;
        nobody.port = 1;
        fx.running++;
        assert_int_equal(
            client_connect(process_loop(fx.process, 0), &nobody, not_connected, &fx, &client).code,
            ERR_NONE);
        fx_run(&fx);
        fx_release(&fx);
    }
}

static void never_called(void *arg, struct client *client, result r)
{
    fx_fail(arg, "a callback after client_close");
}

static void nothing_comes_after_a_close(void **state)
{
    for (int sim = 0; sim < 2; sim++) {
        struct fx fx;
        struct client *client;
        fx_init(&fx, &(struct fx_options){.sim = sim});
        fx_serve(&fx);
        assert_int_equal(
            client_connect(process_loop(fx.process, 0), &fx.address, never_called, &fx, &client)
                .code,
            ERR_NONE);
        client_close(client);
        client_close(NULL);
        fx_script(&fx, WAIT(20 * IO_MS));
        fx_run(&fx);
        fx_release(&fx);
    }
}

static void bad_target(void *arg, struct client *client, result r)
{
    struct fx *fx = arg;
    struct client_request request = {.target = SPAN("/a b"), .deadline = TIME_NEVER};
    if (!is(client_send(client, &request, NULL, NULL), ERR_SYNTAX))
        fx_fail(fx, "a target with a space");
    struct http_header evil = {SPAN("X"), SPAN("a\r\nY: b")};
    request = (struct client_request){.target = SPAN("/"), .headers = &evil, .headers_len = 1};
    if (!is(client_send(client, &request, NULL, NULL), ERR_SYNTAX))
        fx_fail(fx, "a value with a line end");
    client_close(client);
    fx_client_done(fx);
}

static void what_cannot_be_written_is_refused_and_nothing_is_sent(void **state)
{
    struct fx fx;
    struct client *client;
    fx_init(&fx, &(struct fx_options){.sim = true});
    fx_serve(&fx);
    fx.running++;
    assert_int_equal(
        client_connect(process_loop(fx.process, 0), &fx.address, bad_target, &fx, &client).code,
        ERR_NONE);
    fx_run(&fx);
    assert_int_equal(quota_now(&fx.started), 0);
    fx_release(&fx);
}

/* ---- TLS ---- */

static void secure_answered(void *arg, struct client *client, result r,
                            const struct client_response *response)
{
    struct fx *fx = arg;
    if (failed(r) || response->status != 200 || !span_is(response->body, "fixed\n"))
        fx_fail(fx, "expected the fixed answer, got %s", err_name((enum err)r.code));
    if (fx->countdown++ == 1) { /* twice over one connection */
        client_close(client);
        fx_client_done(fx);
        return;
    }
    struct client_request request = {
        .target = SPAN("/fixed"), .bytes_max = 100, .deadline = TIME_NEVER};
    if (failed(client_send(client, &request, secure_answered, fx)))
        fx_fail(fx, "cannot send");
}

static void secure_connected(void *arg, struct client *client, result r)
{
    struct fx *fx = arg;
    struct client_request request = {
        .target = SPAN("/fixed"), .bytes_max = 100, .deadline = TIME_NEVER};
    if (failed(r) || failed(client_send(client, &request, secure_answered, fx)))
        fx_fail(fx, "cannot connect: %s", err_name((enum err)r.code));
}

static void not_trusted(void *arg, struct client *client, result r)
{
    struct fx *fx = arg;
    if (!is(r, ERR_PERMISSION))
        fx_fail(fx, "expected PERMISSION, got %s", err_name((enum err)r.code));
    client_close(client);
    fx_client_done(fx);
}

/* A client made as the pool makes its own: a stream, TLS over it, a client over that. */
struct secure_dial {
    struct fx *fx;
    const char *name;
    client_connect_fn fn;
    struct stream *stream;
};

static void secured(void *arg, struct stream *stream, result r)
{
    struct secure_dial *dial = arg;
    struct client *client = NULL;
    if (!failed(r))
        r = client_adopt(stream, &client);
    if (failed(r))
        stream_close(stream, STREAM_CLOSE, NULL, NULL);
    dial->fn(dial->fx, client, r);
}

static void dialed(void *arg, struct stream *stream, result r)
{
    struct secure_dial *dial = arg;
    bool closed = dial->fn == never_called; /* before it had connected: io.h, I3 */
    assert_int_equal(r.code, closed ? ERR_CANCELLED : ERR_NONE);
    if (closed)
        return;
    r = tls_connect(dial->fx->client_tls, stream, dial->name, TIME_NEVER, secured, dial,
                    &dial->stream);
    assert_int_equal(r.code, ERR_NONE);
}

static void over_tls_a_client_is_answered_by_whom_it_asked_for_only(void **state)
{
    for (int sim = 1; sim >= 0; sim--) { /* the simulator first: it tells at once */
        struct fx fx;
        fx_init(&fx, &(struct fx_options){.sim = sim, .tls = true});
        fx_serve(&fx);
        struct loop *loop = process_loop(fx.process, 0);
        struct secure_dial who[] = {{&fx, "server.test", secure_connected, NULL},
                                    {&fx, "another.test", not_trusted, NULL},
                                    {&fx, "server.test", never_called, NULL}};
        for (size_t i = 0; i < ARRAY_LEN(who); i++)
            assert_int_equal(
                stream_connect(loop, &fx.address, dialed, &who[i], &who[i].stream).code, ERR_NONE);
        stream_close(who[2].stream, STREAM_CLOSE, NULL, NULL);
        fx.running += 2;
        fx_run(&fx);
        assert_int_equal(fx.countdown, 2);
        assert_true(fx_metric(&fx, "weir_tls_handshakes_total{server=\"test\"") >= 1);
        fx_release(&fx);
    }
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_ends_as_its_answer_says),
        cmocka_unit_test(a_request_ends_alike_on_the_simulator),
        cmocka_unit_test(a_connection_refused_is_told),
        cmocka_unit_test(nothing_comes_after_a_close),
        cmocka_unit_test(what_cannot_be_written_is_refused_and_nothing_is_sent),
        cmocka_unit_test(over_tls_a_client_is_answered_by_whom_it_asked_for_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
