/* A process with a model set, and callers on each of its loops, for this folder's tests.
 *
 * Loop 0 is the test's own thread, so that cmocka's assertions work there; what other
 * loops find wrong is counted and asserted on at the end.
 */
#pragma once

#include "base/alloc.h"
#include "base/test_cmocka.h"
#include "io/uv/uv.h"
#include "model/model.h"
#include "obs/metrics.h"

#include <stdio.h>

#define TEST_BACKENDS "/tests/conformance/backends"
#define OWN_BACKENDS "/backends"

struct rig {
    struct process *process;
    struct metrics *metrics;
    struct slab *slab;
    struct model_set *set;
    struct model_set_options options;
    void (*ready)(struct rig *rig);
    int settled;
    atomic_int busy; /* drivers at work */
    void *arg;
};

/* "$variable" "rest". */
void path_of(const char *variable, const char *rest, char buffer[512]);
/* Generous limits, no batching; `backends` is a folder of the build. */
struct model_set_options options_of(const char *backends);
void rig_make(struct rig *rig, int loops, const struct model_set_options *options);
/* The same in a process of the caller's, which the rig frees. */
void rig_make_in(struct rig *rig, struct process *process, const struct model_set_options *options);
/* A file of tests/fixtures/models. */
void rig_scan(struct rig *rig, const char *model);
/* Loads, calls `ready` on loop 0 (NULL: ends) and runs until the process ends. */
void rig_run(struct rig *rig, void (*ready)(struct rig *rig));
/* Also asserts that all memory has come back. */
void rig_free(struct rig *rig);

/* ---- calls ---- */

#define CALL_ROWS_MAX 8

struct call {
    struct rig *rig;
    struct driver *driver;
    struct model_request request;
    struct weir_tensor inputs[3];
    int64_t shape[2];
    union {
        float f32[CALL_ROWS_MAX * 4];
        struct {
            int32_t delay_ms[CALL_ROWS_MAX], mode[CALL_ROWS_MAX];
            int64_t value[CALL_ROWS_MAX];
        } late;
        struct {
            float a[CALL_ROWS_MAX], b[CALL_ROWS_MAX];
        } plus;
    } data;
    int64_t rows;
    int done; /* how often it was completed */
    bool busy;
    uint64_t tag;
};

void call_init(struct call *call, struct rig *rig, struct loop *loop, const char *model);
/* The late backend's inputs; every row alike. */
void call_late(struct call *call, int64_t rows, int32_t delay_ms, int32_t mode, int64_t value);
/* The arithmetic backend's. */
void call_plus(struct call *call, int64_t rows, float a, float b);
/* One float input of shape [rows, columns], or [rows] for 0 columns. */
void call_f32(struct call *call, int64_t rows, int64_t columns);
result call_submit(struct call *call, void (*done)(struct model_request *request));

/* ---- drivers: many calls from one loop ---- */

#define DRIVER_CALLS 64

struct driver {
    struct rig *rig;
    struct loop *loop;
    struct io_post start;
    struct io_timer again; /* after everything was refused */
    const char *model;
    int total, outstanding_max;
    /* Fills a call that was initialised. */
    void (*fill)(struct driver *driver, struct call *call);
    /* Whether the answer is the right one. */
    bool (*right)(struct driver *driver, struct call *call);
    uint64_t random;
    int submitted, refused, completed, wrong, outstanding, outstanding_peak;
    struct call calls[DRIVER_CALLS];
};

uint64_t random_next(uint64_t *state);
/* From `ready`: starts them all on their loops; the process ends with the last. */
void drivers_start(struct rig *rig, struct driver *drivers, int count);
