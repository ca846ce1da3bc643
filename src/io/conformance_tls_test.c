/* TLS over both engines: handshakes and their ends, names, certificates, limits. What a TLS
 * stream has in common with others is tested by conformance_streams_test.c. */
#include "base/alloc.h"
#include "io/conformance_test.h"

#include <stdio.h>

/* ---- one meeting of a client and a server ------------------------------------------------ */

struct meeting {
    struct fx fx;
    struct tls_info server, client;
    result server_result, client_result;
    bool server_done, client_done;
    io_time patience;           /* of the server; 0: for ever */
    const char *name;           /* that the client asks for */
    void (*raw)(struct fx *fx); /* instead of TLS on the client's side */
};

static struct fx_pem authority, other_authority, server_pem, two_pem, old_pem, client_pem,
    wrong_client_pem, slow_pem;

static void make_pems(void)
{
    if (authority.name[0])
        return;
    struct {
        struct fx_pem *pem;
        struct fx_pem_options options;
    } all[] = {
        {&authority, {.name = "authority"}},
        {&other_authority, {.name = "other"}},
        {&server_pem, {.name = "server.test", .issuer = &authority}},
        {&two_pem, {.name = "two.test", .name_too = "*.many.test", .issuer = &authority}},
        {&old_pem, {.name = "server.test", .issuer = &authority, .expired = true}},
        {&client_pem, {.name = "caller", .issuer = &authority}},
        {&wrong_client_pem, {.name = "caller", .issuer = &other_authority}},
        {&slow_pem, {.name = "server.test", .issuer = &authority, .slow = true}},
    };
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        driver->make_pem(&all[i].options, all[i].pem);
}

static void finish(struct meeting *m)
{
    if (m->server_done && (m->client_done || m->raw))
        fx_after(&m->fx, 5 * IO_MS, fx_stop);
}

static void server_met(void *arg, struct stream *stream, result r)
{
    struct meeting *m = arg;
    m->server_result = r;
    m->server_done = true;
    if (!is(r, ERR_CANCELLED))
        assert_true(tls_info(stream, &m->server));
    if (failed(r) && !is(r, ERR_CANCELLED))
        stream_close(stream, STREAM_CLOSE, NULL, NULL);
    finish(m);
}

/* A client of TLS 1.3 is done before the server has seen its certificate. */
static void client_read(void *arg, struct stream *stream, result r, struct span bytes)
{
    struct meeting *m = arg;
    m->client_done = true;
    if (failed(r)) {
        m->client_result = r;
        assert_true(tls_info(stream, &m->client));
    }
    finish(m);
}

static void client_met(void *arg, struct stream *stream, result r)
{
    struct meeting *m = arg;
    m->client_result = r;
    assert_true(tls_info(stream, &m->client));
    if (!failed(r)) {
        stream_read(stream, fx_scratch(), client_read, m);
        m->client_done = m->server_done;
    } else {
        m->client_done = true;
        stream_close(stream, STREAM_CLOSE, NULL, NULL);
    }
    finish(m);
}

static void accepted(void *arg, struct listener *listener, struct io_detached detached)
{
    struct meeting *m = arg;
    struct stream *stream;
    io_time deadline = m->patience ? loop_now(m->fx.loop) + m->patience : TIME_NEVER;
    assert_int_equal(stream_adopt(m->fx.loop, detached, &stream).code, ERR_NONE);
    assert_int_equal(
        tls_accept(m->fx.server_tls, stream, deadline, server_met, m, &m->fx.server).code,
        ERR_NONE);
}

static void connected(void *arg, struct stream *stream, result r)
{
    struct meeting *m = arg;
    assert_int_equal(r.code, ERR_NONE);
    m->fx.client = stream;
    if (m->raw)
        m->raw(&m->fx);
    else
        assert_int_equal(tls_connect(m->fx.client_tls, stream, m->name ? m->name : "server.test",
                                     TIME_NEVER, client_met, m, &stream)
                             .code,
                         ERR_NONE);
}

static void stop_when_done(struct fx *fx)
{
    struct meeting *m = CONTAINER_OF(fx, struct meeting, fx);
    if (m->server_done && !failed(m->server_result)) {
        m->client_done = true;
        finish(m);
    }
}

static void meet(struct meeting *m, struct tls_context *server, struct tls_context *client)
{
    struct stream *stream;
    m->fx.server_tls = server;
    m->fx.client_tls = client;
    fx_listen(&m->fx, IO_INET, accepted);
    /* The callbacks get the meeting, which begins with the fixture. */
    assert_int_equal(stream_connect(m->fx.loop, &m->fx.address, connected, m, &stream).code,
                     ERR_NONE);
    fx_after(&m->fx, 300 * IO_MS, stop_when_done);
    fx_run(&m->fx);
    fx_release(&m->fx);
}

static void begin(struct meeting *m)
{
    make_pems();
    fx_init(&m->fx, 1);
}

/* ---- names and protocols ------------------------------------------------------------------ */

static struct tls_context *server_of_two(struct fx *fx, const char *const *alpn)
{
    struct tls_certificate pairs[] = {
        {.chain.text = span_cstr(server_pem.cert), .key.text = span_cstr(server_pem.key)},
        {.chain.text = span_cstr(two_pem.cert), .key.text = span_cstr(two_pem.key)},
    };
    struct tls_options options = {.certificates = pairs, .certificates_len = 2, .alpn = alpn};
    struct tls_context *context = NULL;
    assert_int_equal(tls_server_new(fx->process, &options, &context, NULL).code, ERR_NONE);
    assert_int_equal(tls_context_certificates(context), 2);
    struct tls_certificate_info info;
    tls_context_certificate(context, 1, &info);
    assert_string_equal(info.name, "two.test");
    assert_true(info.not_after > process_wall(fx->process));
    return context;
}

static void the_name_that_is_asked_for_picks_the_certificate(void **state)
{
    const char *const good[] = {"server.test", "two.test", "TWO.test", "any.many.test"};
    const char *const bad[] = {"many.test", "a.b.many.test", "unknown.test"};
    for (size_t i = 0; i < ARRAY_LEN(good) + ARRAY_LEN(bad); i++) {
        bool expected = i < ARRAY_LEN(good);
        struct meeting m = {.name = expected ? good[i] : bad[i - ARRAY_LEN(good)]};
        begin(&m);
        meet(&m, server_of_two(&m.fx, NULL), fx_client_tls(&m.fx, NULL, &authority));
        assert_int_equal(m.client.failure,
                         expected ? TLS_FAILURE_NONE : TLS_FAILURE_BAD_CERTIFICATE);
        assert_string_equal(m.server.server_name, m.name);
        if (!expected)
            assert_int_equal(m.server.failure, TLS_FAILURE_ALERT);
    }
}

static struct tls_context *client_of(struct fx *fx, const char *const *alpn)
{
    struct tls_options options = {.ca.text = span_cstr(authority.cert), .alpn = alpn};
    struct tls_context *context = NULL;
    assert_int_equal(tls_client_new(fx->process, &options, &context, NULL).code, ERR_NONE);
    return context;
}

static void the_servers_order_of_protocols_decides(void **state)
{
    const char *const ours[] = {"h2", "http/1.1", NULL}, *const theirs[] = {"http/1.1", "h2", NULL};
    const char *const none[] = {"spdy", NULL};
    struct meeting m = {0}, refused = {0}, silent = {0};
    begin(&m);
    meet(&m, server_of_two(&m.fx, ours), client_of(&m.fx, theirs));
    assert_string_equal(m.server.alpn, "h2");
    assert_string_equal(m.client.alpn, "h2");
    begin(&refused);
    meet(&refused, server_of_two(&refused.fx, ours), client_of(&refused.fx, none));
    assert_int_equal(refused.server.failure, TLS_FAILURE_PROTOCOL);
    assert_int_equal(refused.client.failure, TLS_FAILURE_ALERT);
    begin(&silent);
    meet(&silent, server_of_two(&silent.fx, ours), client_of(&silent.fx, NULL));
    assert_int_equal(silent.server.failure, TLS_FAILURE_NONE);
    assert_string_equal(silent.server.alpn, "");
}

/* ---- who is trusted ------------------------------------------------------------------------- */

static void a_server_that_is_not_trusted_is_refused(void **state)
{
    struct meeting wrong = {0}, old = {0};
    begin(&wrong);
    meet(&wrong, fx_server_tls(&wrong.fx, &server_pem, NULL, TLS_CLIENT_OFF),
         fx_client_tls(&wrong.fx, NULL, &other_authority));
    assert_int_equal(wrong.client.failure, TLS_FAILURE_BAD_CERTIFICATE);
    assert_int_equal(wrong.client_result.code, ERR_PERMISSION);
    assert_int_equal(wrong.server.failure, TLS_FAILURE_ALERT);
    begin(&old);
    meet(&old, fx_server_tls(&old.fx, &old_pem, NULL, TLS_CLIENT_OFF),
         fx_client_tls(&old.fx, NULL, &authority));
    assert_int_equal(old.client.failure, TLS_FAILURE_BAD_CERTIFICATE);
}

static void clients_prove_who_they_are_as_the_server_asks(void **state)
{
    const struct {
        enum tls_client_auth auth;
        const struct fx_pem *pem;
        enum tls_failure failure;
        const char *name;
    } cases[] = {
        {TLS_CLIENT_OFF, &client_pem, TLS_FAILURE_NONE, ""},
        {TLS_CLIENT_OPTIONAL, NULL, TLS_FAILURE_NONE, ""},
        {TLS_CLIENT_OPTIONAL, &client_pem, TLS_FAILURE_NONE, "caller"},
        {TLS_CLIENT_OPTIONAL, &wrong_client_pem, TLS_FAILURE_BAD_CERTIFICATE, NULL},
        {TLS_CLIENT_REQUIRED, NULL, TLS_FAILURE_NO_CERTIFICATE, NULL},
        {TLS_CLIENT_REQUIRED, &client_pem, TLS_FAILURE_NONE, "caller"},
        {TLS_CLIENT_REQUIRED, &wrong_client_pem, TLS_FAILURE_BAD_CERTIFICATE, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct meeting m = {0};
        begin(&m);
        meet(&m, fx_server_tls(&m.fx, &server_pem, &authority, cases[i].auth),
             fx_client_tls(&m.fx, cases[i].pem, &authority));
        assert_int_equal(m.server.failure, cases[i].failure);
        if (cases[i].name)
            assert_string_equal(m.server.peer_name, cases[i].name);
        else
            assert_int_equal(m.client.failure, TLS_FAILURE_ALERT);
    }
}

/* ---- handshakes that come to nothing ----------------------------------------------------------
 */

static void send_text(struct fx *fx, const char *text)
{
    struct span part = span_cstr(text);
    stream_write(fx->client, &part, 1, fx_on_write, fx);
}

static void raw_http(struct fx *fx)
{
    send_text(fx, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
}

static void raw_garbage(struct fx *fx)
{
    send_text(fx, "\x01\x02garbage");
}

static void raw_broken(struct fx *fx)
{
    send_text(fx, "\x16\x03\x01\x01 this is no hello, however long it may be");
}

static void raw_close(struct fx *fx)
{
    struct span part = SPAN("\x16\x03");
    assert_int_equal(stream_try_write(fx->client, &part, 1), part.len);
    stream_close(fx->client, STREAM_CLOSE, NULL, NULL);
}

static void raw_silence(struct fx *fx)
{
}

static void what_is_no_handshake_is_refused_and_named(void **state)
{
    const struct {
        void (*raw)(struct fx *fx);
        io_time patience;
        enum tls_failure failure;
        enum err code;
    } cases[] = {
        {raw_http, 0, TLS_FAILURE_PLAIN_HTTP, ERR_SYNTAX},
        {raw_garbage, 0, TLS_FAILURE_NOT_TLS, ERR_SYNTAX},
        {raw_close, 0, TLS_FAILURE_CLOSED, ERR_CLOSED},
        {raw_silence, 20 * IO_MS, TLS_FAILURE_TIMEOUT, ERR_DEADLINE},
        /* Not a hello, or less of one than its length promises. */
        {raw_broken, 50 * IO_MS, TLS_FAILURES, ERR_NONE},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct meeting m = {.raw = cases[i].raw, .patience = cases[i].patience};
        begin(&m);
        meet(&m, fx_server_tls(&m.fx, &server_pem, NULL, TLS_CLIENT_OFF), NULL);
        assert_true(m.server_done && failed(m.server_result));
        if (cases[i].failure == TLS_FAILURES)
            continue;
        assert_int_equal(m.server.failure, cases[i].failure);
        assert_int_equal(m.server_result.code, cases[i].code);
    }
}

/* ---- the key's step on a worker
 * ------------------------------------------------------------------ */

static void a_slow_keys_handshake_runs_on_a_worker_and_succeeds(void **state)
{
    struct meeting m = {0};
    begin(&m);
    meet(&m, fx_server_tls(&m.fx, &slow_pem, NULL, TLS_CLIENT_OFF),
         fx_client_tls(&m.fx, NULL, &authority));
    assert_int_equal(m.server.failure, TLS_FAILURE_NONE);
    assert_int_equal(m.server_result.code, ERR_NONE);
    assert_int_equal(m.client_result.code, ERR_NONE);
}

static void closed_and_stop(void *arg)
{
    fx_stop(arg);
}

static void close_server(struct fx *fx)
{
    if (fx->server)
        stream_close(steal(&fx->server), STREAM_CLOSE, closed_and_stop, fx);
    else
        fx_after(fx, IO_MS / 4, close_server);
}

static void a_handshake_may_be_closed_at_any_time(void **state)
{
    const io_time delays[] = {0, IO_MS / 10, IO_MS / 3, IO_MS, 3 * IO_MS};
    for (size_t i = 0; i < ARRAY_LEN(delays); i++) {
        struct meeting m = {0};
        struct stream *stream;
        begin(&m);
        m.fx.server_tls = fx_server_tls(&m.fx, &slow_pem, NULL, TLS_CLIENT_OFF);
        m.fx.client_tls = fx_client_tls(&m.fx, NULL, &authority);
        fx_listen(&m.fx, IO_INET, accepted);
        assert_int_equal(stream_connect(m.fx.loop, &m.fx.address, connected, &m, &stream).code,
                         ERR_NONE);
        fx_after(&m.fx, delays[i], close_server);
        fx_run(&m.fx);
        assert_true(m.server_done);
        fx_release(&m.fx);
    }
}

/* ---- memory -------------------------------------------------------------------------------------
 */

/* A client and a server of which any allocation may fail, and with it either handshake. */
struct poor {
    struct fx fx;
    uint64_t countdown;
    int ends; /* of the two */
};

static void poor_end(struct poor *p)
{
    if (++p->ends == 2)
        fx_stop(&p->fx);
}

static void poor_read(void *arg, struct stream *stream, result r, struct span bytes)
{
    stream_close(stream, STREAM_CLOSE, NULL, NULL);
    poor_end(arg);
}

static void poor_met(void *arg, struct stream *stream, result r)
{
    struct span part = SPAN("hello");
    if (failed(r)) {
        stream_close(stream, STREAM_CLOSE, NULL, NULL);
        poor_end(arg);
        return;
    }
    stream_read(stream, fx_scratch(), poor_read, arg);
    stream_try_write(stream, &part, 1);
}

static void poor_accepted(void *arg, struct listener *listener, struct io_detached detached)
{
    struct poor *p = arg;
    struct stream *stream;
    io_time deadline = loop_now(p->fx.loop) + 50 * IO_MS;
    assert_int_equal(stream_adopt(p->fx.loop, detached, &stream).code, ERR_NONE);
    mem_fail_after(p->countdown, false);
    if (failed(tls_accept(p->fx.server_tls, stream, deadline, poor_met, p, &stream)))
        poor_end(p);
}

static void poor_connected(void *arg, struct stream *stream, result r)
{
    struct poor *p = arg;
    io_time deadline = loop_now(p->fx.loop) + 50 * IO_MS;
    if (failed(r)) /* the server had no memory for it */
        stream_close(stream, STREAM_CLOSE, NULL, NULL);
    if (failed(r) || failed(tls_connect(p->fx.client_tls, stream, "server.test", deadline, poor_met,
                                        p, &stream)))
        poor_end(p);
}

/* How many allocations there were. */
static uint64_t meet_poorly(uint64_t countdown)
{
    struct poor p = {.countdown = countdown};
    struct stream *stream;
    fx_init(&p.fx, 1);
    p.fx.server_tls = fx_server_tls(&p.fx, &server_pem, NULL, TLS_CLIENT_OFF);
    p.fx.client_tls = fx_client_tls(&p.fx, NULL, &authority);
    fx_listen(&p.fx, IO_INET, poor_accepted);
    assert_int_equal(stream_connect(p.fx.loop, &p.fx.address, poor_connected, &p, &stream).code,
                     ERR_NONE);
    fx_after(&p.fx, 200 * IO_MS, fx_stop); /* a lost flight is waited for by nobody */
    fx_run(&p.fx);
    uint64_t attempts = mem_fail_after(0, false);
    fx_release(&p.fx);
    return attempts;
}

static void a_handshake_survives_any_allocation_that_fails(void **state)
{
    make_pems();
    uint64_t count = meet_poorly(UINT64_MAX);
    /* The engine's come through the same door: OpenSSL makes hundreds, the toy some. */
    uint64_t least = driver == &sim_driver ? 5 : 100;
    assert_true(count > least);
    for (uint64_t n = 1; n <= count; n += 1 + count / 50)
        meet_poorly(n);
    assert_true(meet_poorly(UINT64_MAX) > least);
}

/* ---- ends of what was open
 * ------------------------------------------------------------------------- */

static void go_big_close(struct fx *fx)
{
    static uint8_t big[STREAM_TURN_BYTES];
    struct span part = span_of(big, sizeof(big));
    size_t n, total = 0;
    while ((n = stream_try_write(fx->client, &part, 1)) > 0)
        total += n;
    *(size_t *)fx->arg = total;
    stream_close(fx->client, STREAM_CLOSE, NULL, NULL);
}

struct counted {
    size_t sent, got;
};

static void count_read(void *arg, struct stream *stream, result r, struct span bytes)
{
    struct fx *fx = arg;
    struct counted *counted = fx->arg;
    counted->got += bytes.len;
    if (!failed(r) && bytes.len > 0) {
        stream_read(stream, fx_scratch(), count_read, fx);
        return;
    }
    fx_on_read(fx, stream, r, bytes);
    fx_stop(fx);
}

static void go_counted(struct fx *fx)
{
    go_big_close(fx);
    stream_read(fx->server, fx_scratch(), count_read, fx);
}

static void what_try_write_took_arrives_though_the_stream_is_closed(void **state)
{
    struct counted counted = {0};
    struct fx fx;
    fx_init(&fx, 1);
    fx.arg = &counted;
    fx_pair(&fx, IO_UNIX, go_counted);
    fx_run(&fx);
    assert_true(counted.sent > 0);
    assert_int_equal(counted.got, counted.sent);
    assert_log(&fx, "read=OK:0");
    fx_release(&fx);
}

static uint8_t *too_much;

static void go_cut(struct fx *fx)
{
    struct span part = span_of(too_much, (size_t)8 << 20);
    stream_write(fx->client, &part, 1, fx_on_write, fx);
    stream_close(fx->client, STREAM_CLOSE, NULL, NULL);
    stream_read(fx->server, fx_scratch(), count_read, fx);
}

static void an_end_without_close_notify_is_no_end_of_file(void **state)
{
    struct counted counted = {0};
    struct fx fx;
    too_much = mem_zalloc(1, (size_t)8 << 20);
    fx_init(&fx, 1);
    fx.arg = &counted;
    fx_pair(&fx, IO_UNIX, go_cut);
    fx_run(&fx);
    assert_non_null(strstr(fx.log, "write=CANCELLED"));
    assert_non_null(strstr(fx.log, "read=RESET:0"));
    fx_release(&fx);
    mem_free(too_much);
}

static void go_info(struct fx *fx)
{
    struct tls_info info;
    struct io_address address;
    struct io_detached detached;
    assert_true(tls_info(fx->server, &info));
    assert_true(info.version[0] && info.cipher[0]);
    assert_string_equal(info.server_name, "server.test");
    stream_peer(fx->client, &address);
    assert_int_equal(address.port, fx->address.port);
    assert_int_equal(stream_detach(fx->client, &detached).code, ERR_UNSUPPORTED);
    fx_stop(fx);
}

static void a_stream_tells_what_was_agreed_and_cannot_be_detached(void **state)
{
    struct fx fx;
    fx_run_pair(&fx, IO_INET, go_info);
    fx_release(&fx);
}

/* ---- contexts
 * ------------------------------------------------------------------------------------------ */

static void count_warning(void *arg, const char *text)
{
    assert_non_null(strstr(text, "expired"));
    ++*(int *)arg;
}

static void a_context_that_cannot_work_is_refused_with_its_file(void **state)
{
    struct fx fx;
    make_pems();
    fx_init(&fx, 1);
    const char *path = driver->put_file(fx.process, "broken.pem", SPAN("no certificate\n"));
    const struct {
        struct tls_certificate pair;
        const char *says;
    } cases[] = {
        {{.chain = {.path = "/nowhere/cert.pem"}, .key = {.path = "/nowhere/key.pem"}},
         "/nowhere/cert.pem"},
        {{.chain = {.path = path}, .key = {.path = path}}, path},
        {{.chain = {.path = "one.pem", .text = span_cstr(server_pem.cert)},
          .key = {.path = "two.pem", .text = span_cstr(two_pem.key)}},
         "expected the private key of the certificate one.pem"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tls_options options = {.certificates = &cases[i].pair, .certificates_len = 1};
        struct tls_context *context = NULL;
        struct diag diag = {0};
        assert_true(failed(tls_server_new(fx.process, &options, &context, &diag)));
        assert_null(context);
        assert_non_null(strstr(diag.text, cases[i].says));
    }
    fx_release(&fx);
}

static void what_a_context_lacks_is_named_and_an_old_certificate_is_only_odd(void **state)
{
    struct fx fx;
    struct diag diag = {0};
    struct tls_context *context = NULL;
    int warnings = 0;
    make_pems();
    fx_init(&fx, 1);
    struct tls_certificate pair = {.chain.text = span_cstr(old_pem.cert),
                                   .key.text = span_cstr(old_pem.key)};
    struct tls_options options = {.certificates = &pair,
                                  .certificates_len = 1,
                                  .client_auth = TLS_CLIENT_REQUIRED,
                                  .warn = count_warning,
                                  .warn_arg = &warnings};
    assert_int_equal(tls_server_new(fx.process, &options, &context, &diag).code, ERR_ARGUMENT);
    options.client_auth = TLS_CLIENT_OFF;
    assert_int_equal(tls_server_new(fx.process, &options, &context, NULL).code, ERR_NONE);
    assert_int_equal(warnings, 1);
    tls_context_unref(context);
    options.certificates_len = 0;
    assert_int_equal(tls_server_new(fx.process, &options, &context, NULL).code, ERR_ARGUMENT);
    fx_release(&fx);
}

const struct CMUnitTest tls_tests[] = {
    cmocka_unit_test(the_name_that_is_asked_for_picks_the_certificate),
    cmocka_unit_test(the_servers_order_of_protocols_decides),
    cmocka_unit_test(a_server_that_is_not_trusted_is_refused),
    cmocka_unit_test(clients_prove_who_they_are_as_the_server_asks),
    cmocka_unit_test(what_is_no_handshake_is_refused_and_named),
    cmocka_unit_test(a_slow_keys_handshake_runs_on_a_worker_and_succeeds),
    cmocka_unit_test(a_handshake_may_be_closed_at_any_time),
    cmocka_unit_test(a_handshake_survives_any_allocation_that_fails),
    cmocka_unit_test(what_try_write_took_arrives_though_the_stream_is_closed),
    cmocka_unit_test(an_end_without_close_notify_is_no_end_of_file),
    cmocka_unit_test(a_stream_tells_what_was_agreed_and_cannot_be_detached),
    cmocka_unit_test(a_context_that_cannot_work_is_refused_with_its_file),
    cmocka_unit_test(what_a_context_lacks_is_named_and_an_old_certificate_is_only_odd),
};
const size_t tls_tests_count = ARRAY_LEN(tls_tests);
