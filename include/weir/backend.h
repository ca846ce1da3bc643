/* The backend ABI: how Weir and an engine that runs models talk.
 *
 * A backend is a shared object that exports one function, `weir_backend_get`. It
 * runs in Weir's process or, with the same ABI, in a process of its own. This header
 * is all that it needs; examples/backend-arithmetic is a whole one.
 *
 * ABI version 0: free to change until it is frozen as 1. A host refuses a backend
 * of another version.
 *
 * Life
 *   weir_backend_get -> model_load -> model_info -> instance_new -> execute ...
 *   -> instance_free -> model_free -> release. Every model is freed before its
 *   backend is released, and no request runs any more when its instance is freed. The
 *   shared object itself stays in memory until the process ends, and
 *   `weir_backend_get` may be called again, for another host.
 *
 * State
 *   A backend keeps what it needs in a struct of its own that begins with
 *   `weir_backend`; it gets that pointer back in `model_load`. Nothing has to be
 *   global.
 *
 * Threads
 *   model_load, model_info, instance_new, instance_free and model_free are called
 *   from any thread, for one model never two at a time, for different models at
 *   once; they may take long. `execute` is called from any thread; for one instance
 *   from one thread at a time, unless WEIR_BACKEND_THREAD_SAFE is set. Host calls
 *   about a request may be made from any thread, one at a time for one request.
 *
 * Requests
 *   `execute` takes `n` requests at once. Each must be ended by exactly one final
 *   answer: `respond(..., final = 1)` or `respond_error`. It may come before
 *   `execute` returns or later, from any thread. After it the request's handle and
 *   all memory reached through it are gone. Without WEIR_BACKEND_STREAMS a request
 *   has exactly one answer. The host may have gathered rows of several callers into
 *   one request (weir_model_info.batchable); the backend does not see that.
 *
 *   To answer: make each output that `request_wants` by `tensor_alloc` (and write its
 *   data) or `tensor_strings`, in any order, then `respond`. An output that is wanted
 *   but was not made ends the request with an error. A host call that fails leaves the
 *   request open: the backend passes the status on by `respond_error`.
 *
 * Rules for growth: each struct begins with its size as its maker knows it; a reader
 * looks at no field beyond that size. Where one side fills a struct of the other
 * (`ret_...`, weir_error), the owner sets `size` before the call. Only handles and the
 * structs below cross. Text is UTF-8 and NUL-terminated. Statuses are the canonical
 * gRPC status codes (grpc/grpc doc/statuscodes.md), with which every protocol that
 * Weir speaks can be answered.
 */
#ifndef WEIR_BACKEND_H
#define WEIR_BACKEND_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WEIR_BACKEND_ABI 0

#if defined(__GNUC__)
#define WEIR_EXPORT __attribute__((visibility("default")))
#else
#define WEIR_EXPORT
#endif

/* Type codes and device numbers are DLPack's (dmlc/dlpack include/dlpack/dlpack.h);
 * strings, which DLPack lacks, have a code of their own. */
enum {
    WEIR_INT = 0,
    WEIR_UINT = 1,
    WEIR_FLOAT = 2,
    WEIR_BFLOAT = 4,
    WEIR_BOOL = 6, /* one byte an element, 0 or 1 */
    WEIR_STRING = 128,
};
enum { WEIR_CPU = 1, WEIR_CUDA = 2, WEIR_CUDA_HOST = 3 };

/* The statuses that backends have use for; others of gRPC's are taken as well. */
enum {
    WEIR_OK = 0,
    WEIR_CANCELLED = 1,
    WEIR_INVALID_ARGUMENT = 3,
    WEIR_DEADLINE_EXCEEDED = 4,
    WEIR_NOT_FOUND = 5,
    WEIR_RESOURCE_EXHAUSTED = 8,
    WEIR_UNIMPLEMENTED = 12,
    WEIR_INTERNAL = 13,
    WEIR_UNAVAILABLE = 14,
    WEIR_DATA_LOSS = 15,
};

#define WEIR_RANK_MAX 8
/* Inputs, and outputs, of one model. */
#define WEIR_PORTS_MAX 64

typedef struct weir_type {
    uint8_t code;
    uint8_t bits;   /* of one element; 8 for WEIR_BOOL and WEIR_STRING */
    uint16_t lanes; /* 1 */
} weir_type;

/* Dense, row-major. Who made a tensor says how long it lives. */
typedef struct weir_tensor {
    uint32_t size;
    weir_type type;
    int32_t device_type; /* WEIR_CPU, ... */
    int32_t device_id;
    int32_t rank;         /* 0 for a scalar, at most WEIR_RANK_MAX */
    const int64_t *shape; /* `rank` extents, each >= 0 */
    /* Aligned to its elements; to 64 bytes where `tensor_alloc` made it. May be NULL
     * when `bytes` is 0. */
    void *data;
    uint64_t bytes; /* length of `data` */
    /* Strings only, else NULL: elements + 1 ascending offsets into `data`; element i
     * is the bytes [offsets[i], offsets[i + 1]), without a NUL. */
    const uint64_t *offsets;
    void *ready; /* an event of the device to wait for, or NULL */
} weir_tensor;

/* A name, a type and a shape in which -1 stands for "any extent". */
typedef struct weir_port {
    uint32_t size; /* also the distance from one port of an array to the next */
    const char *name;
    weir_type type;
    int32_t rank; /* -1: any rank */
    const int64_t *shape;
} weir_port;

typedef struct weir_host weir_host;
typedef struct weir_backend weir_backend;
typedef struct weir_model weir_model;       /* the backend's */
typedef struct weir_instance weir_instance; /* the backend's */
typedef struct weir_request weir_request;   /* the host's; its address is even */

/* Where a failing call puts its reason: one sentence, without a period. The host makes
 * `text` empty before the call. */
typedef struct weir_error {
    uint32_t size;
    char text[500];
} weir_error;

typedef struct weir_option {
    const char *name, *value;
} weir_option;

typedef struct weir_model_config {
    uint32_t size;
    const char *name;    /* for messages */
    const char *path;    /* the model's file, or its folder where the format is one */
    int32_t threads;     /* that one execute may use; 1 when the host runs one per core */
    int32_t options_len; /* the backend's own settings, from weir.yaml */
    const weir_option *options;
} weir_model_config;

/* All that is pointed at lives as long as the model and does not change. */
typedef struct weir_model_info {
    uint32_t size;
    int32_t inputs_len, outputs_len; /* at most WEIR_PORTS_MAX */
    const weir_port *inputs, *outputs;
    /* Whether dimension 0 of every input and output counts independent rows, so that
     * rows of several callers may run as one request. The host proves it before it
     * relies on it. */
    int32_t batchable;
    /* What kind of model it is, as clients know it: "onnxruntime_onnx". */
    const char *platform;
    const char *description; /* may be NULL */
} weir_model_info;

/* What the host offers. Outlives the backend. */
struct weir_host {
    uint32_t size;
    uint32_t abi;

    /* The folder in which engines' own shared libraries lie, or NULL when they are to
     * be found as the system's loader finds them. */
    const char *engines_path;

    /* level: 0 debug, 1 info, 2 warning, 3 error. Any thread; never blocks. */
    void (*log)(const weir_host *host, int32_t level, const char *text);

    /* Input `index`, in the order of weir_model_info; valid until the final answer.
     * Never fails for an index in range: the host has checked types and shapes
     * against the ports, and that dimension 0 is the same for all inputs of a
     * batchable model. */
    void (*request_input)(weir_request *request, int32_t index, weir_tensor *ret_tensor);
    /* Whether the caller wants output `index`; others need not be computed. */
    int32_t (*request_wants)(weir_request *request, int32_t index);
    /* Whether nobody waits for the answer any more. Cheap; for long loops. */
    int32_t (*request_cancelled)(weir_request *request);

    /* Makes output `index` of the next answer: memory of the host's, into which the
     * backend writes before it responds. Made again, it replaces what was made before.
     * Returns a status: RESOURCE_EXHAUSTED when memory is short, UNIMPLEMENTED for a
     * device that the host has no memory of, INVALID_ARGUMENT for a negative extent,
     * an index out of range, or a type that is not the port's. Not for strings. */
    int32_t (*tensor_alloc)(weir_request *request, int32_t index, weir_type type, int32_t rank,
                            const int64_t *shape, int32_t device_type, void **ret_data);
    /* The same for strings: `offsets` as in weir_tensor; both are copied. */
    int32_t (*tensor_strings)(weir_request *request, int32_t index, int32_t rank,
                              const int64_t *shape, const void *data, const uint64_t *offsets);
    /* Answers with the outputs made since the last answer. */
    void (*respond)(weir_request *request, int32_t final);
    /* Ends the request with an error; `status` is not 0. `text` is copied. */
    void (*respond_error)(weir_request *request, int32_t status, const char *text);
};

enum {
    /* execute may run on one instance from several threads at once */
    WEIR_BACKEND_THREAD_SAFE = 1 << 0,
    /* forms its own steps and batches; takes requests while others run, holds no run
     * slot */
    WEIR_BACKEND_SELF_SCHEDULING = 1 << 1,
    /* keeps state between the requests of a sequence */
    WEIR_BACKEND_STATEFUL = 1 << 2,
    /* may answer a request more than once */
    WEIR_BACKEND_STREAMS = 1 << 3,
    /* every final answer comes before execute returns, on its thread: runs may be
     * inline */
    WEIR_BACKEND_SYNCHRONOUS = 1 << 4,
};

/* Calls that return a status fill `error` when it is not 0, and nothing else. */
struct weir_backend {
    uint32_t size;
    uint32_t abi;     /* WEIR_BACKEND_ABI */
    const char *name; /* "onnxruntime" */
    const char *version;
    uint64_t flags;
    /* File name endings that it loads, separated by spaces (".onnx"). A model folder
     * holds a file "model" with one of them. */
    const char *suffixes;

    /* After the last model_free. May be NULL. */
    void (*release)(weir_backend *backend);

    int32_t (*model_load)(weir_backend *backend, const weir_model_config *config,
                          weir_model **ret_model, weir_error *error);
    void (*model_info)(weir_model *model, weir_model_info *ret_info);
    void (*model_free)(weir_model *model);

    int32_t (*instance_new)(weir_model *model, weir_instance **ret_instance, weir_error *error);
    void (*instance_free)(weir_instance *instance);

    void (*execute)(weir_instance *instance, weir_request *const *requests, int32_t n);
    /* Asks to end a request early; its final answer still comes (CANCELLED, or whatever
     * was ready). Any thread, also while `execute` runs. The handle stays valid during
     * the call, but the request may just have been answered: then nothing happens.
     * May be NULL. */
    void (*cancel)(weir_instance *instance, weir_request *request);
};

/* The one exported function. Returns NULL, with a reason in `error`, when the engine's
 * library is missing or too old, or the host's ABI is another. */
typedef weir_backend *(*weir_backend_get_fn)(const weir_host *host, weir_error *error);
WEIR_EXPORT weir_backend *weir_backend_get(const weir_host *host, weir_error *error);

#ifdef __cplusplus
}
#endif

#endif
