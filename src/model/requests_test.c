/* Many requests at once, and each way that one can end. On backends that sanitizers
 * see through; ONNX Runtime is in batching_test.c. */
#include "model/test_rig.h"

#define LOOPS 2

static struct driver drivers[4];

static void drivers_make(int count, const char *model, int total, int outstanding_max,
                         void (*fill)(struct driver *, struct call *),
                         bool (*right)(struct driver *, struct call *))
{
    memset(drivers, 0, sizeof(drivers));
    for (int i = 0; i < count; i++) {
        drivers[i].model = model;
        drivers[i].total = total;
        drivers[i].outstanding_max = outstanding_max;
        drivers[i].fill = fill;
        drivers[i].right = right;
    }
}

static void start_all(struct rig *rig)
{
    drivers_start(rig, drivers, drivers[3].fill ? 4 : drivers[1].fill ? 2 : 1);
}

/* ---- arithmetic: synchronous, so mostly inline ---- */

static void plus_fill(struct driver *driver, struct call *call)
{
    call_plus(call, 1 + (int64_t)(random_next(&driver->random) % 3),
              (float)(random_next(&driver->random) % 1000), (float)call->tag);
}

static bool plus_right(struct driver *driver, struct call *call)
{
    if (call->request.error || call->request.outputs[0].shape[0] != call->rows)
        return false;
    const float *y = call->request.outputs[0].data;
    for (int64_t i = 0; i < call->rows; i++)
        if (y[i] != call->data.plus.a[i] + call->data.plus.b[i])
            return false;
    return true;
}

static void plus_run(const struct model_set_options *options, int total, int outstanding_max)
{
    struct rig rig;
    drivers_make(LOOPS, "plus", total, outstanding_max, plus_fill, plus_right);
    rig_make(&rig, LOOPS, options);
    rig_scan(&rig, "plus.arith");
    rig_run(&rig, start_all);
    for (int i = 0; i < LOOPS; i++) {
        assert_int_equal(drivers[i].completed, total);
        assert_int_equal(drivers[i].wrong, 0);
        assert_int_equal(drivers[i].refused, 0);
    }
    rig_free(&rig);
}

static void thousands_of_quick_requests_complete_once_each(void **state)
{
    struct model_set_options options = options_of(TEST_BACKENDS);
    plus_run(&options, 20000, 40);
}

static void batched_quick_requests_get_their_own_rows(void **state)
{
    struct model_set_options options = options_of(TEST_BACKENDS);
    options.batch_rows_max = 16;
    plus_run(&options, 20000, 40);
}

static void a_window_gathers_rows_of_all_loops(void **state)
{
    struct model_set_options options = options_of(TEST_BACKENDS);
    options.batch_rows_max = 16;
    options.batch_delay_max = 300 * IO_US;
    plus_run(&options, 3000, 40);
}

static void one_slot_serves_several_loops(void **state)
{
    struct model_set_options options = options_of(TEST_BACKENDS);
    options.slots = 1;
    options.batch_rows_max = 4;
    plus_run(&options, 10000, 40);
}

/* ---- late: answers from another thread ---- */

enum { ECHO = 0, FAIL = 1, FORGET = 2, WHEN_CANCELLED = 3, AT_ONCE = 4, WRONG_ROWS = 5 };

static void late_fill(struct driver *driver, struct call *call)
{
    static const int modes[] = {ECHO, ECHO, ECHO, FAIL, FORGET, AT_ONCE, AT_ONCE, AT_ONCE};
    uint64_t random = random_next(&driver->random);
    call_late(call, 1 + (int64_t)(random % 3), (int32_t)(random >> 8 & 1), modes[random >> 16 & 7],
              (int64_t)(call->tag * 1000));
}

static bool late_right(struct driver *driver, struct call *call)
{
    const struct model_request *request = &call->request;
    switch (call->data.late.mode[0]) {
    case FAIL:
        return request->error == ERR_ARGUMENT && strcmp(request->error_text, "asked to fail") == 0;
    case FORGET:
        return request->error == ERR_BACKEND &&
               strstr(request->error_text, "without output 'text'");
    default:
        break;
    }
    if (request->error)
        return false;
    const struct weir_tensor *value = &request->outputs[0], *text = &request->outputs[2];
    char expected[64];
    int len = snprintf(expected, sizeof(expected), "value %lld after %d ms",
                       (long long)call->data.late.value[0], call->data.late.delay_ms[0]);
    for (int64_t i = 0; i < call->rows; i++)
        if (((const int64_t *)value->data)[i] != call->data.late.value[i] ||
            text->offsets[i + 1] - text->offsets[i] != (uint64_t)len ||
            memcmp((const char *)text->data + text->offsets[i], expected, (size_t)len) != 0)
            return false;
    return value->shape[0] == call->rows && text->shape[0] == call->rows;
}

static void thousands_of_late_answers_reach_their_callers(void **state)
{
    struct rig rig;
    struct model_set_options options = options_of(TEST_BACKENDS);
    options.slots = 8;
    drivers_make(4, "echo", 2000, 30, late_fill, late_right);
    rig_make(&rig, LOOPS, &options);
    rig_scan(&rig, "echo.late");
    rig_run(&rig, start_all);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(drivers[i].completed, 2000);
        assert_int_equal(drivers[i].wrong, 0);
    }
    rig_free(&rig);
}

static void echo_fill(struct driver *driver, struct call *call)
{
    uint64_t random = random_next(&driver->random);
    call_late(call, 1 + (int64_t)(random % 3), 1, ECHO, (int64_t)(call->tag * 1000));
}

static void late_batches_are_told_apart(void **state)
{
    struct rig rig;
    struct model_set_options options = options_of(TEST_BACKENDS);
    options.batch_rows_max = 8;
    options.batch_delay_max = 200 * IO_US;
    drivers_make(4, "echo", 1000, 30, echo_fill, late_right);
    rig_make(&rig, LOOPS, &options);
    rig_scan(&rig, "echo.late");
    rig_run(&rig, start_all);
    for (int i = 0; i < 4; i++)
        assert_int_equal(drivers[i].wrong, 0);
    rig_free(&rig);
}

/* The backend ends the process if it gets two at once. */
static void a_backend_that_is_not_thread_safe_runs_one_at_a_time(void **state)
{
    struct rig rig;
    struct model_set_options options = options_of(TEST_BACKENDS);
    options.slots = 4;
    drivers_make(4, "echo", 300, 10, echo_fill, late_right);
    rig_make(&rig, LOOPS, &options);
    rig_scan(&rig, "echo.serial");
    rig_run(&rig, start_all);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(drivers[i].completed, 300);
        assert_int_equal(drivers[i].wrong, 0);
    }
    rig_free(&rig);
}

static void rows_fill(struct driver *driver, struct call *call)
{
    call_late(call, 1, 0, WRONG_ROWS, 1);
}

/* Alone, a request may get any shape; of a batch, the rows could not be told apart. */
static bool rows_right(struct driver *driver, struct call *call)
{
    const struct model_request *request = &call->request;
    if (!request->error)
        return request->outputs[0].shape[0] == 2;
    driver->outstanding_peak = 1000;
    return request->error == ERR_BACKEND && strstr(request->error_text, "of the batch");
}

static void a_batch_with_wrong_rows_fails_whole(void **state)
{
    struct rig rig;
    struct model_set_options options = options_of(TEST_BACKENDS);
    options.batch_rows_max = 8;
    options.batch_delay_max = 50 * IO_MS;
    drivers_make(2, "echo", 200, 20, rows_fill, rows_right);
    rig_make(&rig, LOOPS, &options);
    rig_scan(&rig, "echo.late");
    rig_run(&rig, start_all);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(drivers[i].wrong, 0);
        assert_int_equal(drivers[i].outstanding_peak, 1000);
    }
    rig_free(&rig);
}

/* ---- limits ---- */

static void slow_fill(struct driver *driver, struct call *call)
{
    call_late(call, 1, 2, ECHO, (int64_t)call->tag);
}

static void overload_is_refused_and_bounded(void **state)
{
    struct rig rig;
    struct model_set_options options = options_of(TEST_BACKENDS);
    options.queue_rows_max = 10;
    options.slots = 2;
    drivers_make(1, "echo", 600, 60, slow_fill, late_right);
    rig_make(&rig, 1, &options);
    rig_scan(&rig, "echo.late");
    rig_run(&rig, start_all);
    assert_true(drivers[0].refused > 0);
    assert_int_equal(drivers[0].completed + drivers[0].refused, 600);
    assert_int_equal(drivers[0].wrong, 0);
    assert_true(drivers[0].completed >= 12);
    /* Ten queued, two running, and as many taken by a slot on the way. */
    assert_in_range(drivers[0].outstanding_peak, 11, 14);
    rig_free(&rig);
}

/* ---- deadlines and cancelling, step by step on one loop ---- */

static struct call calls[4];
static struct io_timer timer;
static io_time expired_at;
/* What the answers said, for they are gone with the rig. */
static int64_t seen[4];
static char texts[4][64];

static void count_done(struct model_request *request)
{
    struct call *call = request->arg;
    size_t place = (size_t)(call - calls);
    call->done++;
    snprintf(texts[place], sizeof(texts[place]), "%s", request->error_text);
    if (!request->error && version_info(request->version)->outputs_len == 3)
        seen[place] = *(const int64_t *)request->outputs[1].data;
    if (request->error == ERR_DEADLINE)
        expired_at = process_clock(call->rig->process);
    if (atomic_fetch_sub(&call->rig->busy, 1) == 1)
        process_stop(call->rig->process);
}

static void calls_init(struct rig *rig, int count, const char *model)
{
    for (int i = 0; i < count; i++)
        call_init(&calls[i], rig, process_loop(rig->process, 0), model);
    atomic_store(&rig->busy, count);
}

static void submit(struct call *call)
{
    assert_false(failed(call_submit(call, count_done)));
    assert_int_equal(call->done, 0);
}

static void run_steps(void (*start)(struct rig *), const char *model,
                      const struct model_set_options *options)
{
    struct rig rig;
    rig_make(&rig, 1, options);
    rig_scan(&rig, model);
    rig_run(&rig, start);
    for (int i = 0; i < 4; i++)
        if (calls[i].request.version) {
            assert_int_equal(calls[i].done, 1);
            model_request_release(&calls[i].request);
        }
    rig_free(&rig);
}

static void deadline_start(struct rig *rig)
{
    io_time now = loop_now(process_loop(rig->process, 0));
    calls_init(rig, 3, "echo");
    call_late(&calls[0], 1, 100, ECHO, 1);
    call_late(&calls[1], 1, 0, ECHO, 2);
    call_late(&calls[2], 1, 0, ECHO, 3);
    calls[1].request.deadline = now + 20 * IO_MS;
    calls[2].request.deadline = now + 10 * IO_SEC;
    for (int i = 0; i < 3; i++)
        submit(&calls[i]);
}

static void a_deadline_that_passes_in_the_queue_ends_the_request_then(void **state)
{
    struct model_set_options options = options_of(TEST_BACKENDS);
    options.slots = 1;
    memset(calls, 0, sizeof(calls));
    run_steps(deadline_start, "echo.late", &options);
    assert_int_equal(calls[0].request.error, ERR_NONE);
    assert_int_equal(calls[1].request.error, ERR_DEADLINE);
    assert_int_equal(calls[1].request.started_at, 0);
    assert_int_equal(calls[2].request.error, ERR_NONE);
    assert_true(expired_at < calls[0].request.ended_at);
    assert_true(expired_at >= calls[1].request.deadline);
}

static void past_start(struct rig *rig)
{
    calls_init(rig, 1, "plus");
    call_plus(&calls[0], 1, 1, 2);
    calls[0].request.deadline = loop_now(process_loop(rig->process, 0));
    assert_true(is(call_submit(&calls[0], count_done), ERR_DEADLINE));
    calls[0].request.deadline = TIME_NEVER;
    submit(&calls[0]);
}

static void a_deadline_in_the_past_is_refused(void **state)
{
    struct model_set_options options = options_of(TEST_BACKENDS);
    memset(calls, 0, sizeof(calls));
    run_steps(past_start, "plus.arith", &options);
    assert_int_equal(calls[0].request.error, ERR_NONE);
}

static void cancel_turn_start(struct rig *rig)
{
    calls_init(rig, 2, "plus");
    for (int i = 0; i < 2; i++) {
        call_plus(&calls[i], 1, 1, 2);
        submit(&calls[i]);
    }
    model_cancel(rig->set, &calls[0].request);
    model_cancel(rig->set, &calls[0].request);
    assert_int_equal(calls[0].done, 0);
}

static void a_request_cancelled_in_its_turn_never_runs(void **state)
{
    struct model_set_options options = options_of(TEST_BACKENDS);
    memset(calls, 0, sizeof(calls));
    run_steps(cancel_turn_start, "plus.arith", &options);
    assert_int_equal(calls[0].request.error, ERR_CANCELLED);
    assert_int_equal(calls[0].request.started_at, 0);
    assert_int_equal(calls[1].request.error, ERR_NONE);
}

static void cancel_queued_start(struct rig *rig)
{
    calls_init(rig, 3, "echo");
    call_late(&calls[0], 1, 30, ECHO, 1);
    call_late(&calls[1], 1, 0, ECHO, 2);
    call_late(&calls[2], 1, 0, ECHO, 3);
    for (int i = 0; i < 3; i++)
        submit(&calls[i]);
    model_cancel(rig->set, &calls[2].request);
}

static void a_request_cancelled_in_the_queue_never_runs(void **state)
{
    struct model_set_options options = options_of(TEST_BACKENDS);
    options.slots = 1;
    memset(calls, 0, sizeof(calls));
    run_steps(cancel_queued_start, "echo.late", &options);
    assert_int_equal(calls[2].request.error, ERR_CANCELLED);
    assert_int_equal(calls[2].request.started_at, 0);
    assert_true(calls[2].request.ended_at < calls[1].request.ended_at);
    /* The last one to run is the second that the backend saw. */
    assert_int_equal(seen[1], 2);
}

static void cancel_running(struct io_timer *fired)
{
    for (int i = 0; i < 2; i++)
        model_cancel(calls[i].rig->set, &calls[i].request);
}

static void cancel_running_start(struct rig *rig)
{
    calls_init(rig, 2, "echo");
    for (int i = 0; i < 2; i++) {
        call_late(&calls[i], 1, 0, WHEN_CANCELLED, 1);
        submit(&calls[i]);
    }
    timer = (struct io_timer){.fired = cancel_running};
    timer_start(process_loop(rig->process, 0), &timer,
                loop_now(process_loop(rig->process, 0)) + 20 * IO_MS);
}

static void a_running_request_is_cancelled_by_its_backend(void **state)
{
    struct model_set_options options = options_of(TEST_BACKENDS);
    memset(calls, 0, sizeof(calls));
    run_steps(cancel_running_start, "echo.late", &options);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(calls[i].request.error, ERR_CANCELLED);
        assert_string_equal(texts[i], "cancelled while it waited");
        assert_true(calls[i].request.started_at > 0);
    }
}

static void a_batch_is_cancelled_once_nobody_wants_it(void **state)
{
    struct model_set_options options = options_of(TEST_BACKENDS);
    options.batch_rows_max = 2;
    options.batch_delay_max = 5 * IO_MS;
    memset(calls, 0, sizeof(calls));
    run_steps(cancel_running_start, "echo.late", &options);
    for (int i = 0; i < 2; i++)
        assert_int_equal(calls[i].request.error, ERR_CANCELLED);
    assert_int_equal(calls[0].request.started_at, calls[1].request.started_at);
}

static void cancel_late(struct io_timer *fired)
{
    assert_int_equal(calls[0].done, 1);
    model_cancel(calls[0].rig->set, &calls[0].request);
    process_stop(calls[0].rig->process);
}

static void cancel_done_start(struct rig *rig)
{
    calls_init(rig, 1, "plus");
    atomic_store(&rig->busy, 100);
    call_plus(&calls[0], 1, 1, 2);
    submit(&calls[0]);
    timer = (struct io_timer){.fired = cancel_late};
    timer_start(process_loop(rig->process, 0), &timer,
                loop_now(process_loop(rig->process, 0)) + 10 * IO_MS);
}

static void cancelling_what_is_done_changes_nothing(void **state)
{
    struct model_set_options options = options_of(TEST_BACKENDS);
    memset(calls, 0, sizeof(calls));
    run_steps(cancel_done_start, "plus.arith", &options);
    assert_int_equal(calls[0].request.error, ERR_NONE);
}

/* ---- the end ---- */

static void cut_now(struct io_timer *fired)
{
    model_set_stop(calls[0].rig->set);
    process_stop(calls[0].rig->process);
}

static void cut_start(struct rig *rig)
{
    calls_init(rig, 4, "echo");
    for (int i = 0; i < 4; i++) {
        call_late(&calls[i], 1, 0, WHEN_CANCELLED, 1);
        submit(&calls[i]);
    }
    timer = (struct io_timer){.fired = cut_now};
    timer_start(process_loop(rig->process, 0), &timer,
                loop_now(process_loop(rig->process, 0)) + 20 * IO_MS);
}

static void an_end_that_cuts_work_ends_what_runs_and_frees_all(void **state)
{
    struct rig rig;
    struct model_set_options options = options_of(TEST_BACKENDS);
    options.slots = 2;
    rig_make(&rig, 1, &options);
    rig_scan(&rig, "echo.late");
    rig_run(&rig, cut_start);
    for (int i = 0; i < 4; i++)
        assert_int_equal(calls[i].done, 0);
    rig_free(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thousands_of_quick_requests_complete_once_each),
        cmocka_unit_test(batched_quick_requests_get_their_own_rows),
        cmocka_unit_test(a_window_gathers_rows_of_all_loops),
        cmocka_unit_test(one_slot_serves_several_loops),
        cmocka_unit_test(thousands_of_late_answers_reach_their_callers),
        cmocka_unit_test(late_batches_are_told_apart),
        cmocka_unit_test(a_backend_that_is_not_thread_safe_runs_one_at_a_time),
        cmocka_unit_test(a_batch_with_wrong_rows_fails_whole),
        cmocka_unit_test(overload_is_refused_and_bounded),
        cmocka_unit_test(a_deadline_that_passes_in_the_queue_ends_the_request_then),
        cmocka_unit_test(a_deadline_in_the_past_is_refused),
        cmocka_unit_test(a_request_cancelled_in_its_turn_never_runs),
        cmocka_unit_test(a_request_cancelled_in_the_queue_never_runs),
        cmocka_unit_test(a_running_request_is_cancelled_by_its_backend),
        cmocka_unit_test(a_batch_is_cancelled_once_nobody_wants_it),
        cmocka_unit_test(cancelling_what_is_done_changes_nothing),
        cmocka_unit_test(an_end_that_cuts_work_ends_what_runs_and_frees_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
