/* Run slots: the right to compute on one core, and who gets it next.
 *
 * There are as many slots as cores for models to run on. Whoever holds one may run one
 * batch after another. A *member* (a model version) that has something to run joins the
 * ready list, and a free slot is sent to work it off; a slot that has ended a run goes
 * on with the next member of the list before it is given back, so that a busy slot goes
 * from batch to batch without a hop.
 *
 * A slot is held until `execute` has returned and its final answer came, in whatever
 * order: who comes last finishes the run. For a backend that answers later, the
 * thread that it answers on only sends the slot on, and runs nothing.
 *
 * A loop may also take a slot for itself and run on its own thread (inline), when
 * nobody waits.
 *
 * Threads: all functions from any thread, but new and free (boot, and after
 *          `process_run` has returned).
 *
 * Invariants
 *   S1  a member on the ready list and a free slot do not stay side by side: who lists
 *       a member looks for a free slot afterwards, and who frees a slot looks at the
 *       list afterwards, each with sequentially consistent operations.
 *   S2  the ready lock is held for a bounded number of instructions, and no other lock
 *       is taken under it.
 */
#pragma once

#include "base/list.h"
#include "base/ref.h"
#include "io/io.h"

struct slots;
struct slots_member;

/* One run; lies in its owner's struct. */
struct slot_task {
    struct slots *slots;
    struct slots_member *member;
    int slot;
    struct ref open; /* execute and the answer */
};

struct slots_ops {
    /* The next run that is ready now, or NULL; sees to it that it is asked again when
     * there will be one. `ret_more`: there is another one ready, or may be. On a thread
     * that holds a slot. */
    struct slot_task *(*next)(struct slots_member *member, bool *ret_more);
    /* Runs it. The answer comes during the call, or later by `slot_task_answered`. */
    void (*execute)(struct slot_task *task);
    /* The run is over and `task` may be freed. On any thread. */
    void (*finish)(struct slot_task *task);
};

/* Zeroed, then `ops` set. */
struct slots_member {
    const struct slots_ops *ops;
    struct list_node node;        /* ready lock */
    atomic_uint_fast32_t waiting; /* see slots_member_waiting */
};

result slots_new(struct process *process, int count, struct slots **ret_slots);
/* NULL is allowed. */
void slots_free(struct slots *slots);
/* Nothing is taken from the ready list any more; what runs is finished. */
void slots_stop(struct slots *slots);

/* `member` has something to run: puts it on the ready list, if it is not there, and
 * sends a free slot to work, `core`'s first (-1 for none in particular). */
void slots_dispatch(struct slots *slots, struct slots_member *member, int core);

/* How many requests wait in the member's queue, for `slots_calm`. Under the member's
 * own lock. */
void slots_member_waiting(struct slots_member *member, uint32_t waiting);
/* A glance without a lock: whether nobody waits for a slot and nothing in the member's
 * queue, so that a run on the spot overtakes none. */
bool slots_calm(const struct slots *slots, const struct slots_member *member);
/* A glance: whether any slot is free. */
bool slots_spare(const struct slots *slots);
/* For inline runs: takes the slot of the loop's own core if it is free. */
bool slots_take(struct slots *slots, int core);
/* Ends that: the slot goes to who waits for it, on a worker, or is free. */
void slots_leave(struct slots *slots, int core);
/* Runs `task` on a slot that was taken. True: it was answered, and the caller finishes
 * it and keeps the slot. False: the answer is to come, and will finish the task and
 * send the slot on. */
bool slot_task_run(struct slots *slots, int core, struct slots_member *member,
                   struct slot_task *task);

/* The final answer of a run has come; `task` may be gone when this returns. */
void slot_task_answered(struct slot_task *task);
