#include "base/alloc.h"
#include "io/limits.h"
#include "io/tls_engine.h"
#include "io/uv/uv_private.h"

#include <ares.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LOOPS_MAX 256
#define WORKERS_MAX 256
/* Descriptors beside the connections: logs, models, listeners, the loops' own. */
#define DESCRIPTORS_OTHER 256
/* The library's table takes 8 bytes a descriptor and loop: 1 MB at most. */
#define GROW_MAX 131072

/* ---- threads of the loops ------------------------------------------------------ */

static void *loop_thread(void *arg)
{
    struct iouv_loop *loop = arg;
    struct iouv_process *process = iouv_process(loop->base.process);
    char name[16];
    snprintf(name, sizeof(name), "weir-loop%d", loop->base.index);
    pthread_setname_np(pthread_self(), name);
    pthread_mutex_lock(&process->gate_mutex);
    while (process->gate == GATE_SHUT)
        pthread_cond_wait(&process->gate_opened, &process->gate_mutex);
    bool run = process->gate == GATE_RUN;
    pthread_mutex_unlock(&process->gate_mutex);
    void *stack = iouv_crash_stack();
    if (run)
        iouv_loop_run(loop);
    iouv_crash_stack_end(stack);
    return NULL;
}

static void open_gate(struct iouv_process *process, enum iouv_gate gate)
{
    pthread_mutex_lock(&process->gate_mutex);
    process->gate = gate;
    pthread_cond_broadcast(&process->gate_opened);
    pthread_mutex_unlock(&process->gate_mutex);
}

static void join_loops(struct iouv_process *process)
{
    for (int i = 1; i < process->base.loop_count; i++) {
        struct iouv_loop *loop = iouv_loop(process->base.loops[i]);
        if (loop && loop->started)
            pthread_join(loop->thread, NULL);
        if (loop)
            loop->started = false;
    }
}

static void run(struct process *base)
{
    struct iouv_process *process = iouv_process(base);
    ASSERT(process->gate == GATE_SHUT); /* once */
    open_gate(process, GATE_RUN);
    iouv_loop_run(iouv_loop(base->loops[0]));
    join_loops(process);
    iouv_pools_join(process);
}

static void stop(struct process *base)
{
    atomic_store_explicit(&iouv_process(base)->stopping, true, memory_order_relaxed);
    for (int i = 0; i < base->loop_count; i++)
        uv_async_send(&iouv_loop(base->loops[i])->wake);
}

static void release(struct process *base)
{
    struct iouv_process *process = iouv_process(base);
    if (process->gate == GATE_SHUT)
        open_gate(process, GATE_END);
    join_loops(process);
    iouv_pools_release(process);
    for (int i = 0; i < base->loop_count; i++) {
        if (base->loops[i]) {
            iouv_loop_release(iouv_loop(base->loops[i]));
            mem_free(base->loops[i]);
        }
    }
    iouv_signals_release(process);
    iouv_crash_stack_end(process->crash_stack);
    for (int i = 0; i < process->inherited_count; i++) {
        if (process->inherited[i].fd >= 0)
            close(process->inherited[i].fd);
    }
    pthread_cond_destroy(&process->gate_opened);
    pthread_mutex_destroy(&process->gate_mutex);
    mem_free(base->loops);
    mem_free(process);
    ares_library_cleanup();
}

struct backstop {
    io_time patience;
    int code;
};

/* Sleeps on a thread of its own, which nobody joins: the process ends with it or before. */
static void *backstop_run(void *arg)
{
    struct backstop backstop = *(struct backstop *)arg;
    mem_free(arg);
    struct timespec left = {.tv_sec = (time_t)(backstop.patience / IO_SEC),
                            .tv_nsec = (long)(backstop.patience % IO_SEC)};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
    _exit(backstop.code);
}

static void exit_after(struct process *base, io_time patience, int code)
{
    struct iouv_process *process = iouv_process(base);
    pthread_t thread;
    if (atomic_exchange_explicit(&process->exit_armed, true, memory_order_relaxed))
        return;
    struct backstop *backstop = MEM_NEW(struct backstop);
    if (!backstop)
        return;
    *backstop = (struct backstop){patience, code};
    if (iouv_thread_start(&thread, backstop_run, backstop) == 0)
        pthread_detach(thread);
    else
        mem_free(backstop);
}

static result program_folder(struct process *process, struct text *into)
{
    char path[4096];
    ssize_t len = readlink("/proc/self/exe", path, sizeof(path));
    if (len < 0)
        return fail(err_of_errno(errno));
    while (len > 0 && path[len - 1] != '/')
        len--;
    text_append(into, span_of(path, (size_t)MAX(len - 1, 0)));
    return text_result(into);
}

static const char *env(struct process *process, const char *name)
{
    return getenv(name);
}

static const struct io_ops ops = {
    .tls = &tls_openssl,
    .run = run,
    .stop = stop,
    .free = release,
    .clock = iouv_clock,
    .wall = iouv_wall,
    .thread_cpu = iouv_thread_cpu,
    .random = iouv_random,
    .usage = iouv_usage,
    .descriptors = iouv_descriptors,
    .env = env,
    .program_folder = program_folder,
    .exit_after = exit_after,
    .crash_report = iouv_crash_report,
    .signal = iouv_signal,
    .datagram = iouv_datagram,
    .wake = iouv_wake,
    .turns = iouv_turns,
    .work_submit = iouv_work_submit,
    .work_index = iouv_work_index,
    .adopt = iouv_adopt,
    .detached_close = iouv_detached_close,
    .connect = iouv_connect,
    .listen = iouv_listen,
    .listener_address = iouv_listener_address,
    .listener_pause = iouv_listener_pause,
    .listener_resume = iouv_listener_resume,
    .listener_close = iouv_listener_close,
    .lookup = iouv_lookup,
    .lookup_stop = iouv_lookup_stop,
    .file_stat = iouv_file_stat,
    .file_read = iouv_file_read,
    .file_list = iouv_file_list,
    .file_append_open = iouv_file_append_open,
    .file_standard = iouv_file_standard,
    .file_is_terminal = iouv_file_is_terminal,
    .file_append = iouv_file_append,
    .file_close = iouv_file_close,
};

/* ---- start ----------------------------------------------------------------------- */

static int bounded(int wanted, int otherwise, int max)
{
    return MAX(MIN(wanted > 0 ? wanted : otherwise, max), 1);
}

static result make_loops(struct iouv_process *process, int descriptors, struct diag *diag)
{
    struct process *base = &process->base;
    for (int i = 0; i < base->loop_count; i++) {
        struct iouv_loop *loop = MEM_NEW(struct iouv_loop);
        if (!loop)
            return diag_fail(diag, ERR_NO_MEMORY, "no memory for event loop %d", i);
        base->loops[i] = &loop->base;
        TRY(iouv_loop_init(loop, base, i, diag));
        if (descriptors > 0)
            TRY(iouv_loop_grow(loop, descriptors, diag));
    }
    for (int i = 1; i < base->loop_count; i++) {
        struct iouv_loop *loop = iouv_loop(base->loops[i]);
        int r = iouv_thread_start(&loop->thread, loop_thread, loop);
        if (r != 0)
            return diag_fail_errno(diag, r, "start the thread of event loop %d", i);
        loop->started = true;
    }
    return OK;
}

/* Its table of descriptors is all that the library grows while we use it, and it would
 * abort without a word. */
static void *library_realloc(void *ptr, size_t size)
{
    return mem_must(mem_realloc(ptr, size), size);
}

/* The library's memory comes through base's door. Its first loop makes a pipe, and it aborts
 * where there is none to be had; so that is asked for first. */
static result library_init(struct diag *diag)
{
    int ends[2];
    uv_replace_allocator(mem_alloc, library_realloc, mem_zalloc, mem_free);
    if (pipe2(ends, O_CLOEXEC) != 0)
        return diag_fail_errno(diag, errno, "make an event loop's pipe");
    close(ends[0]);
    close(ends[1]);
    return OK;
}

static result start(struct iouv_process *process, const struct io_uv_options *options,
                    struct diag *diag)
{
    struct process *base = &process->base;
    TRY(library_init(diag));
    TRY(iouv_pools_init(process, diag));
    int descriptors = 0;
    if (options->connections_max > 0) {
        uint64_t wanted = options->connections_max + DESCRIPTORS_OTHER;
        uint64_t allowed = iouv_descriptors(base, wanted);
        descriptors = (int)MIN(MIN(wanted, allowed), (uint64_t)GROW_MAX);
    }
    base->loops = mem_zalloc((size_t)base->loop_count, sizeof(*base->loops));
    if (!base->loops)
        return diag_fail(diag, ERR_NO_MEMORY, "no memory for %d event loops", base->loop_count);
    TRY(make_loops(process, descriptors, diag));
    iouv_inherit(process);
    return OK;
}

result uv_process_new(const struct io_uv_options *options, struct process **ret_process,
                      struct diag *diag)
{
    struct iouv_process *process = MEM_NEW(struct iouv_process);
    if (!process)
        return diag_fail(diag, ERR_NO_MEMORY, "no memory for the process");
    struct process *base = &process->base;
    struct limits limits = limits_read("");
    base->ops = &ops;
    base->id = (int)getpid();
    base->cores = limits.cores;
    base->memory = limits.memory;
    base->loop_count = bounded(options->loops, limits.cores, LOOPS_MAX);
    base->threads[WORK_COMPUTE] = bounded(options->compute_threads, limits.cores, WORKERS_MAX);
    base->threads[WORK_FILE] = bounded(options->file_threads, 4, WORKERS_MAX);
    base->threads[WORK_LOG] = 1;
    process->started_at = iouv_started_at();
    process_dns(base, &(struct dns_options){0});
    /* Counted, and not to be called by two threads at once: at boot. */
    ares_library_init_mem(ARES_LIB_INIT_ALL, mem_alloc, mem_free, mem_realloc);
    for (int i = 0; i < 2; i++)
        process->standard[i] = (struct iouv_file){{base}, i + 1};
    pthread_mutex_init(&process->gate_mutex, NULL);
    pthread_cond_init(&process->gate_opened, NULL);
    /* A write to a connection that is gone is an error of that write. */
    signal(SIGPIPE, SIG_IGN);
    result r = start(process, options, diag);
    if (failed(r)) {
        base->loop_count = base->loops ? base->loop_count : 0;
        release(base);
        return r;
    }
    *ret_process = base;
    return OK;
}
