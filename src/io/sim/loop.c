/* A loop is one event, its next turn: soon when there is something to do, else when its
 * next timer is due. A turn looks at timers and at what is ready, in drawn order, and not
 * always at everything. */
#include "io/sim/sim_private.h"

/* What a turn takes, so that loops that are busy at one moment do not stop time. */
#define TURN_MIN (1 * IO_US)
#define TURN_MAX (5 * IO_US)

/* Schedules the next turn, or moves it nearer. The order in which loops are asked is
 * that of their making, so what is drawn here repeats. */
static void plan(struct sim_loop *loop)
{
    struct world *world = sim_world_of(&loop->base);
    bool busy = loop_has_more(&loop->base) || !list_empty(&loop->ready);
    if (!busy && loop->base.tick_next == UINT64_MAX)
        return;
    io_time at = busy ? world->now + TURN_MAX : (io_time)(loop->base.tick_next << LOOP_TICK_SHIFT);
    io_time resumed_at = sim_process(loop->base.process)->paused_until;
    at = MAX(at, resumed_at);
    if (sim_scheduled(&loop->turn) && loop->turn.at <= at)
        return;
    sim_cancel(world, &loop->turn);
    if (busy)
        at = world->now + TURN_MIN + (io_time)sim_draw_below(world, TURN_MAX - TURN_MIN + 1);
    at = MAX(at, resumed_at);
    sim_schedule(world, &loop->turn, at);
}

void sim_loops_plan(struct world *world)
{
    struct list_node *node = list_first(&world->processes);
    for (; node; node = list_next(&world->processes, node)) {
        struct sim_process *process = CONTAINER_OF(node, struct sim_process, node);
        for (int i = 0; i < process->base.loop_count && !process->stopped; i++)
            plan(sim_loop(process->base.loops[i]));
    }
}

void sim_loop_ready(struct loop *loop, struct sim_io *io)
{
    struct sim_loop *l = sim_loop(loop);
    if (list_node_linked(&io->node))
        return;
    if (sim_draw(sim_world_of(loop)) & 1)
        list_push(&l->ready, &io->node);
    else
        list_push_front(&l->ready, &io->node);
}

static void look_at_timers(struct sim_loop *loop)
{
    io_time now = sim_world_of(&loop->base)->now;
    if (loop->base.tick_next <= (uint64_t)now >> LOOP_TICK_SHIFT)
        loop_fire_timers(&loop->base, now);
}

static void look_at_ready(struct sim_loop *loop)
{
    struct world *world = sim_world_of(&loop->base);
    size_t count = 0;
    struct list_node *node = list_first(&loop->ready);
    for (; node; node = list_next(&loop->ready, node))
        count++;
    for (size_t i = 0; i < count; i++) {
        node = list_pop(&loop->ready);
        if (!node)
            break; /* gone by what ran before */
        struct sim_io *io = CONTAINER_OF(node, struct sim_io, node);
        io->ready(io);
        if (sim_draw_below(world, 8) == 0)
            break; /* the rest is for the next turn */
    }
}

static void turn(struct sim_event *event)
{
    struct sim_loop *loop = CONTAINER_OF(event, struct sim_loop, turn);
    struct world *world = sim_world_of(&loop->base);
    const struct sim_process *process = sim_process(loop->base.process);
    if (process->stopped)
        return;
    if (process->paused_until > world->now)
        return; /* it is planned anew */
    loop_turn_begin(&loop->base);
    sim_trace(world, "turn", (uint64_t)loop->base.process->id, (uint64_t)loop->base.index);
    bool timers_first = sim_draw(world) & 1;
    if (timers_first)
        look_at_timers(loop);
    look_at_ready(loop);
    if (!timers_first)
        look_at_timers(loop);
    loop_turn_end(&loop->base);
}

uint64_t sim_turns(const struct loop *loop)
{
    const struct sim_process *process = (const struct sim_process *)loop->process;
    return atomic_load_explicit(&loop->turns, memory_order_relaxed) +
           (uint64_t)(process->world->now / IO_SEC);
}

void sim_loop_init(struct sim_loop *loop, struct process *process, int index)
{
    loop_init(&loop->base, process, index, sim_process(process)->world->now);
    loop->turn.run = turn;
    list_init(&loop->ready);
    list_init(&loop->streams);
    list_init(&loop->listeners);
}

void sim_loop_release(struct sim_loop *loop)
{
    lookups_release(&loop->base);
    sim_listeners_release(loop);
    loop_release(&loop->base);
    sim_streams_release(loop);
    sim_cancel(sim_world_of(&loop->base), &loop->turn);
}
