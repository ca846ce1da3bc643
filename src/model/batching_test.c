/* Batching with ONNX Runtime: the same answers as alone, or no batching at all. */
#include "model/test_rig.h"

#define LOOPS 2
#define ROWS 97

static struct driver drivers[LOOPS];
/* Answers of each row alone, by row. */
static float alone[ROWS][3];
static bool alone_known;
static atomic_int rows_together;

/* Counts requests that ran with the one that was completed before. */
static void together(struct driver *driver, struct call *call)
{
    static io_time last[LOOPS];
    int loop = loop_index(driver->loop);
    rows_together += call->request.started_at == last[loop];
    last[loop] = call->request.started_at;
}

static void row_values(uint64_t row, float values[4])
{
    for (uint64_t i = 0; i < 4; i++)
        values[i] = (float)((row * 31 + i * 17) % 23) / 7 - 1.5f;
}

static void mlp_fill(struct driver *driver, struct call *call)
{
    int64_t rows = 1 + (int64_t)(call->tag % 3);
    for (int64_t i = 0; i < rows; i++)
        row_values((call->tag + (uint64_t)i) % ROWS, &call->data.f32[i * 4]);
    call_f32(call, rows, 4);
}

static bool mlp_right(struct driver *driver, struct call *call)
{
    if (call->request.error)
        return false;
    together(driver, call);
    const float *y = call->request.outputs[0].data;
    for (int64_t i = 0; i < call->rows; i++) {
        float *expected = alone[(call->tag + (uint64_t)i) % ROWS];
        for (int k = 0; k < 3; k++) {
            float difference = y[i * 3 + k] - expected[k];
            if (alone_known && (difference > 1e-5f || difference < -1e-5f))
                return false;
            if (!alone_known && call->rows == 1)
                expected[k] = y[i * 3 + k];
        }
    }
    return true;
}

static void one_row_fill(struct driver *driver, struct call *call)
{
    row_values(call->tag % ROWS, call->data.f32);
    call_f32(call, 1, 4);
}

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
    drivers_start(rig, drivers, drivers[1].fill ? 2 : 1);
}

static void run(const char *file, const struct model_set_options *options, int loops)
{
    struct rig rig;
    rig_make(&rig, loops, options);
    rig_scan(&rig, file);
    rows_together = 0;
    rig_run(&rig, start_all);
    for (int i = 0; i < loops; i++) {
        assert_int_equal(drivers[i].completed, drivers[i].submitted);
        assert_int_equal(drivers[i].wrong, 0);
    }
    rig_free(&rig);
}

static void learn_alone(void)
{
    struct model_set_options options = options_of(OWN_BACKENDS);
    alone_known = false;
    drivers_make(1, "mlp", ROWS, 1, one_row_fill, mlp_right);
    run("mlp.onnx", &options, 1);
    alone_known = true;
}

static void inline_batches_answer_as_lone_runs_do(void **state)
{
    struct model_set_options options = options_of(OWN_BACKENDS);
    learn_alone();
    options.batch_rows_max = 32;
    drivers_make(LOOPS, "mlp", 5000, 40, mlp_fill, mlp_right);
    run("mlp.onnx", &options, LOOPS);
    assert_true(rows_together > 1000);
}

static void batches_over_loops_answer_as_lone_runs_do(void **state)
{
    struct model_set_options options = options_of(OWN_BACKENDS);
    learn_alone();
    options.batch_rows_max = 32;
    options.batch_delay_max = 200 * IO_US;
    drivers_make(LOOPS, "mlp", 3000, 40, mlp_fill, mlp_right);
    run("mlp.onnx", &options, LOOPS);
    assert_true(rows_together > 1000);
}

/* y = x + the sum over the batch: alone, y = 2x. */
static void dependent_fill(struct driver *driver, struct call *call)
{
    call->data.f32[0] = (float)call->tag;
    call->data.f32[1] = 1;
    call_f32(call, 1, 2);
}

static bool dependent_right(struct driver *driver, struct call *call)
{
    const float *y = call->request.error ? NULL : call->request.outputs[0].data;
    together(driver, call);
    return y && y[0] == 2 * (float)call->tag && y[1] == 2;
}

static void a_model_whose_answers_depend_on_the_batch_is_not_batched(void **state)
{
    struct model_set_options options = options_of(OWN_BACKENDS);
    options.batch_rows_max = 32;
    options.batch_delay_max = 200 * IO_US;
    drivers_make(LOOPS, "batch_dependent", 500, 20, dependent_fill, dependent_right);
    run("batch_dependent.onnx", &options, LOOPS);
    assert_int_equal(rows_together, 0);
}

/* Strings of different lengths, so that offsets matter. */
struct strings {
    char data[64];
    uint64_t offsets[5];
};

static struct strings strings[LOOPS][DRIVER_CALLS];

static void strings_fill(struct driver *driver, struct call *call)
{
    struct strings *own = &strings[loop_index(driver->loop)][call - driver->calls];
    uint64_t at = 3; /* not at the beginning */
    own->offsets[0] = at;
    for (uint64_t i = 0; i < 4; i++) {
        for (uint64_t n = (call->tag + i) % 5; n > 0; n--)
            own->data[at++] = (char)('a' + (call->tag + i) % 26);
        own->offsets[i + 1] = at;
    }
    call_f32(call, 2, 2);
    call->inputs[0].type = (weir_type){WEIR_STRING, 8, 1};
    call->inputs[0].data = own->data;
    call->inputs[0].offsets = own->offsets;
    call->inputs[0].bytes = at;
}

static bool strings_right(struct driver *driver, struct call *call)
{
    const struct strings *own = &strings[loop_index(driver->loop)][call - driver->calls];
    if (call->request.error)
        return false;
    const struct weir_tensor *y = &call->request.outputs[0];
    for (int i = 0; i < 4; i++) {
        size_t len = own->offsets[i + 1] - own->offsets[i];
        if (y->offsets[i + 1] - y->offsets[i] != len ||
            memcmp((const char *)y->data + y->offsets[i], own->data + own->offsets[i], len) != 0)
            return false;
    }
    together(driver, call);
    return y->shape[0] == 2 && y->shape[1] == 2;
}

static void strings_are_gathered_and_told_apart(void **state)
{
    struct model_set_options options = options_of(OWN_BACKENDS);
    options.batch_rows_max = 16;
    options.batch_delay_max = 200 * IO_US;
    drivers_make(LOOPS, "identity_string", 1000, 20, strings_fill, strings_right);
    run("identity_string.onnx", &options, LOOPS);
    assert_true(rows_together > 100);
}

/* Requests with different shapes behind the first dimension never share a run. */
static void nonzero_fill(struct driver *driver, struct call *call)
{
    for (int i = 0; i < 8; i++)
        call->data.f32[i] = (float)((call->tag >> i) & 1);
    call_f32(call, 1 + (int64_t)(call->tag % 8), 0);
}

static bool nonzero_right(struct driver *driver, struct call *call)
{
    const struct weir_tensor *y = &call->request.outputs[0];
    int64_t found = 0;
    if (call->request.error)
        return false;
    for (int64_t i = 0; i < call->rows; i++)
        if (call->data.f32[i] != 0 && ((const int64_t *)y->data)[found++] != i)
            return false;
    return y->rank == 2 && y->shape[0] == 1 && y->shape[1] == found;
}

static void outputs_of_unforeseen_shape_are_passed_on(void **state)
{
    struct model_set_options options = options_of(OWN_BACKENDS);
    options.batch_rows_max = 16;
    drivers_make(LOOPS, "nonzero", 500, 20, nonzero_fill, nonzero_right);
    run("nonzero.onnx", &options, LOOPS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inline_batches_answer_as_lone_runs_do),
        cmocka_unit_test(batches_over_loops_answer_as_lone_runs_do),
        cmocka_unit_test(a_model_whose_answers_depend_on_the_batch_is_not_batched),
        cmocka_unit_test(strings_are_gathered_and_told_apart),
        cmocka_unit_test(outputs_of_unforeseen_shape_are_passed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
