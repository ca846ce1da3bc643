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
 * meet back-pressure. Each name of a process is a machine of its own otherwise: files,
 * environment, wall clock, inherited listeners; the network between two of them can be cut.
 *
 * Differences from production: `loop_turns` goes up once a virtual second without an
 * event; `process_thread_cpu` advances a little with each call; jobs run when their
 * seeded duration ends, in the caller's thread.
 *
 * Worlds that many seeds play are written with io/sim/test_world.h; docs/simulator.md
 * shows how.
 *
 * Owner: the test. Threads: one. Running out of memory for the simulator's own needs
 * aborts, and base's test hook does not count them; where production would fail (a stream,
 * a listener, a file, a signal), so does the simulator.
 */
#pragma once

#include "io/io.h"
#include "io/lookup.h"

struct world;

struct world *sim_world_new(uint64_t seed);
/* Its processes are freed before. NULL is allowed. */
void sim_world_free(struct world *world);

struct sim_faults {
    io_time delay_min, delay_max; /* of bytes and callers on their way */
    unsigned short_read_percent;  /* reads that get less than there is */
    unsigned short_write_percent; /* writes that take less than there is room for */
    unsigned reset_permille;      /* writes that reset their connection */
    unsigned vanish_permille;     /* writes that leave it half open: from then on nothing gets
                                     through either way, and neither end is told */
    unsigned refuse_permille;     /* connects that are refused */
    unsigned accept_permille;     /* accepts that find no descriptor left */
    io_time job_min, job_max;     /* how long a job takes; 0: 10 us to 1 ms */
    unsigned slow_permille;       /* jobs of files and the log that take up to `slow_max` */
    io_time slow_max;
    size_t buffer_bytes;         /* in each direction; 0: 128 kB */
    unsigned name_fail_permille; /* lookups that get SERVFAIL */
    unsigned name_lost_permille; /* lookups that nobody answers */
    io_time name_delay_max;      /* of lookups, on top of the delay */
};
/* Holds from now on; zeroed: no faults and a delay of 5 to 50 us. */
void sim_world_faults(struct world *world, const struct sim_faults *faults);
/* Draws faults from the world's seed, each kind on or off by itself, and lets them hold. A
 * world with all kinds at once would hardly get anywhere; a thousand seeds with some each
 * meet all combinations (Groce et al., "Swarm Testing", 2012). Returns what holds. */
struct sim_faults sim_faults_draw(struct world *world);

/* ---- processes ---- */

/* A process named `name`; names serve machines: one that is made anew under a name finds
 * the files of its predecessor. Freed by `process_free`, which also ends its connections
 * as the kernel would. `process_run` steps the whole world until this process has
 * stopped. */
struct process *sim_process_new(struct world *world, const char *name, int loops);
/* From outside of the process: none of its callbacks runs any more, `process_run` returns,
 * and what it still does until it is freed reaches nobody. */
enum sim_crash {
    SIM_KILLED,     /* the kernel ends its connections and keeps what it wrote */
    SIM_POWER_LOST, /* its peers are not told; file data of the last 30 s may be lost */
};
void sim_crash(struct process *process, enum sim_crash how);
/* Nothing of it runs before `until`; what comes meanwhile waits, as under SIGSTOP. */
void sim_pause(struct process *process, io_time until);
/* No job of that kind ends before `until`: a disk, or the reader of a log's pipe, that
 * stands still. */
void sim_stall(struct process *process, enum io_work_kind kind, io_time until);
/* The machine's wall clock jumps, also backwards. */
void sim_wall_jump(struct process *process, io_time by);
void sim_signal(struct process *process, int signal_number);
void sim_env_put(struct process *process, const char *name, const char *value);
/* A socket that is bound and listens on behalf of the machine's processes, as a supervisor's
 * does: a listener of that name takes it over, and callers wait while there is none. */
void sim_inherit(struct process *process, const char *name, const struct io_address *address);

/* ---- the network ---- */

/* While it is cut, what the machine `from` sends to `to` is on its way, and connects get no
 * answer; a sender gives up after 15 minutes. For both directions, called twice. */
void sim_cut(struct world *world, const char *from, const char *to, bool cut);

/* ---- time ---- */

io_time sim_now(const struct world *world);
/* Runs one event; false when there is none. */
bool sim_step(struct world *world);
/* Runs all events up to `until` and leaves the clock there. */
void sim_run_until(struct world *world, io_time until);
/* Runs until no event is left, or until the clock passes `limit`; true for the former.
 * A timer that is always started again leaves the world never idle. */
bool sim_run_idle(struct world *world, io_time limit);
/* `fn` runs after each event from now on, whoever steps the world; it may make nothing
 * happen. NULL ends that. */
void sim_world_watch(struct world *world, void (*fn)(void *arg), void *arg);
uint64_t sim_trace_hash(const struct world *world);
/* The last SIM_TRACE_TAIL things that happened, oldest first. */
#define SIM_TRACE_TAIL 128
void sim_trace_tail(const struct world *world,
                    void (*fn)(void *arg, io_time at, const char *what, uint64_t a, uint64_t b),
                    void *arg);

/* ---- a machine's files; the folders above are made ---- */

/* Makes or replaces a file. */
void sim_file_put(struct process *process, const char *path, struct span bytes);
void sim_folder_make(struct process *process, const char *path);
/* With all that lies below. Who has it open goes on writing it. Nothing is done for one
 * that is not there. */
void sim_file_remove(struct process *process, const char *path);
/* Replaces what is at `to`; `from` is there. */
void sim_file_rename(struct process *process, const char *from, const char *to);
/* How many bytes the disk still takes; UINT64_MAX, as at first: any. */
void sim_disk_room(struct process *process, uint64_t bytes);

/* Calls `fn` with each datagram sent so far, in order. */
void sim_datagrams(struct world *world, void (*fn)(void *arg, const char *path, struct span bytes),
                   void *arg);

/* What is answered to lookups from now on; replaces what was. A name that is not there is
 * NXDOMAIN, one with a count of 0 NODATA. */
void sim_name_put(struct world *world, const char *name, const struct io_address *addresses,
                  size_t count, io_time ttl);
void sim_service_put(struct world *world, const char *name, const struct lookup_service *services,
                     size_t count, io_time ttl);
/* The name's lookups fail until it is put again: ERR_NOT_FOUND (NXDOMAIN), ERR_UNAVAILABLE
 * (SERVFAIL), ERR_DEADLINE (nobody answers). */
void sim_name_fail(struct world *world, const char *name, enum err code);
