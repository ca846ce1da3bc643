/* The only door to the outside: time, chance, sockets, files, threads.
 *
 * Two implementations stand behind it, chosen when the process is made: io/uv
 * (libuv, production) and io/sim (one thread, virtual time, seeded order and
 * faults). Nothing above includes either, except cmd and tests.
 *
 * The model
 *   struct process   what one operating system process has: loops, work pools,
 *                    signals, clock, chance, files. In a simulated world there
 *                    may be many.
 *   struct loop      one thread with one event loop. Loop 0 is the caller's
 *                    thread of `process_run`.
 *
 * Rules (the conformance suite checks each, over both implementations)
 *   I1  A completion runs from the loop, never inside the call that armed it.
 *   I2  Each armed operation completes exactly once, also after cancel or close.
 *   I3  `stream_close` completes what is pending with ERR_CANCELLED, then calls
 *       its own callback, after which the stream is gone. Nothing comes later.
 *   I4  Objects belong to the loop that made or adopted them; only the functions
 *       marked "any thread" may be called from elsewhere.
 *   I5  Nothing blocks, except the file functions, which may be called only
 *       before `process_run` (boot) or inside a work job.
 *   I6  Inside a completion anything may be called, also closing the object that
 *       completes.
 *   I7  No stream keeps its loop to itself: in one turn at most STREAM_TURN_BYTES are
 *       read from it, and a write is offered to the kernel in pieces. What is left
 *       goes on in the next turn, after timers, posts and other streams had theirs.
 *
 * Memory named in a read or write belongs to the caller and must stay until the
 * completion. All times are `io_time`: nanoseconds, monotonic unless said.
 */
#pragma once

#include "base/diag.h"
#include "base/result.h"
#include "base/span.h"
#include "base/text.h"
#include "base/wheel.h"

#include <stdatomic.h>

typedef int64_t io_time;
#define IO_US ((io_time)1000)
#define IO_MS ((io_time)1000000)
#define IO_SEC ((io_time)1000000000)
#define TIME_NEVER INT64_MAX

struct process;
struct loop;
struct stream;
struct listener;

/* ---- process ------------------------------------------------------------- */

int process_loop_count(const struct process *process);
struct loop *process_loop(struct process *process, int index);
/* Runs all loops until `process_stop`; returns when every loop has ended and
 * every work job has finished. Call once, from the thread that made the process. */
void process_run(struct process *process);
/* Any thread. Open objects need not be closed first; they get no completion. */
void process_stop(struct process *process);
/* A backstop for an end that must not hang on a job that never returns: unless the program
 * has ended by then, it exits with `code` after `patience`, freeing nothing. Any thread;
 * the first call counts. The simulator, whose jobs all return, ignores it. */
void process_exit_after(struct process *process, io_time patience, int code);
/* What a process says when a signal such as SIGSEGV or SIGABRT ends it. */
struct crash_report {
    const char *program; /* the first line: "weir 0.1.0" */
    const char *folder;  /* NULL, or where a copy goes: FOLDER/weir-crash-SECONDS-PID.txt */
    /* The last log lines; runs inside a signal handler: memory is read, nothing else. */
    void (*tail)(const void *arg, void (*put)(struct span bytes));
    const void *arg;
};
/* Boot only, for the one process of a program: from now on a crash writes its signal, build
 * id, registers, stack and last log lines to standard error and to the folder, and then
 * ends as it would have without. NULL: no longer, before what `arg` names is freed. Nothing
 * happens in the simulator, nor under sanitizers, which report crashes themselves. */
void process_crash_report(struct process *process, const struct crash_report *report);
/* After `process_run` has returned, or before it was called. NULL is allowed. */
void process_free(struct process *process);

/* Cores this process may use: min(affinity, cgroup quota v1 and v2), at least 1. */
int process_cores(struct process *process);
/* Bytes of memory this process may use: min(physical, cgroup limit v1 and v2). */
uint64_t process_memory(struct process *process);

struct process_usage {
    io_time cpu_user, cpu_system;
    uint64_t resident_bytes;
    uint64_t descriptors_now, descriptors_max;
    io_time started_at; /* wall clock */
};
/* Any thread; reads small kernel files, so not on a hot path. */
void process_usage(struct process *process, struct process_usage *ret_usage);
/* Raises the descriptor limit to `wanted` or the hard limit; returns what holds. */
uint64_t process_descriptors(struct process *process, uint64_t wanted);

/* An environment variable, or NULL. Any thread: none changes after the process was made. */
const char *process_env(struct process *process, const char *name);
int process_id(const struct process *process);
/* Appends the folder that the program's own file lies in. Boot only; ERR_UNSUPPORTED in
 * the simulator. */
result process_program_folder(struct process *process, struct text *into);

/* ---- time and chance (any thread) ---------------------------------------- */

io_time process_clock(struct process *process);
/* Nanoseconds since 1970-01-01 UTC. */
io_time process_wall(struct process *process);
/* CPU time that the calling thread has used. */
io_time process_thread_cpu(struct process *process);
/* Fills `bytes` from the kernel's generator (the seed's, in the simulator). */
void process_random(struct process *process, struct span_mut bytes);
uint64_t process_random_u64(struct process *process);

/* ---- loop ---------------------------------------------------------------- */

struct process *loop_process(struct loop *loop);
int loop_index(const struct loop *loop);
/* The time of the present turn, taken when the first one in it asks: cheap. */
io_time loop_now(const struct loop *loop);
/* How many turns the loop has made; any thread. A loop that stands still does
 * not advance, one that waits with nothing to do is woken once a second. */
uint64_t loop_turns(const struct loop *loop);

/* A message to a loop. Intrusive: it lies in the sender's own struct and may be
 * sent again once `run` has been called. */
struct io_post {
    struct io_post *next;
    void (*run)(struct io_post *post);
};
/* Any thread. Never fails; posts from one thread to one loop keep their order. */
void loop_post(struct loop *loop, struct io_post *post);
/* This loop's thread only: runs at the end of the present turn, before it waits. */
void loop_defer(struct loop *loop, struct io_post *post);

/* A timer lies in its owner's struct, zeroed before its first use. */
struct io_timer {
    struct wheel_node node;
    void (*fired)(struct io_timer *timer);
};
/* Fires once, at `at` or up to 1 ms later, never earlier; a time in the past soon. Moves a
 * timer that is running. Farther than 100 days counts as 100 days. */
void timer_start(struct loop *loop, struct io_timer *timer, io_time at);
/* Afterwards it will not fire. Takes one that is not running. */
void timer_stop(struct loop *loop, struct io_timer *timer);
static inline bool timer_running(const struct io_timer *timer)
{
    return wheel_node_linked(&timer->node);
}

/* ---- work: where blocking and long computing is allowed ------------------- */

enum io_work_kind {
    WORK_COMPUTE, /* model runs, encoding: one thread a core */
    WORK_FILE,    /* files, loading: a few threads */
    WORK_LOG,     /* one thread of its own: the log writer may stall */
    WORK_KINDS,
};

struct io_work {
    void (*run)(struct io_work *work);  /* on a worker thread */
    void (*done)(struct io_work *work); /* on `home`, by post; NULL for none */
    struct loop *home;                  /* NULL when `done` is */
    struct io_post post;
    struct io_work *next;
};
/* Any thread. Never fails: the queue is intrusive, its bound is the callers'. */
void work_submit(struct process *process, enum io_work_kind kind, struct io_work *work);
/* Which worker of its kind runs here, from 0; -1 on a loop's or another thread.
 * For state kept per worker. */
int work_index(struct process *process);
int work_threads(struct process *process, enum io_work_kind kind);

/* The one lock of the code above io: held for a bounded number of instructions,
 * never over a callback, an allocation, a post or a run. The simulator asserts
 * that it is free. */
struct io_lock {
    atomic_uint word;
    bool simulated;
};
void io_lock_init(struct io_lock *lock, struct process *process);
void io_lock_take(struct io_lock *lock);
void io_lock_give(struct io_lock *lock);

/* ---- addresses ------------------------------------------------------------ */

enum io_family { IO_INET, IO_INET6, IO_UNIX };

struct io_address {
    enum io_family family;
    uint16_t port;  /* host order; 0 for UNIX, or "any" when listening */
    uint8_t ip[16]; /* network order; the first 4 bytes for IO_INET */
    char path[108]; /* UNIX only; NUL-terminated */
};
/* "127.0.0.1:8080", "[::1]:8080", "localhost:8080" (127.0.0.1), ":8080" (any IPv4
 * and IPv6), "unix:/run/x.sock". What may be a name too is an `io_endpoint`
 * (io/lookup.h); here one is refused with ERR_UNSUPPORTED. */
result io_address_parse(struct span text, struct io_address *ret_address, struct diag *diag);
/* The inverse; always NUL-terminated; returns its length. */
size_t io_address_format(const struct io_address *address, char *buffer, size_t size);

/* ---- streams: TCP and UNIX ------------------------------------------------- */

/* A connection that belongs to no loop: what accept hands out, what `detach`
 * leaves. A plain value; it must be adopted or closed. */
struct io_detached {
    int64_t handle;
};
/* On failure `detached` is still the caller's. */
result stream_adopt(struct loop *loop, struct io_detached detached, struct stream **ret_stream);
/* Any thread. */
void detached_close(struct process *process, struct io_detached detached);

/* `bytes.len` 0 with OK is the end of file. ERR_RESET, ERR_CANCELLED, ERR_IO. */
typedef void (*stream_read_fn)(void *arg, struct stream *stream, result r, struct span bytes);
typedef void (*stream_write_fn)(void *arg, struct stream *stream, result r);
typedef void (*stream_close_fn)(void *arg);
typedef void (*stream_connect_fn)(void *arg, struct stream *stream, result r);

/* I7. The kernel copies some gigabytes a second, a few when it must find the pages first:
 * this much takes 20 to 100 us, so a dozen large bodies at once hold a small request up
 * by less than 1 ms, and the turns they need cost them little. */
#define STREAM_TURN_BYTES ((size_t)128 << 10)

/* Arms the one read a stream may have. Into `into` when it has room; with
 * `into.len` 0 into the loop's own scratch (64 kB), whose bytes are valid only
 * during the callback: so an idle connection holds no buffer. Arming again inside
 * the callback costs no system call. */
void stream_read(struct stream *stream, struct span_mut into, stream_read_fn fn, void *arg);
/* Disarms it: completes with ERR_CANCELLED. Nothing happens if none is armed. */
void stream_read_cancel(struct stream *stream);
/* Offers bytes to the kernel now, at most STREAM_TURN_BYTES of them (I7), and returns how
 * many it took; errors show at the next read or write. Not while a `stream_write` is
 * pending. */
size_t stream_try_write(struct stream *stream, const struct span *parts, int count);
/* Writes all parts (at most 16, copied; the bytes are not), then completes. One at
 * a time. */
void stream_write(struct stream *stream, const struct span *parts, int count, stream_write_fn fn,
                  void *arg);
/* Sends FIN once the pending write is done; reading goes on. */
void stream_shutdown(struct stream *stream);
enum stream_close_how { STREAM_CLOSE, STREAM_RESET };
/* See I3. STREAM_RESET sends RST instead of FIN. `fn` may be NULL. */
void stream_close(struct stream *stream, enum stream_close_how how, stream_close_fn fn, void *arg);
/* Takes the stream off its loop; nothing may be pending. The stream is gone when
 * this returns. */
result stream_detach(struct stream *stream, struct io_detached *ret_detached);
/* On success the stream exists at once and completes by `fn`; until then nothing but
 * closing it is allowed. ERR_REFUSED, ERR_NOT_FOUND (UNIX path), ERR_DEADLINE, ... */
result stream_connect(struct loop *loop, const struct io_address *address, stream_connect_fn fn,
                      void *arg, struct stream **ret_stream);
struct loop *stream_loop(struct stream *stream);
/* The far end; for an unnamed UNIX peer the path is "". */
void stream_peer(struct stream *stream, struct io_address *ret_address);

/* ---- listeners -------------------------------------------------------------- */

struct listen_options {
    int backlog;        /* 0: 4096 */
    const char *name;   /* inherited under this LISTEN_FDNAMES name, if it is there */
    unsigned unix_mode; /* permission bits of a UNIX socket; 0: 0600 */
    bool shard;         /* SO_REUSEPORT; opt-in */
};
/* Called for each connection accepted. */
typedef void (*listener_fn)(void *arg, struct listener *listener, struct io_detached detached);
/* Binds and listens; accepts at once. One socket an address: a second server on
 * the same port fails with ERR_ADDRESS_IN_USE (SO_REUSEADDR is set, so that
 * TIME_WAIT does not). A stale UNIX socket nobody listens on is replaced. When
 * descriptors run out, the waiting connection is accepted on a spare one and
 * closed, and accepting goes on. */
result listener_open(struct loop *loop, const struct io_address *address,
                     const struct listen_options *options, listener_fn fn, void *arg,
                     struct listener **ret_listener, struct diag *diag);
/* The bound address, with the real port when 0 was asked for. */
void listener_address(struct listener *listener, struct io_address *ret_address);
/* Stops and goes on accepting; callers wait in the backlog. */
void listener_pause(struct listener *listener);
void listener_resume(struct listener *listener);
/* Connections refused for want of descriptors since the start. */
uint64_t listener_dropped(const struct listener *listener);
/* Gone when this returns; no callback follows. Removes its UNIX path unless it
 * was inherited. NULL is allowed. */
void listener_close(struct listener *listener);

/* ---- signals, datagrams ------------------------------------------------------- */

/* Runs `fn` on loop 0 whenever the signal comes. Once per signal number, at boot. */
result process_signal(struct process *process, int signal_number,
                      void (*fn)(void *arg, int signal_number), void *arg);
/* One datagram to a UNIX socket ("@name" is abstract); never blocks. */
result process_datagram(struct process *process, const char *path, struct span bytes);

/* ---- files: boot or inside a work job only (I5) --------------------------------- */

enum file_kind { FILE_REGULAR, FILE_DIRECTORY, FILE_OTHER };
struct file_info {
    enum file_kind kind;
    uint64_t size;
    io_time modified_at; /* wall clock */
    unsigned mode;       /* permission bits */
};
result file_stat(struct process *process, const char *path, struct file_info *ret_info,
                 struct diag *diag);
/* Appends the whole file to `into`, whose maximum is the limit. */
result file_read(struct process *process, const char *path, struct text *into, struct diag *diag);
/* Calls `fn` with each name but "." and "..", sorted bytewise. */
result file_list(struct process *process, const char *path, void (*fn)(void *arg, const char *name),
                 void *arg, struct diag *diag);
/* A log or output file, made when missing, written at its end. */
struct file;
result file_append_open(struct process *process, const char *path, struct file **ret_file,
                        struct diag *diag);
/* Standard error and output; never closed. `descriptor` is 1 or 2. */
struct file *file_standard(struct process *process, int descriptor);
bool file_is_terminal(struct file *file);
/* Writes all, or fails; may wait for a slow pipe. */
result file_append(struct file *file, struct span bytes);
void file_close(struct file *file);
