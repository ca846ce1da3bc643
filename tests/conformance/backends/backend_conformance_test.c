/* What every backend promises (include/weir/backend.h), checked over the real ABI with a
 * host that watches: run once per backend, named on the command line.
 *
 *   backend_conformance_test NAME
 */
#include <weir/backend.h>

#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define OUTPUTS_MAX 4
#define THREADS 4
#define RUNS_A_THREAD 300

/* ---- a host that watches ---- */

struct weir_request {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    weir_tensor inputs[4];
    int32_t inputs_len;
    uint64_t unwanted; /* bits */
    int refuse_from;   /* the n-th making of an output fails, and all after; 0: none */
    /* what came */
    int made, finals;
    int32_t status;
    char text[500];
    struct {
        weir_type type;
        int32_t rank;
        int64_t shape[WEIR_RANK_MAX];
        void *data;
        uint64_t *offsets;
        uint64_t bytes;
    } outputs[OUTPUTS_MAX];
};

static atomic_int logged;

static void host_log(const weir_host *host, int32_t level, const char *text)
{
    atomic_fetch_add(&logged, level >= 0 && level <= 3 && text[0]);
}

static void host_input(weir_request *request, int32_t index, weir_tensor *ret_tensor)
{
    if (index < 0 || index >= request->inputs_len || ret_tensor->size < sizeof(*ret_tensor))
        abort();
    *ret_tensor = request->inputs[index];
}

static int32_t host_wants(weir_request *request, int32_t index)
{
    return !(request->unwanted >> index & 1);
}

static int32_t host_cancelled(weir_request *request)
{
    return 0;
}

static uint64_t elements_of(int32_t rank, const int64_t *shape)
{
    uint64_t elements = 1;
    for (int32_t i = 0; i < rank; i++)
        elements *= (uint64_t)shape[i];
    return elements;
}

static bool refuse(weir_request *request)
{
    request->made++;
    return request->refuse_from && request->made >= request->refuse_from;
}

static void output_free(weir_request *request, int32_t index)
{
    free(request->outputs[index].data);
    free(request->outputs[index].offsets);
    memset(&request->outputs[index], 0, sizeof(request->outputs[index]));
}

static void output_set(weir_request *request, int32_t index, weir_type type, int32_t rank,
                       const int64_t *shape, uint64_t bytes)
{
    output_free(request, index);
    request->outputs[index].type = type;
    request->outputs[index].rank = rank;
    memcpy(request->outputs[index].shape, shape, (size_t)rank * sizeof(*shape));
    request->outputs[index].bytes = bytes;
    /* Exactly as long as asked for, so that ASan sees a write beyond it. */
    request->outputs[index].data = malloc(bytes ? bytes : 1);
}

static int32_t host_alloc(weir_request *request, int32_t index, weir_type type, int32_t rank,
                          const int64_t *shape, int32_t device_type, void **ret_data)
{
    if (index < 0 || index >= OUTPUTS_MAX || rank < 0 || rank > WEIR_RANK_MAX ||
        device_type != WEIR_CPU || request->finals)
        abort();
    if (refuse(request))
        return WEIR_RESOURCE_EXHAUSTED;
    output_set(request, index, type, rank, shape, elements_of(rank, shape) * type.bits / 8);
    *ret_data = request->outputs[index].data;
    return WEIR_OK;
}

static int32_t host_strings(weir_request *request, int32_t index, int32_t rank,
                            const int64_t *shape, const void *data, const uint64_t *offsets)
{
    if (index < 0 || index >= OUTPUTS_MAX || rank < 0 || rank > WEIR_RANK_MAX || request->finals)
        abort();
    if (refuse(request))
        return WEIR_RESOURCE_EXHAUSTED;
    uint64_t elements = elements_of(rank, shape);
    output_set(request, index, (weir_type){WEIR_STRING, 8, 1}, rank, shape, offsets[elements]);
    memcpy(request->outputs[index].data, data, offsets[elements]);
    request->outputs[index].offsets = malloc((elements + 1) * sizeof(*offsets));
    memcpy(request->outputs[index].offsets, offsets, (elements + 1) * sizeof(*offsets));
    return WEIR_OK;
}

static void finish(weir_request *request, int32_t status, const char *text)
{
    pthread_mutex_lock(&request->mutex);
    request->finals++;
    request->status = status;
    snprintf(request->text, sizeof(request->text), "%s", text);
    pthread_cond_signal(&request->changed);
    pthread_mutex_unlock(&request->mutex);
}

static void host_respond(weir_request *request, int32_t final)
{
    if (!final)
        abort(); /* no backend here streams */
    finish(request, WEIR_OK, "");
}

static void host_respond_error(weir_request *request, int32_t status, const char *text)
{
    if (status == WEIR_OK || !text)
        abort();
    finish(request, status, text);
}

static weir_host host = {
    .size = sizeof(host),
    .abi = WEIR_BACKEND_ABI,
    .engines_path = ENGINES_PATH,
    .log = host_log,
    .request_input = host_input,
    .request_wants = host_wants,
    .request_cancelled = host_cancelled,
    .tensor_alloc = host_alloc,
    .tensor_strings = host_strings,
    .respond = host_respond,
    .respond_error = host_respond_error,
};

/* ---- the backends ---- */

struct subject {
    const char *name, *file, *model, *corrupt;
    int outputs;
    /* Inputs that give `want`, made from `salt`; memory of `scratch`. */
    void (*fill)(weir_request *request, int salt, void *scratch);
    bool (*right)(const weir_request *request, int salt);
    /* Inputs that the backend must refuse; NULL: it has none such. */
    void (*fill_bad)(weir_request *request, void *scratch);
    /* Inputs that take until they are cancelled; NULL: it has none such. */
    void (*fill_endless)(weir_request *request, void *scratch);
};

struct numbers {
    int64_t shape[2];
    float a[8], b[8];
    int32_t delay_ms[1], mode[1];
    int64_t value[1];
};

static weir_tensor tensor(weir_type type, const int64_t *shape, int32_t rank, void *data,
                          uint64_t bytes)
{
    return (weir_tensor){.size = sizeof(weir_tensor),
                         .type = type,
                         .device_type = WEIR_CPU,
                         .rank = rank,
                         .shape = shape,
                         .data = data,
                         .bytes = bytes};
}

static const weir_type f32 = {WEIR_FLOAT, 32, 1};
static const weir_type i32 = {WEIR_INT, 32, 1};
static const weir_type i64 = {WEIR_INT, 64, 1};

static void onnx_fill(weir_request *request, int salt, void *scratch)
{
    struct numbers *numbers = scratch;
    numbers->shape[0] = 2;
    numbers->shape[1] = 3;
    for (int i = 0; i < 6; i++) {
        numbers->a[i] = (float)(salt + i);
        numbers->b[i] = (float)(i * i);
    }
    request->inputs[0] = tensor(f32, numbers->shape, 2, numbers->a, 24);
    request->inputs[1] = tensor(f32, numbers->shape, 2, numbers->b, 24);
    request->inputs_len = 2;
}

static bool onnx_right(const weir_request *request, int salt)
{
    const float *sum = request->outputs[0].data, *difference = request->outputs[1].data;
    for (int i = 0; i < 6; i++)
        if ((sum && sum[i] != (float)(salt + i + i * i)) ||
            (difference && difference[i] != (float)(salt + i - i * i)))
            return false;
    return true;
}

/* The host checks ports, but not that extents behind the first agree. */
static void onnx_fill_bad(weir_request *request, void *scratch)
{
    static int64_t other[] = {4, 2};
    onnx_fill(request, 1, scratch);
    request->inputs[1].shape = other;
    request->inputs[1].bytes = 32;
}

static void plus_fill(weir_request *request, int salt, void *scratch)
{
    struct numbers *numbers = scratch;
    numbers->shape[0] = 5;
    for (int i = 0; i < 5; i++) {
        numbers->a[i] = (float)(salt + i);
        numbers->b[i] = (float)(i * i);
    }
    request->inputs[0] = tensor(f32, numbers->shape, 1, numbers->a, 20);
    request->inputs[1] = tensor(f32, numbers->shape, 1, numbers->b, 20);
    request->inputs_len = 2;
}

static bool plus_right(const weir_request *request, int salt)
{
    const float *y = request->outputs[0].data;
    for (int i = 0; y && i < 5; i++)
        if (y[i] != (float)(salt + i + i * i))
            return false;
    return true;
}

static void plus_fill_bad(weir_request *request, void *scratch)
{
    static int64_t other[] = {4};
    plus_fill(request, 1, scratch);
    request->inputs[1].shape = other;
    request->inputs[1].bytes = 16;
}

static void late_inputs(weir_request *request, struct numbers *numbers, int32_t delay_ms,
                        int32_t mode, int64_t value)
{
    numbers->shape[0] = 1;
    numbers->delay_ms[0] = delay_ms;
    numbers->mode[0] = mode;
    numbers->value[0] = value;
    request->inputs[0] = tensor(i32, numbers->shape, 1, numbers->delay_ms, 4);
    request->inputs[1] = tensor(i32, numbers->shape, 1, numbers->mode, 4);
    request->inputs[2] = tensor(i64, numbers->shape, 1, numbers->value, 8);
    request->inputs_len = 3;
}

static void late_fill(weir_request *request, int salt, void *scratch)
{
    late_inputs(request, scratch, salt % 3, salt % 2 ? 0 : 4, salt);
}

static bool late_right(const weir_request *request, int salt)
{
    char expected[64];
    int len = snprintf(expected, sizeof(expected), "value %d after %d ms", salt, salt % 3);
    const int64_t *value = request->outputs[0].data;
    const char *text = request->outputs[2].data;
    return (!value || value[0] == salt) && (!text || (request->outputs[2].bytes == (uint64_t)len &&
                                                      memcmp(text, expected, (size_t)len) == 0));
}

static void late_fill_bad(weir_request *request, void *scratch)
{
    late_inputs(request, scratch, 0, 1, 0);
}

static void late_fill_endless(weir_request *request, void *scratch)
{
    late_inputs(request, scratch, 0, 3, 0);
}

static const struct subject subjects[] = {
    {"onnxruntime", "/backends/onnxruntime.so", "two_in_two_out.onnx", "corrupt.onnx", 2, onnx_fill,
     onnx_right, onnx_fill_bad, NULL},
    {"arithmetic", "/tests/conformance/backends/arithmetic.so", "plus.arith", "corrupt.arith", 1,
     plus_fill, plus_right, plus_fill_bad, NULL},
    {"late", "/tests/conformance/backends/late.so", "echo.late", "corrupt.late", 3, late_fill,
     late_right, late_fill_bad, late_fill_endless},
};

static const struct subject *subject;
static weir_backend *backend;
static weir_model *model;
static weir_instance *instance;

static void path_of(const char *variable, const char *rest, char buffer[512])
{
    const char *root = getenv(variable);
    assert_non_null(root);
    snprintf(buffer, 512, "%s%s", root, rest);
}

static int32_t load(const char *name, weir_model **ret_model, weir_error *error)
{
    char path[512], file[256];
    snprintf(file, sizeof(file), "/tests/fixtures/models/%s", name);
    path_of("WEIR_SOURCE", file, path);
    weir_model_config config = {
        .size = sizeof(config), .name = "conformance", .path = path, .threads = 1};
    *error = (weir_error){.size = sizeof(*error)};
    return backend->model_load(backend, &config, ret_model, error);
}

static weir_backend_get_fn getter(void)
{
    char path[512];
    path_of("WEIR_BUILD", subject->file, path);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        fail_msg("%s", dlerror());
    weir_backend_get_fn get = NULL;
    void *symbol = dlsym(library, "weir_backend_get");
    assert_non_null(symbol);
    memcpy(&get, &symbol, sizeof(get));
    return get;
}

static int open_all(void **state)
{
    weir_error error = {.size = sizeof(error)};
    backend = getter()(&host, &error);
    if (!backend)
        fail_msg("%s", error.text);
    if (load(subject->model, &model, &error))
        fail_msg("%s", error.text);
    if (backend->instance_new(model, &instance, &error))
        fail_msg("%s", error.text);
    return 0;
}

static int close_all(void **state)
{
    backend->instance_free(instance);
    backend->model_free(model);
    if (backend->release)
        backend->release(backend);
    return 0;
}

static void request_init(weir_request *request)
{
    memset(request, 0, sizeof(*request));
    pthread_mutex_init(&request->mutex, NULL);
    pthread_cond_init(&request->changed, NULL);
}

static void request_wait(weir_request *request)
{
    pthread_mutex_lock(&request->mutex);
    while (!request->finals)
        pthread_cond_wait(&request->changed, &request->mutex);
    pthread_mutex_unlock(&request->mutex);
}

static void request_release(weir_request *request)
{
    for (int32_t i = 0; i < OUTPUTS_MAX; i++)
        output_free(request, i);
    pthread_mutex_destroy(&request->mutex);
    pthread_cond_destroy(&request->changed);
}

static void run(weir_request *request)
{
    backend->execute(instance, &request, 1);
    if (backend->flags & WEIR_BACKEND_SYNCHRONOUS)
        assert_int_equal(request->finals, 1);
    request_wait(request);
}

/* ---- promises ---- */

static void it_says_who_it_is(void **state)
{
    assert_true(backend->size >= sizeof(weir_backend));
    assert_int_equal(backend->abi, WEIR_BACKEND_ABI);
    assert_string_equal(backend->name, subject->name);
    assert_true(backend->version[0] != '\0');
    assert_true(backend->suffixes[0] == '.');
    assert_non_null(strstr(subject->model, backend->suffixes));
}

static void another_host_gets_a_backend_of_its_own(void **state)
{
    weir_error error = {.size = sizeof(error)};
    weir_backend *other = getter()(&host, &error);
    assert_non_null(other);
    assert_ptr_not_equal(other, backend);
    other->release(other);
}

static void a_host_of_another_abi_is_refused_with_a_reason(void **state)
{
    weir_host other = host;
    weir_error error = {.size = sizeof(error)};
    other.abi = WEIR_BACKEND_ABI + 1;
    assert_null(getter()(&other, &error));
    assert_non_null(strstr(error.text, "ABI"));
}

static void its_description_is_complete_and_stays(void **state)
{
    weir_model_info info = {.size = sizeof(info)}, again = {.size = sizeof(again)};
    backend->model_info(model, &info);
    assert_true(info.inputs_len >= 1 && info.inputs_len <= WEIR_PORTS_MAX);
    assert_int_equal(info.outputs_len, subject->outputs);
    assert_true(info.batchable);
    assert_non_null(info.platform);
    for (int32_t i = 0; i < info.inputs_len + info.outputs_len; i++) {
        const weir_port *port =
            i < info.inputs_len ? &info.inputs[i] : &info.outputs[i - info.inputs_len];
        assert_int_equal(port->size, sizeof(*port));
        assert_true(port->name[0] != '\0');
        assert_int_equal(port->type.lanes, 1);
        assert_true(port->rank >= 1 && port->rank <= WEIR_RANK_MAX);
        assert_int_equal(port->shape[0], -1); /* batchable */
    }
    weir_request request;
    struct numbers numbers;
    request_init(&request);
    subject->fill(&request, 1, &numbers);
    run(&request);
    request_release(&request);
    backend->model_info(model, &again);
    assert_ptr_equal(info.inputs, again.inputs);
    assert_ptr_equal(info.outputs, again.outputs);
    assert_int_equal(info.batchable, again.batchable);
}

static void each_request_is_answered_once_with_the_hosts_memory(void **state)
{
    weir_model_info info = {.size = sizeof(info)};
    backend->model_info(model, &info);
    for (int salt = 0; salt < 20; salt++) {
        weir_request request;
        struct numbers numbers;
        request_init(&request);
        subject->fill(&request, salt, &numbers);
        run(&request);
        assert_int_equal(request.finals, 1);
        assert_int_equal(request.status, WEIR_OK);
        assert_true(subject->right(&request, salt));
        for (int i = 0; i < subject->outputs; i++) {
            assert_non_null(request.outputs[i].data);
            assert_memory_equal(&request.outputs[i].type, &info.outputs[i].type, sizeof(weir_type));
            assert_int_equal(request.outputs[i].rank, info.outputs[i].rank);
        }
        request_release(&request);
    }
}

static void several_requests_in_one_call_are_answered_each(void **state)
{
    enum { N = 7 };
    weir_request requests[N], *handles[N];
    struct numbers numbers[N];
    for (int i = 0; i < N; i++) {
        request_init(&requests[i]);
        handles[i] = &requests[i];
        subject->fill(handles[i], i * 10 + 1, &numbers[i]);
    }
    subject->fill_bad(handles[3], &numbers[3]);
    backend->execute(instance, handles, N);
    for (int i = 0; i < N; i++) {
        request_wait(handles[i]);
        assert_int_equal(requests[i].finals, 1);
        assert_int_equal(requests[i].status == WEIR_OK, i != 3);
        if (i != 3)
            assert_true(subject->right(handles[i], i * 10 + 1));
        request_release(handles[i]);
    }
}

static void outputs_that_nobody_wants_may_be_left_out(void **state)
{
    for (int unwanted = 0; unwanted < subject->outputs; unwanted++) {
        weir_request request;
        struct numbers numbers;
        request_init(&request);
        subject->fill(&request, 5, &numbers);
        request.unwanted = (uint64_t)1 << unwanted;
        run(&request);
        assert_int_equal(request.status, WEIR_OK);
        assert_true(subject->right(&request, 5));
        for (int i = 0; i < subject->outputs; i++)
            if (i != unwanted)
                assert_non_null(request.outputs[i].data);
        request_release(&request);
    }
}

static void what_it_cannot_run_is_an_error_with_a_text(void **state)
{
    weir_request request;
    struct numbers numbers;
    request_init(&request);
    subject->fill_bad(&request, &numbers);
    run(&request);
    assert_int_equal(request.finals, 1);
    assert_int_not_equal(request.status, WEIR_OK);
    assert_true(request.text[0] != '\0');
    request_release(&request);
    each_request_is_answered_once_with_the_hosts_memory(state);
}

static void memory_that_the_host_refuses_is_passed_on(void **state)
{
    for (int from = 1; from <= subject->outputs; from++) {
        weir_request request;
        struct numbers numbers;
        request_init(&request);
        subject->fill(&request, 1, &numbers);
        request.refuse_from = from;
        run(&request);
        assert_int_equal(request.finals, 1);
        assert_int_equal(request.status, WEIR_RESOURCE_EXHAUSTED);
        assert_true(request.text[0] != '\0');
        request_release(&request);
    }
    each_request_is_answered_once_with_the_hosts_memory(state);
}

static void a_missing_model_is_an_error_that_names_it(void **state)
{
    weir_error error;
    weir_model *none = NULL;
    char name[64];
    snprintf(name, sizeof(name), "there-is-no-such%s", backend->suffixes);
    int32_t status = load(name, &none, &error);
    assert_int_equal(status, WEIR_NOT_FOUND);
    assert_null(none);
    assert_non_null(strstr(error.text, name));
}

static void a_corrupt_model_is_an_error_that_names_it(void **state)
{
    weir_error error;
    weir_model *none = NULL;
    int32_t status = load(subject->corrupt, &none, &error);
    assert_int_equal(status, WEIR_DATA_LOSS);
    assert_null(none);
    assert_non_null(strstr(error.text, subject->corrupt));
}

static void a_model_may_be_loaded_twice(void **state)
{
    weir_error error;
    weir_model *other_model = NULL;
    weir_instance *other = NULL, *first = instance;
    assert_int_equal(load(subject->model, &other_model, &error), WEIR_OK);
    assert_int_equal(backend->instance_new(other_model, &other, &error), WEIR_OK);
    instance = other;
    each_request_is_answered_once_with_the_hosts_memory(state);
    instance = first;
    backend->instance_free(other);
    backend->model_free(other_model);
    each_request_is_answered_once_with_the_hosts_memory(state);
}

static void *run_many(void *arg)
{
    atomic_int *wrong = arg;
    for (int salt = 0; salt < RUNS_A_THREAD; salt++) {
        weir_request request;
        struct numbers numbers;
        weir_request *handle = &request;
        request_init(&request);
        subject->fill(&request, salt, &numbers);
        backend->execute(instance, &handle, 1);
        request_wait(&request);
        if (request.finals != 1 || request.status || !subject->right(&request, salt))
            atomic_fetch_add(wrong, 1);
        request_release(&request);
    }
    return NULL;
}

static void threads_may_share_an_instance(void **state)
{
    pthread_t threads[THREADS];
    atomic_int wrong = 0;
    assert_true(backend->flags & WEIR_BACKEND_THREAD_SAFE);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_many, &wrong), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&wrong), 0);
}

struct canceller {
    weir_request *request;
    atomic_bool stop;
};

static void *cancel_again_and_again(void *arg)
{
    struct canceller *canceller = arg;
    while (!atomic_load(&canceller->stop))
        backend->cancel(instance, canceller->request);
    return NULL;
}

/* Cancels come at any moment of a run, and of the one after it with the same handle. */
static void a_cancel_ends_a_request_at_most_early(void **state)
{
    if (!backend->cancel)
        return;
    static weir_request request;
    struct canceller canceller = {.request = &request};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_again_and_again, &canceller), 0);
    for (int salt = 0; salt < RUNS_A_THREAD; salt++) {
        struct numbers numbers;
        request_init(&request);
        subject->fill(&request, salt, &numbers);
        run(&request);
        assert_int_equal(request.finals, 1);
        assert_true(request.status == WEIR_OK ? subject->right(&request, salt)
                                              : request.status == WEIR_CANCELLED);
        request_release(&request);
    }
    atomic_store(&canceller.stop, true);
    pthread_join(thread, NULL);
    each_request_is_answered_once_with_the_hosts_memory(state);
}

static void a_request_without_end_ends_when_cancelled(void **state)
{
    if (!subject->fill_endless)
        return;
    weir_request request, *handle = &request;
    struct numbers numbers;
    request_init(&request);
    subject->fill_endless(&request, &numbers);
    backend->execute(instance, &handle, 1);
    nanosleep(&(struct timespec){0, 5000000}, NULL);
    assert_int_equal(request.finals, 0);
    backend->cancel(instance, &request);
    request_wait(&request);
    assert_int_equal(request.finals, 1);
    assert_int_equal(request.status, WEIR_CANCELLED);
    request_release(&request);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_says_who_it_is),
        cmocka_unit_test(another_host_gets_a_backend_of_its_own),
        cmocka_unit_test(a_host_of_another_abi_is_refused_with_a_reason),
        cmocka_unit_test(its_description_is_complete_and_stays),
        cmocka_unit_test(each_request_is_answered_once_with_the_hosts_memory),
        cmocka_unit_test(several_requests_in_one_call_are_answered_each),
        cmocka_unit_test(outputs_that_nobody_wants_may_be_left_out),
        cmocka_unit_test(what_it_cannot_run_is_an_error_with_a_text),
        cmocka_unit_test(memory_that_the_host_refuses_is_passed_on),
        cmocka_unit_test(a_missing_model_is_an_error_that_names_it),
        cmocka_unit_test(a_corrupt_model_is_an_error_that_names_it),
        cmocka_unit_test(a_model_may_be_loaded_twice),
        cmocka_unit_test(threads_may_share_an_instance),
        cmocka_unit_test(a_cancel_ends_a_request_at_most_early),
        cmocka_unit_test(a_request_without_end_ends_when_cancelled),
    };
    for (size_t i = 0; argc == 2 && i < sizeof(subjects) / sizeof(subjects[0]); i++)
        if (strcmp(subjects[i].name, argv[1]) == 0)
            subject = &subjects[i];
    if (!subject) {
        fprintf(stderr, "usage: %s onnxruntime|arithmetic|late\n", argv[0]);
        return 2;
    }
    return cmocka_run_group_tests_name(subject->name, tests, open_all, close_all);
}
