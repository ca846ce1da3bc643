#include "base/alloc.h"
#include "base/test_cmocka.h"
#include "base/test_random.h"
#include "wire/test_http1_feed.h"

#include <stdio.h>

/* ---- tools ---- */

static const struct h1_limits small_limits = {
    .line_bytes_max = 64,
    .header_bytes_max = 100,
    .headers_max = 4,
    .trailer_bytes_max = 32,
    .trailers_max = 2,
    .chunk_line_max = 24,
    .body_bytes_max = 10,
};

/* Feeds `text` in one piece and byte by byte; both must end the same way. */
static void outcome(struct feed *f, enum h1_role role, const struct h1_limits *limits,
                    struct span text)
{
    struct feed bytewise;
    feed_init(f, role, limits);
    feed_init(&bytewise, role, limits);
    feed_pieces(f, text, 0);
    feed_pieces(&bytewise, text, 1);
    assert_string_equal(text_cstr(&f->record), text_cstr(&bytewise.record));
    feed_release(&bytewise);
}

static void expect_error(const struct h1_limits *limits, const char *text, int status)
{
    struct feed f;
    outcome(&f, H1_SERVER, limits, span_cstr(text));
    if (f.error != status)
        fail_msg("status %d, expected %d, of:\n%s", f.error, status, text);
    feed_release(&f);
}

static enum h1_event read_once(struct h1 *h1, struct span bytes, size_t *ret_used,
                               struct h1_out *out)
{
    static struct h1_header headers[8];
    *out = (struct h1_out){.headers = headers, .headers_max = ARRAY_LEN(headers)};
    return h1_read(h1, bytes, ret_used, out);
}

/* ---- memory ---- */

static void a_connection_holds_less_than_400_bytes_of_parser(void **state)
{
    assert_true(sizeof(struct h1) < 400);
}

/* ---- limits ---- */

static void a_line_or_section_at_its_limit_passes_and_beyond_is_refused(void **state)
{
    /* "GET /" + 48 + " HTTP/1.1\r\n" = 64 bytes */
    struct feed f;
    outcome(&f, H1_SERVER, &small_limits,
            SPAN("GET /123456789012345678901234567890123456789012345678 HTTP/1.1\r\n"
                 "Host: a\r\n\r\n"));
    assert_int_equal(f.messages, 1);
    feed_release(&f);
    expect_error(&small_limits,
                 "GET /1234567890123456789012345678901234567890123456789 HTTP/1.1\r\n"
                 "Host: a\r\n\r\n",
                 414);
    /* "Host: a\r\nX: " + 84 + "\r\n\r\n" = 100 bytes */
    char text[256];
    for (int len = 84; len <= 85; len++) {
        snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\nX: %0*d\r\n\r\n", len, 0);
        outcome(&f, H1_SERVER, &small_limits, span_cstr(text));
        assert_int_equal(f.messages, len == 84);
        assert_int_equal(f.error, len == 84 ? 0 : 431);
        feed_release(&f);
    }
}

static void fields_are_counted_against_the_limit_and_the_callers_array(void **state)
{
    struct feed f;
    const char *four = "GET / HTTP/1.1\r\nHost: a\r\nA:\r\nB: \r\nC:c\r\n\r\n";
    outcome(&f, H1_SERVER, &small_limits, span_cstr(four));
    assert_int_equal(f.messages, 1);
    feed_release(&f);
    expect_error(&small_limits, "GET / HTTP/1.1\r\nHost: a\r\nA:\r\nB:\r\nC:\r\nD:\r\n\r\n", 431);
    feed_init(&f, H1_SERVER, &small_limits);
    f.headers_max = 3;
    feed_pieces(&f, span_cstr(four), 0);
    assert_int_equal(f.error, 431);
    feed_release(&f);
}

static void a_body_beyond_its_limit_is_refused_where_it_is_known(void **state)
{
    struct feed f;
    const char *chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    char text[256];
    outcome(&f, H1_SERVER, &small_limits,
            SPAN("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789"));
    assert_int_equal(f.messages, 1);
    feed_release(&f);
    outcome(&f, H1_SERVER, &small_limits,
            SPAN("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n0123456789a"));
    assert_int_equal(f.error, 413);
    assert_true(f.framed);
    feed_release(&f);
    snprintf(text, sizeof(text), "%s6\r\n123456\r\n5\r\n12345\r\n0\r\n\r\n", chunked);
    outcome(&f, H1_SERVER, &small_limits, span_cstr(text));
    assert_int_equal(f.error, 413);
    assert_false(f.framed);
    feed_release(&f);
    snprintf(text, sizeof(text), "%s5;aaaaaaaaaaaaaaaaaaaaaaaa\r\n12345\r\n0\r\n\r\n", chunked);
    expect_error(&small_limits, text, 400);
    snprintf(text, sizeof(text), "%s0\r\nA:\r\nB:\r\nC:\r\n\r\n", chunked);
    expect_error(&small_limits, text, 431);
    snprintf(text, sizeof(text), "%s0\r\nA: 01234567890123456789012345678\r\n\r\n", chunked);
    expect_error(&small_limits, text, 431);
}

static void a_body_until_close_has_a_limit_too(void **state)
{
    struct feed f;
    outcome(&f, H1_CLIENT, &small_limits, SPAN("HTTP/1.1 200 OK\r\n\r\n0123456789a"));
    assert_int_equal(f.error, 502);
    feed_release(&f);
}

/* ---- the messages' order ---- */

static void pipelined_messages_come_one_by_one(void **state)
{
    struct span bytes = SPAN("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
                             "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
                             "GET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
    static const enum h1_event expected[] = {H1_HEAD, H1_END,  H1_HEAD, H1_BODY,
                                             H1_END,  H1_HEAD, H1_END};
    struct h1 h1;
    struct h1_out out;
    size_t used;
    h1_init(&h1, H1_SERVER, &h1_limits_default);
    assert_true(h1_idle(&h1));
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        assert_int_equal(read_once(&h1, bytes, &used, &out), expected[i]);
        assert_false(h1_idle(&h1));
        bytes = span_from(bytes, used);
        if (expected[i] != H1_END)
            continue;
        assert_int_equal(read_once(&h1, bytes, &used, &out), H1_END);
        assert_int_equal(used, 0);
        h1_next(&h1);
        assert_true(h1_idle(&h1));
    }
    assert_int_equal(bytes.len, 0);
    assert_int_equal(read_once(&h1, bytes, &used, &out), H1_MORE);
}

static void an_error_is_given_again_and_uses_nothing(void **state)
{
    struct h1 h1;
    struct h1_out out;
    size_t used;
    h1_init(&h1, H1_SERVER, &h1_limits_default);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(read_once(&h1, SPAN("GET / HTTP/1.1\r\n\r\n"), &used, &out), H1_ERROR);
        assert_int_equal(out.status, 400);
        assert_string_equal(out.reason, "no Host");
        assert_false(out.framed);
        assert_int_equal(used, 0);
    }
}

static void the_preface_of_http2_is_told_apart(void **state)
{
    struct h1 h1;
    struct h1_out out;
    size_t used;
    h1_init(&h1, H1_SERVER, &h1_limits_default);
    assert_int_equal(read_once(&h1, SPAN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), &used, &out),
                     H1_PREFACE);
    assert_int_equal(used, 0);
    assert_int_equal(out.status, 505);
}

static void after_a_switch_all_bytes_belong_to_the_tunnel(void **state)
{
    struct span bytes = SPAN("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, x\r\n"
                             "Upgrade: websocket\r\n\r\n\x81\x05hello");
    struct h1 h1;
    struct h1_out out;
    size_t used;
    h1_init(&h1, H1_SERVER, &h1_limits_default);
    assert_int_equal(read_once(&h1, bytes, &used, &out), H1_HEAD);
    assert_true(out.head.upgrade);
    assert_true(span_is(out.head.upgrade_to, "websocket"));
    h1_switch(&h1);
    bytes = span_from(bytes, used);
    assert_int_equal(bytes.len, 7);
    assert_int_equal(read_once(&h1, bytes, &used, &out), H1_TUNNEL);
    assert_int_equal(used, 0);
}

static void an_upgrade_needs_both_fields_and_http11(void **state)
{
    static const char *const without[] = {
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(without); i++) {
        struct h1 h1;
        struct h1_out out;
        size_t used;
        h1_init(&h1, H1_SERVER, &h1_limits_default);
        assert_int_equal(read_once(&h1, span_cstr(without[i]), &used, &out), H1_HEAD);
        assert_false(out.head.upgrade);
    }
}

static void a_client_gets_a_tunnel_after_101_and_connect(void **state)
{
    struct feed f;
    outcome(&f, H1_CLIENT, &h1_limits_default,
            SPAN("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nraw"));
    assert_non_null(strstr(text_cstr(&f.record), "TUNNEL\n"));
    assert_int_equal(f.pending.len, 3);
    feed_release(&f);
    feed_init(&f, H1_CLIENT, &h1_limits_default);
    h1_expect(&f.h1, METHOD_CONNECT);
    feed_bytes(&f, SPAN("HTTP/1.1 200 OK\r\n\r\nraw"));
    assert_non_null(strstr(text_cstr(&f.record), "TUNNEL\n"));
    feed_release(&f);
    feed_init(&f, H1_CLIENT, &h1_limits_default);
    h1_expect(&f.h1, METHOD_CONNECT);
    feed_bytes(&f, SPAN("HTTP/1.1 502 No\r\nContent-Length: 2\r\n\r\nno"));
    assert_int_equal(f.messages, 1);
    feed_release(&f);
}

/* ---- refusals that keep the connection ---- */

static void a_refused_but_framed_message_can_be_read_to_its_end(void **state)
{
    static const struct {
        const char *text;
        int status;
    } cases[] = {
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n0123456789ab"
         "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
         413},
        {"POST / HTTP/1.1\r\nHost: a\r\nExpect: more\r\nContent-Length: 2\r\n\r\nhi"
         "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
         417},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct span bytes = span_cstr(cases[i].text);
        struct h1 h1;
        struct h1_out out;
        size_t used;
        h1_init(&h1, H1_SERVER, &small_limits);
        assert_int_equal(read_once(&h1, bytes, &used, &out), H1_ERROR);
        assert_int_equal(out.status, cases[i].status);
        assert_true(out.framed);
        assert_int_equal(out.head.method, METHOD_POST);
        bytes = span_from(bytes, used);
        assert_int_equal(read_once(&h1, bytes, &used, &out), H1_BODY);
        bytes = span_from(bytes, used);
        assert_int_equal(read_once(&h1, bytes, &used, &out), H1_END);
        h1_next(&h1);
        assert_int_equal(read_once(&h1, bytes, &used, &out), H1_HEAD);
        assert_true(span_is(out.head.path, "/2"));
    }
}

/* ---- bodies past the codec ---- */

static void bytes_that_bypass_the_codec_are_accounted(void **state)
{
    struct span bytes = SPAN("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01");
    struct h1 h1;
    struct h1_out out;
    size_t used;
    h1_init(&h1, H1_SERVER, &h1_limits_default);
    assert_int_equal(h1_body_bypass(&h1), 0);
    assert_int_equal(read_once(&h1, bytes, &used, &out), H1_HEAD);
    assert_int_equal(h1_body_bypass(&h1), 10);
    assert_int_equal(read_once(&h1, span_from(bytes, used), &used, &out), H1_BODY);
    assert_int_equal(out.body.len, 2);
    assert_int_equal(h1_body_bypass(&h1), 8);
    h1_body_skip(&h1, 5);
    assert_int_equal(h1_body_bypass(&h1), 3);
    assert_int_equal(read_once(&h1, SPAN_NONE, &used, &out), H1_MORE);
    h1_body_skip(&h1, 3);
    assert_int_equal(h1_body_bypass(&h1), 0);
    assert_int_equal(read_once(&h1, SPAN_NONE, &used, &out), H1_END);
}

static void a_chunked_body_does_not_bypass_and_one_until_close_up_to_its_limit(void **state)
{
    struct h1 h1;
    struct h1_out out;
    size_t used;
    h1_init(&h1, H1_SERVER, &h1_limits_default);
    assert_int_equal(
        read_once(&h1,
                  SPAN("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"),
                  &used, &out),
        H1_HEAD);
    assert_int_equal(out.head.content_length, -1);
    assert_int_equal(h1_body_bypass(&h1), 0);
    h1_init(&h1, H1_CLIENT, &small_limits);
    assert_int_equal(read_once(&h1, SPAN("HTTP/1.0 200 OK\r\n\r\n"), &used, &out), H1_HEAD);
    assert_int_equal(h1_body_bypass(&h1), 10);
    h1_body_skip(&h1, 10);
    assert_int_equal(h1_body_bypass(&h1), 0);
    assert_int_equal(h1_eof(&h1, &out), H1_END);
}

static void a_body_part_is_never_longer_than_the_caller_wants(void **state)
{
    static const char *const texts[] = {
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n01234567",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        "8\r\n01234567\r\n0\r\nTrailer-Longer-Than-Three: x\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct span bytes = span_cstr(texts[i]);
        struct h1 h1;
        struct h1_header headers[8];
        struct h1_out out = {.headers = headers, .headers_max = 8, .body_max = 3};
        size_t used, parts = 0, body = 0;
        h1_init(&h1, H1_SERVER, &h1_limits_default);
        enum h1_event event;
        while ((event = h1_read(&h1, bytes, &used, &out)) != H1_END) {
            assert_true(event == H1_HEAD || event == H1_BODY || event == H1_TRAILERS);
            bytes = span_from(bytes, used);
            if (event != H1_BODY)
                continue;
            assert_true(out.body.len <= 3);
            body += out.body.len;
            parts++;
        }
        assert_int_equal(body, 8);
        assert_int_equal(parts, 3);
    }
}

static void fewer_bytes_than_before_change_nothing(void **state)
{
    static const char *const texts[] = {
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct span bytes = span_cstr(texts[i]);
        struct h1 h1;
        struct h1_out out;
        size_t used;
        h1_init(&h1, H1_SERVER, &h1_limits_default);
        for (size_t len = 0; len < bytes.len; len++) {
            for (size_t less = len + 1; less-- > 0;) {
                enum h1_event event = read_once(&h1, span_first(bytes, less), &used, &out);
                assert_true(event == H1_MORE || event == H1_HEAD);
                bytes = span_from(bytes, used);
                len -= used;
                if (used)
                    break;
            }
        }
        while (read_once(&h1, bytes, &used, &out) != H1_END)
            bytes = span_from(bytes, used);
        assert_int_equal(bytes.len - used, 0);
    }
}

/* ---- the end of the connection ---- */

static void an_end_between_messages_cuts_nothing_off(void **state)
{
    static const struct {
        const char *text;
        enum h1_event event;
    } cases[] = {
        {"", H1_MORE},
        {"\r\n", H1_MORE},
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", H1_MORE},
        {"G", H1_ERROR},
        {"GET / HTTP/1.1\r\n", H1_ERROR},
        {"GET / HTTP/1.1\r\nHost: a\r\n", H1_ERROR},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", H1_ERROR},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na", H1_ERROR},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", H1_ERROR},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct feed f;
        struct h1_out out = {0};
        feed_init(&f, H1_SERVER, &h1_limits_default);
        feed_pieces(&f, span_cstr(cases[i].text), 1);
        assert_int_equal(h1_eof(&f.h1, &out), cases[i].event);
        feed_release(&f);
    }
}

/* ---- what a head says ---- */

static void every_known_field_is_found_in_any_case(void **state)
{
    static const char *const names[] = {
#define X(id, first, name) [H1_FIELD_##id] = name,
        H1_KNOWN(X)
#undef X
    };
    for (int id = H1_FIELD_UNKNOWN + 1; id < H1_FIELD_COUNT; id++) {
        char upper[64], other[64];
        size_t len = strlen(names[id]);
        for (size_t i = 0; i <= len; i++)
            upper[i] = names[id][i] >= 'a' ? (char)(names[id][i] - 32) : names[id][i];
        snprintf(other, sizeof(other), "%s", names[id]);
        other[len - 1] = '_';
        assert_int_equal(h1_known_of(span_cstr(names[id])), id);
        assert_int_equal(h1_known_of(span_cstr(upper)), id);
        assert_int_equal(h1_known_of(span_cstr(other)), H1_FIELD_UNKNOWN);
    }
    assert_int_equal(h1_known_of(SPAN_NONE), H1_FIELD_UNKNOWN);
}

static void a_head_is_decoded(void **state)
{
    struct span bytes = SPAN("POST /v1/models/m:predict?x=1 HTTP/1.1\r\n"
                             "Host: a.example:8501\r\n"
                             "content-type:  application/json \r\n"
                             "Content-Length: 12\r\n"
                             "Expect: 100-continue\r\n"
                             "X-Mine:\r\n\r\n");
    struct h1 h1;
    struct h1_out out;
    size_t used;
    h1_init(&h1, H1_SERVER, &h1_limits_default);
    assert_int_equal(read_once(&h1, bytes, &used, &out), H1_HEAD);
    assert_int_equal(used, bytes.len);
    assert_int_equal(out.head.method, METHOD_POST);
    assert_true(span_is(out.head.method_text, "POST"));
    assert_true(span_is(out.head.target, "/v1/models/m:predict?x=1"));
    assert_true(span_is(out.head.path, "/v1/models/m:predict"));
    assert_true(span_is(out.head.query, "x=1"));
    assert_true(span_is(out.head.host, "a.example"));
    assert_int_equal(out.head.port, 8501);
    assert_true(span_is(out.head.content_type, "application/json"));
    assert_int_equal(out.head.content_length, 12);
    assert_int_equal(out.head.minor, 1);
    assert_true(out.head.keep_alive);
    assert_true(out.head.expect_continue);
    assert_false(out.head.no_body);
    assert_false(out.head.chunked);
    assert_int_equal(out.head.headers_len, 5);
    assert_int_equal(out.head.headers[1].id, H1_FIELD_CONTENT_TYPE);
    assert_true(span_is(out.head.headers[1].name, "content-type"));
    assert_true(span_is(out.head.headers[1].value, "application/json"));
    assert_int_equal(out.head.headers[4].id, H1_FIELD_UNKNOWN);
    assert_int_equal(out.head.headers[4].value.len, 0);
}

static void nobody_is_told_to_wait_for_a_body_that_does_not_come(void **state)
{
    struct h1 h1;
    struct h1_out out;
    size_t used;
    h1_init(&h1, H1_SERVER, &h1_limits_default);
    assert_int_equal(read_once(&h1,
                               SPAN("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n"),
                               &used, &out),
                     H1_HEAD);
    assert_false(out.head.expect_continue);
    assert_true(out.head.no_body);
}

/* ---- time ---- */

static void a_slow_client_costs_linear_work(void **state)
{
    enum { VALUE = 16000 };
    struct text head;
    text_init(&head, VALUE + 100);
    text_str(&head, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < VALUE / 250; i++)
        text_printf(&head, "X-%03d: %0242d\r\n", i, i);
    text_str(&head, "\r\n");
    assert_false(failed(text_result(&head)));
    struct h1 h1;
    struct h1_header headers[100];
    struct h1_out out = {.headers = headers, .headers_max = ARRAY_LEN(headers)};
    size_t used = 0;
    h1_init(&h1, H1_SERVER, &h1_limits_default);
    for (size_t len = 1; len < head.len; len++) {
        assert_int_equal(h1_read(&h1, span_of(head.ptr, len), &used, &out), H1_MORE);
        assert_int_equal(used, 0);
    }
    assert_int_equal(h1_read(&h1, text_span(&head), &used, &out), H1_HEAD);
    assert_int_equal(used, head.len);
    assert_true(h1.scanned_total <= 2 * head.len + 64);
    assert_int_equal(out.head.headers_len, 1 + VALUE / 250);
    h1_init(&h1, H1_SERVER, &h1_limits_default);
    assert_int_equal(h1_read(&h1, text_span(&head), &used, &out), H1_HEAD);
    assert_true(h1.scanned_total <= head.len + 64);
    text_release(&head);
}

/* ---- properties ---- */

static const char *const pieces[] = {
    "GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\nGET /b?c HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "POST /c HTTP/1.1\r\nHost: b:1\r\nContent-Length: 11\r\n\r\nhello world",
    ("PUT http://x/y HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n"
     "3;a=b\r\nabc\r\n1A\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n"),
    "ODD /d HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nT: v\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: [::1]\r\nA: 1\r\nB:\r\nC: \t3\t \r\n\r\n",
};

/* Some of the messages above, one behind the other, and a few bytes changed. */
static void random_stream(uint64_t *seed, struct text *into)
{
    text_clear(into);
    for (uint64_t n = 1 + test_random(seed) % 4; n > 0; n--)
        text_str(into, pieces[test_random(seed) % ARRAY_LEN(pieces)]);
    static const char spice[] = "\r\n\t \0:,;/*0aZ\x80\x7f";
    for (uint64_t n = test_random(seed) % 3; n > 0; n--)
        into->ptr[test_random(seed) % into->len] =
            (uint8_t)spice[test_random(seed) % sizeof(spice)];
}

static void any_stream_comes_out_the_same_however_it_is_cut(void **state)
{
    uint64_t seed = 0x5eed;
    unsigned refused = 0, accepted = 0;
    struct text stream;
    text_init(&stream, 8192);
    for (int round = 0; round < 4000; round++) {
        struct feed whole, cut;
        random_stream(&seed, &stream);
        struct span rest = text_span(&stream);
        feed_init(&whole, H1_SERVER, &h1_limits_default);
        feed_init(&cut, H1_SERVER, &h1_limits_default);
        feed_bytes(&whole, rest);
        while (rest.len > 0) {
            size_t len = 1 + test_random(&seed) % (test_random(&seed) % 4 ? 8 : 200);
            feed_bytes(&cut, span_first(rest, len));
            rest = span_from(rest, len);
        }
        if (!span_eq(text_span(&whole.record), text_span(&cut.record)))
            fail_msg("round %d:\n%s\n--- whole:\n%s--- cut:\n%s", round, text_cstr(&stream),
                     text_cstr(&whole.record), text_cstr(&cut.record));
        refused += whole.error != 0;
        accepted += feed_quiet(&whole);
        feed_release(&whole);
        feed_release(&cut);
    }
    text_release(&stream);
    assert_true(refused > 500 && accepted > 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_holds_less_than_400_bytes_of_parser),
        cmocka_unit_test(a_line_or_section_at_its_limit_passes_and_beyond_is_refused),
        cmocka_unit_test(fields_are_counted_against_the_limit_and_the_callers_array),
        cmocka_unit_test(a_body_beyond_its_limit_is_refused_where_it_is_known),
        cmocka_unit_test(a_body_until_close_has_a_limit_too),
        cmocka_unit_test(pipelined_messages_come_one_by_one),
        cmocka_unit_test(an_error_is_given_again_and_uses_nothing),
        cmocka_unit_test(the_preface_of_http2_is_told_apart),
        cmocka_unit_test(after_a_switch_all_bytes_belong_to_the_tunnel),
        cmocka_unit_test(an_upgrade_needs_both_fields_and_http11),
        cmocka_unit_test(a_client_gets_a_tunnel_after_101_and_connect),
        cmocka_unit_test(a_refused_but_framed_message_can_be_read_to_its_end),
        cmocka_unit_test(bytes_that_bypass_the_codec_are_accounted),
        cmocka_unit_test(a_chunked_body_does_not_bypass_and_one_until_close_up_to_its_limit),
        cmocka_unit_test(a_body_part_is_never_longer_than_the_caller_wants),
        cmocka_unit_test(fewer_bytes_than_before_change_nothing),
        cmocka_unit_test(an_end_between_messages_cuts_nothing_off),
        cmocka_unit_test(every_known_field_is_found_in_any_case),
        cmocka_unit_test(a_head_is_decoded),
        cmocka_unit_test(nobody_is_told_to_wait_for_a_body_that_does_not_come),
        cmocka_unit_test(a_slow_client_costs_linear_work),
        cmocka_unit_test(any_stream_comes_out_the_same_however_it_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
