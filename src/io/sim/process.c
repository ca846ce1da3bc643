#include "base/alloc.h"
#include "io/sim/sim_private.h"
#include "io/tls_engine.h"

/* 2030-01-01 UTC, when a world begins. */
#define WALL_START (1893456000 * IO_SEC)
#define CORES 2
#define MEMORY ((uint64_t)4 << 30)
#define DESCRIPTORS 1024
#define DESCRIPTORS_HARD (1 << 20)
#define DESCRIPTORS_OWN 8

static io_time clock_now(struct process *process)
{
    return sim_process(process)->world->now;
}

static io_time wall(struct process *process)
{
    return WALL_START + sim_process(process)->world->now + sim_process(process)->host->wall_ahead;
}

void sim_wall_jump(struct process *process, io_time by)
{
    sim_process(process)->host->wall_ahead += by;
}

static io_time thread_cpu(struct process *process)
{
    struct world *world = sim_process(process)->world;
    world->cpu += IO_US + (io_time)sim_draw_below(world, IO_US);
    return world->cpu;
}

static void random_bytes(struct process *process, struct span_mut bytes)
{
    struct world *world = sim_process(process)->world;
    for (size_t i = 0; i < bytes.len; i += sizeof(uint64_t)) {
        uint64_t value = sim_draw(world);
        memcpy(bytes.ptr + i, &value, MIN(bytes.len - i, sizeof(value)));
    }
}

static void usage(struct process *base, struct process_usage *ret_usage)
{
    struct sim_process *process = sim_process(base);
    *ret_usage = (struct process_usage){
        .cpu_user = process->world->cpu,
        .resident_bytes = (uint64_t)64 << 20,
        .descriptors_now = process->descriptors_now,
        .descriptors_max = process->descriptors_max,
        .started_at = process->started_at,
    };
}

static uint64_t descriptors(struct process *base, uint64_t wanted)
{
    struct sim_process *process = sim_process(base);
    uint64_t max = MIN(wanted, (uint64_t)DESCRIPTORS_HARD);
    process->descriptors_max = MAX(process->descriptors_max, max);
    return process->descriptors_max;
}

/* ---- environment, signals, datagrams -------------------------------------------------- */

static struct sim_env *find_env(struct process *process, const char *name)
{
    struct list *list = &sim_process(process)->host->env;
    struct list_node *node = list_first(list);
    for (; node; node = list_next(list, node)) {
        struct sim_env *env = CONTAINER_OF(node, struct sim_env, node);
        if (strcmp(env->name, name) == 0)
            return env;
    }
    return NULL;
}

static const char *get_env(struct process *process, const char *name)
{
    struct sim_env *env = find_env(process, name);
    return env ? env->value : NULL;
}

void sim_env_put(struct process *process, const char *name, const char *value)
{
    struct sim_env *env = find_env(process, name);
    if (!env) {
        env = sim_new(sizeof(*env));
        env->name = sim_strdup(name);
        list_push(&sim_process(process)->host->env, &env->node);
    }
    mem_free(env->value);
    env->value = sim_strdup(value);
}

static void signal_came(struct io_post *post)
{
    struct sim_watch *watch = CONTAINER_OF(post, struct sim_watch, post);
    watch->pending = false;
    watch->fn(watch->arg, watch->signal_number);
}

static struct sim_watch *find_watch(struct process *process, int signal_number)
{
    struct sim_watch *watch = sim_process(process)->watches;
    while (watch && watch->signal_number != signal_number)
        watch = watch->next;
    return watch;
}

static result watch_signal(struct process *base, int signal_number,
                           void (*fn)(void *arg, int signal_number), void *arg)
{
    struct sim_process *process = sim_process(base);
    if (find_watch(base, signal_number))
        return fail(ERR_EXISTS);
    struct sim_watch *watch = MEM_NEW(struct sim_watch);
    if (!watch)
        return fail(ERR_NO_MEMORY);
    *watch = (struct sim_watch){.next = process->watches,
                                .post.run = signal_came,
                                .signal_number = signal_number,
                                .fn = fn,
                                .arg = arg};
    process->watches = watch;
    return OK;
}

void sim_signal(struct process *process, int signal_number)
{
    struct sim_watch *watch = find_watch(process, signal_number);
    if (!watch || watch->pending || sim_process(process)->stopped)
        return; /* two of a kind become one, as in a kernel */
    watch->pending = true;
    loop_post(process->loops[0], &watch->post);
}

static result datagram(struct process *process, const char *path, struct span bytes)
{
    if (!*path)
        return fail(ERR_ARGUMENT);
    if (!sim_process(process)->crashed)
        sim_datagram_record(sim_process(process)->world, path, bytes);
    return OK;
}

/* ---- life -------------------------------------------------------------------------------- */

static void run(struct process *base)
{
    struct sim_process *process = sim_process(base);
    while (!process->stopped || process->jobs > 0) {
        bool stepped = sim_step(process->world);
        ASSERT(stepped); /* else it would wait for ever */
    }
}

static void stop(struct process *base)
{
    struct sim_process *process = sim_process(base);
    sim_trace(process->world, "stop", (uint64_t)base->id, 0);
    process->stopped = true;
}

void sim_pause(struct process *process, io_time until)
{
    ASSERT(until != TIME_NEVER);
    sim_process(process)->paused_until = until;
}

void sim_crash(struct process *process, enum sim_crash how)
{
    struct sim_process *p = sim_process(process);
    if (p->crashed)
        return;
    sim_trace(p->world, "crash", (uint64_t)process->id, (uint64_t)how);
    p->stopped = p->crashed = true;
    for (int i = 0; i < process->loop_count; i++) {
        sim_listeners_lose(sim_loop(process->loops[i]));
        sim_streams_lose(sim_loop(process->loops[i]));
    }
    struct list_node *node;
    while ((node = list_first(&p->ends))) {
        struct sim_end *end = CONTAINER_OF(node, struct sim_end, node);
        if (end->stream)
            sim_stream_lose(end->stream);
        if (how == SIM_POWER_LOST)
            sim_end_vanish(end);
        sim_end_close(end, false);
    }
    if (how == SIM_POWER_LOST)
        sim_files_power_loss(p->world, p->host->root);
    sim_pools_finish(p);
}

static void wake(struct loop *loop)
{
    /* Every loop is looked at before the next event. */
}

static void release(struct process *base)
{
    struct sim_process *process = sim_process(base);
    process->stopped = true;
    sim_pools_release(process);
    for (int i = 0; i < base->loop_count; i++)
        sim_loop_release(sim_loop(base->loops[i]));
    struct list_node *node;
    while ((node = list_first(&process->ends))) /* detached, and adopted by nobody */
        sim_end_close(CONTAINER_OF(node, struct sim_end, node), false);
    while (process->watches) {
        struct sim_watch *watch = process->watches;
        process->watches = watch->next;
        mem_free(watch);
    }
    for (int i = 0; i < base->loop_count; i++)
        mem_free(base->loops[i]);
    for (int i = 0; i < 2; i++)
        sim_node_unref(process->standard[i].file);
    list_remove(&process->node);
    mem_free(base->loops);
    mem_free(process);
}

static const struct io_ops ops = {
    .tls = &tls_toy,
    .run = run,
    .stop = stop,
    .free = release,
    .clock = clock_now,
    .wall = wall,
    .thread_cpu = thread_cpu,
    .random = random_bytes,
    .usage = usage,
    .descriptors = descriptors,
    .env = get_env,
    .signal = watch_signal,
    .datagram = datagram,
    .wake = wake,
    .turns = sim_turns,
    .work_submit = sim_work_submit,
    .work_index = sim_work_index,
    .adopt = sim_adopt,
    .detached_close = sim_detached_close,
    .connect = sim_connect,
    .listen = sim_listen,
    .listener_address = sim_listener_address,
    .listener_pause = sim_listener_pause,
    .listener_resume = sim_listener_resume,
    .listener_close = sim_listener_close,
    .lookup = sim_lookup,
    .lookup_stop = sim_lookup_stop,
    .file_stat = sim_file_stat,
    .file_read = sim_file_read,
    .file_list = sim_file_list,
    .file_append_open = sim_file_append_open,
    .file_standard = sim_file_standard,
    .file_is_terminal = sim_file_is_terminal,
    .file_append = sim_file_append,
    .file_close = sim_file_close,
};

struct process *sim_process_new(struct world *world, const char *name, int loops)
{
    static const char *const standard[] = {"/dev/stdout", "/dev/stderr"};
    struct sim_process *process = sim_new(sizeof(*process));
    struct process *base = &process->base;
    ASSERT(loops > 0);
    process->world = world;
    process->host = sim_host(world, name);
    process->descriptors_now = DESCRIPTORS_OWN;
    process->descriptors_max = DESCRIPTORS;
    process->started_at = WALL_START + world->now;
    *base = (struct process){
        .ops = &ops,
        .loop_count = loops,
        .id = ++world->processes_made,
        .cores = CORES,
        .memory = MEMORY,
        .threads = {[WORK_COMPUTE] = CORES, [WORK_FILE] = 4, [WORK_LOG] = 1},
        .simulated = true,
    };
    process_dns(base, &(struct dns_options){0});
    list_init(&process->ends);
    list_push(&world->processes, &process->node);
    sim_pools_init(process);
    base->loops = sim_new((size_t)loops * sizeof(*base->loops));
    for (int i = 0; i < loops; i++) {
        struct sim_loop *loop = sim_new(sizeof(*loop));
        sim_loop_init(loop, base, i);
        base->loops[i] = &loop->base;
    }
    for (int i = 0; i < 2; i++)
        sim_file_open_standard(process, &process->standard[i], standard[i]);
    return base;
}
