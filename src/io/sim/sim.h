/* The deterministic twin of io.h: one thread, virtual time, seeded order and faults.
 *
 * A world holds simulated processes, each with any number of loops. Nothing happens by
 * itself: whoever owns the world steps it, and time jumps from event to event. All that
 * could come in one order or another (events of one moment, streams that are ready in
 * one turn of a loop, how much a read or write moves, how long bytes and jobs take) is
 * drawn from the world's seed, so one seed gives one history, whatever the machine, and
 * `sim_trace_hash` is equal for equal histories.
 *
 * Processes of a world reach each other by address, as on one host: TCP on 127.0.0.1 or
 * any, UNIX by path. A connection is two buffers of a size like the kernel's, so writers
 * meet back-pressure.
 *
 * Differences from production: `loop_turns` goes up once a virtual second without an
 * event; `process_thread_cpu` advances a little with each call; jobs run when their
 * seeded duration ends, in the caller's thread; names of inherited listeners are not
 * known; the one clock of a world is also the wall clock of its processes.
 *
 * Owner: the test. Threads: one. Running out of memory for the simulator's own needs
 * aborts, and base's test hook does not count them; where production would fail (a stream,
 * a listener, a file, a signal), so does the simulator.
 */
#pragma once

#include "io/io.h"

struct world;

struct world *sim_world_new(uint64_t seed);
/* Its processes are freed before. NULL is allowed. */
void sim_world_free(struct world *world);

struct sim_faults {
    io_time delay_min, delay_max; /* of bytes and callers on their way */
    unsigned short_read_percent;  /* reads that get less than there is */
    unsigned short_write_percent; /* writes that take less than there is room for */
    unsigned reset_permille;      /* writes that reset their connection */
    unsigned refuse_permille;     /* connects that are refused */
    io_time job_min, job_max;     /* how long a job takes; 0: 10 us to 1 ms */
    size_t buffer_bytes;          /* in each direction; 0: 128 kB */
};
/* Holds from now on; zeroed: no faults and a delay of 5 to 50 us. */
void sim_world_faults(struct world *world, const struct sim_faults *faults);

/* A process named `name`; names serve files: one that is made anew under a name finds
 * the files of its predecessor. Freed by `process_free`, which is also its crash: its
 * connections end as the kernel would end them. `process_run` steps the whole world
 * until this process has stopped. */
struct process *sim_process_new(struct world *world, const char *name, int loops);

io_time sim_now(const struct world *world);
/* Runs one event; false when there is none. */
bool sim_step(struct world *world);
/* Runs all events up to `until` and leaves the clock there. */
void sim_run_until(struct world *world, io_time until);
/* Runs until no event is left, or until the clock passes `limit`; true for the former.
 * A timer that is always started again leaves the world never idle. */
bool sim_run_idle(struct world *world, io_time limit);
uint64_t sim_trace_hash(const struct world *world);

void sim_signal(struct process *process, int signal_number);
void sim_env_put(struct process *process, const char *name, const char *value);
/* Makes or replaces a file; folders above it are there as a matter of course. */
void sim_file_put(struct process *process, const char *path, struct span bytes);

/* Calls `fn` with each datagram sent so far, in order. */
void sim_datagrams(struct world *world, void (*fn)(void *arg, const char *path, struct span bytes),
                   void *arg);
