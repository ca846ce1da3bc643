/* What a run of a small network costs: bare ONNX Runtime, through the backend's ABI, and
 * through model_submit on a loop. Interleaved rounds; prints the median of each in
 * microseconds. Run by hand:
 *
 *   WEIR_BUILD=build WEIR_SOURCE=. build/bench-onnxruntime
 */
#include "base/alloc.h"
#include "io/uv/uv.h"
#include "model/model.h"

#include <onnxruntime_c_api.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS 15
#define RUNS 20000

static char model_path[512], backend_path[512], backends_path[512];
static float x[4] = {0.1f, -0.2f, 0.3f, 0.4f};
static int64_t x_shape[2] = {1, 4};
static double samples[3][ROUNDS];

static double now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static void *open_or_exit(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    return library;
}

/* ---- bare ---- */

static const OrtApi *api;
static OrtSession *session;
static OrtMemoryInfo *memory;

static void check(OrtStatus *status)
{
    if (status) {
        fprintf(stderr, "%s\n", api->GetErrorMessage(status));
        exit(1);
    }
}

static void bare_open(void)
{
    void *library = open_or_exit(ENGINES_PATH "/libonnxruntime.so.1");
    const OrtApiBase *(*base)(void) = (const OrtApiBase *(*)(void))dlsym(library, "OrtGetApiBase");
    OrtEnv *env;
    OrtSessionOptions *options;
    api = base()->GetApi(17);
    check(api->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "bench", &env));
    check(api->CreateSessionOptions(&options));
    check(api->SetIntraOpNumThreads(options, 1));
    check(api->SetInterOpNumThreads(options, 1));
    if (!getenv("ARENA")) {
        check(api->DisableCpuMemArena(options));
        check(api->DisableMemPattern(options));
    }
    check(api->CreateSession(env, model_path, options, &session));
    check(api->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &memory));
}

static void bare_run(void)
{
    static const char *const inputs[] = {"x"}, *const outputs[] = {"y"};
    static float y[3];
    static const int64_t y_shape[2] = {1, 3};
    OrtValue *in = NULL, *out = NULL;
    check(api->CreateTensorWithDataAsOrtValue(memory, x, sizeof(x), x_shape, 2,
                                              ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &in));
    check(api->CreateTensorWithDataAsOrtValue(memory, y, sizeof(y), y_shape, 2,
                                              ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &out));
    check(api->Run(session, NULL, inputs, (const OrtValue *const *)&in, 1, outputs, 1, &out));
    api->ReleaseValue(in);
    api->ReleaseValue(out);
}

/* ---- the ABI, with the least host there can be ---- */

struct weir_request {
    weir_tensor x;
    float y[4];
    int answered;
};

static void host_log(const weir_host *host, int32_t level, const char *text)
{
}
static void host_input(weir_request *request, int32_t index, weir_tensor *ret_tensor)
{
    *ret_tensor = request->x;
}
static int32_t host_yes(weir_request *request, int32_t index)
{
    return 1;
}
static int32_t host_no(weir_request *request)
{
    return 0;
}
static int32_t host_alloc(weir_request *request, int32_t index, weir_type type, int32_t rank,
                          const int64_t *shape, int32_t device_type, void **ret_data)
{
    *ret_data = request->y;
    return 0;
}
static int32_t host_strings(weir_request *request, int32_t index, int32_t rank,
                            const int64_t *shape, const void *data, const uint64_t *offsets)
{
    return WEIR_UNIMPLEMENTED;
}
static void host_respond(weir_request *request, int32_t final)
{
    request->answered++;
}
static void host_error(weir_request *request, int32_t status, const char *text)
{
    fprintf(stderr, "%s\n", text);
    exit(1);
}

static weir_host host = {sizeof(weir_host), WEIR_BACKEND_ABI, ENGINES_PATH, host_log,
                         host_input,        host_yes,         host_no,      host_alloc,
                         host_strings,      host_respond,     host_error};
static weir_backend *backend;
static weir_instance *instance;
static weir_request abi_request;

static void abi_open(void)
{
    weir_error error = {.size = sizeof(error)};
    weir_backend_get_fn get =
        (weir_backend_get_fn)dlsym(open_or_exit(backend_path), "weir_backend_get");
    weir_model_config config = {
        .size = sizeof(config), .name = "mlp", .path = model_path, .threads = 1};
    weir_model *model;
    backend = get(&host, &error);
    if (!backend || backend->model_load(backend, &config, &model, &error) ||
        backend->instance_new(model, &instance, &error)) {
        fprintf(stderr, "%s\n", error.text);
        exit(1);
    }
    abi_request.x = (weir_tensor){.size = sizeof(weir_tensor),
                                  .type = {WEIR_FLOAT, 32, 1},
                                  .device_type = WEIR_CPU,
                                  .rank = 2,
                                  .shape = x_shape,
                                  .data = x,
                                  .bytes = sizeof(x)};
}

static void abi_run(void)
{
    weir_request *handle = &abi_request;
    backend->execute(instance, &handle, 1);
}

/* ---- model_submit ---- */

static struct process *process;
static struct model_set *set;
#define OUTSTANDING 16

static struct model_request requests[OUTSTANDING];
static int round_now, left;
static double started;

static double time_runs(void (*run)(void))
{
    double begin = now_us();
    for (int i = 0; i < RUNS; i++)
        run();
    return (now_us() - begin) / RUNS;
}

static void submit(struct model_request *request)
{
    memset(&request->state, 0, sizeof(request->state));
    if (failed(model_submit(set, request)))
        exit(1);
}

static void round_start(void)
{
    samples[0][round_now] = time_runs(bare_run);
    samples[1][round_now] = time_runs(abi_run);
    left = RUNS;
    started = now_us();
    for (int i = 0; i < OUTSTANDING; i++)
        submit(&requests[i]);
}

static void done(struct model_request *completed)
{
    if (completed->error) {
        fprintf(stderr, "%s\n", completed->error_text);
        exit(1);
    }
    model_request_release(completed);
    left--;
    if (left >= OUTSTANDING)
        submit(completed);
    if (left > 0)
        return;
    samples[2][round_now] = (now_us() - started) / RUNS;
    if (++round_now < ROUNDS)
        round_start();
    else
        process_stop(process);
}

static void ready(void *arg)
{
    struct loop *loop = process_loop(process, 0);
    for (int i = 0; i < OUTSTANDING; i++)
        requests[i] = (struct model_request){.version = catalog_find(set, loop, SPAN("mlp"), -1),
                                             .home = loop,
                                             .deadline = TIME_NEVER,
                                             .inputs = &abi_request.x,
                                             .rows = 1,
                                             .done = done};
    round_start();
}

int main(void)
{
    struct diag diag = {.code = ERR_NONE};
    const char *build = getenv("WEIR_BUILD"), *source = getenv("WEIR_SOURCE");
    if (!build || !source)
        return 1;
    snprintf(model_path, sizeof(model_path), "%s/tests/fixtures/models/mlp.onnx", source);
    snprintf(backends_path, sizeof(backends_path), "%s/backends", build);
    snprintf(backend_path, sizeof(backend_path), "%s/backends/onnxruntime.so", build);
    bare_open();
    abi_open();
    struct model_set_options options = {.backends_path = backends_path,
                                        .engines_path = ENGINES_PATH,
                                        .batch_rows_max = 1,
                                        .queue_rows_max = 1000,
                                        .queue_bytes_max = 1 << 20,
                                        .slab = slab_host_new(1 << 26, 1 << 24)};
    if (failed(uv_process_new(&(struct io_uv_options){.loops = 1}, &process, &diag)))
        return 1;
    options.process = process;
    if (failed(model_set_new(&options, &set, &diag)) ||
        failed(model_set_scan(set, model_path, NULL, &diag))) {
        fprintf(stderr, "%s\n", diag.text);
        return 1;
    }
    model_set_load(set, ready, NULL);
    process_run(process);
    static const char *const names[] = {"bare ONNX Runtime", "through the ABI", "model_submit"};
    for (int i = 0; i < 3; i++) {
        qsort(samples[i], ROUNDS, sizeof(double), compare);
        printf("%-20s %6.2f us  (fastest %.2f)\n", names[i], samples[i][ROUNDS / 2], samples[i][0]);
    }
    return 0;
}
