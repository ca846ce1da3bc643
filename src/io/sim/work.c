/* Jobs: each takes a drawn time on one of its kind's workers and runs at some point of it,
 * so that what it saw may be old when its end is told. */
#include "base/alloc.h"
#include "io/sim/sim_private.h"

static void begin(struct sim_worker *worker, struct io_work *work)
{
    struct world *world = worker->process->world;
    const struct sim_faults *f = &world->faults;
    io_time spread = MAX(f->job_max - f->job_min, (io_time)0);
    bool computes = worker->pool == &worker->process->pools[WORK_COMPUTE];
    if (!computes && sim_chance(world, f->slow_permille, 1000))
        spread = f->slow_max;
    worker->job = work;
    sim_schedule(world, &worker->event,
                 world->now + f->job_min + (io_time)sim_draw_below(world, (uint64_t)spread + 1));
}

static struct io_work *take(struct sim_pool *pool)
{
    struct io_work *work = pool->first;
    if (work) {
        pool->first = work->next;
        if (!pool->first)
            pool->last = NULL;
    }
    return work;
}

/* True when all of the job is over. */
static bool run_on(struct sim_worker *worker, struct io_work *work)
{
    struct sim_process *process = worker->process;
    struct world *world = process->world;
    const struct sim_faults *f = &world->faults;
    bool ends = work->done != NULL; /* else it may be freed by its own `run` */
    if (!worker->ran) {
        sim_trace(world, "job", (uint64_t)process->base.id, (uint64_t)worker->index);
        world->worker_of = &process->base;
        world->worker = worker->index;
        work->run(work);
        world->worker_of = NULL;
        worker->ran = ends && sim_draw(world) & 1;
        if (worker->ran) {
            sim_schedule(world, &worker->event,
                         world->now + (io_time)sim_draw_below(world, (uint64_t)f->job_max));
            return false;
        }
    }
    worker->ran = false;
    if (ends)
        work_end(work);
    process->jobs--;
    return true;
}

static void finish(struct sim_event *event)
{
    struct sim_worker *worker = CONTAINER_OF(event, struct sim_worker, event);
    struct world *world = worker->process->world;
    io_time held_until = MAX(worker->process->paused_until, worker->pool->stalled_until);
    if (held_until > world->now) {
        sim_schedule(world, event, held_until + (io_time)sim_draw_below(world, IO_MS));
        return;
    }
    if (!run_on(worker, worker->job))
        return;
    worker->job = NULL; /* busy until here, also for what the job submits */
    struct io_work *next = take(worker->pool);
    if (next)
        begin(worker, next);
}

void sim_work_submit(struct process *base, enum io_work_kind kind, struct io_work *work)
{
    struct sim_process *process = sim_process(base);
    struct sim_pool *pool = &process->pools[kind];
    int count = base->threads[kind];
    process->jobs++;
    /* Any of the idle ones. */
    int first = (int)sim_draw_below(process->world, (uint64_t)count);
    for (int i = 0; i < count; i++) {
        struct sim_worker *worker = &pool->workers[(first + i) % count];
        if (!worker->job) {
            begin(worker, work);
            return;
        }
    }
    work->next = NULL;
    if (pool->last)
        pool->last->next = work;
    else
        pool->first = work;
    pool->last = work;
}

int sim_work_index(struct process *process)
{
    struct world *world = sim_process(process)->world;
    return world->worker_of == process ? world->worker : -1;
}

void sim_pools_init(struct sim_process *process)
{
    for (int kind = 0; kind < WORK_KINDS; kind++) {
        int count = process->base.threads[kind];
        struct sim_worker *workers = sim_new((size_t)count * sizeof(*workers));
        for (int i = 0; i < count; i++) {
            workers[i].event.run = finish;
            workers[i].process = process;
            workers[i].pool = &process->pools[kind];
            workers[i].index = i;
        }
        process->pools[kind].workers = workers;
    }
}

void sim_stall(struct process *process, enum io_work_kind kind, io_time until)
{
    sim_process(process)->pools[kind].stalled_until = until;
}

void sim_pools_finish(struct sim_process *process)
{
    process->paused_until = 0;
    for (int kind = 0; kind < WORK_KINDS; kind++)
        process->pools[kind].stalled_until = 0;
    while (process->jobs > 0) {
        for (int kind = 0; kind < WORK_KINDS; kind++) {
            for (int i = 0; i < process->base.threads[kind]; i++) {
                struct sim_worker *worker = &process->pools[kind].workers[i];
                if (!sim_scheduled(&worker->event))
                    continue;
                sim_cancel(process->world, &worker->event);
                finish(&worker->event);
            }
        }
    }
}

void sim_pools_release(struct sim_process *process)
{
    sim_pools_finish(process);
    for (int kind = 0; kind < WORK_KINDS; kind++)
        mem_free(process->pools[kind].workers);
}
