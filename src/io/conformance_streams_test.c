/* Streams and listeners: rules I1 to I6 and each function's promise. */
#include "io/conformance_test.h"

#include "base/alloc.h"

#include <stdio.h>

#define BIG ((size_t)10 << 20)

static struct span_mut into(void *ptr, size_t len)
{
    return (struct span_mut){ptr, len};
}

static void run_pair(struct fx *fx, enum io_family family, void (*go)(struct fx *fx))
{
    fx_init(fx, 1);
    fx_pair(fx, family, go);
    fx_run(fx);
}

static void write_text(struct fx *fx, struct stream *stream, const char *text)
{
    struct span part = span_cstr(text);
    stream_write(stream, &part, 1, fx_on_write, fx);
}

/* ---- read ------------------------------------------------------------------------- */

static void read_and_stop(void *arg, struct stream *stream, result r, struct span bytes)
{
    struct fx *fx = arg;
    fx_on_read(arg, stream, r, bytes);
    fx_note(fx, "\"%.*s\"", SPAN_FMT(bytes));
    fx_stop(fx);
}

static void go_read(struct fx *fx)
{
    stream_read(fx->server, fx_scratch(), read_and_stop, fx);
    write_text(fx, fx->client, "hello");
}

static void a_read_completes_with_the_bytes_that_were_written(void **state)
{
    enum io_family families[] = {IO_INET, IO_UNIX};
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        struct fx fx;
        run_pair(&fx, families[i], go_read);
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
    run_pair(&fx, IO_INET, go_small);
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
    stream_read(fx->server, fx_scratch(), read_and_stop, fx);
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
    run_pair(&fx, IO_INET, go_cancel);
    assert_log(&fx, "read=CANCELLED:0 read=OK:4 \"kept\"");
    fx_release(&fx);
}

/* ---- close -------------------------------------------------------------------------- */

static uint8_t *big;

static void closed_and_stop(void *arg)
{
    fx_on_closed(arg);
    fx_after(arg, 10 * IO_MS, fx_stop); /* anything that comes later would be seen */
}

static void close_client(struct fx *fx)
{
    fx_note(fx, "closing");
    stream_close(fx->client, STREAM_CLOSE, closed_and_stop, fx);
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
    run_pair(&fx, IO_INET, go_close);
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
    stream_close(fx->client, STREAM_CLOSE, closed_and_stop, fx);
}

static void what_was_done_but_not_completed_is_cancelled_by_close(void **state)
{
    struct fx fx;
    run_pair(&fx, IO_INET, go_close_at_once);
    assert_log(&fx, "read=CANCELLED:0 write=CANCELLED closed");
    fx_release(&fx);
}

static void read_and_close(void *arg, struct stream *stream, result r, struct span bytes)
{
    fx_on_read(arg, stream, r, bytes);
    stream_close(stream, STREAM_CLOSE, closed_and_stop, arg);
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
    run_pair(&fx, IO_INET, go_close_inside);
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
    run_pair(&fx, IO_INET, go_reset);
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
    write_text(fx, stream, "late");
}

static void go_half(struct fx *fx)
{
    struct span part = SPAN("last");
    stream_read(fx->server, fx_scratch(), server_got, fx);
    stream_read(fx->client, fx_scratch(), read_and_stop, fx);
    stream_try_write(fx->client, &part, 1);
    stream_shutdown(fx->client);
}

static void after_shutdown_the_peer_reads_the_end_and_may_still_answer(void **state)
{
    enum io_family families[] = {IO_INET, IO_UNIX};
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        struct fx fx;
        run_pair(&fx, families[i], go_half);
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
    run_pair(&fx, IO_INET, go_end_again);
    assert_log(&fx, "read=OK:0 read=OK:0 read=OK:0 read=OK:0");
    fx_release(&fx);
}

/* ---- big transfers -------------------------------------------------------------------- */

struct transfer {
    size_t received;
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

static void go_full(struct fx *fx)
{
    struct span part = span_of(big, BIG);
    size_t n;
    taken = 0;
    while ((n = stream_try_write(fx->client, &part, 1)) > 0)
        taken += n;
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
    run_pair(&fx, IO_UNIX, go_full);
    assert_log(&fx, "some write=OK");
    fx_release(&fx);
    mem_free(big);
}

static void go_empty(struct fx *fx)
{
    struct span none[2] = {SPAN_NONE, SPAN_NONE};
    assert_int_equal(stream_try_write(fx->client, none, 2), 0);
    stream_write(fx->client, none, 2, write_and_close, fx);
    stream_read(fx->server, fx_scratch(), read_and_stop, fx);
}

static void a_write_of_nothing_completes(void **state)
{
    struct fx fx;
    run_pair(&fx, IO_INET, go_empty);
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
    run_pair(&fx, IO_INET, go_write_to_closed);
    assert_log(&fx, "gone");
    fx_release(&fx);
}

/* ---- connect --------------------------------------------------------------------------- */

static void connected_and_close(void *arg, struct stream *stream, result r)
{
    fx_on_connected(arg, stream, r);
    stream_close(stream, STREAM_CLOSE, closed_and_stop, arg);
}

static void connecting_to_nobody_is_refused(void **state)
{
    struct fx fx;
    struct stream *stream;
    fx_init(&fx, 1);
    fx_listen(&fx, IO_INET, NULL);
    listener_close(fx.listener); /* a port that was free a moment ago */
    result r = stream_connect(fx.loop, &fx.address, connected_and_close, &fx, &stream);
    assert_int_equal(r.code, ERR_NONE);
    assert_log(&fx, "");
    fx_run(&fx);
    assert_log(&fx, "connect=REFUSED closed");
    fx_release(&fx);
}

static void a_unix_path_that_is_not_there_is_not_found(void **state)
{
    struct fx fx;
    struct stream *stream;
    struct io_address address = {.family = IO_UNIX, .path = "/tmp/weir-io-none.sock"};
    fx_init(&fx, 1);
    result r = stream_connect(fx.loop, &address, connected_and_close, &fx, &stream);
    assert_int_equal(r.code, ERR_NONE);
    assert_log(&fx, "");
    fx_run(&fx);
    assert_log(&fx, "connect=NOT_FOUND closed");
    fx_release(&fx);
}

static void ignore_detached(void *arg, struct listener *listener, struct io_detached detached)
{
    detached_close(((struct fx *)arg)->process, detached);
}

static void a_stream_may_be_closed_while_it_connects(void **state)
{
    enum io_family families[] = {IO_INET, IO_UNIX};
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        struct fx fx;
        struct stream *stream;
        fx_init(&fx, 1);
        fx_listen(&fx, families[i], ignore_detached);
        result r = stream_connect(fx.loop, &fx.address, fx_on_connected, &fx, &stream);
        assert_int_equal(r.code, ERR_NONE);
        stream_close(stream, STREAM_CLOSE, closed_and_stop, &fx);
        fx_run(&fx);
        assert_log(&fx, "connect=CANCELLED closed");
        fx_release(&fx);
    }
}

/* ---- listeners ---------------------------------------------------------------------------- */

static void port_0_becomes_a_real_port_which_a_second_listener_cannot_have(void **state)
{
    struct fx fx;
    struct listener *second = NULL;
    struct diag diag = {0};
    char name[128];
    fx_init(&fx, 1);
    fx_listen(&fx, IO_INET, ignore_detached);
    assert_int_equal(fx.address.family, IO_INET);
    assert_int_not_equal(fx.address.port, 0);
    result r = listener_open(fx.loop, &fx.address, NULL, ignore_detached, &fx, &second, &diag);
    assert_int_equal(r.code, ERR_ADDRESS_IN_USE);
    assert_null(second);
    io_address_format(&fx.address, name, sizeof(name));
    assert_non_null(strstr(diag.text, name));
    listener_close(fx.listener);
    r = listener_open(fx.loop, &fx.address, NULL, ignore_detached, &fx, &second, NULL);
    assert_int_equal(r.code, ERR_NONE);
    fx_release(&fx);
}

static void a_unix_path_somebody_listens_on_cannot_be_had(void **state)
{
    struct fx fx;
    struct listener *second = NULL;
    fx_init(&fx, 1);
    fx_listen(&fx, IO_UNIX, ignore_detached);
    assert_string_equal(fx.address.path, FX_UNIX_PATH);
    result r = listener_open(fx.loop, &fx.address, NULL, ignore_detached, &fx, &second, NULL);
    assert_int_equal(r.code, ERR_ADDRESS_IN_USE);
    listener_close(fx.listener);
    r = listener_open(fx.loop, &fx.address, NULL, ignore_detached, &fx, &second, NULL);
    assert_int_equal(r.code, ERR_NONE);
    listener_close(second);
    listener_close(NULL);
    fx_release(&fx);
}

static void note_accept(void *arg, struct listener *listener, struct io_detached detached)
{
    struct fx *fx = arg;
    fx_note(fx, "accept");
    detached_close(fx->process, detached);
    fx_stop(fx);
}

static void resume(struct fx *fx)
{
    fx_note(fx, "resume");
    listener_resume(fx->listener);
}

static void a_paused_listener_leaves_callers_in_the_backlog(void **state)
{
    struct fx fx;
    struct stream *stream;
    fx_init(&fx, 1);
    fx_listen(&fx, IO_INET, note_accept);
    listener_pause(fx.listener);
    listener_pause(fx.listener);
    result r = stream_connect(fx.loop, &fx.address, fx_on_connected, &fx, &stream);
    assert_int_equal(r.code, ERR_NONE);
    fx_after(&fx, 50 * IO_MS, resume);
    fx_run(&fx);
    assert_log(&fx, "connect=OK resume accept");
    fx_release(&fx);
}

static void close_listener(void *arg, struct listener *listener, struct io_detached detached)
{
    struct fx *fx = arg;
    fx_note(fx, "accept");
    detached_close(fx->process, detached);
    listener_close(listener);
    fx_after(fx, 50 * IO_MS, fx_stop);
}

static void a_listener_may_be_closed_inside_its_callback_and_accepts_no_more(void **state)
{
    struct fx fx;
    struct stream *streams[3];
    fx_init(&fx, 1);
    fx_listen(&fx, IO_INET, close_listener);
    for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
        result r = stream_connect(fx.loop, &fx.address, connected_and_close, &fx, &streams[i]);
        assert_int_equal(r.code, ERR_NONE);
    }
    fx_run(&fx);
    char *first = strstr(fx.log, "accept");
    assert_non_null(first);
    assert_null(strstr(first + 1, "accept"));
    fx_release(&fx);
}

static void go_peer(struct fx *fx)
{
    struct io_address far;
    stream_peer(fx->client, &far);
    fx_note(fx, far.family == fx->address.family && far.port == fx->address.port &&
                        strcmp(far.path, fx->address.path) == 0
                    ? "listener"
                    : "other");
    stream_peer(fx->server, &far);
    fx_note(fx, "%s%s", far.family == fx->address.family ? "caller" : "other", far.path);
    assert_ptr_equal(stream_loop(fx->client), fx->loop);
    fx_stop(fx);
}

static void the_peer_of_a_stream_is_its_far_end(void **state)
{
    enum io_family families[] = {IO_INET, IO_UNIX};
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        struct fx fx;
        run_pair(&fx, families[i], go_peer);
        assert_log(&fx, "listener caller");
        fx_release(&fx);
    }
}

/* ---- hand-over ------------------------------------------------------------------------------- */

struct hand_over {
    struct fx *fx;
    struct io_post post;
    struct io_detached detached;
    struct loop *to, *read_on;
    struct stream *stream;
    char got[8];
    size_t got_len;
};

static void handed_read(void *arg, struct stream *stream, result r, struct span bytes)
{
    struct hand_over *h = arg;
    h->read_on = stream_loop(stream);
    h->got_len = MIN(bytes.len, sizeof(h->got));
    memcpy(h->got, bytes.ptr, h->got_len);
    process_stop(h->fx->process);
}

static void handed(struct io_post *post)
{
    struct hand_over *h = CONTAINER_OF(post, struct hand_over, post);
    result r = stream_adopt(h->to, h->detached, &h->stream);
    ASSERT(is(r, ERR_NONE));
    stream_read(h->stream, fx_scratch(), handed_read, h);
}

static void accept_and_hand_over(void *arg, struct listener *listener, struct io_detached detached)
{
    struct fx *fx = arg;
    struct hand_over *h = fx->arg;
    h->detached = detached;
    h->post.run = handed;
    loop_post(h->to, &h->post);
}

static void connected_and_write(void *arg, struct stream *stream, result r)
{
    write_text(arg, stream, "moved");
}

static void an_accepted_connection_is_served_by_another_loop(void **state)
{
    struct fx fx;
    struct stream *stream;
    struct hand_over h = {.fx = &fx};
    fx_init(&fx, 2);
    fx.arg = &h;
    h.to = process_loop(fx.process, 1);
    fx_listen(&fx, IO_INET, accept_and_hand_over);
    result r = stream_connect(fx.loop, &fx.address, connected_and_write, &fx, &stream);
    assert_int_equal(r.code, ERR_NONE);
    fx_run(&fx);
    assert_ptr_equal(h.read_on, h.to);
    assert_memory_equal(h.got, "moved", 5);
    fx_release(&fx);
}

static void detach_after_one(void *arg, struct stream *stream, result r, struct span bytes)
{
    struct hand_over *h = arg;
    r = stream_detach(stream, &h->detached);
    ASSERT(is(r, ERR_NONE));
    h->post.run = handed;
    loop_post(h->to, &h->post);
}

static void go_detach(struct fx *fx)
{
    static char two[2];
    struct span part = SPAN("12rest");
    stream_try_write(fx->client, &part, 1);
    stream_read(fx->server, into(two, sizeof(two)), detach_after_one, fx->arg);
}

static void a_detached_stream_keeps_its_unread_bytes(void **state)
{
    enum io_family families[] = {IO_INET, IO_UNIX};
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        struct fx fx;
        struct hand_over h = {.fx = &fx};
        fx_init(&fx, 2);
        fx.arg = &h;
        h.to = process_loop(fx.process, 1);
        fx_pair(&fx, families[i], go_detach);
        fx_run(&fx);
        assert_ptr_equal(h.read_on, h.to);
        assert_int_equal(h.got_len, 4);
        assert_memory_equal(h.got, "rest", 4);
        fx_release(&fx);
    }
}

static void go_detached_close(struct fx *fx)
{
    struct io_detached detached;
    stream_read(fx->client, fx_scratch(), read_and_stop, fx);
    assert_int_equal(stream_detach(fx->server, &detached).code, ERR_NONE);
    detached_close(fx->process, detached);
}

static void closing_a_detached_connection_ends_it(void **state)
{
    struct fx fx;
    run_pair(&fx, IO_INET, go_detached_close);
    assert_log(&fx, "read=OK:0 \"\"");
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
    run_pair(&fx, IO_INET, go_ping);
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
    cmocka_unit_test(try_write_takes_what_there_is_room_for_and_write_waits),
    cmocka_unit_test(a_write_of_nothing_completes),
    cmocka_unit_test(writing_to_a_closed_peer_fails),
    cmocka_unit_test(connecting_to_nobody_is_refused),
    cmocka_unit_test(a_unix_path_that_is_not_there_is_not_found),
    cmocka_unit_test(a_stream_may_be_closed_while_it_connects),
    cmocka_unit_test(port_0_becomes_a_real_port_which_a_second_listener_cannot_have),
    cmocka_unit_test(a_unix_path_somebody_listens_on_cannot_be_had),
    cmocka_unit_test(a_paused_listener_leaves_callers_in_the_backlog),
    cmocka_unit_test(a_listener_may_be_closed_inside_its_callback_and_accepts_no_more),
    cmocka_unit_test(the_peer_of_a_stream_is_its_far_end),
    cmocka_unit_test(an_accepted_connection_is_served_by_another_loop),
    cmocka_unit_test(a_detached_stream_keeps_its_unread_bytes),
    cmocka_unit_test(closing_a_detached_connection_ends_it),
    cmocka_unit_test(a_thousand_rounds_on_one_connection),
};
const size_t stream_tests_count = ARRAY_LEN(stream_tests);
