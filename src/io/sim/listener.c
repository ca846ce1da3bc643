/* Listeners: every process of a world sees the same addresses. */
#include "base/alloc.h"
#include "io/sim/sim_private.h"

#define BACKLOG 4096
#define ACCEPTS_A_TURN 64

struct sim_listener {
    struct listener base;
    struct sim_io io;
    struct list_node world_node, loop_node;
    struct io_address address;
    struct list queue; /* of ends that were not accepted yet */
    int queued, backlog;
    bool shard, paused, closed, looking;
};

static struct sim_listener *sim_listener(struct listener *listener)
{
    return (struct sim_listener *)listener;
}

static bool is_any(const struct io_address *address)
{
    static const uint8_t any[16];
    return address->family != IO_UNIX && memcmp(address->ip, any, sizeof(any)) == 0;
}

/* Whether a caller at `b` reaches a listener at `a`: [::] is any IPv4 address too. */
static bool reaches(const struct io_address *a, const struct io_address *b)
{
    if (a->family == IO_UNIX || b->family == IO_UNIX)
        return a->family == b->family && strcmp(a->path, b->path) == 0;
    if (a->port != b->port)
        return false;
    if (is_any(a))
        return a->family == IO_INET6 || a->family == b->family;
    return a->family == b->family && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

static uint16_t new_port(struct world *world)
{
    world->port_last = world->port_last == UINT16_MAX ? 40000 : (uint16_t)(world->port_last + 1);
    return world->port_last;
}

static bool in_use(struct world *world, const struct io_address *address, bool shard)
{
    struct list_node *node = list_first(&world->listeners);
    for (; node; node = list_next(&world->listeners, node)) {
        struct sim_listener *l = CONTAINER_OF(node, struct sim_listener, world_node);
        if ((reaches(&l->address, address) || reaches(address, &l->address)) &&
            !(shard && l->shard))
            return true;
    }
    return false;
}

static void watch(struct sim_listener *l)
{
    if (!l->paused && l->queued > 0)
        sim_loop_ready(l->base.loop, &l->io);
}

static void accept_one(struct sim_listener *l)
{
    struct sim_process *process = sim_process(l->base.loop->process);
    struct sim_end *end = CONTAINER_OF(list_pop(&l->queue), struct sim_end, queue);
    l->queued--;
    if (!sim_end_count(end)) {
        l->base.dropped++;
        sim_end_close(end, false);
        return;
    }
    sim_trace(process->world, "accept", (uint64_t)process->base.id, 0);
    l->base.fn(l->base.arg, &l->base, (struct io_detached){(int64_t)(intptr_t)end});
}

static void look(struct sim_io *io)
{
    struct sim_listener *l = CONTAINER_OF(io, struct sim_listener, io);
    l->looking = true;
    for (int i = 0; i < ACCEPTS_A_TURN && !l->closed && !l->paused && l->queued > 0; i++)
        accept_one(l);
    l->looking = false;
    if (l->closed)
        mem_free(l);
    else
        watch(l);
}

enum sim_knock sim_knock(struct world *world, const struct io_address *address,
                         struct sim_conn **ret_conn)
{
    struct sim_listener *found = NULL;
    uint64_t candidates = 0;
    struct list_node *node = list_first(&world->listeners);
    for (; node; node = list_next(&world->listeners, node)) {
        struct sim_listener *l = CONTAINER_OF(node, struct sim_listener, world_node);
        /* One of several shards: each with the same chance. */
        if (reaches(&l->address, address) && sim_draw_below(world, ++candidates) == 0)
            found = l;
    }
    if (!found)
        return address->family == IO_UNIX ? KNOCK_NOT_FOUND : KNOCK_REFUSED;
    if (sim_draw_below(world, 1000) < world->faults.refuse_permille)
        return KNOCK_REFUSED;
    if (found->queued >= found->backlog)
        return KNOCK_FULL;
    struct sim_conn *conn = sim_conn_new(world, address->family == IO_UNIX);
    struct sim_end *end = &conn->ends[1];
    end->peer = (struct io_address){.family = address->family};
    if (address->family != IO_UNIX) {
        memcpy(end->peer.ip, address->ip, sizeof(end->peer.ip));
        end->peer.port = new_port(world);
    }
    sim_end_hold(end, sim_process(found->base.loop->process));
    list_push(&found->queue, &end->queue);
    found->queued++;
    watch(found);
    *ret_conn = conn;
    return KNOCK_TAKEN;
}

result sim_listen(struct loop *loop, const struct io_address *address,
                  const struct listen_options *options, listener_fn fn, void *arg,
                  struct listener **ret_listener, struct diag *diag)
{
    struct world *world = sim_world_of(loop);
    struct io_address at = *address;
    while (at.family != IO_UNIX && address->port == 0) {
        at.port = new_port(world);
        if (!in_use(world, &at, false))
            break;
    }
    if (in_use(world, &at, options->shard)) {
        char name[160];
        io_address_format(&at, name, sizeof(name));
        return diag_fail(diag, ERR_ADDRESS_IN_USE, "cannot listen on %s: the address is in use",
                         name);
    }
    struct sim_listener *l = MEM_NEW(struct sim_listener);
    if (!l)
        return diag_fail(diag, ERR_NO_MEMORY, "no memory for a listener");
    l->base = (struct listener){.loop = loop, .fn = fn, .arg = arg};
    l->io.ready = look;
    l->address = at;
    l->backlog = options->backlog > 0 ? options->backlog : BACKLOG;
    l->shard = options->shard;
    list_init(&l->queue);
    list_push(&world->listeners, &l->world_node);
    list_push(&sim_loop(loop)->listeners, &l->loop_node);
    *ret_listener = &l->base;
    return OK;
}

void sim_listener_address(struct listener *listener, struct io_address *ret_address)
{
    *ret_address = sim_listener(listener)->address;
}

void sim_listener_pause(struct listener *listener)
{
    struct sim_listener *l = sim_listener(listener);
    l->paused = true;
    list_remove(&l->io.node);
}

void sim_listener_resume(struct listener *listener)
{
    struct sim_listener *l = sim_listener(listener);
    l->paused = false;
    watch(l);
}

void sim_listener_close(struct listener *listener)
{
    struct sim_listener *l = sim_listener(listener);
    struct list_node *node;
    while ((node = list_pop(&l->queue)))
        sim_end_close(CONTAINER_OF(node, struct sim_end, queue), true);
    l->queued = 0;
    l->closed = true;
    list_remove(&l->io.node);
    list_remove(&l->world_node);
    list_remove(&l->loop_node);
    if (!l->looking)
        mem_free(l);
}

void sim_listeners_release(struct sim_loop *loop)
{
    struct list_node *node;
    while ((node = list_first(&loop->listeners)))
        sim_listener_close(&CONTAINER_OF(node, struct sim_listener, loop_node)->base);
}
