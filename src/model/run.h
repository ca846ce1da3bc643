/* One call of a backend: one request, or the rows of several gathered into one.
 *
 * It lies in a slab block, with the requests' answers behind it. A batch of one is
 * given its request's inputs as they are; a larger one is gathered by one copy. Outputs
 * are slab blocks, of which each request gets a view: the run is held by each of its
 * requests until they are released.
 *
 * Owner:   who formed it, until it is answered; then its requests.
 * Threads: one at a time, but for run_cancel.
 */
#pragma once

#include "model/servable.h"

struct run_output {
    struct weir_tensor tensor;
    int64_t shape[WEIR_RANK_MAX];
    struct block *block; /* NULL: not made */
};

struct run_part {
    struct io_post post;
    struct run *run;
    struct list items; /* requests of one loop */
};

struct run {
    struct slot_task task;
    struct ref ref; /* requests; and the finisher */
    struct servable *servable;
    struct list_node node;  /* servable's lock: in its `running` */
    struct list_node done;  /* inline: until its turn is over */
    bool given_up;          /* servable's lock */
    struct block *block;    /* that this lies in */
    struct block *gathered; /* or NULL */
    struct list items;
    uint32_t items_len;
    uint32_t cancelled; /* servable's lock */
    int64_t rows;
    uint64_t wanted;
    int counting_loop; /* records the run's metrics */
    int32_t status;
    bool unwanted; /* cancelled before it began */
    bool on_loop;  /* inline */
    bool exact;    /* took is CPU time */
    io_time started_at, ended_at, took;
    const struct weir_tensor *inputs;
    struct run_output *outputs;
    struct weir_tensor *views; /* items * outputs */
    int64_t (*shapes)[WEIR_RANK_MAX];
    struct run_part *parts; /* by loop */
    char text[512];
};

/* The host functions that are about a request. */
void run_host_init(struct weir_host *host);

/* A run of `batch`, which it takes over on success: ERR_NO_MEMORY. Gathers inputs. */
result run_new(struct servable *servable, struct batch *batch, struct run **ret_run);
/* Lets the requests' loops find the run, to cancel it. Under the servable's lock, if
 * the caller is not their loop. */
void run_publish(struct run *run);
/* Calls the backend, at `now`. Once answered, `run_split` is next. `cpu`: measures the
 * thread's CPU time. */
void run_execute(struct run *run, io_time now, bool cpu);
/* Asks the backend to end it. On the loop of a request that is not completed. */
void run_cancel(struct run *run);
/* Gives each request its answer: a view of the outputs, or the error. */
void run_split(struct run *run);
/* Sends the requests home: one post a loop. `run` may be gone when this returns. */
void run_post(struct run *run);
/* Completes the requests of one loop, one at least, on that loop. `run` may be gone
 * when this returns. */
void run_complete(struct run *run, struct list *items);
/* Frees it with all that its requests hold of it; they will never be looked at. */
void run_drop(struct run *run);
/* One request less; the last one frees the run. */
void run_unref(struct run *run);
