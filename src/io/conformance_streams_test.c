/* Streams: rules I1 to I3, I6, and what reading, writing and closing promise. */
#include "io/conformance_test.h"

#include "base/alloc.h"

#include <stdio.h>

#define BIG ((size_t)10 << 20)

static struct span_mut into(void *ptr, size_t len)
{
    return (struct span_mut){ptr, len};
}

/* ---- read ------------------------------------------------------------------------- */

static void go_read(struct fx *fx)
{
    stream_read(fx->server, fx_scratch(), fx_read_and_stop, fx);
    fx_write_text(fx, fx->client, "hello");
}

static void a_read_completes_with_the_bytes_that_were_written(void **state)
{
    enum io_family families[] = {IO_INET, IO_UNIX};
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        struct fx fx;
        fx_run_pair(&fx, families[i], go_read);
        assert_log(&fx, "write=OK read=OK:5 \"hello\"");
        fx_release(&fx);
    }
}

static char small[3];

static void read_small_again(void *arg, struct stream *stream, result r, struct span bytes)
{
    struct fx *fx = arg;
    assert_ptr_equal(bytes.ptr, small);
    fx_note(fx, "%.*s", SPAN_FMT(bytes));
    if (bytes.len < sizeof(small))
        fx_stop(fx);
    else
        stream_read(stream, into(small, sizeof(small)), read_small_again, fx);
}

static void go_small(struct fx *fx)
{
    struct span part = SPAN("abcdefgh");
    assert_int_equal(stream_try_write(fx->client, &part, 1), 8);
    stream_read(fx->server, into(small, sizeof(small)), read_small_again, fx);
}

static void a_read_fills_the_callers_buffer_and_leaves_the_rest(void **state)
{
    struct fx fx;
    fx_run_pair(&fx, IO_INET, go_small);
    assert_log(&fx, "abc def gh");
    fx_release(&fx);
}

/* Each arming call is made with `inside` true. */
struct inside {
    bool inside, broken;
    int completed;
};

static void check_inside(struct fx *fx)
{
    struct inside *in = fx->arg;
    in->broken = in->broken || in->inside;
    in->completed++;
}

static void inside_read(void *arg, struct stream *stream, result r, struct span bytes)
{
    check_inside(arg);
}

static void inside_write(void *arg, struct stream *stream, result r)
{
    check_inside(arg);
}

static void inside_closed(void *arg)
{
    check_inside(arg);
    fx_stop(arg);
}

static void close_inside(struct fx *fx)
{
    struct inside *in = fx->arg;
    in->inside = true;
    stream_read(fx->server, fx_scratch(), inside_read, fx);
    stream_close(fx->server, STREAM_CLOSE, inside_closed, fx);
    in->inside = false;
}

static void arm_inside(struct fx *fx)
{
    struct inside *in = fx->arg;
    struct span part = SPAN("y");
    in->inside = true;
    stream_read(fx->server, fx_scratch(), inside_read, fx);
    stream_write(fx->server, &part, 1, inside_write, fx);
    stream_read(fx->client, fx_scratch(), inside_read, fx);
    stream_read_cancel(fx->client);
    in->inside = false;
    fx_after(fx, 20 * IO_MS, close_inside);
}

static void go_inside(struct fx *fx)
{
    struct span part = SPAN("x");
    stream_try_write(fx->client, &part, 1);
    fx_after(fx, 20 * IO_MS, arm_inside); /* the byte is there by then */
}

static void no_completion_runs_inside_the_call_that_armed_it(void **state)
{
    struct inside in = {0};
    struct fx fx;
    fx_init(&fx, 1);
    fx.arg = &in;
    fx_pair(&fx, IO_INET, go_inside);
    fx_run(&fx);
    assert_false(in.broken);
    assert_int_equal(in.completed, 5);
    fx_release(&fx);
}

static void read_the_rest(struct fx *fx)
{
    stream_read(fx->server, fx_scratch(), fx_read_and_stop, fx);
}

static void cancelled_then_again(void *arg, struct stream *stream, result r, struct span bytes)
{
    fx_on_read(arg, stream, r, bytes);
    fx_after(arg, 10 * IO_MS, read_the_rest);
}

static void go_cancel(struct fx *fx)
{
    struct span part = SPAN("kept");
    stream_read_cancel(fx->server); /* none is armed */
    stream_read(fx->server, fx_scratch(), cancelled_then_again, fx);
    stream_read_cancel(fx->server);
    stream_read_cancel(fx->server);
    stream_try_write(fx->client, &part, 1);
}

static void a_cancelled_read_completes_once_and_loses_no_bytes(void **state)
{
    struct fx fx;
    fx_run_pair(&fx, IO_INET, go_cancel);
    assert_log(&fx, "read=CANCELLED:0 read=OK:4 \"kept\"");
    fx_release(&fx);
}

/* ---- close -------------------------------------------------------------------------- */

static uint8_t *big;

static void close_client(struct fx *fx)
{
    fx_note(fx, "closing");
    stream_close(fx->client, STREAM_CLOSE, fx_closed_and_stop, fx);
}

static void go_close(struct fx *fx)
{
    struct span part = span_of(big, BIG);
    stream_read(fx->client, fx_scratch(), fx_on_read, fx);
    stream_write(fx->client, &part, 1, fx_on_write, fx);
    fx_after(fx, 10 * IO_MS, close_client);
}

static void close_completes_what_is_pending_and_calls_back_last(void **state)
{
    struct fx fx;
    big = mem_zalloc(1, BIG);
    fx_run_pair(&fx, IO_INET, go_close);
    assert_log(&fx, "closing read=CANCELLED:0 write=CANCELLED closed");
    fx_release(&fx);
    mem_free(big);
}

static void go_close_at_once(struct fx *fx)
{
    struct span part = SPAN("x");
    stream_write(fx->client, &part, 1, fx_on_write, fx);
    stream_read(fx->client, fx_scratch(), fx_on_read, fx);
    stream_read_cancel(fx->client);
    stream_close(fx->client, STREAM_CLOSE, fx_closed_and_stop, fx);
}

static void what_was_done_but_not_completed_is_cancelled_by_close(void **state)
{
    struct fx fx;
    fx_run_pair(&fx, IO_INET, go_close_at_once);
    assert_log(&fx, "read=CANCELLED:0 write=CANCELLED closed");
    fx_release(&fx);
}

static void read_and_close(void *arg, struct stream *stream, result r, struct span bytes)
{
    fx_on_read(arg, stream, r, bytes);
    stream_close(stream, STREAM_CLOSE, fx_closed_and_stop, arg);
}

static void write_and_close(void *arg, struct stream *stream, result r)
{
    fx_on_write(arg, stream, r);
    stream_close(stream, STREAM_CLOSE, fx_on_closed, arg);
}

static void go_close_inside(struct fx *fx)
{
    struct span part = SPAN("x");
    stream_read(fx->server, fx_scratch(), read_and_close, fx);
    stream_write(fx->client, &part, 1, write_and_close, fx);
}

static void a_stream_may_be_closed_inside_its_own_completion(void **state)
{
    struct fx fx;
    fx_run_pair(&fx, IO_INET, go_close_inside);
    /* What happens on one stream against the other is in no promised order. */
    assert_non_null(strstr(fx.log, "write=OK"));
    char *read = strstr(fx.log, "read=OK:1");
    assert_non_null(read);
    char *first = strstr(fx.log, "closed");
    assert_non_null(first);
    assert_non_null(strstr(first + 1, "closed"));
    assert_non_null(strstr(read, "closed"));
    fx_release(&fx);
}

static void end_read(void *arg, struct stream *stream, result r, struct span bytes)
{
    struct fx *fx = arg;
    fx_on_read(arg, stream, r, bytes);
    if (fx->log_len > 30)
        fx_stop(fx);
    else
        stream_read(stream, fx_scratch(), end_read, fx);
}

static void go_reset(struct fx *fx)
{
    stream_read(fx->server, fx_scratch(), end_read, fx);
    stream_close(fx->client, STREAM_RESET, NULL, NULL);
}

static void a_reset_reaches_the_peer_and_stays(void **state)
{
    struct fx fx;
    fx_run_pair(&fx, IO_INET, go_reset);
    assert_log(&fx, "read=RESET:0 read=RESET:0 read=RESET:0");
    fx_release(&fx);
}

/* ---- half-close ------------------------------------------------------------------- */

static void server_got(void *arg, struct stream *stream, result r, struct span bytes)
{
    struct fx *fx = arg;
    fx_on_read(arg, stream, r, bytes);
    if (bytes.len > 0) {
        stream_read(stream, fx_scratch(), server_got, fx);
        return;
    }
    fx_write_text(fx, stream, "late");
}

static void go_half(struct fx *fx)
{
    struct span part = SPAN("last");
    stream_read(fx->server, fx_scratch(), server_got, fx);
    stream_read(fx->client, fx_scratch(), fx_read_and_stop, fx);
    stream_try_write(fx->client, &part, 1);
    stream_shutdown(fx->client);
}

static void after_shutdown_the_peer_reads_the_end_and_may_still_answer(void **state)
{
    enum io_family families[] = {IO_INET, IO_UNIX};
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        struct fx fx;
        fx_run_pair(&fx, families[i], go_half);
        assert_log(&fx, "read=OK:4 read=OK:0 write=OK read=OK:4 \"late\"");
        fx_release(&fx);
    }
}

static void go_end_again(struct fx *fx)
{
    stream_shutdown(fx->client);
    stream_read(fx->server, fx_scratch(), end_read, fx);
}

static void every_read_after_the_end_of_file_is_the_end_of_file(void **state)
{
    struct fx fx;
    fx_run_pair(&fx, IO_INET, go_end_again);
    assert_log(&fx, "read=OK:0 read=OK:0 read=OK:0 read=OK:0");
    fx_release(&fx);
}

/* ---- big transfers -------------------------------------------------------------------- */

struct transfer {
    size_t received, sent;
    bool wrong, slow, ended;
    struct io_timer pause;
    struct fx *fx;
    struct span parts[16];
};

static void transfer_read(void *arg, struct stream *stream, result r, struct span bytes)
{
    struct transfer *t = arg;
    for (size_t i = 0; i < bytes.len; i++)
        t->wrong = t->wrong || bytes.ptr[i] != (uint8_t)((t->received + i) * 31 >> 5);
    t->received += bytes.len;
    if (failed(r) || bytes.len == 0) {
        t->ended = is(r, ERR_NONE);
        fx_stop(t->fx);
    } else if (t->slow) {
        timer_start(stream_loop(stream), &t->pause, loop_now(stream_loop(stream)) + 100 * IO_US);
    } else {
        stream_read(stream, fx_scratch(), transfer_read, t);
    }
}

static void transfer_resume(struct io_timer *timer)
{
    struct transfer *t = CONTAINER_OF(timer, struct transfer, pause);
    stream_read(t->fx->server, fx_scratch(), transfer_read, t);
}

static void go_transfer(struct fx *fx)
{
    struct transfer *t = fx->arg;
    for (size_t i = 0; i < BIG; i++)
        big[i] = (uint8_t)(i * 31 >> 5);
    for (size_t i = 0; i < 16; i++) /* of unequal length, one empty */
        t->parts[i] = span_of(big + i * (BIG / 16), BIG / 16);
    t->parts[0].len -= 5;
    t->parts[1] = span_of(t->parts[1].ptr - 5, t->parts[1].len + 5);
    t->parts[14].len += t->parts[15].len;
    t->parts[15].len = 0;
    stream_read(fx->server, fx_scratch(), transfer_read, t);
    stream_write(fx->client, t->parts, 16, fx_on_write, fx);
    stream_shutdown(fx->client); /* waits for the write */
}

static void transfer(bool slow, enum io_family family)
{
    struct fx fx;
    struct transfer t = {.slow = slow, .fx = &fx, .pause.fired = transfer_resume};
    big = mem_alloc(BIG);
    fx_init(&fx, 1);
    fx.arg = &t;
    fx_pair(&fx, family, go_transfer);
    fx_run(&fx);
    assert_int_equal(t.received, BIG);
    assert_false(t.wrong);
    assert_true(t.ended);
    assert_log(&fx, "write=OK");
    fx_release(&fx);
    mem_free(big);
}

static void ten_megabytes_arrive_whole_and_in_order(void **state)
{
    transfer(false, IO_INET);
    transfer(false, IO_UNIX);
}

static void a_slow_reader_holds_the_writer_back_and_gets_everything(void **state)
{
    transfer(true, IO_INET);
}

/* As much as the stream takes at once, and at once the end; nobody reads yet. */
static void go_fill(struct fx *fx)
{
    struct transfer *t = fx->arg;
    struct loop *loop = stream_loop(fx->client);
    for (size_t taken = 1; taken > 0; t->sent += taken) {
        struct span part = span_of(big + t->sent, MIN(BIG - t->sent, STREAM_TURN_BYTES));
        for (size_t i = t->sent; i < t->sent + part.len; i++)
            big[i] = (uint8_t)(i * 31 >> 5);
        taken = stream_try_write(fx->client, &part, 1);
    }
    stream_shutdown(fx->client);
    timer_start(loop, &t->pause, loop_now(loop) + 20 * IO_MS);
}

static void an_end_behind_a_full_pipe_arrives_after_all_that_was_taken(void **state)
{
    struct fx fx;
    struct transfer t = {.fx = &fx, .pause.fired = transfer_resume};
    big = mem_alloc(BIG);
    fx_init(&fx, 1);
    fx.arg = &t;
    fx_pair(&fx, IO_INET, go_fill);
    fx_run(&fx);
    assert_in_range(t.sent, 1, BIG - 1);
    assert_int_equal(t.received, t.sent);
    assert_false(t.wrong);
    assert_true(t.ended);
    fx_release(&fx);
    mem_free(big);
}

/* I7: one that could be read without end, and what else goes on meanwhile. */
struct flood {
    struct fx *fx;
    uint64_t turn;
    size_t in_turn, most, received;
    bool timer_fired, other_read;
    struct io_timer timer;
};

static void flood_read(void *arg, struct stream *stream, result r, struct span bytes)
{
    struct flood *f = arg;
    uint64_t turn = loop_turns(stream_loop(stream));
    f->in_turn = (turn == f->turn ? f->in_turn : 0) + bytes.len;
    f->turn = turn;
    f->most = MAX(f->most, f->in_turn);
    f->received += bytes.len;
    if (f->timer_fired && f->other_read && f->received >= 4 * BIG)
        fx_stop(f->fx);
    else if (is(r, ERR_NONE) && bytes.len > 0)
        stream_read(stream, into(big, BIG), flood_read, f);
}

static void flood_write(void *arg, struct stream *stream, result r)
{
    struct flood *f = arg;
    struct span part = span_of(big, BIG);
    if (is(r, ERR_NONE))
        stream_write(stream, &part, 1, flood_write, f);
}

static void flood_other_read(void *arg, struct stream *stream, result r, struct span bytes)
{
    struct flood *f = arg;
    f->other_read = is(r, ERR_NONE) && span_is(bytes, "other");
}

static void flood_timer(struct io_timer *timer)
{
    struct flood *f = CONTAINER_OF(timer, struct flood, timer);
    struct span part = SPAN("other");
    f->timer_fired = true;
    stream_write(f->fx->server, &part, 1, fx_on_write, f->fx);
}

static void go_flood(struct fx *fx)
{
    struct flood *f = fx->arg;
    stream_read(fx->server, into(big, BIG), flood_read, f);
    stream_read(fx->client, fx_scratch(), flood_other_read, f);
    flood_write(f, fx->client, OK);
    timer_start(fx->loop, &f->timer, loop_now(fx->loop) + IO_MS);
}

static void a_stream_with_bytes_without_end_leaves_the_loop_to_others(void **state)
{
    enum io_family families[] = {IO_INET, IO_UNIX};
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        struct fx fx;
        struct flood f = {.fx = &fx, .timer.fired = flood_timer};
        big = mem_zalloc(1, BIG);
        fx_init(&fx, 1);
        fx.arg = &f;
        fx_pair(&fx, families[i], go_flood);
        fx_run(&fx);
        assert_in_range(f.most, 1, STREAM_TURN_BYTES);
        assert_true(f.received >= 4 * BIG);
        fx_release(&fx);
        mem_free(big);
    }
}

static size_t taken;

static void drained(void *arg, struct stream *stream, result r, struct span bytes)
{
    struct fx *fx = arg;
    taken -= bytes.len;
    if (taken == 0)
        fx_stop(fx);
    else
        stream_read(stream, fx_scratch(), drained, fx);
}

static void drained_to_the_end(void *arg, struct stream *stream, result r, struct span bytes)
{
    struct fx *fx = arg;
    taken -= bytes.len;
    if (!failed(r) && bytes.len > 0) {
        stream_read(stream, fx_scratch(), drained_to_the_end, fx);
        return;
    }
    fx_on_read(fx, stream, r, bytes);
    fx_stop(fx);
}

static void go_full(struct fx *fx)
{
    struct span part = span_of(big, BIG);
    size_t n;
    taken = 0;
    while ((n = stream_try_write(fx->client, &part, 1)) > 0) {
        assert_in_range(n, 1, STREAM_TURN_BYTES);
        taken += n;
    }
    fx_note(fx, taken > 0 ? "some" : "none");
    struct span last = SPAN("last");
    taken += last.len;
    stream_write(fx->client, &last, 1, fx_on_write, fx);
    stream_read(fx->server, fx_scratch(), drained, fx);
}

static void try_write_takes_what_there_is_room_for_and_write_waits(void **state)
{
    struct fx fx;
    big = mem_zalloc(1, BIG);
    fx_run_pair(&fx, IO_UNIX, go_full);
    assert_log(&fx, "some write=OK");
    fx_release(&fx);
    mem_free(big);
}

static void go_full_end(struct fx *fx)
{
    struct span part = span_of(big, BIG);
    size_t n;
    taken = 1; /* for the end of file */
    while ((n = stream_try_write(fx->client, &part, 1)) > 0)
        taken += n;
    stream_shutdown(fx->client);
    stream_read(fx->server, fx_scratch(), drained_to_the_end, fx);
}

static void what_try_write_took_arrives_before_the_end_of_file(void **state)
{
    struct fx fx;
    big = mem_zalloc(1, BIG);
    fx_run_pair(&fx, IO_UNIX, go_full_end);
    assert_log(&fx, "read=OK:0");
    assert_int_equal(taken, 1);
    fx_release(&fx);
    mem_free(big);
}

static void go_empty(struct fx *fx)
{
    struct span none[2] = {SPAN_NONE, SPAN_NONE};
    assert_int_equal(stream_try_write(fx->client, none, 2), 0);
    stream_write(fx->client, none, 2, write_and_close, fx);
    stream_read(fx->server, fx_scratch(), fx_read_and_stop, fx);
}

static void a_write_of_nothing_completes(void **state)
{
    struct fx fx;
    fx_run_pair(&fx, IO_INET, go_empty);
    assert_non_null(strstr(fx.log, "write=OK"));
    assert_non_null(strstr(fx.log, "read=OK:0"));
    fx_release(&fx);
}

static void write_until_failed(void *arg, struct stream *stream, result r)
{
    struct fx *fx = arg;
    struct span part = SPAN("into the void");
    if (failed(r)) {
        fx_note(fx, is(r, ERR_CLOSED) || is(r, ERR_RESET) ? "gone" : "other");
        fx_stop(fx);
    } else {
        stream_write(stream, &part, 1, write_until_failed, fx);
    }
}

static void go_write_to_closed(struct fx *fx)
{
    stream_close(fx->server, STREAM_CLOSE, NULL, NULL);
    write_until_failed(fx, fx->client, OK);
}

static void writing_to_a_closed_peer_fails(void **state)
{
    struct fx fx;
    fx_run_pair(&fx, IO_INET, go_write_to_closed);
    assert_log(&fx, "gone");
    fx_release(&fx);
}

/* Keep-alive: the next read is armed inside the callback of the last. */
static void echo(void *arg, struct stream *stream, result r, struct span bytes)
{
    struct fx *fx = arg;
    if (is(r, ERR_NONE) && bytes.len > 0) {
        assert_int_equal(stream_try_write(stream, &bytes, 1), bytes.len);
        stream_read(stream, fx_scratch(), echo, fx);
    }
}

static int rounds;

static void ping(void *arg, struct stream *stream, result r, struct span bytes)
{
    struct fx *fx = arg;
    struct span part = SPAN("ping");
    if (rounds++ == 1000) {
        fx_stop(fx);
        return;
    }
    stream_write(stream, &part, 1, fx_on_write, fx);
    stream_read(stream, fx_scratch(), ping, fx);
}

static void go_ping(struct fx *fx)
{
    rounds = 0;
    stream_read(fx->server, fx_scratch(), echo, fx);
    ping(fx, fx->client, OK, SPAN_NONE);
}

static void a_thousand_rounds_on_one_connection(void **state)
{
    struct fx fx;
    fx_run_pair(&fx, IO_INET, go_ping);
    assert_int_equal(rounds, 1001);
    fx_release(&fx);
}

const struct CMUnitTest stream_tests[] = {
    cmocka_unit_test(a_read_completes_with_the_bytes_that_were_written),
    cmocka_unit_test(a_read_fills_the_callers_buffer_and_leaves_the_rest),
    cmocka_unit_test(no_completion_runs_inside_the_call_that_armed_it),
    cmocka_unit_test(a_cancelled_read_completes_once_and_loses_no_bytes),
    cmocka_unit_test(close_completes_what_is_pending_and_calls_back_last),
    cmocka_unit_test(what_was_done_but_not_completed_is_cancelled_by_close),
    cmocka_unit_test(a_stream_may_be_closed_inside_its_own_completion),
    cmocka_unit_test(a_reset_reaches_the_peer_and_stays),
    cmocka_unit_test(after_shutdown_the_peer_reads_the_end_and_may_still_answer),
    cmocka_unit_test(every_read_after_the_end_of_file_is_the_end_of_file),
    cmocka_unit_test(ten_megabytes_arrive_whole_and_in_order),
    cmocka_unit_test(a_slow_reader_holds_the_writer_back_and_gets_everything),
    cmocka_unit_test(an_end_behind_a_full_pipe_arrives_after_all_that_was_taken),
    cmocka_unit_test(a_stream_with_bytes_without_end_leaves_the_loop_to_others),
    cmocka_unit_test(try_write_takes_what_there_is_room_for_and_write_waits),
    cmocka_unit_test(what_try_write_took_arrives_before_the_end_of_file),
    cmocka_unit_test(a_write_of_nothing_completes),
    cmocka_unit_test(writing_to_a_closed_peer_fails),
    cmocka_unit_test(a_thousand_rounds_on_one_connection),
};
const size_t stream_tests_count = ARRAY_LEN(stream_tests);
