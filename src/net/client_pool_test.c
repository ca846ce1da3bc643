/* What a pool does with its connections: keeps, shares and ends them, over libuv and the
 * simulator. */
#include "base/alloc.h"
#include "io/sim/sim.h"
#include "net/test_client_rig.h"

/* ---- keeping connections ---- */

static void next_of_five(struct probe *probe)
{
    struct rig *rig = probe->rig;
    if (++rig->step < 5) {
        probes[rig->step].ended = next_of_five;
        rig_get(rig, &probes[rig->step], "/");
    } else {
        rig_finish(rig);
    }
}

static void five_in_turn(struct rig *rig)
{
    probes[0].ended = next_of_five;
    rig_get(rig, &probes[0], "/");
}

static void a_connection_is_kept_and_used_again(void **state)
{
    EACH_IO(sim)
    {
        struct rig rig;
        rig_init(&rig, sim);
        rig_run(&rig, five_in_turn);
        assert_int_equal(rig.origin.accepted, 1);
        assert_int_equal(rig.origin.requests, 5);
        for (int i = 0; i < 5; i++) {
            assert_int_equal(probes[i].r.code, ERR_NONE);
            assert_int_equal(probes[i].status, 200);
        }
        assert_true(rig_metric(&rig, "weir_client_events_total{event=\"reuse\"} ") == 4);
        assert_true(rig_metric(&rig, "weir_client_events_total{event=\"connect\"} ") == 1);
        assert_true(rig_metric(&rig, "weir_client_requests_total{code=\"200\"} ") == 5);
        rig_release(&rig);
    }
}

static void a_connection_ends_after_its_requests(void **state)
{
    EACH_IO(sim)
    {
        struct rig rig;
        rig_init(&rig, sim);
        rig.config.connection_requests_max = 2;
        rig_run(&rig, five_in_turn);
        assert_int_equal(rig.origin.accepted, 3);
        rig_release(&rig);
    }
}

/* Warm, then counted. */
static uint64_t allocations;

static void again_and_again(struct probe *probe)
{
    struct rig *rig = probe->rig;
    if (++rig->step == 5)
        mem_fail_after(UINT64_MAX / 2, false);
    if (rig->step < 50) {
        rig_get(rig, probe, "/");
    } else {
        allocations = mem_fail_after(0, false);
        rig_finish(rig);
    }
}

static void one_at_a_time(struct rig *rig)
{
    probes[0].ended = again_and_again;
    rig_get(rig, &probes[0], "/");
}

static void a_call_on_a_kept_connection_takes_nothing_from_the_heap(void **state)
{
    struct rig rig;
    rig_init(&rig, false);
    rig.uncounted = true;
    rig_run(&rig, one_at_a_time);
    assert_int_equal(probes[0].ends, 50);
    assert_int_equal(allocations, 0);
    rig_release(&rig);
    memset(probes, 0, sizeof(probes));
}

static void check_gone(struct rig *rig)
{
    struct client_pool_counts counts;
    client_pool_counts(rig->pool, &counts);
    assert_int_equal(counts.connections, 0);
    rig_finish(rig);
}

static void wait_for_end(struct probe *probe)
{
    rig_after(probe->rig, 60 * IO_MS, check_gone);
}

static void one_then_wait(struct rig *rig)
{
    probes[0].ended = wait_for_end;
    rig_get(rig, &probes[0], "/");
}

static void an_idle_or_old_connection_ends(void **state)
{
    EACH_IO(sim)
    {
        for (int by_age = 0; by_age < 2; by_age++) {
            struct rig rig;
            rig_init(&rig, sim);
            if (by_age)
                rig.config.connection_age_max = 20 * IO_MS;
            else
                rig.config.idle_timeout = 20 * IO_MS;
            rig_run(&rig, one_then_wait);
            rig_release(&rig);
            memset(probes, 0, sizeof(probes));
        }
    }
}

static void close_theirs(struct probe *probe)
{
    origin_close_connections(&probe->rig->origin, probe->rig->step ? STREAM_RESET : STREAM_CLOSE);
    rig_after(probe->rig, 60 * IO_MS, check_gone);
}

static void one_then_theirs_ends(struct rig *rig)
{
    probes[0].ended = close_theirs;
    rig_get(rig, &probes[0], "/");
}

static void an_idle_connection_that_the_server_ends_is_seen(void **state)
{
    EACH_IO(sim)
    {
        for (int reset = 0; reset < 2; reset++) {
            struct rig rig;
            rig_init(&rig, sim);
            rig.step = reset;
            rig_run(&rig, one_then_theirs_ends);
            rig_release(&rig);
            memset(probes, 0, sizeof(probes));
        }
    }
}

static void close_after(struct origin *origin, const struct origin_request *request,
                        struct origin_reply *reply)
{
    reply->close_after = true;
}

static void an_answer_that_ends_its_connection_is_obeyed(void **state)
{
    EACH_IO(sim)
    {
        struct rig rig;
        rig_init(&rig, sim);
        rig.origin.choose = close_after;
        rig_run(&rig, five_in_turn);
        assert_int_equal(rig.origin.accepted, 5);
        rig_release(&rig);
    }
}

/* ---- bounds ---- */

static void slow(struct origin *origin, const struct origin_request *request,
                 struct origin_reply *reply)
{
    struct rig *rig = origin->arg;
    reply->delay = 20 * IO_MS;
    assert_true(origin->open <= rig->config.connections_per_origin_max);
}

static void twelve_at_once(struct rig *rig)
{
    for (int i = 0; i < 12; i++) /* 4 connections and 8 that wait */
        rig_get(rig, &probes[i], "/");
    assert_int_equal(rig_send(rig, &probes[12], METHOD_GET, "/", &rig_collecting).code,
                     ERR_EXHAUSTED);
}

static void calls_beyond_the_connections_wait_in_order_and_are_bounded(void **state)
{
    EACH_IO(sim)
    {
        struct rig rig;
        rig_init(&rig, sim);
        rig.origin.choose = slow;
        rig_run(&rig, twelve_at_once);
        assert_int_equal(rig.origin.accepted, 4);
        assert_int_equal(probes[12].ends, 0);
        for (int i = 0; i < 12; i++) {
            assert_int_equal(probes[i].ends, 1);
            assert_int_equal(probes[i].r.code, ERR_NONE);
            for (int k = i + 4; k < 12; k++)
                assert_true(probes[i].order < probes[k].order);
        }
        assert_true(rig_metric(&rig, "weir_client_events_total{event=\"refused\"} ") == 1);
        assert_true(rig_metric(&rig, "weir_client_events_total{event=\"wait\"} ") == 12);
        rig_release(&rig);
    }
}

static void never_answers(struct origin *origin, const struct origin_request *request,
                          struct origin_reply *reply)
{
    reply->how = ORIGIN_NEVER;
}

static void some_in_time(struct rig *rig)
{
    for (int i = 0; i < 12; i++) {
        probes[i].options.request.deadline = loop_now(rig->loop) + (20 + i) * IO_MS;
        rig_get(rig, &probes[i], "/");
    }
}

static void every_call_ends_by_its_deadline(void **state)
{
    EACH_IO(sim)
    {
        struct rig rig;
        rig_init(&rig, sim);
        rig.origin.choose = never_answers;
        rig_run(&rig, some_in_time);
        for (int i = 0; i < 12; i++) {
            assert_int_equal(probes[i].r.code, ERR_DEADLINE);
            assert_true(probes[i].took >= (20 + i) * IO_MS);
        }
        rig_release(&rig);
    }
}

static void cancel_now(struct rig *rig)
{
    for (int i = 0; i < 8; i++) {
        if (!probes[i].call)
            continue;
        client_call_cancel(probes[i].call);
        client_call_cancel(probes[i].call);
        assert_int_equal(probes[i].ends, 0);
    }
}

static void cancel_some(struct rig *rig)
{
    for (int i = 0; i < 8; i++)
        rig_get(rig, &probes[i], "/");
    if (rig->step)
        rig_after(rig, 10 * IO_MS, cancel_now);
    else
        cancel_now(rig);
}

static void a_call_cancelled_ends_once(void **state)
{
    EACH_IO(sim)
    {
        for (int later = 0; later < 2; later++) {
            struct rig rig;
            rig_init(&rig, sim);
            rig.origin.choose = never_answers;
            rig.step = later;
            rig_run(&rig, cancel_some);
            for (int i = 0; i < 8; i++) {
                assert_int_equal(probes[i].ends, 1);
                assert_int_equal(probes[i].r.code, ERR_CANCELLED);
            }
            rig_release(&rig);
            memset(probes, 0, sizeof(probes));
        }
    }
}

/* ---- room between origins ---- */

static struct origin second;
static struct client_origin *to_second;

static void second_done(struct probe *probe)
{
    client_origin_put(steal(&to_second));
    listener_close(steal(&second.listener));
    rig_finish(probe->rig);
}

static void ask_second(struct probe *probe)
{
    struct rig *rig = probe->rig;
    if (rig->running > 0)
        return;
    struct io_endpoint endpoint = {.address = second.address};
    assert_int_equal(client_origin_get(rig->pool, &endpoint, false, &to_second).code, ERR_NONE);
    struct client_origin *first = rig->to;
    rig->to = to_second;
    probes[4].ended = second_done;
    rig_get(rig, &probes[4], "/");
    rig->to = first;
}

static void fill_with_first(struct rig *rig)
{
    for (int i = 0; i < 2; i++) {
        probes[i].ended = ask_second;
        rig_get(rig, &probes[i], "/");
    }
}

static void an_idle_connection_of_another_origin_makes_room(void **state)
{
    EACH_IO(sim)
    {
        struct rig rig;
        rig_init(&rig, sim);
        struct io_address any = rig.origin.address;
        any.port = 0;
        second = (struct origin){0};
        origin_start(&second, rig.loop, &any);
        rig.config.connections_max = 2;
        rig_run(&rig, fill_with_first);
        assert_int_equal(probes[4].r.code, ERR_NONE);
        assert_int_equal(second.accepted, 1);
        origin_release(&second);
        rig_release(&rig);
    }
}

/* ---- the end ---- */

static void count_only(struct probe *probe)
{
}

static void drain_some(struct rig *rig)
{
    for (int i = 0; i < 6; i++) {
        probes[i].ended = count_only;
        rig_get(rig, &probes[i], i % 2 ? "/never" : "/");
    }
    client_origin_put(steal(&rig->to));
    client_pool_drain(rig->pool, loop_now(rig->loop) + 50 * IO_MS, rig_drained, rig);
    struct client_call_options options = probes[0].options;
    assert_int_equal(client_pool_send(rig->pool, &options, &rig_collecting, &probes[7], NULL).code,
                     ERR_DRAINING);
}

static void some_never(struct origin *origin, const struct origin_request *request,
                       struct origin_reply *reply)
{
    if (span_is(request->target, "/never"))
        reply->how = ORIGIN_NEVER;
}

static void a_drain_lets_calls_end_and_cuts_those_that_do_not(void **state)
{
    EACH_IO(sim)
    {
        struct rig rig;
        rig_init(&rig, sim);
        rig.origin.choose = some_never;
        rig.config.connections_per_origin_max = 6;
        rig_run(&rig, drain_some);
        for (int i = 0; i < 6; i++) {
            assert_int_equal(probes[i].ends, 1);
            assert_int_equal(probes[i].r.code, i % 2 ? ERR_CANCELLED : ERR_NONE);
        }
        assert_int_equal(rig.cut, 3);
        listener_close(steal(&rig.origin.listener));
        rig_release(&rig);
    }
}

/* Nobody answers at an address that leads nowhere; the name server is as silent. */
static void drain_while_dialing(struct rig *rig)
{
    sim_name_fail(rig->world, "silent.test", ERR_DEADLINE);
    struct io_endpoint endpoint = {.named = true, .name = "silent.test", .address.port = 80};
    client_origin_put(steal(&rig->to));
    assert_false(failed(client_origin_get(rig->pool, &endpoint, false, &rig->to)));
    probes[0].ended = count_only;
    rig_get(rig, &probes[0], "/");
    client_origin_put(steal(&rig->to));
    client_pool_drain(rig->pool, loop_now(rig->loop) + 50 * IO_MS, rig_drained, rig);
}

static void a_drain_does_not_wait_for_connections_that_nobody_needs(void **state)
{
    struct rig rig;
    rig_init(&rig, true);
    io_time begun = sim_now(rig.world);
    rig_run(&rig, drain_while_dialing);
    assert_true(sim_now(rig.world) - begun < 100 * IO_MS);
    assert_int_equal(probes[0].r.code, ERR_CANCELLED);
    listener_close(steal(&rig.origin.listener));
    rig_release(&rig);
    memset(probes, 0, sizeof(probes));
}

static void stop_midway(struct rig *rig)
{
    process_stop(rig->process);
}

static void leave_running(struct rig *rig)
{
    for (int i = 0; i < 8; i++)
        rig_get(rig, &probes[i], "/");
    rig_after(rig, 20 * IO_MS, stop_midway);
}

static void a_pool_freed_with_all_under_way_leaks_nothing(void **state)
{
    EACH_IO(sim)
    {
        struct rig rig;
        rig_init(&rig, sim);
        rig.origin.choose = never_answers;
        rig_start(&rig, leave_running);
        process_run(rig.process);
        rig_release(&rig);
        for (int i = 0; i < 8; i++)
            assert_int_equal(probes[i].ends, 0);
    }
}

int main(void)
{
    test_pattern(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_is_kept_and_used_again),
        cmocka_unit_test(a_connection_ends_after_its_requests),
        cmocka_unit_test(a_call_on_a_kept_connection_takes_nothing_from_the_heap),
        cmocka_unit_test(an_idle_or_old_connection_ends),
        cmocka_unit_test(an_idle_connection_that_the_server_ends_is_seen),
        cmocka_unit_test(an_answer_that_ends_its_connection_is_obeyed),
        cmocka_unit_test(calls_beyond_the_connections_wait_in_order_and_are_bounded),
        cmocka_unit_test(every_call_ends_by_its_deadline),
        cmocka_unit_test(a_call_cancelled_ends_once),
        cmocka_unit_test(an_idle_connection_of_another_origin_makes_room),
        cmocka_unit_test(a_drain_lets_calls_end_and_cuts_those_that_do_not),
        cmocka_unit_test(a_drain_does_not_wait_for_connections_that_nobody_needs),
        cmocka_unit_test(a_pool_freed_with_all_under_way_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
