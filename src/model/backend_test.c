#include "model/backend.h"

#include "base/alloc.h"
#include "base/test_cmocka.h"
#include "io/uv/uv.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct process *process;

static int process_make(void **state)
{
    return failed(uv_process_new(&(struct io_uv_options){.loops = 1}, &process, NULL));
}

static int process_end(void **state)
{
    process_free(process);
    return 0;
}

static const char *build_path(const char *rest)
{
    static char path[512];
    assert_non_null(getenv("WEIR_BUILD"));
    snprintf(path, sizeof(path), "%s%s", getenv("WEIR_BUILD"), rest);
    return path;
}

static void a_backend_is_found_by_its_files_ending(void **state)
{
    struct backends *backends;
    struct diag diag = {.code = ERR_NONE};
    assert_false(failed(backends_new(process, NULL, build_path("/tests/conformance/backends"), NULL,
                                     &backends, &diag)));
    struct backend *backend = backends_find(backends, SPAN("sum.arith"));
    assert_non_null(backend);
    assert_string_equal(backend->name, "arithmetic");
    assert_string_equal(backends_find(backends, SPAN("x.late"))->name, "late");
    assert_string_equal(backends_find(backends, SPAN("x.onnx"))->name, "onnxruntime");
    assert_null(backends_find(backends, SPAN("x.txt")));
    assert_null(backends_find(backends, SPAN("arith")));
    assert_null(backends_find(backends, SPAN(".arith")));
    assert_null(backends_find(backends, SPAN("")));
    backends_free(backends);
}

static void weirs_own_backend_is_opened_only_when_asked_for(void **state)
{
    struct backends *backends;
    struct diag diag = {.code = ERR_NONE};
    assert_false(
        failed(backends_new(process, NULL, build_path("/backends"), "/nowhere", &backends, &diag)));
    struct backend *backend = backends_find(backends, SPAN("x.onnx"));
    assert_null(backend->abi);
    assert_true(is(backend_open(backend, &diag), ERR_UNAVAILABLE));
    assert_non_null(strstr(diag.text, "libonnxruntime.so.1* in /nowhere"));
    assert_null(backend->abi);
    backends_free(backends);
}

static void a_backend_whose_file_is_missing_says_so(void **state)
{
    struct backends *backends;
    struct diag diag = {.code = ERR_NONE};
    assert_false(failed(backends_new(process, NULL, "/nowhere", NULL, &backends, &diag)));
    assert_true(is(backend_open(backends_find(backends, SPAN("x.onnx")), &diag), ERR_NOT_FOUND));
    assert_non_null(strstr(diag.text, "/nowhere/onnxruntime.so"));
    backends_free(backends);
    assert_false(failed(backends_new(process, NULL, NULL, NULL, &backends, &diag)));
    assert_null(backends_find(backends, SPAN("x.onnx")));
    backends_free(backends);
}

/* All in one folder, with a file that is no shared object. */
static void plug_ins_that_do_not_fit_are_left_out_with_a_reason(void **state)
{
    char folder[] = "/tmp/weir-backends-XXXXXX", path[600], target[600], log_path[600];
    static const char *const names[] = {"abi", "streams", "incomplete", "refuses"};
    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s/%s.so", folder, names[i]);
        snprintf(target, sizeof(target), "%s/%s.so", build_path("/tests/conformance/backends/odd"),
                 names[i]);
        assert_int_equal(symlink(target, path), 0);
    }
    snprintf(path, sizeof(path), "%s/text.so", folder);
    FILE *file = fopen(path, "w");
    fputs("not a shared object\n", file);
    fclose(file);

    struct log *log;
    struct diag diag = {.code = ERR_NONE};
    snprintf(log_path, sizeof(log_path), "%s/log", folder);
    assert_false(failed(
        log_new(process, &(struct log_options){.role = "test", .path = log_path}, &log, &diag)));
    struct backends *backends;
    assert_false(failed(backends_new(process, log, folder, NULL, &backends, &diag)));
    assert_null(backends_find(backends, SPAN("x.odd")));
    backends_free(backends);
    log_free(log);

    struct text text;
    text_init(&text, 1 << 20);
    assert_false(failed(file_read(process, log_path, &text, &diag)));
    static const char *const reasons[] = {
        "expected version 0",
        "got version 99",
        "streams, which this version cannot serve",
        "leaves out a part",
        "the engine is not to be found",
        "cannot open the backend text",
    };
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (!strstr(text_cstr(&text), reasons[i]))
            fail_msg("no \"%s\" in %s", reasons[i], text_cstr(&text));
    text_release(&text);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s/%s.so", folder, names[i]);
        unlink(path);
    }
    snprintf(path, sizeof(path), "%s/text.so", folder);
    unlink(path);
    unlink(log_path);
    rmdir(folder);
}

static void every_status_has_a_code(void **state)
{
    assert_int_equal(backend_err(0), ERR_NONE);
    for (int32_t status = -1; status < 20; status++) {
        if (status == 0)
            continue;
        enum err code = backend_err(status);
        assert_int_not_equal(code, ERR_NONE);
        /* What the table of codes knows goes back to the client as it came. */
        if (status == GRPC_CANCELLED || status == GRPC_INVALID_ARGUMENT ||
            status == GRPC_DEADLINE_EXCEEDED || status == GRPC_NOT_FOUND ||
            status == GRPC_RESOURCE_EXHAUSTED || status == GRPC_UNIMPLEMENTED ||
            status == GRPC_INTERNAL || status == GRPC_UNAVAILABLE || status == GRPC_DATA_LOSS)
            assert_int_equal(err_grpc(code), status);
    }
}

static void opening_survives_failing_allocations(void **state)
{
    struct diag diag = {.code = ERR_NONE};
    int failures = 0;
    for (uint64_t n = 1; n < 200; n++) {
        struct backends *backends = NULL;
        mem_fail_after(n, false);
        result r = backends_new(process, NULL, build_path("/tests/conformance/backends"), "/e",
                                &backends, &diag);
        mem_fail_after(0, false);
        failures += failed(r);
        if (!failed(r))
            backends_free(backends);
    }
    assert_true(failures > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_backend_is_found_by_its_files_ending),
        cmocka_unit_test(weirs_own_backend_is_opened_only_when_asked_for),
        cmocka_unit_test(a_backend_whose_file_is_missing_says_so),
        cmocka_unit_test(plug_ins_that_do_not_fit_are_left_out_with_a_reason),
        cmocka_unit_test(every_status_has_a_code),
        cmocka_unit_test(opening_survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, process_make, process_end);
}
