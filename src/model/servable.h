/* One version of one model: what all loops share of it, and what each loop has of its
 * own.
 *
 * `struct servable` is shared. Its queue is used from any loop and worker under its
 * lock; its description is written by the loading job and read by others once the
 * version is available. `struct model_version`, what the catalog hands out, is one
 * loop's view of it: the state as that loop last heard of it, the requests of the
 * present turn, the window's timer, the inline rule, and the metric series. Nobody else
 * touches it, except where it says so.
 *
 * Order of locks: none is taken while another is held.
 */
#pragma once

#include "model/backend.h"
#include "model/inline_rule.h"
#include "model/metrics.h"
#include "model/model.h"
#include "model/slots.h"

/* Where a request is. Home only in TURN and DONE; under the servable's lock in QUEUED
 * and RUNNING, which others set. */
enum request_phase {
    PHASE_NONE,
    PHASE_TURN,    /* in its loop's own batcher, until the end of the turn */
    PHASE_QUEUED,  /* in the servable's batcher */
    PHASE_RUNNING, /* in a batch */
    PHASE_DONE,    /* `done` is to be called, or was */
};

struct model_version {
    struct servable *servable;
    struct model_loop *loop;
    enum model_state state;
    enum err error;
    struct view_change {
        struct io_post post;
        struct model_version *view;
        enum model_state state;
        enum err error;
        void (*known)(struct servable *servable); /* on loop 0 afterwards, or NULL */
    } changes[2];                                 /* loading; then available or failed */

    struct batcher turn;        /* requests that may run inline at the end of the turn */
    struct list_node turn_node; /* in the loop's list of views that have such */
    struct inline_rule rule;
    bool late; /* the backend answered late on this loop, against its word */
    struct version_series series;

    struct io_timer window; /* until the shared queue's oldest batch is due */
    struct io_post window_post;
    bool window_posted; /* servable's lock */
    io_time window_at;  /* servable's lock */
};

/* One loop's part of the set. */
struct model_loop {
    struct model_set *set;
    struct loop *loop;
    int index;
    struct metrics_shard *shard; /* NULL without metrics */
    struct list turn_views;
    struct list turn_done; /* runs of this turn whose requests are to be completed */
    struct io_post turn_post;
    bool turn_deferred;
    struct model_version *views; /* as the set's servables */
};

struct servable {
    struct slots_member member;
    struct model_set *set;
    char *name, *path;
    int64_t number;
    struct backend *backend;

    /* Written by the loading job. */
    struct io_work load;
    struct weir_model *model;
    struct weir_instance *instance;
    struct weir_model_info info;
    struct batcher_limits limits;
    uint32_t warm_runs, warm_slow; /* for the inline rule */
    bool synchronous;
    int runs_max; /* at the same time */
    io_time load_time;
    result load_result;
    struct diag load_diag;

    struct model_version **views; /* by loop */
    struct series *gauge_queue, *gauge_state, *gauge_load;

    struct io_lock lock;
    struct batcher batcher; /* lock */
    int runs_now;           /* lock */
    struct list running;    /* lock: runs that slots hold */
    bool held_back;         /* lock: a run was wanted beyond runs_max */
    io_time wake_at;        /* lock: when a window's timer fires, TIME_NEVER for none */
    bool closing;           /* lock: late answers are dropped */
};

struct model_set {
    struct model_set_options options;
    struct process *process;
    struct backends *backends;
    struct slots *slots;
    struct servable **servables; /* sorted by name, then number, once loading began */
    int servables_len, servables_cap;
    struct model_loop *loops;
    int loops_len;
    bool published; /* the loops have views */
    struct io_post start;
    int unsettled; /* loop 0: versions still being tried */
    void (*settled)(void *arg);
    void *settled_arg;
};

struct servable *servable_new(struct model_set *set, const char *name, int64_t number,
                              const char *path, struct backend *backend);
/* After the loops have ended; waits a little for answers that a backend still owes.
 * False when one is owed even then: the backend may yet use all that it was given, so
 * nothing is freed, and its answer will be dropped. */
bool servable_free(struct servable *servable);
/* Everything from the file to warm runs, its batcher made; in a work job. Sets
 * `load_result` and `load_diag`. */
void servable_load(struct servable *servable);
/* After `servable_load` succeeded, in the same job: runs rows of zeros and of small
 * numbers, alone and together. Gives up batching where that changes an answer. */
void servable_warm_up(struct servable *servable);

/* Sees to it that the slots ask again at `wake_at`, by a timer on the loop of the oldest
 * request, unless one fires by then. `here`: the calling loop, or NULL on another
 * thread. */
void servable_wake_at(struct servable *servable, io_time wake_at, struct model_loop *here);

/* ---- request.c ---- */

static inline struct model_request *request_of(struct batch_item *item)
{
    return CONTAINER_OF(item, struct model_request, state.item);
}
static inline struct batch_item *item_of(struct list_node *node)
{
    return node ? CONTAINER_OF(node, struct batch_item, node) : NULL;
}
/* For the batchers. */
bool request_stacks(const struct batch_item *a, const struct batch_item *b);
/* Ends a request that has no run, on its own loop by post. Any thread that holds it. */
void request_fail_post(struct model_request *request, enum err error, const char *text);
/* Counts it and calls `done`. On its own loop. */
void request_complete(struct model_request *request);
