/* What the sources of the simulator share. */
#pragma once

#include "base/heap.h"
#include "base/list.h"
#include "io/ops.h"
#include "io/sim/sim.h"

#define SIM_SCRATCH 65536

/* Something that will happen. It lies in its owner's struct. */
struct sim_event {
    struct heap_node node;
    io_time at;
    uint64_t tie, serial; /* the order among events of one moment: drawn, then as made */
    void (*run)(struct sim_event *event);
};

/* A file or folder. */
struct sim_node {
    struct list_node node; /* in its folder */
    struct sim_node *folder;
    char *name;
    bool is_folder;
    struct list children;
    int refs; /* the folder it lies in, and who has it open */
    struct text bytes;
    io_time modified_at;
    size_t safe_len;  /* bytes that a power loss leaves */
    io_time dirty_at; /* since when there are others */
};

struct sim_env {
    struct list_node node;
    char *name, *value;
};

/* What outlives a process: its machine. */
struct sim_host {
    struct list_node node;
    char *name;
    struct list env;
    struct sim_node *root;
    uint64_t disk_room;
    io_time wall_ahead; /* of the world's clock */
};

/* What came to pass; kept for `sim_trace_tail`. */
struct sim_happening {
    io_time at;
    const char *what;
    uint64_t a, b;
};

/* Nothing gets from one machine to the other. */
struct sim_cut {
    struct list_node node;
    struct sim_host *from, *to;
};

struct world {
    struct heap events;
    io_time now;
    uint64_t random, serial, trace;
    struct sim_faults faults;
    struct list hosts, processes, sockets, datagrams, names;
    struct list cuts, held; /* held: arrivals that a cut keeps back */
    struct sim_happening tail[SIM_TRACE_TAIL];
    uint64_t happenings;
    void (*watch)(void *arg);
    void *watch_arg;
    int processes_made;
    uint16_t port_last;
    io_time cpu;
    struct process *worker_of; /* whose job is running now */
    int worker;
};

struct sim_worker {
    struct sim_event event;
    struct sim_process *process;
    struct sim_pool *pool;
    struct io_work *job; /* NULL: idle */
    bool ran;            /* its end is still to be posted */
    int index;
};

struct sim_pool {
    struct io_work *first, *last;
    struct sim_worker *workers;
    io_time stalled_until;
};

struct sim_watch {
    struct sim_watch *next;
    struct io_post post;
    int signal_number;
    bool pending;
    void (*fn)(void *arg, int signal_number);
    void *arg;
};

struct sim_file {
    struct file base;
    struct sim_node *file;
};

struct sim_process {
    struct process base;
    struct list_node node;
    struct world *world;
    struct sim_host *host;
    bool stopped, crashed;
    io_time paused_until;
    struct sim_pool pools[WORK_KINDS];
    int jobs; /* queued or running */
    struct sim_watch *watches;
    struct list ends; /* every end of a connection that the process holds */
    struct sim_file standard[2];
    uint64_t descriptors_now, descriptors_max;
    io_time started_at;
};

/* Something that a turn of a loop looks at: a stream or a listener. */
struct sim_io {
    struct list_node node;
    void (*ready)(struct sim_io *io);
};

struct sim_loop {
    struct loop base;
    struct sim_event turn;
    struct list ready; /* of sim_io */
    struct list streams, listeners;
    uint8_t scratch[SIM_SCRATCH];
};

static inline struct sim_process *sim_process(struct process *process)
{
    return (struct sim_process *)process;
}
static inline struct sim_loop *sim_loop(struct loop *loop)
{
    return (struct sim_loop *)loop;
}
static inline struct world *sim_world_of(struct loop *loop)
{
    return sim_process(loop->process)->world;
}

/* world.c */
uint64_t sim_draw(struct world *world);
/* From 0 to `bound` - 1. */
uint64_t sim_draw_below(struct world *world, uint64_t bound);
io_time sim_draw_delay(struct world *world);
/* `event` is not scheduled. */
void sim_schedule(struct world *world, struct sim_event *event, io_time at);
/* Takes one that is not scheduled, too. */
void sim_cancel(struct world *world, struct sim_event *event);
static inline bool sim_scheduled(const struct sim_event *event)
{
    return event->node.place != 0;
}
void sim_trace(struct world *world, const char *what, uint64_t a, uint64_t b);
/* Whether it happens, this time. */
bool sim_chance(struct world *world, uint64_t per, uint64_t of);
/* A zeroed block, and a copy, of the simulator's own: the test hook does not reach them,
 * and no memory aborts. What production takes from the heap is taken by MEM_NEW. */
void *sim_new(size_t size);
char *sim_strdup(const char *text);
/* Kept for `sim_datagrams`. */
void sim_datagram_record(struct world *world, const char *path, struct span bytes);
struct sim_host *sim_host(struct world *world, const char *name);

/* loop.c */
void sim_loop_init(struct sim_loop *loop, struct process *process, int index);
void sim_loop_release(struct sim_loop *loop);
/* Before each event: schedules a turn of every loop that has something to do, whoever
 * gave it that, and wherever from. */
void sim_loops_plan(struct world *world);
/* The next turn looks at `io`. */
void sim_loop_ready(struct loop *loop, struct sim_io *io);
uint64_t sim_turns(const struct loop *loop);

/* work.c */
void sim_pools_init(struct sim_process *process);
/* Runs what is queued, at once. */
void sim_pools_finish(struct sim_process *process);
void sim_pools_release(struct sim_process *process);
void sim_work_submit(struct process *base, enum io_work_kind kind, struct io_work *work);
int sim_work_index(struct process *process);

/* pipe.c: connections. One has two ends and a buffer in each direction. */
struct sim_pipe {
    uint8_t *ring;
    size_t cap, head, len, visible; /* visible: what has arrived of `len` */
    bool fin, fin_arrived;
    io_time arrival_last; /* bytes do not overtake each other */
};

struct sim_end {
    struct list_node node;  /* in its process's list */
    struct list_node queue; /* in its socket's backlog */
    struct sim_conn *conn;
    struct sim_host *host;
    struct sim_process *process; /* who holds it; NULL: nobody yet, or any more */
    struct stream *stream;       /* NULL: detached, or not accepted yet */
    struct io_address peer;
    struct sim_event give_up; /* what it sent has not got through for too long */
    bool open;
    bool counted;  /* as a descriptor of its process */
    uint8_t error; /* enum err: the connection has broken */
    int side;
};

struct sim_conn {
    struct world *world;
    struct sim_end ends[2];
    struct sim_pipe pipes[2]; /* pipes[s]: what the end of side s writes */
    bool is_unix, vanished;
    int refs; /* ends that are open, and events on their way */
};

struct sim_conn *sim_conn_new(struct world *world, bool is_unix);
void sim_end_open(struct sim_end *end, struct sim_host *host);
/* Of an open end. */
void sim_end_hold(struct sim_end *end, struct sim_process *process);
/* From now on it is one of its process's descriptors; false when there are too many. */
bool sim_end_count(struct sim_end *end);
void sim_end_close(struct sim_end *end, bool reset);
/* The machine is gone, and sends nothing any more. */
void sim_end_vanish(struct sim_end *end);
/* Whether nothing gets through. */
bool sim_is_cut(struct world *world, const struct sim_host *from, const struct sim_host *to);
void sim_end_shutdown(struct sim_end *end);
bool sim_end_readable(const struct sim_end *end);
bool sim_end_writable(const struct sim_end *end);
/* Takes bytes that have arrived; 0 when none has. */
size_t sim_end_read(struct sim_end *end, struct span_mut into);
size_t sim_end_write(struct sim_end *end, const struct span *parts, int count);

/* stream.c */
result sim_adopt(struct loop *loop, struct io_detached detached, struct stream **ret_stream);
void sim_detached_close(struct process *process, struct io_detached detached);
result sim_connect(struct loop *loop, const struct io_address *address, struct stream **ret_stream);
/* Something about its end has changed. */
void sim_stream_changed(struct stream *stream);
void sim_streams_release(struct sim_loop *loop);
/* Their process has crashed: they have no ends any more. */
void sim_streams_lose(struct sim_loop *loop);
/* Its end is gone. */
void sim_stream_lose(struct stream *stream);

/* listener.c */
result sim_listen(struct loop *loop, const struct io_address *address,
                  const struct listen_options *options, listener_fn fn, void *arg,
                  struct listener **ret_listener, struct diag *diag);
void sim_listener_address(struct listener *listener, struct io_address *ret_address);
void sim_listener_pause(struct listener *listener);
void sim_listener_resume(struct listener *listener);
void sim_listener_close(struct listener *listener);
void sim_listeners_release(struct sim_loop *loop);
/* Their process has crashed: they have no sockets any more. */
void sim_listeners_lose(struct sim_loop *loop);
/* Those that were inherited. */
void sim_sockets_release(struct world *world);
enum sim_knock { KNOCK_TAKEN, KNOCK_REFUSED, KNOCK_NOT_FOUND, KNOCK_FULL };
/* A connection of a caller on `host` asks at `address`: if taken, its end 1 waits in the
 * backlog. KNOCK_FULL: no answer, so it may ask again. */
enum sim_knock sim_knock(struct world *world, struct sim_host *host,
                         const struct io_address *address, struct sim_conn **ret_conn);

/* names.c */
void sim_lookup(struct io_lookup *lookup);
void sim_lookup_stop(struct io_lookup *lookup);
void sim_names_release(struct world *world);

/* file.c */
result sim_file_stat(struct process *base, const char *path, struct file_info *ret_info,
                     struct diag *diag);
result sim_file_read(struct process *base, const char *path, struct text *into, struct diag *diag);
result sim_file_list(struct process *base, const char *path,
                     void (*fn)(void *arg, const char *name), void *arg, struct diag *diag);
result sim_file_append_open(struct process *base, const char *path, struct file **ret_file,
                            struct diag *diag);
struct file *sim_file_standard(struct process *base, int descriptor);
bool sim_file_is_terminal(struct file *file);
result sim_file_append(struct file *base, struct span bytes);
void sim_file_close(struct file *base);
/* What was not safe is lost, by chance; the bytes are of the disk's beginning. */
void sim_files_power_loss(struct world *world, struct sim_node *node);
struct sim_node *sim_folder_new(void);
/* With all that lies below. */
void sim_node_unref(struct sim_node *node);
/* An output file of a process, made. */
void sim_file_open_standard(struct sim_process *process, struct sim_file *file, const char *path);
