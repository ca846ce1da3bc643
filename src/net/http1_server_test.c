/* What only HTTP/1 has: keep-alive, pipelining, framing, refusals and time-outs. */
#include "base/alloc.h"
#include "net/test_fixture.h"

#include <stdio.h>
#include <string.h>

/* All of it once more over TLS, with that word as the argument. */
static bool over_tls;

#define GET_FIXED "GET /fixed HTTP/1.1\r\nHost: a\r\n\r\n"

/* Runs `script` over both implementations of io, with the configuration it sets. */
static void over_both(void (*script)(struct fx *fx), void (*check)(struct fx *fx))
{
    for (int sim = 0; sim < 2; sim++) {
        struct fx fx;
        fx_init(&fx, &(struct fx_options){.tls = over_tls, .sim = sim, .seed = 7});
        script(&fx);
        fx_run(&fx);
        if (check)
            check(&fx);
        fx_release(&fx);
    }
}

/* And over a simulated network at its worst: nothing depends on how bytes are cut. */
static void over_all(void (*script)(struct fx *fx))
{
    over_both(script, NULL);
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct fx fx;
        fx_init(&fx,
                &(struct fx_options){.tls = over_tls, .sim = true, .faults = true, .seed = seed});
        script(&fx);
        fx_run(&fx);
        fx_release(&fx);
    }
}

/* ---- connections that go on ---- */

static void keep_alive_script(struct fx *fx)
{
    fx_serve(fx);
    fx_script(fx, SEND(GET_FIXED), EXPECT(200, .body = "fixed\n", .header = "!Connection"),
              SEND(GET_FIXED), EXPECT(200, .header = "Content-Length: 6"),
              SEND("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"),
              EXPECT(200, .body = "abc", .header = "Date:"),
              SEND("GET /fixed HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
              EXPECT(200, .header = "Connection: close"), AWAIT_EOF);
    fx_script(fx, SEND("GET /fixed HTTP/1.0\r\n\r\n"), EXPECT(200, .header = "Connection: close"),
              AWAIT_EOF);
    fx_script(fx, SEND("GET /fixed HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
              EXPECT(200, .header = "Connection: keep-alive"), SEND(GET_FIXED), EXPECT(200));
    /* HTTP/1.0 knows no chunks: the answer ends with the connection. */
    fx_script(fx, SEND("GET /pieces HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
              EXPECT(200, .body = "one two three four\n", .header = "!Transfer-Encoding"),
              AWAIT_EOF);
    fx_script(fx, SEND("GET /pieces HTTP/1.1\r\nHost: a\r\n\r\n"),
              EXPECT(200, .body = "one two three four\n", .header = "Transfer-Encoding: chunked"),
              SEND("GET /pieces/length HTTP/1.1\r\nHost: a\r\n\r\n"),
              EXPECT(200, .body = "0123456789", .header = "Content-Length: 10"), SEND(GET_FIXED),
              EXPECT(200));
}

static void a_connection_goes_on_as_both_sides_wish(void **state)
{
    over_all(keep_alive_script);
}

static void bare_script(struct fx *fx)
{
    fx_serve(fx);
    fx_script(fx, SEND("HEAD /fixed HTTP/1.1\r\nHost: a\r\n\r\n"),
              EXPECT(200, .method = METHOD_HEAD, .body = "", .header = "Content-Length: 6"),
              SEND("HEAD /pieces HTTP/1.1\r\nHost: a\r\n\r\n"),
              EXPECT(200, .method = METHOD_HEAD, .body = ""),
              SEND("GET /204 HTTP/1.1\r\nHost: a\r\n\r\n"),
              EXPECT(204, .body = "", .header = "!Content-Length"),
              SEND("GET /304 HTTP/1.1\r\nHost: a\r\n\r\n"),
              EXPECT(304, .body = "", .header = "!Content-Length"), SEND(GET_FIXED), EXPECT(200));
}

static void answers_without_a_body_are_followed_by_the_next(void **state)
{
    over_all(bare_script);
}

static void lengths_script(struct fx *fx)
{
    fx_serve(fx);
    fx_script(fx, SEND("GET /pieces/long HTTP/1.1\r\nHost: a\r\n\r\n"),
              EXPECT(200, .body = "0123456789"), SEND(GET_FIXED), EXPECT(200));
    fx_script(fx, SEND("GET /pieces/short HTTP/1.1\r\nHost: a\r\n\r\n"), WAIT(30 * IO_MS),
              CLOSE_NOW);
}

static void a_handler_cannot_break_the_framing(void **state)
{
    over_all(lengths_script);
}

static void pipeline_script(struct fx *fx)
{
    fx_serve(fx);
    fx_script(fx, SEND(GET_FIXED GET_FIXED "GET /timer HTTP/1.1\r\nHost: a\r\n\r\n" GET_FIXED),
              EXPECT(200, .body = "fixed\n"), EXPECT(200, .body = "fixed\n"),
              EXPECT(200, .body = "later\n"), EXPECT(200, .body = "fixed\n"),
              SEND("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" GET_FIXED),
              EXPECT(200, .body = "abc"), EXPECT(200, .body = "fixed\n"),
              /* The body of the first is thrown away. */
              SEND("POST /fixed HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" GET_FIXED),
              EXPECT(200), EXPECT(200),
              SEND("POST /fixed HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                   "3\r\nabc\r\n0\r\nX: y\r\n\r\n" GET_FIXED),
              EXPECT(200), EXPECT(200));
    fx_script(fx, SEND_TIMES(GET_FIXED, 2000), EXPECT(200), WAIT(10 * IO_MS), CLOSE_NOW);
    /* Nothing is read behind a request that asked for the end. */
    fx_script(fx, SEND("GET /fixed HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" GET_FIXED),
              EXPECT(200), AWAIT_EOF);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    over_all(pipeline_script);
}

static void slowly_script(struct fx *fx)
{
    fx_serve(fx);
    fx_script(fx,
              SLOWLY("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                     "3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-Trailer: some value\r\n\r\n",
                     0),
              EXPECT(200, .body = "abc0123456789"), SLOWLY(GET_FIXED GET_FIXED, 0), EXPECT(200),
              EXPECT(200));
    /* The trailers are longer than the memory that the handler reads into. */
    fx_script(fx,
              SLOWLY("POST /sip/small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                     "3;x=y\r\nabc\r\n5\r\ndefgh\r\n0\r\nX-Trailer: some value\r\n\r\n",
                     0),
              EXPECT(200, .body = "8 2758628677764\n"));
    fx_script(fx,
              SEND("POST /sip/small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                   "3;x=y\r\nabc\r\n5\r\ndefgh\r\n0\r\nX-Trailer: some value\r\n\r\n"),
              EXPECT(200, .body = "8 2758628677764\n"), SEND(GET_FIXED), EXPECT(200));
    fx_script(fx, SEND("POST /stream HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
              SEND("3\r\nabc\r\n"), WAIT(5 * IO_MS), SEND("3\r\ndef\r\n"), WAIT(5 * IO_MS),
              SEND("0\r\n\r\n"), EXPECT(200, .body = "abcdef"), SEND(GET_FIXED), EXPECT(200));
}

static void bytes_may_come_one_by_one(void **state)
{
    over_all(slowly_script);
}

/* ---- Expect ---- */

static void expect_script(struct fx *fx)
{
    fx_serve(fx);
    fx_script(fx,
              SEND("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
                   "Expect: 100-continue\r\n\r\n"),
              EXPECT(100), SEND("abc"), EXPECT(200, .body = "abc"), SEND(GET_FIXED), EXPECT(200));
    /* It did not wait. */
    fx_script(fx,
              SEND("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
                   "Expect: 100-continue\r\n\r\nabc"),
              EXPECT(200, .body = "abc"));
    /* Refused: whether the body comes is not known, so the connection ends. */
    fx_script(fx,
              SEND("POST /fixed HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
                   "Expect: 100-continue\r\n\r\n"),
              EXPECT(200, .header = "Connection: close"), AWAIT_EOF);
    fx_script(fx,
              SEND("POST /stream HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
                   "Expect: 100-continue\r\n\r\n"),
              WAIT(5 * IO_MS), SEND("abc"), EXPECT(200, .body = "abc"), AWAIT_EOF);
    fx_script(
        fx, SEND("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: more\r\n\r\nabc"),
        EXPECT(417, .header = "!Connection"), SEND(GET_FIXED), EXPECT(200));
}

static void a_client_that_waits_for_100_gets_it_when_the_body_is_wanted(void **state)
{
    over_both(expect_script, NULL);
}

/* ---- refusals ---- */

static void errors_script(struct fx *fx)
{
    static const struct {
        const char *head;
        int status;
    } bad[] = {
        {"GET /fixed\r\n\r\n", 400},
        {"GET /fixed HTTP/1.1\r\n\r\n", 400},
        {"GET /fixed HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
        {"GET /fixed HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n", 400},
        {"GET /fixed HTTP/2.0\r\nHost: a\r\n\r\n", 505},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
        {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501},
        {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: "
         "chunked\r\n\r\n",
         400},
        {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400},
        {"\x16\x03\x01", 400},
    };
    fx->config.head_bytes_max = 2000;
    fx->config.headers_max = 10;
    fx->config.body_bytes_max = 1000;
    fx_serve(fx);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        fx_script(fx, SEND(bad[i].head), EXPECT(bad[i].status, .header = "Connection: close"),
                  AWAIT_EOF);
    fx_script(fx, SEND("GET /fixed?"), SEND_TIMES("0123456789", 200),
              EXPECT(414, .header = "Weir-Reason:"), AWAIT_END);
    fx_script(fx, SEND("GET /fixed HTTP/1.1\r\nHost: a\r\n"), SEND_TIMES("X: 0123456789\r\n", 200),
              EXPECT(431), AWAIT_END);
    fx_script(fx, SEND("GET /fixed HTTP/1.1\r\nHost: a\r\n"), SEND_TIMES("X: y\r\n", 10),
              SEND("\r\n"), EXPECT(431), AWAIT_END);
    fx_script(fx,
              SEND("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
              EXPECT(400, .header = "Connection: close"), AWAIT_EOF);
    /* Too large, but short enough to be passed over. */
    fx_script(fx, SEND("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1010\r\n\r\n"),
              SEND_TIMES("0123456789", 101), EXPECT(413, .header = "!Connection"), SEND(GET_FIXED),
              EXPECT(200));
    fx_script(fx, SEND("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
              SEND_TIMES("a\r\n0123456789\r\n", 101), EXPECT(413), AWAIT_END);
    fx_script(fx, SEND("GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n"), EXPECT(404),
              SEND("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n"), EXPECT(405, .header = "Allow: POST"),
              SEND("BREW /fixed HTTP/1.1\r\nHost: a\r\n\r\n"),
              EXPECT(405, .header = "Allow: GET, HEAD, POST"), SEND(GET_FIXED), EXPECT(200));
}

static void what_is_not_a_request_gets_its_status_and_the_end(void **state)
{
    over_all(errors_script);
}

static void refusal_script(struct fx *fx)
{
    fx->config.requests_max = 1;
    fx_serve(fx);
    fx_script(fx, SEND("GET /never HTTP/1.1\r\nHost: a\r\n\r\n"), WAIT(400 * IO_MS),
              CALL(fx_answer_waiting), EXPECT(200, .body = "late\n"));
    /* A short body is read and thrown away. */
    fx_script(fx, WAIT(30 * IO_MS),
              SEND("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n"),
              SEND_TIMES("0123456789", 6000),
              EXPECT(429, .header = "Weir-Reason: EXHAUSTED; requests_max is reached"),
              SEND(GET_FIXED), EXPECT(429, .header = "Retry-After: 1"));
    /* A long one is not, but the refusal reaches a client that writes all of it first. */
    fx_script(fx, WAIT(30 * IO_MS),
              SEND("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\n"),
              SEND_TIMES("01234567890123456789", 1000000),
              EXPECT(429, .header = "Connection: close"), AWAIT_EOF);
    fx_script(fx, WAIT(30 * IO_MS),
              SEND("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
              SEND_TIMES("14\r\n01234567890123456789\r\n", 20000), EXPECT(429), AWAIT_EOF);
}

static void refusal_check(struct fx *fx)
{
    assert_int_equal(fx_counts(fx).refused, 4);
    assert_int_equal(fx_metric(fx, "weir_http_refused_total{server=\"test\"}"), 4);
}

static void a_refusal_is_read_whatever_the_client_was_sending(void **state)
{
    over_both(refusal_script, refusal_check);
}

static void bytes_script(struct fx *fx)
{
    fx->config.request_bytes_max = 200000;
    fx_serve(fx);
    /* Holds 131,072 bytes: its length is not known, and more than one block has come. */
    fx_script(fx, SEND("POST /reads HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
              SEND_TIMES("a\r\n0123456789\r\n", 7000), WAIT(900 * IO_MS), SEND("0\r\n\r\n"),
              EXPECT(200));
    fx_script(fx, WAIT(200 * IO_MS),
              SEND("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 68929\r\n\r\n"),
              EXPECT(429, .header = "Weir-Reason: EXHAUSTED; request_bytes_max is reached"));
    fx_script(fx, WAIT(400 * IO_MS),
              SEND("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n"),
              SEND_TIMES("0123456789", 6000), EXPECT(200));
    /* May have its first block and no second. */
    fx_script(fx, WAIT(600 * IO_MS),
              SEND("POST /sip/none HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
              SEND_TIMES("a\r\n0123456789\r\n", 7000), EXPECT(429, .header = "Retry-After: 1"),
              AWAIT_END);
    fx_script(fx, WAIT(800 * IO_MS),
              SEND("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
              SEND_TIMES("a\r\n0123456789\r\n", 7000), EXPECT(429), AWAIT_END);
}

static void bodies_in_flight_have_a_limit_and_each_block_counts(void **state)
{
    for (uint64_t seed = 0; seed < 5; seed++) {
        struct fx fx;
        fx_init(&fx, &(struct fx_options){.tls = over_tls, .sim = true, .seed = seed});
        bytes_script(&fx);
        fx_run(&fx);
        assert_int_equal(fx_counts(&fx).refused, 3);
        fx_release(&fx);
    }
}

static void connections_script(struct fx *fx)
{
    fx->config.connections_max = 2;
    fx_serve(fx);
    fx_script(fx, SEND(GET_FIXED), EXPECT(200), WAIT(60 * IO_MS));
    fx_script(fx, SEND(GET_FIXED), EXPECT(200), WAIT(60 * IO_MS));
    fx_script(fx, WAIT(0), AWAIT_END);
    fx_script(fx, WAIT(0), AWAIT_END);
}

static void connections_above_the_limit_are_closed(void **state)
{
    struct fx fx;
    fx_init(&fx, &(struct fx_options){.tls = over_tls});
    connections_script(&fx);
    fx_run(&fx);
    assert_int_equal(fx_counts(&fx).refused, 2);
    fx_release(&fx);
}

/* ---- time ---- */

/* Real time is given more room, as the machine may be busy. */
#define TICK ((fx->options.sim ? 10 : 40) * IO_MS)

static void slow_config(struct fx *fx)
{
    fx->config.head_timeout = 6 * TICK;
    fx->config.body_timeout = 12 * TICK;
    fx->config.idle_timeout = 20 * TICK;
    fx_serve(fx);
}

static void head_time_script(struct fx *fx)
{
    slow_config(fx);
    fx_script(fx, SLOWLY("GET /fixed HTTP/1.1\r\nHost: a\r\nX: this goes on for ever", TICK),
              EXPECT(408, .header = "Connection: close"), AWAIT_END);
    fx_script(fx, SEND("GET"), SILENCE(2 * TICK), EXPECT(408), AWAIT_EOF);
    fx_script(fx, SEND(GET_FIXED "GET"), EXPECT(200), SILENCE(2 * TICK), EXPECT(408), AWAIT_EOF);
    fx_script(fx, AWAIT_EOF);
    fx_script(fx, SEND(GET_FIXED), EXPECT(200), SILENCE(15 * TICK), AWAIT_EOF);
    fx_script(fx, SEND(GET_FIXED), EXPECT(200), SILENCE(15 * TICK), SEND(GET_FIXED), EXPECT(200),
              SILENCE(15 * TICK), AWAIT_EOF);
    /* A request that runs has no such limit. */
    fx_script(fx, SEND("GET /never HTTP/1.1\r\nHost: a\r\n\r\n"), SILENCE(40 * TICK),
              CALL(fx_answer_waiting), EXPECT(200, .body = "late\n"), SILENCE(15 * TICK),
              AWAIT_EOF);
}

static void slow_heads_and_idle_connections_time_out(void **state)
{
    over_both(head_time_script, NULL);
}

static void body_time_script(struct fx *fx)
{
    slow_config(fx);
    fx_script(fx, SEND("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"),
              SILENCE(8 * TICK), EXPECT(408, .header = "Weir-Reason: DEADLINE"), AWAIT_END);
    fx_script(fx, SEND("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n"),
              SILENCE(8 * TICK), EXPECT(408), AWAIT_END);
    /* Read straight into the handler's memory, which is gone with the answer. */
    fx_script(fx, SEND("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\nabc"),
              SILENCE(8 * TICK), EXPECT(408), SEND("more"), AWAIT_END);
    fx_script(fx, SEND("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"),
              SLOWLY("abcde", 8 * TICK), EXPECT(200, .body = "abcde"));
    /* One that is to be thrown away. */
    fx_script(fx, SEND("POST /fixed HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"),
              EXPECT(200), SILENCE(8 * TICK), AWAIT_END);
}

static void slow_bodies_time_out(void **state)
{
    over_both(body_time_script, NULL);
}

static void slow_reader_script(struct fx *fx)
{
    slow_config(fx);
    fx_script(fx, SEND("GET /big HTTP/1.1\r\nHost: a\r\n\r\n"), EXPECT(200), SEND(GET_FIXED),
              EXPECT(200));
}

/* More than the buffers between the two take, so that the answer waits for its reader. */
static void a_slow_reader_gets_all_as_long_as_it_reads(void **state)
{
    for (uint64_t seed = 0; seed < 3; seed++) {
        struct fx fx;
        fx_init(&fx,
                &(struct fx_options){.tls = over_tls, .sim = true, .faults = true, .seed = seed});
        slow_reader_script(&fx);
        fx_run(&fx);
        fx_release(&fx);
    }
}

/* ---- half-closed ---- */

static void half_close_script(struct fx *fx)
{
    fx->config.half_close = true;
    fx_serve(fx);
    fx_script(fx, SEND("GET /timer HTTP/1.1\r\nHost: a\r\n\r\n"), SEND_FIN,
              EXPECT(200, .body = "later\n", .header = "Connection: close"), AWAIT_EOF);
    fx_script(fx, SEND("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"), SEND_FIN,
              EXPECT(200, .body = "abc"), AWAIT_EOF);
    fx_script(fx, SEND(GET_FIXED GET_FIXED "GET /timer HTTP/1.1\r\nHost: a\r\n\r\n" GET_FIXED),
              SEND_FIN, EXPECT(200), EXPECT(200), EXPECT(200, .body = "later\n"), EXPECT(200),
              AWAIT_EOF);
    fx_script(fx, SEND("POST /reads HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab"), SEND_FIN,
              AWAIT_END);
    fx_script(fx, SEND("GET /fixed HTTP/1.1\r\nHost:"), SEND_FIN, AWAIT_EOF);
    fx_script(fx, SEND(GET_FIXED), EXPECT(200), SEND_FIN, AWAIT_EOF);
    fx_script(fx, SEND("GET /never HTTP/1.1\r\nHost: a\r\n\r\n"), SEND_FIN, WAIT(30 * IO_MS),
              RESET_NOW);
    fx_script(fx, SEND("POST /fixed HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"), SEND_FIN,
              EXPECT(200), AWAIT_END);
    fx_script(fx, WAIT(60 * IO_MS), CALL(fx_answer_waiting));
}

static void a_client_may_half_close_where_that_is_allowed(void **state)
{
    over_all(half_close_script);
}

static void gone_script(struct fx *fx)
{
    fx_serve(fx);
    fx_script(fx, SEND("GET /never HTTP/1.1\r\nHost: a\r\n\r\n"), SEND_FIN, AWAIT_EOF);
    fx_script(fx, SEND("GET /never HTTP/1.1\r\nHost: a\r\n\r\n" GET_FIXED), SEND_FIN, AWAIT_END);
}

static void gone_check(struct fx *fx)
{
    assert_int_equal(fx->gone, 2);
}

static void elsewhere_an_end_of_file_means_that_the_client_has_gone(void **state)
{
    over_both(gone_script, gone_check);
}

int main(int argc, char **argv)
{
    over_tls = argc > 1 && strcmp(argv[1], "tls") == 0;
    setvbuf(stdout, NULL, _IONBF, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_goes_on_as_both_sides_wish),
        cmocka_unit_test(answers_without_a_body_are_followed_by_the_next),
        cmocka_unit_test(a_handler_cannot_break_the_framing),
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
        cmocka_unit_test(bytes_may_come_one_by_one),
        cmocka_unit_test(a_client_that_waits_for_100_gets_it_when_the_body_is_wanted),
        cmocka_unit_test(what_is_not_a_request_gets_its_status_and_the_end),
        cmocka_unit_test(a_refusal_is_read_whatever_the_client_was_sending),
        cmocka_unit_test(bodies_in_flight_have_a_limit_and_each_block_counts),
        cmocka_unit_test(connections_above_the_limit_are_closed),
        cmocka_unit_test(slow_heads_and_idle_connections_time_out),
        cmocka_unit_test(slow_bodies_time_out),
        cmocka_unit_test(a_slow_reader_gets_all_as_long_as_it_reads),
        cmocka_unit_test(a_client_may_half_close_where_that_is_allowed),
        cmocka_unit_test(elsewhere_an_end_of_file_means_that_the_client_has_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
