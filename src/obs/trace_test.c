#include "obs/trace.h"

#include "base/test_cmocka.h"

#define GOOD "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

static void a_traceparent_survives_the_round_trip(void **state)
{
    struct trace_context context;
    char buffer[TRACEPARENT_LEN + 1];
    assert_true(trace_parse(SPAN(GOOD), &context));
    assert_int_equal(context.trace_id[0], 0x4b);
    assert_int_equal(context.trace_id[15], 0x36);
    assert_int_equal(context.span_id[7], 0xb7);
    assert_int_equal(context.flags, TRACE_SAMPLED);
    trace_format(&context, buffer);
    assert_string_equal(buffer, GOOD);
    trace_id_format(&context, buffer);
    assert_string_equal(buffer, "4bf92f3577b34da6a3ce929d0e0e4736");
}

static void a_broken_traceparent_is_refused_and_nothing_is_touched(void **state)
{
    static const char *const broken[] = {
        "",
        "00",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 ",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
        "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
        "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0X",
        "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.extra",
    };
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        struct trace_context context, before;
        memset(&context, 0x5A, sizeof(context));
        before = context;
        if (trace_parse(span_cstr(broken[i]), &context))
            fail_msg("accepted: %s", broken[i]);
        assert_memory_equal(&context, &before, sizeof(context));
    }
}

static void a_higher_version_is_read_as_far_as_it_is_known(void **state)
{
    struct trace_context context;
    char buffer[TRACEPARENT_LEN + 1];
    assert_true(
        trace_parse(SPAN("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff"), &context));
    assert_int_equal(context.flags, TRACE_SAMPLED | TRACE_RANDOM);
    assert_true(trace_parse(
        SPAN("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-holds"),
        &context));
    trace_format(&context, buffer);
    assert_string_equal(buffer, GOOD);
}

static void tracestate_is_carried_within_its_limits(void **state)
{
    char text[TRACESTATE_MAX + 8];
    struct span carried = tracestate_carry(SPAN("  rojo=00f067aa0ba902b7,congo=t61 \t"));
    assert_true(span_is(carried, "rojo=00f067aa0ba902b7,congo=t61"));
    assert_int_equal(tracestate_carry(SPAN("a=1\r\nx: y")).len, 0);
    assert_int_equal(tracestate_carry(SPAN("a=\x80")).len, 0);
    assert_int_equal(tracestate_carry(SPAN(" ")).len, 0);
    memset(text, 'a', sizeof(text));
    assert_int_equal(tracestate_carry(span_of(text, TRACESTATE_MAX)).len, TRACESTATE_MAX);
    assert_int_equal(tracestate_carry(span_of(text, TRACESTATE_MAX + 1)).len, 0);
    memset(text, ',', sizeof(text));
    assert_int_equal(tracestate_carry(span_of(text, TRACESTATE_MEMBERS_MAX - 1)).len,
                     TRACESTATE_MEMBERS_MAX - 1);
    assert_int_equal(tracestate_carry(span_of(text, TRACESTATE_MEMBERS_MAX)).len, 0);
}

static void a_child_stays_in_the_trace_with_a_span_of_its_own(void **state)
{
    struct trace_ids ids = {{1, 2, 3, 4}};
    struct trace_context parent, child;
    assert_true(trace_parse(SPAN(GOOD), &parent));
    trace_child(&ids, &parent, &child);
    assert_memory_equal(child.trace_id, parent.trace_id, sizeof(child.trace_id));
    assert_memory_not_equal(child.span_id, parent.span_id, sizeof(child.span_id));
    assert_int_equal(child.flags, parent.flags);
}

static void new_ids_are_valid_and_differ(void **state)
{
    struct trace_ids ids = {{1, 2, 3, 4}};
    struct trace_context last = {.flags = 0};
    for (int i = 0; i < 1000; i++) {
        struct trace_context root, back;
        char buffer[TRACEPARENT_LEN + 1], id[REQUEST_ID_LEN + 1];
        trace_root(&ids, &root);
        trace_format(&root, buffer);
        assert_true(trace_parse(span_cstr(buffer), &back));
        assert_memory_equal(&root, &back, sizeof(root));
        assert_memory_not_equal(root.trace_id, last.trace_id, sizeof(root.trace_id));
        assert_memory_not_equal(root.span_id, last.span_id, sizeof(root.span_id));
        request_id_new(&ids, id);
        assert_int_equal(strlen(id), REQUEST_ID_LEN);
        assert_true(request_id_valid(span_cstr(id)));
        last = root;
    }
}

/* The first outputs of the authors' reference code for the state 1, 2, 3, 4. */
static void the_generator_is_xoshiro256_plus_plus(void **state)
{
    struct trace_ids ids = {{1, 2, 3, 4}};
    struct trace_context root;
    uint64_t first;
    trace_root(&ids, &root);
    memcpy(&first, root.trace_id, sizeof(first));
    assert_int_equal(first, 41943041);
    memcpy(&first, root.trace_id + 8, sizeof(first));
    assert_int_equal(first, 58720359);
    memcpy(&first, root.span_id, sizeof(first));
    assert_int_equal(first, 3588806011781223);
}

static void a_request_id_that_could_break_a_line_is_refused(void **state)
{
    char text[REQUEST_ID_MAX + 1];
    assert_true(request_id_valid(SPAN("7b1e-A_z.9~:+/=@")));
    assert_false(request_id_valid(SPAN("")));
    assert_false(request_id_valid(SPAN("a b")));
    assert_false(request_id_valid(SPAN("a\"b")));
    assert_false(request_id_valid(SPAN("a\nb")));
    assert_false(request_id_valid(SPAN("a\0b")));
    assert_false(request_id_valid(SPAN("\xC3\xA4")));
    memset(text, 'x', sizeof(text));
    assert_true(request_id_valid(span_of(text, REQUEST_ID_MAX)));
    assert_false(request_id_valid(span_of(text, REQUEST_ID_MAX + 1)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_traceparent_survives_the_round_trip),
        cmocka_unit_test(a_broken_traceparent_is_refused_and_nothing_is_touched),
        cmocka_unit_test(a_higher_version_is_read_as_far_as_it_is_known),
        cmocka_unit_test(tracestate_is_carried_within_its_limits),
        cmocka_unit_test(a_child_stays_in_the_trace_with_a_span_of_its_own),
        cmocka_unit_test(new_ids_are_valid_and_differ),
        cmocka_unit_test(the_generator_is_xoshiro256_plus_plus),
        cmocka_unit_test(a_request_id_that_could_break_a_line_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
