/* The requests waiting for one model version, and the choice of what runs together.
 *
 * A state machine: it holds no thread, no timer and no lock, and takes no memory.
 * Whoever submits a request or frees a run slot asks `batcher_next`.
 *
 * What runs together: the oldest request, and behind it, in the order they came, those
 * that stack with it, until the next of them would make more than `batch_rows_max`
 * rows. A request that has more rows than that runs alone. A batch goes when it can
 * grow no more, or when one of its requests has waited `delay_max` or half of the time
 * that its deadline leaves it.
 *
 * Owner:   the model version; freed with it.
 * Lock:    the version's, held around every call, from any loop or worker; or none,
 *          where one loop has a batcher for itself.
 *
 * Invariants
 *   B1  rows <= queue_rows_max, unless one request with more has found the queue empty
 *       (it would fit at no time), and bytes <= queue_bytes_max; a submit beyond either
 *       fails with ERR_EXHAUSTED and changes nothing.
 *   B2  each request is in the queue or in one batch, never in both or in two.
 *   B3  a request whose deadline has passed is never handed out to run.
 *   B4  requests that stack with each other are handed out in the order they came.
 *   B5  a call looks at BATCH_SCAN_MAX requests beyond those it hands out, at most.
 */
#pragma once

#include "base/list.h"
#include "base/result.h"
#include "io/io.h"

#define BATCH_SCAN_MAX 256

/* Lies in its owner's request. Zeroed, then filled up to the line. */
struct batch_item {
    io_time deadline; /* TIME_NEVER for none */
    uint64_t bytes;
    int64_t rows; /* at least 1 */
    bool alone;   /* stacks with none */
    /* ---- the batcher's ---- */
    struct list_node node;
    io_time arrived_at;
};

/* Whether two requests may run as one. Symmetric and transitive; never asked for
 * items that are `alone`. */
typedef bool (*batch_stacks_fn)(const struct batch_item *a, const struct batch_item *b);

struct batcher_limits {
    uint64_t queue_rows_max, queue_bytes_max;
    int64_t batch_rows_max; /* at least 1; 1: every request by itself */
    io_time delay_max;      /* 0: what is there goes at once */
};

struct batcher {
    struct list queue;
    uint64_t rows, bytes; /* waiting */
    uint32_t items;
    struct batcher_limits limits;
    batch_stacks_fn stacks;
};

/* A list in it leads through its own head: it may not be moved. */
struct batch {
    struct list items;
    uint32_t items_len;
    int64_t rows;
    struct list expired; /* taken out of the queue because their deadline has passed */
};

void batcher_init(struct batcher *batcher, const struct batcher_limits *limits,
                  batch_stacks_fn stacks);
/* Queues `item` at `now`. On success the batcher holds it; on failure the caller still
 * does. ERR_EXHAUSTED: B1. */
result batcher_submit(struct batcher *batcher, struct batch_item *item, io_time now);
/* Takes a queued item out: cancelled, or expired. */
void batcher_remove(struct batcher *batcher, struct batch_item *item);
/* The oldest item, which stays, or NULL. */
struct batch_item *batcher_head(const struct batcher *batcher);

/* Whether `batcher_next` would hand something out at `now`. If not, sets `ret_wake_at`
 * to when it should be asked again (TIME_NEVER if only a submit can change its mind).
 */
bool batcher_ready(const struct batcher *batcher, io_time now, io_time *ret_wake_at);
/* What to do at `now`: fills `ret_batch` and returns true, or returns false and sets
 * `ret_wake_at` as above. A batch may have only expired items. */
bool batcher_next(struct batcher *batcher, io_time now, struct batch *ret_batch,
                  io_time *ret_wake_at);
