/* One request is one Run of the session, on the calling thread.
 *
 * Inputs are the host's memory, wrapped, not copied; strings are the exception, as the
 * engine keeps them as objects of its own. Where an output's shape is known before the
 * run, its memory is taken from the host and the engine writes there; else the engine
 * allocates and the result is copied once. A model may promise shapes that it does not
 * keep; then the run is done again without promises, and never with them afterwards.
 *
 * Cancelling. Each run borrows one of the instance's contexts, whose `owner` is the
 * request it serves. Whoever cancels marks the context by the lowest bit of `owner`
 * while it sets the engine's flag; the run waits for that mark to go before it gives
 * the context back, so that a flag never reaches the next request. With all contexts
 * lent, a run cannot be cancelled, only finished.
 */
#include "engine.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CONTEXTS 64

struct run_context {
    _Alignas(64) atomic_uintptr_t owner; /* weir_request *; lowest bit: being cancelled */
    atomic_bool cancelled;
    OrtRunOptions *options;
};

struct weir_instance {
    struct run_context contexts[CONTEXTS];
    struct weir_model *model;
    atomic_bool promises_broken;
};

/* ---- contexts ---- */

static struct run_context *context_take(struct weir_instance *instance, weir_request *request)
{
    /* Threads begin at different places, told apart by their stacks, so that they do
     * not fight for one cache line. */
    size_t start = (uintptr_t)__builtin_frame_address(0) >> 20;
    for (size_t i = 0; i < CONTEXTS; i++) {
        struct run_context *context = &instance->contexts[(start + i) % CONTEXTS];
        uintptr_t free_owner = 0;
        if (atomic_load_explicit(&context->owner, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong(&context->owner, &free_owner, (uintptr_t)request))
            return context;
    }
    return NULL;
}

static void context_give(struct engine *engine, struct run_context *context, weir_request *request)
{
    if (!context)
        return;
    uintptr_t mine = (uintptr_t)request;
    /* The mark stands for as long as one call that sets a flag. */
    while (!atomic_compare_exchange_weak(&context->owner, &mine, (uintptr_t)request | 1))
        mine = (uintptr_t)request;
    if (atomic_load(&context->cancelled)) {
        OrtStatus *status = engine->api->RunOptionsUnsetTerminate(context->options);
        if (status)
            engine->api->ReleaseStatus(status);
        atomic_store(&context->cancelled, false);
    }
    atomic_store(&context->owner, 0);
}

void onnx_cancel(weir_instance *instance, weir_request *request)
{
    struct engine *engine = instance->model->engine;
    for (size_t i = 0; i < CONTEXTS; i++) {
        struct run_context *context = &instance->contexts[i];
        uintptr_t owner = (uintptr_t)request;
        if (!atomic_compare_exchange_strong(&context->owner, &owner, owner | 1))
            continue;
        atomic_store(&context->cancelled, true);
        OrtStatus *status = engine->api->RunOptionsSetTerminate(context->options);
        if (status)
            engine->api->ReleaseStatus(status);
        atomic_store(&context->owner, (uintptr_t)request);
        return;
    }
}

int32_t onnx_instance_new(weir_model *model, weir_instance **ret_instance, weir_error *error)
{
    struct weir_instance *instance = aligned_alloc(64, sizeof(*instance));
    if (!instance)
        return engine_error(error, WEIR_RESOURCE_EXHAUSTED, "out of memory");
    memset(instance, 0, sizeof(*instance));
    instance->model = model;
    for (size_t i = 0; i < CONTEXTS; i++) {
        OrtStatus *status = model->engine->api->CreateRunOptions(&instance->contexts[i].options);
        int32_t code = engine_failed(model->engine, status, "make run options", error);
        if (code) {
            onnx_instance_free(instance);
            return code;
        }
    }
    *ret_instance = instance;
    return WEIR_OK;
}

void onnx_instance_free(weir_instance *instance)
{
    for (size_t i = 0; i < CONTEXTS; i++)
        if (instance->contexts[i].options)
            instance->model->engine->api->ReleaseRunOptions(instance->contexts[i].options);
    free(instance);
}

/* ---- one run ---- */

/* Written before it is read, and too large to be zeroed each time. */
#define UNINITIALIZED __attribute__((uninitialized))

struct run {
    struct weir_model *model;
    struct engine *engine;
    const weir_host *host;
    weir_request *request;
    int32_t outputs_len;             /* that are wanted */
    int32_t outputs[WEIR_PORTS_MAX]; /* their indices */
    const char *output_names[WEIR_PORTS_MAX];
    weir_tensor tensors[WEIR_PORTS_MAX]; /* inputs */
    OrtValue *inputs_ort[WEIR_PORTS_MAX];
    OrtValue *outputs_ort[WEIR_PORTS_MAX];
    char text[500];
};

static int32_t run_text(struct run *run, int32_t code, const char *text)
{
    size_t len = strnlen(text, sizeof(run->text) - 1);
    memcpy(run->text, text, len);
    run->text[len] = '\0';
    return code;
}

static int32_t run_status(struct run *run, OrtStatus *status)
{
    return engine_status(run->engine, status, run->text, sizeof(run->text));
}

static uint64_t elements_of(const int64_t *shape, int32_t rank)
{
    uint64_t elements = 1;
    for (int32_t i = 0; i < rank; i++)
        elements *= (uint64_t)shape[i];
    return elements;
}

static int32_t strings_in(struct run *run, const weir_tensor *tensor, OrtValue **ret_value)
{
    const OrtApi *api = run->engine->api;
    int32_t code = run_status(
        run, api->CreateTensorAsOrtValue(run->model->allocator, tensor->shape, (size_t)tensor->rank,
                                         ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING, ret_value));
    uint64_t elements = elements_of(tensor->shape, tensor->rank);
    for (uint64_t i = 0; !code && i < elements; i++) {
        size_t len = tensor->offsets[i + 1] - tensor->offsets[i];
        char *into = NULL;
        code = run_status(run, api->GetResizedStringTensorElementBuffer(*ret_value, i, len, &into));
        if (!code && len)
            memcpy(into, (const char *)tensor->data + tensor->offsets[i], len);
    }
    return code;
}

static int32_t inputs_wrap(struct run *run)
{
    static const char nothing[64]; /* where a tensor without elements points to */
    const struct ports *ports = &run->model->inputs;
    for (int32_t i = 0; i < ports->count; i++) {
        weir_tensor *tensor = &run->tensors[i];
        tensor->size = sizeof(*tensor);
        run->host->request_input(run->request, i, tensor);
        int32_t code;
        if (ports->extra[i].element_size == 0)
            code = strings_in(run, tensor, &run->inputs_ort[i]);
        else
            code = run_status(run, run->engine->api->CreateTensorWithDataAsOrtValue(
                                       run->engine->memory,
                                       tensor->data ? tensor->data : (void *)(uintptr_t)nothing,
                                       tensor->bytes, tensor->shape, (size_t)tensor->rank,
                                       ports->extra[i].element, &run->inputs_ort[i]));
        if (code)
            return code;
    }
    return WEIR_OK;
}

/* Takes the host's memory for the outputs whose shape the ports promise. */
static int32_t outputs_promise(struct run *run)
{
    const struct ports *ports = &run->model->outputs;
    for (int32_t i = 0; i < run->outputs_len; i++) {
        int32_t index = run->outputs[i];
        const struct port *extra = &ports->extra[index];
        const weir_port *port = &ports->ports[index];
        if (!extra->predictable)
            continue;
        int64_t shape[WEIR_RANK_MAX] UNINITIALIZED;
        for (int32_t d = 0; d < port->rank; d++) {
            struct extent_source source = extra->extents[d];
            shape[d] = port->shape[d] >= 0 ? port->shape[d]
                                           : run->tensors[source.input].shape[source.dimension];
        }
        void *data = NULL;
        int32_t code = run->host->tensor_alloc(run->request, index, port->type, port->rank, shape,
                                               WEIR_CPU, &data);
        if (code)
            return run_text(run, code, "no memory for an output");
        uint64_t bytes = elements_of(shape, port->rank) * extra->element_size;
        if (!bytes)
            continue;
        code = run_status(run, run->engine->api->CreateTensorWithDataAsOrtValue(
                                   run->engine->memory, data, bytes, shape, (size_t)port->rank,
                                   extra->element, &run->outputs_ort[i]));
        if (code)
            return code;
    }
    return WEIR_OK;
}

static int32_t strings_out(struct run *run, OrtValue *value, int32_t index, const int64_t *shape,
                           int32_t rank)
{
    const OrtApi *api = run->engine->api;
    uint64_t elements = elements_of(shape, rank);
    size_t bytes = 0;
    int32_t code = run_status(run, api->GetStringTensorDataLength(value, &bytes));
    if (code)
        return code;
    _Static_assert(sizeof(size_t) == sizeof(uint64_t), "offsets are the engine's own");
    uint64_t *offsets = malloc((elements + 1) * sizeof(*offsets));
    char *data = malloc(bytes + 1);
    if (!offsets || !data)
        code = run_text(run, WEIR_RESOURCE_EXHAUSTED, "out of memory");
    if (!code)
        code = run_status(
            run, api->GetStringTensorContent(value, data, bytes, (size_t *)offsets, elements));
    if (!code) {
        offsets[elements] = bytes;
        code = run->host->tensor_strings(run->request, index, rank, shape, data, offsets);
        if (code)
            run_text(run, code, "no memory for an output");
    }
    free(offsets);
    free(data);
    return code;
}

static int32_t output_copy(struct run *run, OrtValue *value, int32_t index)
{
    const OrtApi *api = run->engine->api;
    const struct port *extra = &run->model->outputs.extra[index];
    OrtTensorTypeAndShapeInfo *info = NULL;
    int32_t code = run_status(run, api->GetTensorTypeAndShape(value, &info));
    if (code)
        return code;
    size_t rank = 0;
    int64_t shape[WEIR_RANK_MAX];
    code = run_status(run, api->GetDimensionsCount(info, &rank));
    if (!code && rank > WEIR_RANK_MAX)
        code = run_text(run, WEIR_UNIMPLEMENTED, "an output has too many dimensions");
    if (!code)
        code = run_status(run, api->GetDimensions(info, shape, rank));
    api->ReleaseTensorTypeAndShapeInfo(info);
    if (code)
        return code;
    if (extra->element_size == 0)
        return strings_out(run, value, index, shape, (int32_t)rank);
    void *from = NULL, *into = NULL;
    code = run_status(run, api->GetTensorMutableData(value, &from));
    if (code)
        return code;
    code = run->host->tensor_alloc(run->request, index, run->model->outputs.ports[index].type,
                                   (int32_t)rank, shape, WEIR_CPU, &into);
    if (code)
        return run_text(run, code, "no memory for an output");
    uint64_t bytes = elements_of(shape, (int32_t)rank) * extra->element_size;
    if (bytes)
        memcpy(into, from, bytes);
    return WEIR_OK;
}

static void outputs_drop(struct run *run)
{
    for (int32_t i = 0; i < run->outputs_len; i++) {
        if (run->outputs_ort[i])
            run->engine->api->ReleaseValue(run->outputs_ort[i]);
        run->outputs_ort[i] = NULL;
    }
}

static int32_t run_once(struct run *run, bool promise, const OrtRunOptions *options)
{
    OrtValue *promised[WEIR_PORTS_MAX] UNINITIALIZED;
    int32_t code = promise ? outputs_promise(run) : WEIR_OK;
    if (code)
        return code;
    memcpy(promised, run->outputs_ort, (size_t)run->outputs_len * sizeof(promised[0]));
    code =
        run_status(run, run->engine->api->Run(run->model->session, options,
                                              (const char *const *)run->model->inputs.names,
                                              (const OrtValue *const *)run->inputs_ort,
                                              (size_t)run->model->inputs.count, run->output_names,
                                              (size_t)run->outputs_len, run->outputs_ort));
    for (int32_t i = 0; !code && i < run->outputs_len; i++)
        if (!promised[i])
            code = output_copy(run, run->outputs_ort[i], run->outputs[i]);
    return code;
}

static int32_t run_all(struct weir_instance *instance, struct run *run, struct run_context *context)
{
    int32_t code = inputs_wrap(run);
    if (code || run->outputs_len == 0)
        return code;
    const OrtRunOptions *options = context ? context->options : NULL;
    bool promise = !atomic_load_explicit(&instance->promises_broken, memory_order_relaxed);
    code = run_once(run, promise, options);
    if (!code || !promise || code == WEIR_RESOURCE_EXHAUSTED ||
        (context && atomic_load(&context->cancelled)))
        return code;
    outputs_drop(run);
    int32_t again = run_once(run, false, options);
    if (!again) {
        atomic_store(&instance->promises_broken, true);
        run->host->log(run->host, 2,
                       "the model's outputs do not have the shapes that it declares; from now on "
                       "they are copied");
    }
    return again;
}

static void request_run(struct weir_instance *instance, weir_request *request)
{
    struct run run UNINITIALIZED;
    run.model = instance->model;
    run.engine = instance->model->engine;
    run.host = run.engine->host;
    run.request = request;
    run.outputs_len = 0;
    run.text[0] = '\0';
    memset(run.inputs_ort, 0, (size_t)run.model->inputs.count * sizeof(run.inputs_ort[0]));
    for (int32_t i = 0; i < run.model->outputs.count; i++) {
        if (!run.host->request_wants(request, i))
            continue;
        run.outputs_ort[run.outputs_len] = NULL;
        run.output_names[run.outputs_len] = run.model->outputs.names[i];
        run.outputs[run.outputs_len++] = i;
    }
    struct run_context *context = context_take(instance, request);
    int32_t code = run_all(instance, &run, context);
    if (code && context && atomic_load(&context->cancelled))
        code = run_text(&run, WEIR_CANCELLED, "the run was cancelled");
    outputs_drop(&run);
    for (int32_t i = 0; i < run.model->inputs.count; i++)
        if (run.inputs_ort[i])
            run.engine->api->ReleaseValue(run.inputs_ort[i]);
    context_give(run.engine, context, request);
    if (code)
        run.host->respond_error(request, code, run.text);
    else
        run.host->respond(request, 1);
}

void onnx_execute(weir_instance *instance, weir_request *const *requests, int32_t n)
{
    for (int32_t i = 0; i < n; i++)
        request_run(instance, requests[i]);
}
