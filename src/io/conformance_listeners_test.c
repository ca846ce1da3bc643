/* Connecting, listening, and handing connections from loop to loop. */
#include "io/conformance_test.h"

#include <stdio.h>

static struct span_mut into(void *ptr, size_t len)
{
    return (struct span_mut){ptr, len};
}

/* ---- connect --------------------------------------------------------------------------- */

static void connected_and_close(void *arg, struct stream *stream, result r)
{
    fx_on_connected(arg, stream, r);
    stream_close(stream, STREAM_CLOSE, fx_closed_and_stop, arg);
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
        stream_close(stream, STREAM_CLOSE, fx_closed_and_stop, &fx);
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
    assert_string_equal(strrchr(fx.address.path, '/'), "/socket");
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
        fx_run_pair(&fx, families[i], go_peer);
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
    fx_write_text(arg, stream, "moved");
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
    stream_read(fx->client, fx_scratch(), fx_read_and_stop, fx);
    assert_int_equal(stream_detach(fx->server, &detached).code, ERR_NONE);
    detached_close(fx->process, detached);
}

static void closing_a_detached_connection_ends_it(void **state)
{
    struct fx fx;
    fx_run_pair(&fx, IO_INET, go_detached_close);
    assert_log(&fx, "read=OK:0 \"\"");
    fx_release(&fx);
}

const struct CMUnitTest listener_tests[] = {
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
};
const size_t listener_tests_count = ARRAY_LEN(listener_tests);
