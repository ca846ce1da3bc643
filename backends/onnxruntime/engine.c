#include "engine.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int32_t engine_error(weir_error *error, int32_t status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (error && error->size >= sizeof(*error))
        vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);
    return status;
}

/* Malformed files come back under several codes; to the host all mean damaged data. */
static int32_t host_code(OrtErrorCode code)
{
    switch (code) {
    case ORT_INVALID_ARGUMENT:
        return WEIR_INVALID_ARGUMENT;
    case ORT_NO_SUCHFILE:
        return WEIR_NOT_FOUND;
    case ORT_NO_MODEL:
    case ORT_INVALID_PROTOBUF:
    case ORT_INVALID_GRAPH:
        return WEIR_DATA_LOSS;
    case ORT_NOT_IMPLEMENTED:
        return WEIR_UNIMPLEMENTED;
    default:
        return WEIR_INTERNAL;
    }
}

int32_t engine_status(const struct engine *engine, OrtStatus *status, char *text, size_t size)
{
    if (!status)
        return WEIR_OK;
    int32_t code = host_code(engine->api->GetErrorCode(status));
    snprintf(text, size, "%s", engine->api->GetErrorMessage(status));
    engine->api->ReleaseStatus(status);
    return code;
}

int32_t engine_failed(const struct engine *engine, OrtStatus *status, const char *what,
                      weir_error *error)
{
    char text[400] = "";
    int32_t code = engine_status(engine, status, text, sizeof(text));
    return code ? engine_error(error, code, "cannot %s: %s", what, text) : code;
}

void ORT_API_CALL engine_log(void *param, OrtLoggingLevel severity, const char *category,
                             const char *logid, const char *code_location, const char *message)
{
    const struct engine *engine = param;
    static const int32_t levels[] = {0, 0, 2, 3, 3}; /* its "info" is detail to us */
    char text[1000];
    snprintf(text, sizeof(text), "%s: %s (%s)", logid ? logid : "", message ? message : "",
             code_location ? code_location : "");
    unsigned level = (unsigned)severity;
    engine->host->log(engine->host, level < 5 ? levels[level] : 3, text);
}

/* The environment is shared by all in the process and may outlive this engine, so it
 * gets no pointer to it; sessions log by `engine_log`. */
static void ORT_API_CALL environment_log(void *param, OrtLoggingLevel severity,
                                         const char *category, const char *logid,
                                         const char *code_location, const char *message)
{
    (void)param, (void)severity, (void)category, (void)logid, (void)code_location, (void)message;
}

/* The wheel names its library by the full version, packages by the ABI's. */
static void *library_open(const char *folder, weir_error *error)
{
    if (!folder) {
        void *library = dlopen("libonnxruntime.so.1", RTLD_NOW | RTLD_LOCAL);
        if (!library)
            engine_error(error, WEIR_NOT_FOUND, "cannot open ONNX Runtime: %s", dlerror());
        return library;
    }
    char pattern[4096];
    glob_t found = {0};
    if (snprintf(pattern, sizeof(pattern), "%s/libonnxruntime.so.1*", folder) >=
            (int)sizeof(pattern) ||
        glob(pattern, 0, NULL, &found) != 0) {
        engine_error(error, WEIR_NOT_FOUND,
                     "cannot find ONNX Runtime: expected libonnxruntime.so.1* in %.300s", folder);
        return NULL;
    }
    void *library = dlopen(found.gl_pathv[0], RTLD_NOW | RTLD_LOCAL);
    if (!library)
        engine_error(error, WEIR_NOT_FOUND, "cannot open ONNX Runtime: %s", dlerror());
    globfree(&found);
    return library;
}

static const OrtApi *api_get(void *library, char *version, size_t size, weir_error *error)
{
    const OrtApiBase *(*get_base)(void) = NULL;
    void *symbol = dlsym(library, "OrtGetApiBase");
    memcpy(&get_base, &symbol, sizeof(symbol));
    const OrtApiBase *base = get_base ? get_base() : NULL;
    if (!base) {
        engine_error(error, WEIR_UNIMPLEMENTED,
                     "the ONNX Runtime library exports no usable OrtGetApiBase");
        return NULL;
    }
    snprintf(version, size, "%s", base->GetVersionString());
    const OrtApi *api = base->GetApi(ENGINE_API);
    if (!api)
        engine_error(error, WEIR_UNIMPLEMENTED,
                     "ONNX Runtime is too old: expected 1.%d or newer, got %s", ENGINE_API,
                     version);
    return api;
}

static void engine_release(weir_backend *backend)
{
    struct engine *engine = (struct engine *)backend;
    if (engine->memory)
        engine->api->ReleaseMemoryInfo(engine->memory);
    if (engine->env)
        engine->api->ReleaseEnv(engine->env);
    free(engine);
}

static int32_t engine_init(struct engine *engine, const weir_host *host, weir_error *error)
{
    engine->host = host;
    void *library = library_open(host->engines_path, error);
    if (!library)
        return WEIR_NOT_FOUND;
    engine->api = api_get(library, engine->version, sizeof(engine->version), error);
    if (!engine->api)
        return WEIR_UNIMPLEMENTED;
    const OrtApi *api = engine->api;
    int32_t code =
        engine_failed(engine,
                      api->CreateEnvWithCustomLogger(
                          environment_log, NULL, ORT_LOGGING_LEVEL_WARNING, "weir", &engine->env),
                      "start ONNX Runtime", error);
    if (code)
        return code;
    code = engine_failed(engine, api->DisableTelemetryEvents(engine->env),
                         "turn ONNX Runtime's telemetry off", error);
    if (code)
        return code;
    return engine_failed(
        engine, api->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &engine->memory),
        "describe memory to ONNX Runtime", error);
}

WEIR_EXPORT weir_backend *weir_backend_get(const weir_host *host, weir_error *error)
{
    if (host->abi != WEIR_BACKEND_ABI || host->size < sizeof(*host)) {
        engine_error(error, WEIR_UNIMPLEMENTED, "expected a host of ABI version %d, got %u",
                     WEIR_BACKEND_ABI, host->abi);
        return NULL;
    }
    struct engine *engine = calloc(1, sizeof(*engine));
    if (!engine) {
        engine_error(error, WEIR_RESOURCE_EXHAUSTED, "out of memory");
        return NULL;
    }
    if (engine_init(engine, host, error)) {
        engine_release(&engine->backend);
        return NULL;
    }
    engine->backend = (weir_backend){
        .size = sizeof(weir_backend),
        .abi = WEIR_BACKEND_ABI,
        .name = "onnxruntime",
        .version = engine->version,
        .flags = WEIR_BACKEND_THREAD_SAFE | WEIR_BACKEND_SYNCHRONOUS,
        .suffixes = ".onnx",
        .release = engine_release,
        .model_load = onnx_model_load,
        .model_info = onnx_model_info,
        .model_free = onnx_model_free,
        .instance_new = onnx_instance_new,
        .instance_free = onnx_instance_free,
        .execute = onnx_execute,
        .cancel = onnx_cancel,
    };
    char text[128];
    snprintf(text, sizeof(text), "ONNX Runtime %s, asked for API %d", engine->version, ENGINE_API);
    host->log(host, 1, text);
    return &engine->backend;
}
