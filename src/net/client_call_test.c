/* What a pool does with one call: sends it, once or more, over libuv and the simulator. */
#include "io/sim/sim.h"
#include "net/test_client_rig.h"

#include <stdio.h>

/* ---- replay ---- */

/* The second request on a connection meets its end. */
static void ends_second(struct origin *origin, const struct origin_request *request,
                        struct origin_reply *reply)
{
    if (request->on_connection == 2)
        reply->how = ((struct rig *)origin->arg)->step;
}

static void second_call(struct probe *probe)
{
    struct rig *rig = probe->rig;
    enum http_method method = rig->cut ? METHOD_POST : METHOD_GET;
    assert_int_equal(rig_send(rig, &probes[1], method, "/", &rig_collecting).code, ERR_NONE);
}

static void two_in_turn(struct rig *rig)
{
    probes[0].ended = second_call;
    rig_get(rig, &probes[0], "/");
}

static void a_kept_connection_that_ends_costs_an_idempotent_request_nothing(void **state)
{
    static const enum origin_how ways[] = {ORIGIN_CLOSE, ORIGIN_RESET};
    EACH_IO(sim)
    {
        for (size_t i = 0; i < ARRAY_LEN(ways) * 2; i++) {
            struct rig rig;
            rig_init(&rig, sim);
            rig.origin.choose = ends_second;
            rig.step = (int)ways[i / 2];
            rig.cut = i % 2; /* POST */
            bool post = rig.cut;
            rig_run(&rig, two_in_turn);
            assert_int_equal(failed(probes[1].r), post);
            assert_int_equal(rig.origin.requests, post ? 2 : 3);
            assert_int_equal(rig.origin.accepted, post ? 1 : 2);
            assert_true(rig_metric(&rig, "weir_client_events_total{event=\"replay\"} ") == !post);
            assert_true(rig_metric(&rig, "weir_client_events_total{event=\"retry\"} ") == 0);
            rig_release(&rig);
            memset(probes, 0, sizeof(probes));
        }
    }
}

static void half_second(struct origin *origin, const struct origin_request *request,
                        struct origin_reply *reply)
{
    if (request->on_connection == 2)
        reply->how = ORIGIN_HALF;
}

static void half_an_answer_is_not_asked_for_again(void **state)
{
    EACH_IO(sim)
    {
        struct rig rig;
        rig_init(&rig, sim);
        rig.origin.choose = half_second;
        rig_run(&rig, two_in_turn);
        assert_int_equal(probes[1].r.code, ERR_CLOSED);
        assert_int_equal(rig.origin.requests, 2);
        rig_release(&rig);
    }
}

static void always_ends(struct origin *origin, const struct origin_request *request,
                        struct origin_reply *reply)
{
    if (origin->requests > 1)
        reply->how = ORIGIN_CLOSE;
}

static void a_replay_happens_once(void **state)
{
    EACH_IO(sim)
    {
        struct rig rig;
        rig_init(&rig, sim);
        rig.origin.choose = always_ends;
        rig_run(&rig, two_in_turn);
        assert_int_equal(probes[1].r.code, ERR_CLOSED);
        assert_int_equal(rig.origin.requests, 3);
        rig_release(&rig);
    }
}

/* ---- retries ---- */

static void busy_twice(struct origin *origin, const struct origin_request *request,
                       struct origin_reply *reply)
{
    reply->body = SPAN("busy");
    if (origin->requests <= 2)
        reply->status = 503;
    else
        reply->body = SPAN("done");
}

static void one_get(struct rig *rig)
{
    rig_get(rig, &probes[0], "/");
}

static void one_post(struct rig *rig)
{
    probes[0].options.request.body = SPAN("body");
    assert_int_equal(rig_send(rig, &probes[0], METHOD_POST, "/", &rig_collecting).code, ERR_NONE);
}

static void nothing_is_sent_again_unless_asked(void **state)
{
    EACH_IO(sim)
    {
        struct rig rig;
        rig_init(&rig, sim);
        rig.origin.choose = busy_twice;
        rig_run(&rig, one_get);
        assert_int_equal(probes[0].status, 503);
        assert_string_equal(probes[0].body, "busy");
        assert_int_equal(rig.origin.requests, 1);
        rig_release(&rig);
    }
}

static void a_policy_sends_what_may_be_sent_again(void **state)
{
    static const struct {
        bool post, any_method;
        int64_t attempts, percent;
        int requests, status;
    } cases[] = {
        {false, false, 3, 200, 3, 200}, {false, false, 2, 200, 2, 503},
        {false, false, 3, 20, 2, 503}, /* the budget: one */
        {true, false, 3, 200, 1, 503},  {true, true, 3, 200, 3, 200},
    };
    EACH_IO(sim)
    {
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
            struct rig rig;
            rig_init(&rig, sim);
            rig.origin.choose = busy_twice;
            rig.config.retry.attempts = cases[i].attempts;
            rig.config.retry.budget_percent = cases[i].percent;
            rig.config.retry.any_method = cases[i].any_method;
            rig_run(&rig, cases[i].post ? one_post : one_get);
            assert_int_equal(probes[0].status, cases[i].status);
            assert_string_equal(probes[0].body, cases[i].status == 200 ? "done" : "busy");
            assert_int_equal(rig.origin.requests, cases[i].requests);
            assert_int_equal(rig.origin.accepted, 1); /* the connection was kept */
            assert_int_equal(probes[0].ends, 1);
            rig_release(&rig);
            memset(probes, 0, sizeof(probes));
        }
    }
}

static void busy_for_a_while(struct origin *origin, const struct origin_request *request,
                             struct origin_reply *reply)
{
    if (origin->requests > 1)
        return;
    reply->status = 429;
    reply->headers =
        ((struct rig *)origin->arg)->step ? "Retry-After: 30\r\n" : "Retry-After: 1\r\n";
}

static void retry_after_is_waited_for_but_never_past_the_deadline(void **state)
{
    EACH_IO(sim)
    {
        for (int beyond = 0; beyond < 2; beyond++) {
            struct rig rig;
            rig_init(&rig, sim);
            rig.origin.choose = busy_for_a_while;
            rig.config.retry.attempts = 3;
            rig.step = beyond;
            rig_run(&rig, one_get);
            assert_int_equal(probes[0].status, beyond ? 429 : 200);
            assert_true(beyond ? probes[0].took < IO_SEC : probes[0].took >= IO_SEC);
            rig_release(&rig);
            memset(probes, 0, sizeof(probes));
        }
    }
}

static void long_and_busy(struct origin *origin, const struct origin_request *request,
                          struct origin_reply *reply)
{
    reply->body = test_pattern(1u << 20);
    reply->status = origin->requests == 1 ? 503 : 200;
    reply->chunked = true;
}

/* ---- names and addresses ---- */

static void refused(struct probe *probe)
{
    assert_true(client_origin_failure(probe->rig->to)[0] != '\0');
    rig_finish(probe->rig);
}

static void ask_nobody(struct rig *rig)
{
    client_origin_put(steal(&rig->to));
    struct io_endpoint nobody = {.address = rig->origin.address};
    nobody.address.port = 1;
    assert_int_equal(client_origin_get(rig->pool, &nobody, false, &rig->to).code, ERR_NONE);
    probes[0].ended = refused;
    rig_get(rig, &probes[0], "/");
}

static void a_refused_connection_is_the_calls_result(void **state)
{
    EACH_IO(sim)
    {
        struct rig rig;
        rig_init(&rig, sim);
        rig_run(&rig, ask_nobody);
        assert_int_equal(probes[0].r.code, ERR_REFUSED);
        rig_release(&rig);
    }
}

static void put_names(struct rig *rig)
{
    struct io_address dead = {.family = IO_INET, .ip = {127, 0, 0, 9}}, good = rig->origin.address;
    good.port = 0;
    struct io_address both[] = {dead, good};
    sim_name_put(rig->world, "good.test", &good, 1, IO_SEC);
    sim_name_put(rig->world, "half.test", both, 2, IO_SEC);
    sim_name_put(rig->world, "dead.test", &dead, 1, IO_SEC);
    sim_name_fail(rig->world, "fail.test", ERR_UNAVAILABLE);
}

static void ask_by_name(struct rig *rig, const char *name)
{
    struct io_endpoint endpoint = {.named = true};
    snprintf(endpoint.name, sizeof(endpoint.name), "%s", name);
    endpoint.address.port = rig->origin.address.port;
    client_origin_put(steal(&rig->to));
    assert_int_equal(client_origin_get(rig->pool, &endpoint, false, &rig->to).code, ERR_NONE);
    rig_get(rig, &probes[rig->step], "/");
}

static const char *const names[] = {"good.test", "half.test", "dead.test", "fail.test",
                                    "none.test"};

static void next_name(struct probe *probe)
{
    struct rig *rig = probe->rig;
    if (++rig->step == ARRAY_LEN(names)) {
        assert_non_null(strstr(client_origin_failure(rig->to), "none.test"));
        rig_finish(rig);
        return;
    }
    probes[rig->step].ended = next_name;
    ask_by_name(rig, names[rig->step]);
}

static void all_names(struct rig *rig)
{
    put_names(rig);
    probes[0].ended = next_name;
    ask_by_name(rig, names[0]);
}

static void names_are_resolved_and_their_addresses_tried_in_turn(void **state)
{
    static const enum err codes[] = {ERR_NONE, ERR_NONE, ERR_REFUSED, ERR_UNAVAILABLE,
                                     ERR_NOT_FOUND};
    struct rig rig;
    rig_init(&rig, true);
    rig_run(&rig, all_names);
    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        assert_int_equal(probes[i].r.code, codes[i]);
    rig_release(&rig);
    memset(probes, 0, sizeof(probes));
}

/* ---- context ---- */

static struct trace_context trace = {.trace_id = {1, 2, 3}, .span_id = {4}, .flags = 1};

static void check_context(struct origin *origin, const struct origin_request *request,
                          struct origin_reply *reply)
{
    char expected[TRACEPARENT_LEN + 1], host[64];
    trace_format(&trace, expected);
    io_address_format(&origin->address, host, sizeof(host));
    bool right = span_is(request->traceparent, expected) && span_is(request->tracestate, "a=b") &&
                 span_is(request->request_id, "id-1") && span_is(request->host, host) &&
                 span_is(request->body, "body");
    reply->status = right ? 200 : 500;
}

static void with_context(struct rig *rig)
{
    probes[0].options.request.trace = &trace;
    probes[0].options.request.tracestate = SPAN("a=b");
    probes[0].options.request.request_id = SPAN("id-1");
    one_post(rig);
}

static void trace_and_request_id_are_passed_on(void **state)
{
    EACH_IO(sim)
    {
        struct rig rig;
        rig_init(&rig, sim);
        rig.origin.choose = check_context;
        rig_run(&rig, with_context);
        assert_int_equal(probes[0].status, 200);
        rig_release(&rig);
    }
}

/* ---- streams ---- */

static void stream_head(void *arg, const struct client_response *response)
{
    struct probe *probe = arg;
    probe->heads++;
    probe->status = response->status;
    client_call_more(probe->call);
}

static void stream_body(void *arg, struct span bytes)
{
    struct probe *probe = arg;
    struct span expected = span_from(test_pattern(probe->body_len + bytes.len), probe->body_len);
    assert_true(span_eq(bytes, expected));
    probe->body_len += bytes.len;
    if (probe->rig->step == 0)
        client_call_more(probe->call);
    else
        client_call_cancel(probe->call);
}

static const struct client_events streaming = {stream_head, stream_body, rig_ended};

static void long_answer(struct origin *origin, const struct origin_request *request,
                        struct origin_reply *reply)
{
    reply->body = test_pattern(1u << 20);
    reply->chunked = span_is(request->target, "/chunked");
}

static void stream_two(struct rig *rig)
{
    assert_false(failed(rig_send(rig, &probes[0], METHOD_GET, "/length", &streaming)));
    assert_false(failed(rig_send(rig, &probes[1], METHOD_GET, "/chunked", &streaming)));
}

static void an_answer_comes_by_credit(void **state)
{
    EACH_IO(sim)
    {
        for (int cancelled = 0; cancelled < 2; cancelled++) {
            struct rig rig;
            rig_init(&rig, sim);
            rig.origin.choose = long_answer;
            rig.step = cancelled;
            rig_run(&rig, stream_two);
            for (int i = 0; i < 2; i++) {
                assert_int_equal(probes[i].r.code, cancelled ? ERR_CANCELLED : ERR_NONE);
                assert_int_equal(probes[i].heads, 1);
                assert_int_equal(probes[i].ends, 1);
                assert_true(cancelled ? probes[i].body_len < 1u << 20
                                      : probes[i].body_len == 1u << 20);
            }
            rig_release(&rig);
            memset(probes, 0, sizeof(probes));
        }
    }
}

static void stream_one(struct rig *rig)
{
    assert_false(failed(rig_send(rig, &probes[0], METHOD_GET, "/", &streaming)));
}

static void a_long_answer_that_nobody_wants_costs_its_connection(void **state)
{
    EACH_IO(sim)
    {
        struct rig rig;
        rig_init(&rig, sim);
        rig.origin.choose = long_and_busy;
        rig.config.retry.attempts = 2;
        rig_run(&rig, stream_one);
        assert_int_equal(probes[0].r.code, ERR_NONE);
        assert_int_equal(probes[0].heads, 1);
        assert_int_equal(probes[0].body_len, 1u << 20);
        assert_int_equal(rig.origin.accepted, 2);
        rig_release(&rig);
    }
}

#define PART 30000
#define PARTS 20

static void part_written(void *arg, result r)
{
    struct probe *probe = arg;
    assert_int_equal(r.code, ERR_NONE);
    int part = ++probe->heads;
    if (part < PARTS)
        assert_int_equal(
            client_call_write(probe->call, test_pattern(PART), part == PARTS - 1, part_written)
                .code,
            ERR_NONE);
}

static void body_length(struct origin *origin, const struct origin_request *request,
                        struct origin_reply *reply)
{
    reply->status = request->body_len == (size_t)PART * PARTS ? 200 : 500;
}

static void send_in_parts(struct rig *rig)
{
    for (int i = 0; i < 2; i++) {
        struct client_request *request = &probes[i].options.request;
        request->in_parts = true;
        request->parts_len = i ? -1 : PART * PARTS;
        assert_false(failed(rig_send(rig, &probes[i], METHOD_POST, "/", &rig_collecting)));
        assert_int_equal(
            client_call_write(probes[i].call, test_pattern(PART), false, part_written).code,
            ERR_NONE); /* there is no connection yet */
        assert_int_equal(
            client_call_write(probes[i].call, test_pattern(PART), false, part_written).code,
            ERR_PRECONDITION);
    }
}

static void a_body_goes_out_in_parts(void **state)
{
    EACH_IO(sim)
    {
        struct rig rig;
        rig_init(&rig, sim);
        rig.origin.choose = body_length;
        rig_run(&rig, send_in_parts);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(probes[i].status, 200);
            assert_int_equal(probes[i].heads, PARTS);
        }
        rig_release(&rig);
    }
}

static void too_much(struct rig *rig)
{
    probes[0].options.request.in_parts = true;
    probes[0].options.request.parts_len = 3;
    assert_false(failed(rig_send(rig, &probes[0], METHOD_POST, "/", &rig_collecting)));
    assert_int_equal(client_call_write(probes[0].call, SPAN("four"), true, part_written).code,
                     ERR_NONE);
}

static void more_than_was_promised_is_not_sent(void **state)
{
    EACH_IO(sim)
    {
        struct rig rig;
        rig_init(&rig, sim);
        rig_run(&rig, too_much);
        assert_int_equal(probes[0].r.code, ERR_RANGE);
        assert_int_equal(rig.origin.requests, 0);
        rig_release(&rig);
    }
}

int main(void)
{
    test_pattern(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kept_connection_that_ends_costs_an_idempotent_request_nothing),
        cmocka_unit_test(half_an_answer_is_not_asked_for_again),
        cmocka_unit_test(a_replay_happens_once),
        cmocka_unit_test(nothing_is_sent_again_unless_asked),
        cmocka_unit_test(a_policy_sends_what_may_be_sent_again),
        cmocka_unit_test(retry_after_is_waited_for_but_never_past_the_deadline),
        cmocka_unit_test(a_long_answer_that_nobody_wants_costs_its_connection),
        cmocka_unit_test(a_refused_connection_is_the_calls_result),
        cmocka_unit_test(names_are_resolved_and_their_addresses_tried_in_turn),
        cmocka_unit_test(trace_and_request_id_are_passed_on),
        cmocka_unit_test(an_answer_comes_by_credit),
        cmocka_unit_test(a_body_goes_out_in_parts),
        cmocka_unit_test(more_than_was_promised_is_not_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
