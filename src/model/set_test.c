/* What a set holds after loading, and answers of lone calls. */
#include "model/test_rig.h"

#include "base/text.h"

/* ---- one call ---- */

static struct call one;

static void one_done(struct model_request *request)
{
    struct call *call = request->arg;
    call->done++;
    process_stop(call->rig->process);
}

static void half_start(struct rig *rig)
{
    call_init(&one, rig, process_loop(rig->process, 0), "half_plus_two");
    assert_non_null(one.request.version);
    assert_int_equal(version_state(one.request.version), MODEL_AVAILABLE);
    assert_string_equal(version_platform(one.request.version), "onnxruntime_onnx");
    one.data.f32[0] = 1;
    one.data.f32[1] = 2;
    one.data.f32[2] = 5;
    call_f32(&one, 3, 0);
    assert_false(failed(call_submit(&one, one_done)));
    assert_int_equal(one.done, 0);
}

static void an_onnx_model_answers(void **state)
{
    struct rig rig;
    struct model_set_options options = options_of(OWN_BACKENDS);
    rig_make(&rig, 1, &options);
    rig_scan(&rig, "half_plus_two.onnx");
    rig_run(&rig, half_start);
    assert_int_equal(one.done, 1);
    assert_int_equal(one.request.error, ERR_NONE);
    assert_string_equal(one.request.error_text, "");
    const struct weir_tensor *y = &one.request.outputs[0];
    assert_int_equal(y->rank, 1);
    assert_int_equal(y->shape[0], 3);
    assert_int_equal(y->bytes, 12);
    const float expected[] = {2.5f, 3.0f, 4.5f};
    assert_memory_equal(y->data, expected, sizeof(expected));
    assert_true(one.request.queued_at <= one.request.started_at);
    assert_true(one.request.started_at <= one.request.ended_at);
    model_request_release(&one.request);
    rig_free(&rig);
}

static void two_start(struct rig *rig)
{
    static float b[3] = {10, 20, 30};
    call_init(&one, rig, process_loop(rig->process, 0), "two_in_two_out");
    memcpy(one.data.f32, (float[]){1, 2, 3}, 12);
    call_f32(&one, 1, 3);
    one.inputs[1] = one.inputs[0];
    one.inputs[1].data = b;
    one.request.outputs_wanted = 2; /* the second only */
    assert_false(failed(call_submit(&one, one_done)));
}

static void an_output_that_is_not_wanted_has_no_data(void **state)
{
    struct rig rig;
    struct model_set_options options = options_of(OWN_BACKENDS);
    rig_make(&rig, 1, &options);
    rig_scan(&rig, "two_in_two_out.onnx");
    rig_run(&rig, two_start);
    assert_int_equal(one.request.error, ERR_NONE);
    assert_null(one.request.outputs[0].data);
    const float expected[] = {-9, -18, -27};
    assert_memory_equal(one.request.outputs[1].data, expected, sizeof(expected));
    model_request_release(&one.request);
    rig_free(&rig);
}

static void pick_start(struct rig *rig)
{
    static int64_t index[1] = {7};
    call_init(&one, rig, process_loop(rig->process, 0), "pick");
    call_f32(&one, 1, 0);
    one.inputs[0].type = (weir_type){WEIR_INT, 64, 1};
    one.inputs[0].data = index;
    one.inputs[0].bytes = sizeof(index);
    assert_false(failed(call_submit(&one, one_done)));
}

static void what_the_engine_refuses_is_an_error_with_its_text(void **state)
{
    struct rig rig;
    struct model_set_options options = options_of(OWN_BACKENDS);
    rig_make(&rig, 1, &options);
    rig_scan(&rig, "pick.onnx");
    rig_run(&rig, pick_start);
    assert_int_equal(one.request.error, ERR_ARGUMENT);
    assert_non_null(strstr(one.request.error_text, "out of data bounds"));
    model_request_release(&one.request);
    rig_free(&rig);
}

/* ---- catalogs ---- */

static void look(struct rig *rig)
{
    struct loop *loop = process_loop(rig->process, 0);
    struct model_version *version = catalog_find(rig->set, loop, SPAN("corrupt"), -1);
    assert_int_equal(version_state(version), MODEL_END);
    assert_int_equal(version_error(version), ERR_CORRUPT);
    assert_non_null(strstr(version_error_text(version), "corrupt.onnx"));
    version = catalog_find(rig->set, loop, SPAN("sequence_output"), -1);
    assert_int_equal(version_error(version), ERR_UNSUPPORTED);
    assert_non_null(strstr(version_error_text(version), "is a sequence"));
    version = catalog_find(rig->set, loop, SPAN("half_plus_two"), 1);
    assert_int_equal(version_state(version), MODEL_AVAILABLE);
    assert_int_equal(version_number(version), 1);
    assert_string_equal(version_error_text(version), "");
    assert_null(catalog_find(rig->set, loop, SPAN("half_plus_two"), 2));
    assert_null(catalog_find(rig->set, loop, SPAN("half_plus"), -1));
    int count = catalog_count(rig->set, loop);
    for (int i = 1; i < count; i++)
        assert_true(strcmp(version_model(catalog_at(rig->set, loop, i - 1)),
                           version_model(catalog_at(rig->set, loop, i))) < 0);
    assert_true(count > 20);

    struct call call;
    call_init(&call, rig, loop, "corrupt");
    call_f32(&call, 1, 0);
    assert_true(is(call_submit(&call, one_done), ERR_UNAVAILABLE));
    process_stop(rig->process);
}

static void a_bad_model_stops_no_other(void **state)
{
    struct rig rig;
    struct model_set_options options = options_of(OWN_BACKENDS);
    rig_make(&rig, 2, &options);
    rig_scan(&rig, "");
    rig_run(&rig, look);
    rig_free(&rig);
}

static void look_unavailable(struct rig *rig)
{
    struct loop *loop = process_loop(rig->process, 0);
    struct model_version *version = catalog_find(rig->set, loop, SPAN("mlp"), -1);
    assert_int_equal(version_state(version), MODEL_END);
    assert_non_null(strstr(version_error_text(version), "libonnxruntime.so.1"));
    process_stop(rig->process);
}

static void a_missing_engine_is_the_models_error(void **state)
{
    struct rig rig;
    struct model_set_options options = options_of(OWN_BACKENDS);
    options.engines_path = "/nowhere";
    rig_make(&rig, 1, &options);
    rig_scan(&rig, "mlp.onnx");
    rig_run(&rig, look_unavailable);
    rig_free(&rig);
}

static void two_models_of_one_name_are_refused(void **state)
{
    struct rig rig;
    struct model_set_options options = options_of(OWN_BACKENDS);
    struct diag diag = {.code = ERR_NONE};
    char path[512];
    rig_make(&rig, 1, &options);
    rig_scan(&rig, "mlp.onnx");
    path_of("WEIR_SOURCE", "/tests/fixtures/models/half_plus_two.onnx", path);
    assert_true(is(model_set_scan(rig.set, path, "mlp", &diag), ERR_EXISTS));
    assert_non_null(strstr(diag.text, "two models are named 'mlp'"));
    rig_run(&rig, NULL);
    rig_free(&rig);
}

static void a_set_without_models_settles(void **state)
{
    struct rig rig;
    struct model_set_options options = options_of(OWN_BACKENDS);
    rig_make(&rig, 1, &options);
    rig_run(&rig, NULL);
    assert_int_equal(catalog_count(rig.set, process_loop(rig.process, 0)), 0);
    rig_free(&rig);
}

/* ---- metrics ---- */

static void what_happened_can_be_scraped(void **state)
{
    struct rig rig;
    struct model_set_options options = options_of(OWN_BACKENDS);
    struct text text;
    rig_make(&rig, 1, &options);
    rig_scan(&rig, "half_plus_two.onnx");
    rig_run(&rig, half_start);
    model_request_release(&one.request);
    text_init(&text, 1 << 20);
    assert_false(failed(metrics_write(rig.metrics, &text)));
    static const char *const lines[] = {
        "weir_model_requests_total{model=\"half_plus_two\",version=\"1\",code=\"0\"} 1\n",
        "weir_model_batch_rows_sum{model=\"half_plus_two\",version=\"1\"} 3\n",
        "weir_model_run_seconds_count{model=\"half_plus_two\",version=\"1\"} 1\n",
        "weir_model_queue_seconds_count{model=\"half_plus_two\",version=\"1\"} 1\n",
        "weir_model_queue_rows{model=\"half_plus_two\",version=\"1\"} 0",
        "weir_model_state{model=\"half_plus_two\",version=\"1\"} 30",
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        if (!strstr(text_cstr(&text), lines[i]))
            fail_msg("no line %s", lines[i]);
    text_release(&text);
    rig_free(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_onnx_model_answers),
        cmocka_unit_test(an_output_that_is_not_wanted_has_no_data),
        cmocka_unit_test(what_the_engine_refuses_is_an_error_with_its_text),
        cmocka_unit_test(a_bad_model_stops_no_other),
        cmocka_unit_test(a_missing_engine_is_the_models_error),
        cmocka_unit_test(two_models_of_one_name_are_refused),
        cmocka_unit_test(a_set_without_models_settles),
        cmocka_unit_test(what_happened_can_be_scraped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
