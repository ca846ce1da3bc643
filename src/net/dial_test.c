/* Which addresses a dial tries, and when, in the simulator. */
#include "net/dial.h"

#include "base/test_cmocka.h"
#include "io/sim/sim.h"

#include <stdio.h>

#define PORT 8000

static const struct dns_config dns = {
    .timeout = 4 * IO_SEC, .entries_max = 4, .ttl_max = IO_SEC, .negative_ttl = IO_SEC};

struct rig {
    struct world *world;
    struct process *process;
    struct loop *loop;
    struct resolver *resolver;
    struct dialer dialer;
    struct io_endpoint endpoint;
    struct io_post post;
    struct dial *dial;
    struct listener *good, *silent;
    struct stream *filler, *stream;
    int completions, accepted;
    io_time begun, took;
    result r;
    struct io_address peer;
    char why[512];
};

static void accepted(void *arg, struct listener *listener, struct io_detached detached)
{
    struct rig *rig = arg;
    rig->accepted++;
    detached_close(rig->process, detached);
}

static void filled(void *arg, struct stream *stream, result r)
{
}

static struct listener *listen_at(struct rig *rig, const char *text, int backlog)
{
    struct io_address address;
    struct listen_options options = {.backlog = backlog};
    struct listener *listener;
    assert_false(failed(io_address_parse(span_cstr(text), &address, NULL)));
    assert_false(
        failed(listener_open(rig->loop, &address, &options, accepted, rig, &listener, NULL)));
    return listener;
}

static void dialed(void *arg, result r, struct stream *stream, const char *why)
{
    struct rig *rig = arg;
    rig->completions++;
    rig->r = r;
    rig->took = sim_now(rig->world) - rig->begun;
    snprintf(rig->why, sizeof(rig->why), "%s", why);
    if (stream) {
        stream_peer(stream, &rig->peer);
        stream_close(stream, STREAM_CLOSE, NULL, NULL);
    }
}

static void begin(struct io_post *post)
{
    struct rig *rig = CONTAINER_OF(post, struct rig, post);
    rig->begun = sim_now(rig->world);
    rig->dial = dial_start(&rig->dialer, &rig->endpoint, dialed, rig);
    assert_int_equal(rig->completions, 0);
}

/* 127.0.0.1 takes connections; nobody answers at 127.0.0.2, whose backlog is full; nobody
 * listens at others. */
static void rig_init(struct rig *rig, const char *const *addresses, size_t len)
{
    struct io_address list[8], silent;
    *rig = (struct rig){0};
    rig->world = sim_world_new(3);
    rig->process = sim_process_new(rig->world, "one", 1);
    rig->loop = process_loop(rig->process, 0);
    rig->good = listen_at(rig, "127.0.0.1:8000", 0);
    rig->silent = listen_at(rig, "127.0.0.2:8000", 1);
    listener_pause(rig->silent);
    assert_false(failed(io_address_parse(SPAN("127.0.0.2:8000"), &silent, NULL)));
    assert_false(failed(stream_connect(rig->loop, &silent, filled, NULL, &rig->filler)));
    sim_run_until(rig->world, sim_now(rig->world) + IO_MS);
    for (size_t i = 0; i < len; i++) {
        assert_false(failed(io_address_parse(span_cstr(addresses[i]), &list[i], NULL)));
        list[i].port = 0;
    }
    sim_name_put(rig->world, "a.test", list, len, IO_SEC);
    rig->endpoint = (struct io_endpoint){.named = true, .name = "a.test", .address.port = PORT};
    assert_false(failed(resolver_new(rig->loop, &dns, NULL, &rig->resolver)));
    dialer_init(&rig->dialer, rig->loop, rig->resolver, 2 * IO_SEC, 4);
    rig->post.run = begin;
    loop_post(rig->loop, &rig->post);
}

static void rig_run(struct rig *rig)
{
    sim_run_until(rig->world, sim_now(rig->world) + 10 * IO_SEC);
    assert_true(dialer_idle(&rig->dialer));
}

static void rig_release(struct rig *rig)
{
    dialer_release(&rig->dialer);
    resolver_free(rig->resolver);
    process_free(rig->process);
    sim_world_free(rig->world);
}

static void the_next_address_is_tried_when_one_fails_or_does_not_answer(void **state)
{
    static const struct {
        const char *addresses[4];
        size_t len;
        enum err code;
        io_time least, most;
    } cases[] = {
        {{"127.0.0.1:0"}, 1, ERR_NONE, 0, IO_MS},
        {{"127.0.0.9:0", "127.0.0.1:0"}, 2, ERR_NONE, 0, IO_MS},
        {{"127.0.0.2:0", "127.0.0.1:0"}, 2, ERR_NONE, DIAL_NEXT_AFTER, DIAL_NEXT_AFTER + 2 * IO_MS},
        {{"127.0.0.2:0", "127.0.0.2:0", "127.0.0.1:0"},
         3,
         ERR_NONE,
         2 * DIAL_NEXT_AFTER,
         2 * DIAL_NEXT_AFTER + 2 * IO_MS},
        {{"127.0.0.9:0", "127.0.0.8:0"}, 2, ERR_REFUSED, 0, IO_MS},
        {{"127.0.0.2:0", "127.0.0.9:0"}, 2, ERR_UNAVAILABLE, 2 * IO_SEC, 2 * IO_SEC + 2 * IO_MS},
        /* Families in turns: the IPv6 address comes second, after one that is silent. */
        {{"127.0.0.2:0", "127.0.0.2:0", "[::9]:0", "127.0.0.1:0"},
         4,
         ERR_NONE,
         2 * DIAL_NEXT_AFTER,
         2 * DIAL_NEXT_AFTER + 2 * IO_MS},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rig rig;
        rig_init(&rig, cases[i].addresses, cases[i].len);
        rig_run(&rig);
        assert_int_equal(rig.completions, 1);
        assert_int_equal(rig.r.code, cases[i].code);
        assert_true(rig.took >= cases[i].least && rig.took <= cases[i].most);
        if (cases[i].code == ERR_NONE) {
            assert_int_equal(rig.accepted, 1);
            assert_int_equal(rig.peer.port, PORT);
        } else {
            assert_true(rig.why[0]);
        }
        rig_release(&rig);
    }
}

static void a_dial_cancelled_at_any_time_tells_nothing_and_leaves_nothing(void **state)
{
    static const char *const addresses[] = {"127.0.0.2:0", "127.0.0.9:0", "127.0.0.1:0"};
    for (io_time at = 0; at < 300 * IO_MS; at += at < IO_MS ? 20 * IO_US : 10 * IO_MS) {
        struct rig rig;
        rig_init(&rig, addresses, ARRAY_LEN(addresses));
        while (!rig.dial)
            assert_true(sim_step(rig.world));
        sim_run_until(rig.world, rig.begun + at);
        if (rig.completions == 0) {
            dial_cancel(rig.dial);
            rig_run(&rig);
            assert_int_equal(rig.completions, 0);
        } else {
            assert_true(at >= DIAL_NEXT_AFTER);
        }
        rig_release(&rig);
    }
}

static void what_is_too_many_is_refused(void **state)
{
    static const char *const addresses[] = {"127.0.0.1:0"};
    struct rig rig;
    rig_init(&rig, addresses, 1);
    for (int i = 0; i < 4; i++)
        assert_non_null(dial_start(&rig.dialer, &rig.endpoint, dialed, &rig));
    assert_null(dial_start(&rig.dialer, &rig.endpoint, dialed, &rig));
    rig_run(&rig);
    assert_int_equal(rig.completions, 4);
    rig_release(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_address_is_tried_when_one_fails_or_does_not_answer),
        cmocka_unit_test(a_dial_cancelled_at_any_time_tells_nothing_and_leaves_nothing),
        cmocka_unit_test(what_is_too_many_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
