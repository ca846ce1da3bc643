/* Models, their versions, and how a request runs through one.
 *
 * A `model_set` is what one process serves. It is made at boot, scans its source and
 * loads each version in work jobs. Each loop has a *catalog* of its own: a view of
 * every version, which posts keep current, so that a loop looks names up without a
 * lock. A version found there stays as long as the set.
 *
 * A request is submitted on a loop and completes there, exactly once. In between it
 * runs on the loop itself at the end of the turn, where its version is known to be
 * quick and nobody waits (model/inline_rule.h); else it waits in its version's queue
 * (model/batcher.h) for a run slot (model/slots.h). Either way it may share a run with
 * others that stack with it, where that is proved not to change answers.
 *
 * Threads: the set's functions are loop 0's (and boot's); lookups and requests
 * belong to any one loop.
 */
#pragma once

#include "base/slab.h"
#include "io/io.h"
#include "model/batcher.h"
#include "wire/tensor.h"

struct model_set;
struct model_version;
struct metrics;
struct log;

struct model_set_options {
    struct process *process;
    struct metrics *metrics;
    struct log *log;
    struct slab *slab;         /* for outputs and batches */
    const char *backends_path; /* folder of plug-ins, searched for NAME.so */
    const char *engines_path;  /* where engines' own libraries lie; may be NULL */
    /* Limits of each version, from configuration. */
    uint32_t batch_rows_max; /* max_batch_size; 1: one request a run */
    io_time batch_delay_max; /* max_queue_delay */
    uint32_t queue_rows_max; /* queue_depth_max */
    uint64_t queue_bytes_max;
    int slots; /* run slots; 0: process_cores */
};

result model_set_new(const struct model_set_options *options, struct model_set **ret_set,
                     struct diag *diag);
/* No further run is begun; what is queued will not be completed. For an end that cuts
 * work: before `process_stop`, which waits for the workers. Any thread. */
void model_set_stop(struct model_set *set);
/* After `process_run`: frees all versions. Requests that are not completed and released
 * by now are given up; their memory must stay until this returns, which takes 2 s at
 * most where a backend does not end its runs. NULL is allowed. */
void model_set_free(struct model_set *set);

/* Boot. Finds what `path` holds: a model file, a folder of NAME.onnx, or
 * DIR/<model>/<version>/model.onnx, the newest version of each. `name` overrides
 * the model's name where `path` is a single model; NULL otherwise. A path without
 * any model is ERR_NOT_FOUND with a diag that says what was looked for. */
result model_set_scan(struct model_set *set, const char *path, const char *name, struct diag *diag);
/* Starts loading all that was found, on loop 0 once it runs. `settled` is called
 * there once, when each version was tried once. */
void model_set_load(struct model_set *set, void (*settled)(void *arg), void *arg);

/* TensorFlow Serving's names and numbers for them
 * (tensorflow/serving apis/get_model_status.proto). */
enum model_state {
    MODEL_START = 10,
    MODEL_LOADING = 20,
    MODEL_AVAILABLE = 30,
    MODEL_UNLOADING = 40,
    MODEL_END = 50,
};

/* ---- catalog: on any loop, its own ---- */

/* The number of entries and each of them, by name then by version number. */
int catalog_count(struct model_set *set, struct loop *loop);
struct model_version *catalog_at(struct model_set *set, struct loop *loop, int index);
/* The version numbered `number`, or the newest available one for -1 (the newest of
 * any state when none is available). NULL when there is none. */
struct model_version *catalog_find(struct model_set *set, struct loop *loop, struct span name,
                                   int64_t number);

const char *version_model(const struct model_version *version); /* the model's name */
int64_t version_number(const struct model_version *version);
/* As of the catalog that it was found in. */
enum model_state version_state(const struct model_version *version);
enum err version_error(const struct model_version *version); /* ERR_NONE, or why it failed */
const char *version_error_text(const struct model_version *version);
const char *version_platform(const struct model_version *version); /* "onnxruntime_onnx" */
/* Valid once the version is available. */
const struct weir_model_info *version_info(const struct model_version *version);

/* ---- requests ---- */

/* The caller's memory (an exchange's arena); zeroed, then filled up to the line. To
 * stay until it was completed and released. */
struct model_request {
    struct model_version *version;
    struct loop *home;
    io_time deadline; /* TIME_NEVER for none */
    /* One per input of version_info, in its order, checked by tensor_check_inputs.
     * The memory stays until `done`. */
    const struct weir_tensor *inputs;
    uint64_t outputs_wanted; /* a bit per output; 0 means all */
    int64_t rows;            /* extent of dimension 0, 1 when the model has none */
    void (*done)(struct model_request *request);
    void *arg;
    /* ---- filled by the time `done` runs ---- */
    enum err error;
    const char *error_text;      /* "" on success; lives until release */
    struct weir_tensor *outputs; /* one per output; `data` NULL for one not wanted */
    io_time queued_at, started_at, ended_at;
    /* ---- private to model/ ---- */
    struct model_request_state {
        struct batch_item item;
        struct io_timer deadline; /* while it is queued */
        struct io_post post;
        struct run *run;
        bool cancelled;
        uint8_t phase;
    } state;
};

/* On the home loop. On success the request is held until `done`, which never runs
 * inside this call. ERR_EXHAUSTED: the queue is full. ERR_UNAVAILABLE: the version
 * is not available. ERR_DEADLINE: the deadline has passed. */
result model_submit(struct model_set *set, struct model_request *request);
/* The client has gone: drops it before it runs, else asks the backend; `done` still
 * comes, with ERR_CANCELLED where nothing was computed. */
void model_cancel(struct model_set *set, struct model_request *request);
/* Gives the outputs back. Once after `done`, on the home loop. */
void model_request_release(struct model_request *request);
