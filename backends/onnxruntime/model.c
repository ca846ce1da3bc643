#include "engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct element {
    ONNXTensorElementDataType onnx;
    weir_type type;
    size_t size;
    const char *name;
};

static const struct element elements[] = {
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, {WEIR_FLOAT, 32, 1}, 4, "float"},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, {WEIR_UINT, 8, 1}, 1, "uint8"},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8, {WEIR_INT, 8, 1}, 1, "int8"},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16, {WEIR_UINT, 16, 1}, 2, "uint16"},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16, {WEIR_INT, 16, 1}, 2, "int16"},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32, {WEIR_INT, 32, 1}, 4, "int32"},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, {WEIR_INT, 64, 1}, 8, "int64"},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING, {WEIR_STRING, 8, 1}, 0, "string"},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL, {WEIR_BOOL, 8, 1}, 1, "bool"},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16, {WEIR_FLOAT, 16, 1}, 2, "float16"},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE, {WEIR_FLOAT, 64, 1}, 8, "double"},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32, {WEIR_UINT, 32, 1}, 4, "uint32"},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64, {WEIR_UINT, 64, 1}, 8, "uint64"},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16, {WEIR_BFLOAT, 16, 1}, 2, "bfloat16"},
};

static const struct element *element_find(ONNXTensorElementDataType onnx)
{
    for (size_t i = 0; i < sizeof(elements) / sizeof(elements[0]); i++)
        if (elements[i].onnx == onnx)
            return &elements[i];
    return NULL;
}

static const char *kind_name(enum ONNXType kind)
{
    static const char *const names[] = {"value of unknown kind", "tensor",        "sequence", "map",
                                        "opaque value",          "sparse tensor", "optional"};
    return (unsigned)kind < sizeof(names) / sizeof(names[0]) ? names[kind] : names[0];
}

/* ---- options ---- */

/* The engine's CPU arena keeps the largest memory that any run ever needed and gives
 * none of it back, and its memory patterns keep one plan for each shape that ever
 * came. A server with many models and varying batches wants its memory back, so both
 * are off unless the configuration says `arena: "true"`. */
static int32_t options_read(const weir_model_config *config, bool *ret_arena, weir_error *error)
{
    *ret_arena = false;
    for (int32_t i = 0; i < config->options_len; i++) {
        const weir_option *option = &config->options[i];
        if (strcmp(option->name, "arena") != 0)
            return engine_error(error, WEIR_INVALID_ARGUMENT,
                                "unknown option '%.100s' for ONNX Runtime; known: arena",
                                option->name);
        if (strcmp(option->value, "true") != 0 && strcmp(option->value, "false") != 0)
            return engine_error(error, WEIR_INVALID_ARGUMENT,
                                "expected true or false for option 'arena', got '%.100s'",
                                option->value);
        *ret_arena = strcmp(option->value, "true") == 0;
    }
    return WEIR_OK;
}

static int32_t session_options(struct engine *engine, const weir_model_config *config,
                               OrtSessionOptions *options, weir_error *error)
{
    const OrtApi *api = engine->api;
    bool arena;
    int32_t code = options_read(config, &arena, error);
    if (code)
        return code;
    int threads = config->threads > 0 ? config->threads : 1;
    OrtStatus *statuses[] = {
        api->SetIntraOpNumThreads(options, threads),
        api->SetInterOpNumThreads(options, 1),
        api->SetSessionExecutionMode(options, ORT_SEQUENTIAL),
        api->SetSessionGraphOptimizationLevel(options, ORT_ENABLE_ALL),
        api->SetSessionLogId(options, config->name),
        api->SetSessionLogSeverityLevel(options, ORT_LOGGING_LEVEL_WARNING),
        api->SetUserLoggingFunction(options, engine_log, engine),
        api->AddSessionConfigEntry(options, "session.intra_op.allow_spinning", "0"),
        api->AddSessionConfigEntry(options, "session.inter_op.allow_spinning", "0"),
        arena ? NULL : api->DisableCpuMemArena(options),
        arena ? NULL : api->DisableMemPattern(options),
    };
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        int32_t one =
            engine_failed(engine, statuses[i], "set the session's options", code ? NULL : error);
        code = code ? code : one;
    }
    return code;
}

/* ---- ports ---- */

static int32_t shape_read(struct weir_model *model, const OrtTensorTypeAndShapeInfo *info,
                          struct ports *ports, int32_t index, weir_error *error)
{
    const OrtApi *api = model->engine->api;
    weir_port *port = &ports->ports[index];
    size_t rank = 0;
    int32_t code = engine_failed(model->engine, api->GetDimensionsCount(info, &rank),
                                 "read a port's rank", error);
    if (code)
        return code;
    if (rank > WEIR_RANK_MAX)
        return engine_error(error, WEIR_UNIMPLEMENTED,
                            "'%.100s' has %zu dimensions; at most %d are supported", port->name,
                            rank, WEIR_RANK_MAX);
    const char *symbols[WEIR_RANK_MAX] = {NULL};
    int64_t *shape = ports->shapes[index];
    code = engine_failed(model->engine, api->GetDimensions(info, shape, rank),
                         "read a port's shape", error);
    if (code)
        return code;
    code = engine_failed(model->engine, api->GetSymbolicDimensions(info, symbols, rank),
                         "read a port's symbolic shape", error);
    if (code)
        return code;
    for (size_t i = 0; i < rank; i++) {
        shape[i] = shape[i] < 0 ? -1 : shape[i];
        snprintf(ports->symbols[index][i], sizeof(ports->symbols[index][i]), "%s",
                 shape[i] < 0 && symbols[i] ? symbols[i] : "");
    }
    /* The engine does not tell a scalar from an unknown rank; the latter takes both. */
    port->rank = rank ? (int32_t)rank : -1;
    port->shape = shape;
    return WEIR_OK;
}

static int32_t type_read(struct weir_model *model, const OrtTypeInfo *type, struct ports *ports,
                         int32_t index, const char *what, weir_error *error)
{
    const OrtApi *api = model->engine->api;
    weir_port *port = &ports->ports[index];
    enum ONNXType kind = ONNX_TYPE_UNKNOWN;
    int32_t code = engine_failed(model->engine, api->GetOnnxTypeFromTypeInfo(type, &kind),
                                 "read a port's kind", error);
    if (code)
        return code;
    if (kind != ONNX_TYPE_TENSOR)
        return engine_error(error, WEIR_UNIMPLEMENTED,
                            "%s '%.100s' is a %s; only tensors are supported (for a classifier "
                            "of scikit-learn, convert it with the option zipmap=False)",
                            what, port->name, kind_name(kind));
    const OrtTensorTypeAndShapeInfo *info = NULL;
    code = engine_failed(model->engine, api->CastTypeInfoToTensorInfo(type, &info),
                         "read a port's type", error);
    if (code)
        return code;
    ONNXTensorElementDataType onnx = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
    code = engine_failed(model->engine, api->GetTensorElementType(info, &onnx),
                         "read a port's element type", error);
    if (code)
        return code;
    const struct element *element = element_find(onnx);
    if (!element)
        return engine_error(error, WEIR_UNIMPLEMENTED,
                            "%s '%.100s' has ONNX element type %d, which is not supported", what,
                            port->name, (int)onnx);
    port->type = element->type;
    ports->extra[index].element = onnx;
    ports->extra[index].element_size = element->size;
    return shape_read(model, info, ports, index, error);
}

static int32_t port_read(struct weir_model *model, struct ports *ports, int32_t index, bool outputs,
                         weir_error *error)
{
    const struct engine *engine = model->engine;
    const OrtApi *api = engine->api;
    char **name = &ports->names[index];
    size_t at = (size_t)index;
    OrtStatus *status = outputs
                            ? api->SessionGetOutputName(model->session, at, model->allocator, name)
                            : api->SessionGetInputName(model->session, at, model->allocator, name);
    int32_t code = engine_failed(engine, status, "read a port's name", error);
    if (code)
        return code;
    ports->count = index + 1;
    ports->ports[index].size = sizeof(weir_port);
    ports->ports[index].name = *name;
    OrtTypeInfo *type = NULL;
    status = outputs ? api->SessionGetOutputTypeInfo(model->session, at, &type)
                     : api->SessionGetInputTypeInfo(model->session, at, &type);
    code = engine_failed(engine, status, "read a port's type", error);
    if (!code)
        code = type_read(model, type, ports, index, outputs ? "output" : "input", error);
    if (type)
        api->ReleaseTypeInfo(type);
    return code;
}

static int32_t ports_read(struct weir_model *model, struct ports *ports, bool outputs,
                          weir_error *error)
{
    const OrtApi *api = model->engine->api;
    size_t count = 0;
    OrtStatus *status = outputs ? api->SessionGetOutputCount(model->session, &count)
                                : api->SessionGetInputCount(model->session, &count);
    int32_t code = engine_failed(model->engine, status, "count the ports", error);
    if (code)
        return code;
    if (count > WEIR_PORTS_MAX)
        return engine_error(error, WEIR_UNIMPLEMENTED, "%zu %s; at most %d are supported", count,
                            outputs ? "outputs" : "inputs", WEIR_PORTS_MAX);
    ports->ports = calloc(count + 1, sizeof(*ports->ports));
    ports->extra = calloc(count + 1, sizeof(*ports->extra));
    ports->names = calloc(count + 1, sizeof(*ports->names));
    ports->shapes = calloc(count + 1, sizeof(*ports->shapes));
    ports->symbols = calloc(count + 1, sizeof(*ports->symbols));
    if (!ports->ports || !ports->extra || !ports->names || !ports->shapes || !ports->symbols)
        return engine_error(error, WEIR_RESOURCE_EXHAUSTED, "out of memory");
    for (size_t i = 0; !code && i < count; i++)
        code = port_read(model, ports, (int32_t)i, outputs, error);
    return code;
}

static void ports_release(struct weir_model *model, struct ports *ports)
{
    for (int32_t i = 0; i < ports->count; i++) {
        OrtStatus *status = model->engine->api->AllocatorFree(model->allocator, ports->names[i]);
        if (status)
            model->engine->api->ReleaseStatus(status);
    }
    free(ports->ports);
    free(ports->extra);
    free(ports->names);
    free(ports->shapes);
    free(ports->symbols);
}

/* ---- what follows from the ports ---- */

/* A symbolic extent that bears the same name as one of an input has its extent. */
static struct extent_source extent_find(const struct ports *inputs, const char *symbol)
{
    for (int32_t i = 0; *symbol && i < inputs->count; i++)
        for (int32_t d = 0; d < inputs->ports[i].rank; d++)
            if (strcmp(inputs->symbols[i][d], symbol) == 0)
                return (struct extent_source){(int8_t)i, (uint8_t)d};
    return (struct extent_source){-1, 0};
}

static void outputs_predict(struct weir_model *model)
{
    for (int32_t i = 0; i < model->outputs.count; i++) {
        const weir_port *port = &model->outputs.ports[i];
        struct port *extra = &model->outputs.extra[i];
        extra->predictable = port->rank > 0 && extra->element_size > 0;
        for (int32_t d = 0; d < port->rank; d++) {
            if (port->shape[d] >= 0)
                continue;
            extra->extents[d] = extent_find(&model->inputs, model->outputs.symbols[i][d]);
            extra->predictable = extra->predictable && extra->extents[d].input >= 0;
        }
    }
}

static bool rows_open(const struct ports *ports)
{
    for (int32_t i = 0; i < ports->count; i++)
        if (ports->ports[i].rank < 1 || ports->ports[i].shape[0] != -1)
            return false;
    return ports->count > 0;
}

/* ---- the ABI ---- */

void onnx_model_free(weir_model *model)
{
    if (model->session) {
        ports_release(model, &model->inputs);
        ports_release(model, &model->outputs);
        model->engine->api->ReleaseSession(model->session);
    }
    free(model);
}

static int32_t model_init(struct weir_model *model, const weir_model_config *config,
                          OrtSessionOptions *options, weir_error *error)
{
    const struct engine *engine = model->engine;
    const OrtApi *api = engine->api;
    int32_t code = session_options(model->engine, config, options, error);
    if (code)
        return code;
    code = engine_failed(engine,
                         api->CreateSession(engine->env, config->path, options, &model->session),
                         "load it", error); /* the host names the file */
    if (code)
        return code;
    code = engine_failed(engine, api->GetAllocatorWithDefaultOptions(&model->allocator),
                         "get the default allocator", error);
    if (code)
        return code;
    code = ports_read(model, &model->inputs, false, error);
    if (!code)
        code = ports_read(model, &model->outputs, true, error);
    if (code)
        return code;
    model->batchable = rows_open(&model->inputs) && rows_open(&model->outputs);
    outputs_predict(model);
    return WEIR_OK;
}

int32_t onnx_model_load(weir_backend *backend, const weir_model_config *config,
                        weir_model **ret_model, weir_error *error)
{
    struct engine *engine = (struct engine *)backend;
    struct weir_model *model = calloc(1, sizeof(*model));
    if (!model)
        return engine_error(error, WEIR_RESOURCE_EXHAUSTED, "out of memory");
    model->engine = engine;
    OrtSessionOptions *options = NULL;
    int32_t code = engine_failed(engine, engine->api->CreateSessionOptions(&options),
                                 "make session options", error);
    if (!code)
        code = model_init(model, config, options, error);
    if (options)
        engine->api->ReleaseSessionOptions(options);
    if (code)
        onnx_model_free(model);
    else
        *ret_model = model;
    return code;
}

void onnx_model_info(weir_model *model, weir_model_info *ret_info)
{
    *ret_info = (weir_model_info){
        .size = sizeof(*ret_info),
        .inputs_len = model->inputs.count,
        .outputs_len = model->outputs.count,
        .inputs = model->inputs.ports,
        .outputs = model->outputs.ports,
        .batchable = model->batchable,
        .platform = "onnxruntime_onnx",
    };
}
