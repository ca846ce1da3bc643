/* What the sources of the libuv implementation share. Names begin with `iouv_`, since
 * `uv_` is the library's. */
#pragma once

#include "base/pool.h"
#include "io/ops.h"
#include "io/uv/uv.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <uv.h>

struct iouv_process;
struct iouv_dns;

/* Scratch that reads without a buffer of their own go to. */
#define IOUV_SCRATCH 65536
/* More connections than a loop could have descriptors for. */
#define IOUV_STREAMS_MAX ((size_t)1 << 24)

struct iouv_loop {
    struct loop base;
    uv_loop_t uv;
    uv_async_t wake;
    uv_prepare_t prepare;
    uv_idle_t idle;
    uv_timer_t timer, heartbeat;
    uv_poll_t grow;
    uint64_t tick_armed; /* the tick that `timer` is set for; UINT64_MAX: it is not */
    bool idling, started, uv_ready;
    struct pool streams;
    struct iouv_dns *dns; /* NULL: nothing was looked up yet */
    pthread_t thread;
    uint8_t scratch[IOUV_SCRATCH];
};

/* One kind of work: its queue and its threads. */
struct iouv_pool {
    struct process *process;
    pthread_mutex_t mutex;
    pthread_cond_t filled;
    struct io_work *first, *last;
    enum io_work_kind kind;
    int threads;    /* running */
    int born;       /* numbers given to them */
    bool ending;    /* threads leave once the queue is empty */
    pthread_t *ids; /* process->threads[kind] of them */
};

#define IOUV_INHERITED_MAX 64

struct iouv_inherited {
    int fd; /* -1: taken */
    char name[64];
};

struct iouv_file {
    struct file base;
    int fd;
};

struct iouv_watch {
    struct iouv_watch *next;
    uv_signal_t signal;
    void (*fn)(void *arg, int signal_number);
    void *arg;
};

/* Loops wait at the gate until `process_run`, or until they are to end unrun. */
enum iouv_gate { GATE_SHUT, GATE_RUN, GATE_END };

struct iouv_process {
    struct process base;
    atomic_bool stopping;
    atomic_bool exit_armed; /* process_exit_after was called */
    pthread_mutex_t gate_mutex;
    pthread_cond_t gate_opened;
    enum iouv_gate gate;
    struct iouv_pool pools[WORK_KINDS];
    struct iouv_inherited inherited[IOUV_INHERITED_MAX];
    int inherited_count;
    struct iouv_file standard[2];
    struct iouv_watch *watches;
    io_time started_at;
    void *crash_stack; /* of the thread that made it */
};

/* What this thread is: a loop's, a worker's, or neither. */
struct iouv_thread {
    struct loop *loop;
    struct process *worker_of;
    int worker;
};
extern _Thread_local struct iouv_thread iouv_thread;

static inline struct iouv_process *iouv_process(struct process *process)
{
    return (struct iouv_process *)process;
}
static inline struct iouv_loop *iouv_loop(struct loop *loop)
{
    return (struct iouv_loop *)loop;
}

/* clock.c */
io_time iouv_clock(struct process *process);
io_time iouv_wall(struct process *process);
io_time iouv_thread_cpu(struct process *process);
void iouv_random(struct process *process, struct span_mut bytes);
void iouv_usage(struct process *process, struct process_usage *ret_usage);
uint64_t iouv_descriptors(struct process *process, uint64_t wanted);
io_time iouv_started_at(void);

/* loop.c */
result iouv_loop_init(struct iouv_loop *loop, struct process *process, int index,
                      struct diag *diag);
/* Grows the library's table to descriptors below `descriptors`. */
result iouv_loop_grow(struct iouv_loop *loop, int descriptors, struct diag *diag);
/* Puts a descriptor into the kernel's set before the library does, which aborts where there
 * is no room (max_user_watches, memory): then nothing is left to it but a change, which
 * needs none. Just before the library starts to watch. An errno, or 0. */
int iouv_watch(struct iouv_loop *loop, int fd);
void iouv_loop_run(struct iouv_loop *loop);
void iouv_loop_release(struct iouv_loop *loop);
void iouv_wake(struct loop *loop);
uint64_t iouv_turns(const struct loop *loop);

/* socket.c */
socklen_t iouv_sockaddr_of(const struct io_address *address, struct sockaddr_storage *ret_sockaddr);
void iouv_address_of(const struct sockaddr_storage *sockaddr, socklen_t len,
                     struct io_address *ret_address);
/* Non-blocking and close-on-exec; an errno, negative, on failure. */
int iouv_socket(int family, int type);
/* A detached connection: a descriptor and whether it is a UNIX socket. */
struct io_detached iouv_detached(int fd, bool is_unix);
int iouv_detached_fd(struct io_detached detached);
bool iouv_detached_unix(struct io_detached detached);
void iouv_detached_close(struct process *process, struct io_detached detached);
result iouv_datagram(struct process *process, const char *path, struct span bytes);

/* stream.c */
result iouv_adopt(struct loop *loop, struct io_detached detached, struct stream **ret_stream);
result iouv_connect(struct loop *loop, const struct io_address *address,
                    struct stream **ret_stream);
void iouv_stream_abandon(uv_handle_t *handle);
extern const size_t iouv_stream_size;

/* listener.c */
result iouv_listen(struct loop *loop, const struct io_address *address,
                   const struct listen_options *options, listener_fn fn, void *arg,
                   struct listener **ret_listener, struct diag *diag);
void iouv_listener_address(struct listener *listener, struct io_address *ret_address);
void iouv_listener_pause(struct listener *listener);
void iouv_listener_resume(struct listener *listener);
void iouv_listener_close(struct listener *listener);
/* One that is still open when its loop is freed. */
void iouv_listener_abandon(uv_handle_t *handle);

/* bind.c: a bound and listening socket. */
result iouv_bind(const struct io_address *address, const struct listen_options *options,
                 int *ret_fd, struct diag *diag);

/* inherit.c */
void iouv_inherit(struct iouv_process *process);
/* The descriptor inherited under `name`, the one bound to `address` first; -1: none. */
int iouv_inherited_take(struct iouv_process *process, const char *name,
                        const struct io_address *address);

/* work.c */
result iouv_pools_init(struct iouv_process *process, struct diag *diag);
/* Finishes all that is queued and ends the threads. What is submitted later waits for the
 * release, which runs it on the caller's thread. */
void iouv_pools_join(struct iouv_process *process);
void iouv_pools_release(struct iouv_process *process);
void iouv_work_submit(struct process *process, enum io_work_kind kind, struct io_work *work);
int iouv_work_index(struct process *process);
/* A thread on which no signal is delivered. An errno. */
int iouv_thread_start(pthread_t *ret_thread, void *(*run)(void *arg), void *arg);

/* signal.c */
result iouv_signal(struct process *base, int signal_number,
                   void (*fn)(void *arg, int signal_number), void *arg);
void iouv_signals_release(struct iouv_process *process);

/* crash.c */
void iouv_crash_report(struct process *base, const struct crash_report *report);
/* A stack for the calling thread's own crash, to be given back as it ends; NULL: none. */
void *iouv_crash_stack(void);
void iouv_crash_stack_end(void *stack);

/* dns.c */
void iouv_lookup(struct io_lookup *lookup);
void iouv_lookup_stop(struct io_lookup *lookup);
void iouv_dns_release(struct iouv_loop *loop);
/* dns_services.c: fills `services`, of LOOKUP_ANSWERS_MAX, and the answer's count and TTL.
 * An ARES_ status. */
int iouv_services_parse(struct span bytes, struct lookup_service *services,
                        struct lookup_answer *answer);

/* file.c */
result iouv_file_stat(struct process *process, const char *path, struct file_info *ret_info,
                      struct diag *diag);
result iouv_file_read(struct process *process, const char *path, struct text *into,
                      struct diag *diag);
result iouv_file_list(struct process *process, const char *path,
                      void (*fn)(void *arg, const char *name), void *arg, struct diag *diag);
result iouv_file_append_open(struct process *process, const char *path, struct file **ret_file,
                             struct diag *diag);
struct file *iouv_file_standard(struct process *process, int number);
bool iouv_file_is_terminal(struct file *file);
result iouv_file_append(struct file *file, struct span bytes);
void iouv_file_close(struct file *base);
