/* What stands between io.h and its two implementations: the table of functions that
 * each fills, and the state that both have in common.
 *
 * Private to src/io. The structs of an implementation begin with the ones here, and
 * the shared sources (loop.c, stream.c, dispatch.c) keep the rules I1 to I6 for both:
 *
 *   O1  A loop has one place where completions run besides its input: its end of turn
 *       (`loop_turn_end`), just before it waits. Whoever completes something elsewhere
 *       marks the stream and puts it into the loop's list with `stream_ready`.
 *   O2  A stream that is being closed completes nothing until the implementation has
 *       let go of it (`stream_gone`); then the end of the turn delivers what was
 *       pending, calls the close callback, and gives the memory back. No other path
 *       frees a stream, so whoever runs callbacks may look at the stream afterwards.
 *   O3  Before an end of turn returns, all that was there at its start has run. What
 *       was added since is either run too or makes `loop_has_more` true, and then the
 *       loop must not wait.
 *
 * Threads: everything belongs to the loop's thread but `posts` and `turns`.
 */
#pragma once

#include "base/list.h"
#include "io/io.h"
#include "io/lookup.h"

/* What a kind of stream fills: a socket's in uv/ and sim/, TLS over any other in tls.c. */
struct stream_ops {
    /* `read_armed` has just become true, and no end was seen yet. */
    void (*read)(struct stream *stream);
    size_t (*try_write)(struct stream *stream, const struct span *parts, int count);
    /* Calls `stream_write_done` now or later. `parts` holds no empty one. */
    void (*write)(struct stream *stream);
    void (*shutdown)(struct stream *stream);
    /* Lets go of the stream and then, not before the next turn, calls `stream_gone`. */
    void (*close)(struct stream *stream, enum stream_close_how how);
    result (*detach)(struct stream *stream, struct io_detached *ret_detached);
    void (*peer)(struct stream *stream, struct io_address *ret_address);
    void (*free)(struct stream *stream);
    /* At the end of the turn after `stream_ready`, unless it is being closed; NULL for a
     * kind that never calls it. */
    void (*turn)(struct stream *stream);
};

struct tls_engine;

struct io_ops {
    const struct tls_engine *tls; /* io/tls_engine.h */
    void (*run)(struct process *process);
    void (*stop)(struct process *process);
    void (*free)(struct process *process);
    io_time (*clock)(struct process *process);
    io_time (*wall)(struct process *process);
    io_time (*thread_cpu)(struct process *process);
    void (*random)(struct process *process, struct span_mut bytes);
    void (*usage)(struct process *process, struct process_usage *ret_usage);
    uint64_t (*descriptors)(struct process *process, uint64_t wanted);
    const char *(*env)(struct process *process, const char *name);
    void (*exit_after)(struct process *process, io_time patience, int code); /* NULL: none */
    void (*crash_report)(struct process *process, const struct crash_report *report); /* NULL */
    result (*program_folder)(struct process *process, struct text *into); /* NULL: none */
    result (*signal)(struct process *process, int signal_number,
                     void (*fn)(void *arg, int signal_number), void *arg);
    result (*datagram)(struct process *process, const char *path, struct span bytes);

    /* Any thread: there is a first post, which the loop may not have seen. */
    void (*wake)(struct loop *loop);
    uint64_t (*turns)(const struct loop *loop);

    void (*work_submit)(struct process *process, enum io_work_kind kind, struct io_work *work);
    int (*work_index)(struct process *process);

    result (*adopt)(struct loop *loop, struct io_detached detached, struct stream **ret_stream);
    void (*detached_close)(struct process *process, struct io_detached detached);
    result (*connect)(struct loop *loop, const struct io_address *address,
                      struct stream **ret_stream);

    result (*listen)(struct loop *loop, const struct io_address *address,
                     const struct listen_options *options, listener_fn fn, void *arg,
                     struct listener **ret_listener, struct diag *diag);
    void (*listener_address)(struct listener *listener, struct io_address *ret_address);
    void (*listener_pause)(struct listener *listener);
    void (*listener_resume)(struct listener *listener);
    void (*listener_close)(struct listener *listener);

    /* Asks for what `lookup` wants and calls `lookup_found` or `lookup_failed`, now or
     * later, once. */
    void (*lookup)(struct io_lookup *lookup);
    /* It is not called for that lookup any more. */
    void (*lookup_stop)(struct io_lookup *lookup);

    result (*file_stat)(struct process *process, const char *path, struct file_info *ret_info,
                        struct diag *diag);
    result (*file_read)(struct process *process, const char *path, struct text *into,
                        struct diag *diag);
    result (*file_list)(struct process *process, const char *path,
                        void (*fn)(void *arg, const char *name), void *arg, struct diag *diag);
    result (*file_append_open)(struct process *process, const char *path, struct file **ret_file,
                               struct diag *diag);
    struct file *(*file_standard)(struct process *process, int descriptor);
    bool (*file_is_terminal)(struct file *file);
    result (*file_append)(struct file *file, struct span bytes);
    void (*file_close)(struct file *file);
};

struct process {
    const struct io_ops *ops;
    struct loop **loops;
    int loop_count;
    int id;
    int cores;
    uint64_t memory;
    int threads[WORK_KINDS];
    bool simulated;
    struct dns_options dns;
};

/* Timers are kept in ticks of 2^17 ns (131 us): fine enough that rounding up to a tick
 * adds little to the millisecond in which a loop wakes. */
#define LOOP_TICK_SHIFT 17

struct stream_list {
    struct stream *first, *last;
};

struct post_list {
    struct io_post *first, *last;
};

struct loop {
    struct process *process;
    int index;
    bool now_known; /* false: `now` belongs to an earlier turn */
    io_time now;
    atomic_uint_fast64_t turns; /* written by the loop only */
    struct stream_list ready;   /* streams with something to complete */
    struct tls_loop *tls;       /* tls.c: NULL until the loop's first TLS stream */
    struct post_list deferred;
    _Atomic(struct io_post *) posts; /* newest first */
    uint64_t tick_next;              /* no timer is due before it; UINT64_MAX: none runs */
    struct wheel wheel;
    struct list lookups; /* that have not completed */
};

void loop_init(struct loop *loop, struct process *process, int index, io_time now);
/* Before the streams of the implementation are given back. */
void loop_release(struct loop *loop);
/* tls.c: its part of that. */
void tls_loop_release(struct loop *loop);
/* Between turns: the time is asked anew, the turn is counted. */
void loop_turn_begin(struct loop *loop);
/* Completions, posts, deferred, and once more completions (O1, O3). */
void loop_turn_end(struct loop *loop);
bool loop_has_more(struct loop *loop);
/* Fires what is due at `now`. Afterwards `tick_next` says when to ask again. */
void loop_fire_timers(struct loop *loop, io_time now);

/* From the implementation's `lookup`, or later. Copies the answer, its first
 * LOOKUP_ANSWERS_MAX. */
void lookup_found(struct io_lookup *lookup, const struct lookup_answer *answer);
void lookup_failed(struct io_lookup *lookup, enum err code, const char *why);
/* Before the loop is freed: they get no completion. */
void lookups_release(struct loop *loop);

/* On a worker: runs the job and posts its end. */
void work_run(struct io_work *work);
/* The second half alone, of a job that has one. */
void work_end(struct io_work *work);

#define STREAM_PARTS_MAX 16

struct stream {
    const struct stream_ops *ops;
    struct loop *loop;
    struct stream *ready_next;
    bool ready_listed;
    bool read_armed, read_done, read_ended; /* ended: by EOF or an error, for good */
    bool write_armed, write_done;
    bool connecting, connect_done;
    bool shutdown_wanted; /* as soon as the pending write is done */
    bool closing, gone;
    uint8_t part, part_count; /* of the write: the first with bytes left, and the end */
    uint32_t turn_room;       /* what may still be read in the turn `read_turn` (I7) */
    uint64_t read_turn;       /* of the loop's, when a read last completed with bytes */
    uint16_t read_end, read_code, write_code, connect_code; /* enum err */
    struct span_mut read_into;
    stream_read_fn read_fn;
    stream_write_fn write_fn;
    stream_connect_fn connect_fn;
    stream_close_fn close_fn;
    void *read_arg, *write_arg, *connect_arg, *close_arg;
    struct span parts[STREAM_PARTS_MAX];
};

/* Wants bytes now: a read is armed and not completed otherwise. */
static inline bool stream_wants(const struct stream *stream)
{
    return stream->read_armed && !stream->read_done;
}
/* Whether bytes were read in the loop's present turn. */
static inline bool stream_read_now(const struct stream *stream)
{
    return stream->read_turn == atomic_load_explicit(&stream->loop->turns, memory_order_relaxed);
}
/* How much may be read in the present turn (I7). */
static inline size_t stream_room(const struct stream *stream)
{
    return stream_read_now(stream) ? stream->turn_room : STREAM_TURN_BYTES;
}
/* From the loop, with `stream_wants`: completes the read now. `bytes` are not more than
 * `stream_room`. */
void stream_read_deliver(struct stream *stream, struct span bytes);
/* From the loop: nothing will be read any more. ERR_NONE: end of file. */
void stream_read_end(struct stream *stream, enum err code);
/* Inside `read` of the implementation: completes the read later, with `code`, and so
 * will every one that is armed after it. */
void stream_read_refused(struct stream *stream, enum err code);
void stream_write_done(struct stream *stream, enum err code);
void stream_connect_done(struct stream *stream, enum err code);
void stream_gone(struct stream *stream);
/* Puts it into its loop's list (O1). */
void stream_ready(struct stream *stream);
/* Drops `len` bytes from the front of the parts of the write; true when none is left. */
bool stream_advance(struct stream *stream, size_t len);
/* Completes what the streams of the list have to complete. */
void streams_complete(struct loop *loop);

struct listener {
    struct loop *loop;
    listener_fn fn;
    void *arg;
    uint64_t dropped;
};

struct file {
    struct process *process;
};
