/* Whether a model version is quick enough to run on a loop's own thread.
 *
 * On after the warm-up when at most one in a hundred of the last INLINE_RUNS runs took
 * INLINE_SLOW or more of CPU time. Off when more did, or after a second run of
 * INLINE_STALL among so many; it may return INLINE_REST later. One such run proves
 * nothing: a thread is also charged for interrupts that hit it and, in a virtual machine,
 * for the time that its core was taken away.
 *
 * Reading a thread's CPU time costs a system call, so that runs on a loop are mostly
 * timed by the wall clock, which can only be too long (the thread may have been
 * preempted). A wall time that would count against the model is not believed: it asks
 * for the CPU time of the runs to come (`inline_rule_wants_cpu`).
 *
 * A state machine; belongs to one loop.
 */
#pragma once

#include "io/io.h"

#define INLINE_RUNS 1000
#define INLINE_RUNS_MIN 20
#define INLINE_SLOW (100 * IO_US)
#define INLINE_STALL (1 * IO_MS)
#define INLINE_REST (10 * IO_SEC)
/* How often, and for how many runs after a doubtful one, CPU time is measured. */
#define INLINE_SAMPLE_EVERY 64
#define INLINE_DOUBTFUL 16

struct inline_rule {
    uint64_t slow[(INLINE_RUNS + 63) / 64]; /* a bit per run, a ring */
    uint32_t next, count, slow_count;
    uint32_t until_sample; /* runs */
    uint32_t doubtful;     /* runs yet to be measured exactly */
    uint32_t stall_left;   /* runs until the last stall is forgotten; 0: there is none */
    io_time off_until;
};

/* `runs` warm-up runs, of which `slow_runs` were slow. With fewer than INLINE_RUNS_MIN
 * nothing is inline before as many were recorded. */
void inline_rule_init(struct inline_rule *rule, uint32_t runs, uint32_t slow_runs);
bool inline_rule_allows(const struct inline_rule *rule, io_time now);
/* Whether the next run should be timed by the thread's CPU clock. */
bool inline_rule_wants_cpu(const struct inline_rule *rule);
/* A run took `took`; `exact`: of CPU time, else by the wall clock. */
void inline_rule_record(struct inline_rule *rule, io_time took, bool exact, io_time now);
