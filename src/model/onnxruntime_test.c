/* ONNX Runtime behind a model set: each element type, shapes known and unknown, and
 * what it refuses. The backend's ABI itself is checked by tests/conformance. */
#include "model/test_rig.h"

static struct call call;
static const char *model_name;
static void (*fill)(void);
static result submitted;

static void done(struct model_request *request)
{
    call.done++;
    process_stop(call.rig->process);
}

static void start(struct rig *rig)
{
    call_init(&call, rig, process_loop(rig->process, 0), model_name);
    assert_non_null(call.request.version);
    fill();
    submitted = call_submit(&call, done);
    if (failed(submitted))
        process_stop(rig->process);
}

static void rig_open(struct rig *rig, const char *model, void (*fill_call)(void))
{
    char file[64];
    struct model_set_options options = options_of(OWN_BACKENDS);
    model_name = model;
    fill = fill_call;
    snprintf(file, sizeof(file), "%s.onnx", model);
    rig_make(rig, 1, &options);
    rig_scan(rig, file);
    rig_run(rig, start);
    assert_false(failed(submitted));
    assert_int_equal(call.done, 1);
}

static void rig_close(struct rig *rig)
{
    model_request_release(&call.request);
    rig_free(rig);
}

/* ---- types ---- */

static const struct {
    const char *name;
    weir_type type;
} types[] = {
    {"bool", {WEIR_BOOL, 8, 1}},    {"uint8", {WEIR_UINT, 8, 1}},   {"uint16", {WEIR_UINT, 16, 1}},
    {"uint32", {WEIR_UINT, 32, 1}}, {"uint64", {WEIR_UINT, 64, 1}}, {"int8", {WEIR_INT, 8, 1}},
    {"int16", {WEIR_INT, 16, 1}},   {"int32", {WEIR_INT, 32, 1}},   {"int64", {WEIR_INT, 64, 1}},
    {"fp16", {WEIR_FLOAT, 16, 1}},  {"bf16", {WEIR_BFLOAT, 16, 1}}, {"fp32", {WEIR_FLOAT, 32, 1}},
    {"fp64", {WEIR_FLOAT, 64, 1}},
};

static weir_type type_now;
static uint8_t bytes[6 * 8];

static void type_fill(void)
{
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = type_now.code == WEIR_BOOL ? i % 2 : (uint8_t)(i * 37 + 1);
    call_f32(&call, 3, 2);
    call.inputs[0].type = type_now;
    call.inputs[0].data = bytes;
    call.inputs[0].bytes = 6u * type_now.bits / 8;
}

static void every_element_type_goes_through_bit_by_bit(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct rig rig;
        char name[64];
        snprintf(name, sizeof(name), "identity_%s", types[i].name);
        type_now = types[i].type;
        rig_open(&rig, name, type_fill);
        const struct weir_tensor *y = &call.request.outputs[0];
        assert_int_equal(call.request.error, ERR_NONE);
        assert_true(type_eq(y->type, type_now));
        assert_int_equal(y->rank, 2);
        assert_int_equal(y->shape[0], 3);
        assert_int_equal(y->shape[1], 2);
        assert_int_equal(y->bytes, call.inputs[0].bytes);
        assert_memory_equal(y->data, bytes, y->bytes);
        rig_close(&rig);
    }
}

static void strings_fill(void)
{
    static const uint64_t offsets[] = {0, 0, 3};
    static char text[] = "a\0b";
    call_f32(&call, 1, 2);
    call.inputs[0].type = (weir_type){WEIR_STRING, 8, 1};
    call.inputs[0].data = text;
    call.inputs[0].offsets = offsets;
    call.inputs[0].bytes = 3;
}

static void strings_may_be_empty_and_hold_any_byte(void **state)
{
    struct rig rig;
    rig_open(&rig, "identity_string", strings_fill);
    const struct weir_tensor *y = &call.request.outputs[0];
    assert_int_equal(call.request.error, ERR_NONE);
    assert_int_equal(y->offsets[1] - y->offsets[0], 0);
    assert_int_equal(y->offsets[2] - y->offsets[1], 3);
    assert_memory_equal((const char *)y->data + y->offsets[1], "a\0b", 3);
    rig_close(&rig);
}

/* ---- shapes ---- */

static void empty_fill(void)
{
    call_f32(&call, 0, 2);
}

static void a_request_without_rows_is_answered_without_rows(void **state)
{
    struct rig rig;
    rig_open(&rig, "identity_fp32", empty_fill);
    assert_int_equal(call.request.error, ERR_NONE);
    assert_int_equal(call.request.outputs[0].shape[0], 0);
    assert_int_equal(call.request.outputs[0].bytes, 0);
    rig_close(&rig);
}

static void three_fill(void)
{
    memcpy(call.data.f32, (float[]){1, 0, 5}, 12);
    call_f32(&call, 3, 0);
}

static void an_extent_without_a_name_is_found_out_by_the_run(void **state)
{
    struct rig rig;
    rig_open(&rig, "half_plus_two_unnamed", three_fill);
    const float expected[] = {2.5f, 2.0f, 4.5f};
    assert_int_equal(call.request.error, ERR_NONE);
    assert_int_equal(call.request.outputs[0].bytes, sizeof(expected));
    assert_memory_equal(call.request.outputs[0].data, expected, sizeof(expected));
    rig_close(&rig);
}

static void a_model_that_breaks_its_promise_of_a_shape_is_right_all_the_same(void **state)
{
    struct rig rig;
    rig_open(&rig, "broken_promise", three_fill);
    const float expected[] = {1, 0, 5, 1, 0, 5};
    assert_int_equal(call.request.error, ERR_NONE);
    assert_int_equal(call.request.outputs[0].shape[0], 6);
    assert_memory_equal(call.request.outputs[0].data, expected, sizeof(expected));
    rig_close(&rig);
}

static void fixed_fill(void)
{
    const struct weir_model_info *info = version_info(call.request.version);
    assert_false(info->batchable);
    assert_int_equal(info->inputs[0].shape[0], 2);
    assert_int_equal(info->inputs[0].shape[1], 3);
    for (int i = 0; i < 6; i++)
        call.data.f32[i] = (float)i;
    call_f32(&call, 2, 3);
    call.request.rows = 1;
}

static void a_fixed_batch_is_not_batched_further(void **state)
{
    struct rig rig;
    rig_open(&rig, "fixed_batch", fixed_fill);
    const float expected[] = {2, 2.5f, 3, 3.5f, 4, 4.5f};
    assert_int_equal(call.request.error, ERR_NONE);
    assert_memory_equal(call.request.outputs[0].data, expected, sizeof(expected));
    rig_close(&rig);
}

static void names_fill(void)
{
    const struct weir_model_info *info = version_info(call.request.version);
    assert_int_equal(info->inputs_len, 2);
    assert_string_equal(info->inputs[0].name, "a");
    assert_string_equal(info->inputs[1].name, "b");
    assert_string_equal(info->outputs[0].name, "sum");
    assert_string_equal(info->outputs[1].name, "difference");
    assert_true(info->batchable);
    assert_int_equal(info->inputs[0].shape[0], -1);
    assert_int_equal(info->inputs[0].shape[1], 3);
    call_f32(&call, 1, 3);
    call.inputs[1] = call.inputs[0];
}

static void ports_are_described_as_the_model_has_them(void **state)
{
    struct rig rig;
    rig_open(&rig, "two_in_two_out", names_fill);
    assert_int_equal(call.request.error, ERR_NONE);
    rig_close(&rig);
}

/* ---- memory ---- */

static void memory_start(struct rig *rig)
{
    call_init(&call, rig, process_loop(rig->process, 0), "mlp");
    call_f32(&call, 1, 4);
    slab_host_set_max(rig->slab, 4096, 0);
    submitted = call_submit(&call, done);
}

/* Room for the run, but not for its output. */
static void an_output_that_finds_no_memory_ends_the_request(void **state)
{
    struct rig rig;
    struct model_set_options options = options_of(OWN_BACKENDS);
    rig_make(&rig, 1, &options);
    rig_scan(&rig, "mlp.onnx");
    rig_run(&rig, memory_start);
    assert_false(failed(submitted));
    assert_int_equal(call.request.error, ERR_EXHAUSTED);
    assert_string_equal(call.request.error_text, "no memory for an output");
    rig_close(&rig);
}

static void no_memory_start(struct rig *rig)
{
    call_init(&call, rig, process_loop(rig->process, 0), "mlp");
    call_f32(&call, 1, 4);
    slab_host_set_max(rig->slab, 0, 0);
    submitted = call_submit(&call, done);
}

static void a_run_that_finds_no_memory_ends_the_request(void **state)
{
    struct rig rig;
    struct model_set_options options = options_of(OWN_BACKENDS);
    for (io_time delay = 0; delay <= IO_MS; delay += IO_MS) {
        options.batch_rows_max = 2;
        options.batch_delay_max = delay; /* on the loop, and by a slot */
        rig_make(&rig, 1, &options);
        rig_scan(&rig, "mlp.onnx");
        rig_run(&rig, no_memory_start);
        assert_false(failed(submitted));
        assert_int_equal(call.done, 1);
        assert_int_equal(call.request.error, ERR_NO_MEMORY);
        rig_close(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_element_type_goes_through_bit_by_bit),
        cmocka_unit_test(strings_may_be_empty_and_hold_any_byte),
        cmocka_unit_test(a_request_without_rows_is_answered_without_rows),
        cmocka_unit_test(an_extent_without_a_name_is_found_out_by_the_run),
        cmocka_unit_test(a_model_that_breaks_its_promise_of_a_shape_is_right_all_the_same),
        cmocka_unit_test(a_fixed_batch_is_not_batched_further),
        cmocka_unit_test(ports_are_described_as_the_model_has_them),
        cmocka_unit_test(an_output_that_finds_no_memory_ends_the_request),
        cmocka_unit_test(a_run_that_finds_no_memory_ends_the_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
