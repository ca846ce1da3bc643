/* ONNX Runtime as a Weir backend: what its three sources share.
 *
 *   engine.c   finds and opens the engine's library; one environment; messages
 *   model.c    a model is one session; its ports
 *   run.c      an instance is a session plus recycled run options; execute, cancel
 *
 * The engine's library is opened at run time and asked for the lowest API version
 * that serves, so that any release from 1.17 on works and none is linked to.
 */
#pragma once

#include <onnxruntime_c_api.h>

#include <weir/backend.h>

#include <stdbool.h>
#include <stddef.h>

/* SetUserLoggingFunction came with 1.17; all else is older. */
#define ENGINE_API 17

struct engine {
    weir_backend backend; /* first: the host's pointer is the engine's */
    const weir_host *host;
    const OrtApi *api;
    OrtEnv *env;
    OrtMemoryInfo *memory; /* describes the host's memory to the engine */
    char version[64];
};

/* How one extent of an output follows from the inputs. */
struct extent_source {
    int8_t input; /* index, or -1 when it does not */
    uint8_t dimension;
};

struct port {
    ONNXTensorElementDataType element;
    size_t element_size; /* 0 for strings */
    /* Outputs only: whether the shape is known before the run, and how. */
    bool predictable;
    struct extent_source extents[WEIR_RANK_MAX];
};

struct ports {
    int32_t count;
    weir_port *ports;
    struct port *extra;
    char **names; /* the engine's memory */
    int64_t (*shapes)[WEIR_RANK_MAX];
    char (*symbols)[WEIR_RANK_MAX][32]; /* cut names of symbolic extents; loading only */
};

struct weir_model {
    struct engine *engine;
    OrtSession *session;
    OrtAllocator *allocator; /* the engine's default one; not owned */
    struct ports inputs, outputs;
    bool batchable;
};

/* Fills `error` by printf. Returns `status`. */
int32_t engine_error(weir_error *error, int32_t status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Takes over an engine's status: 0 for NULL, else the host's code for it, with the
 * engine's own message copied to `text`. */
int32_t engine_status(const struct engine *engine, OrtStatus *status, char *text, size_t size);
/* The same for calls that fail with a weir_error: "cannot <what>: <message>". */
int32_t engine_failed(const struct engine *engine, OrtStatus *status, const char *what,
                      weir_error *error);
void ORT_API_CALL engine_log(void *param, OrtLoggingLevel severity, const char *category,
                             const char *logid, const char *code_location, const char *message);

int32_t onnx_model_load(weir_backend *backend, const weir_model_config *config,
                        weir_model **ret_model, weir_error *error);
void onnx_model_info(weir_model *model, weir_model_info *ret_info);
void onnx_model_free(weir_model *model);

int32_t onnx_instance_new(weir_model *model, weir_instance **ret_instance, weir_error *error);
void onnx_instance_free(weir_instance *instance);
void onnx_execute(weir_instance *instance, weir_request *const *requests, int32_t n);
void onnx_cancel(weir_instance *instance, weir_request *request);
