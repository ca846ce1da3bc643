/* Listeners, and the sockets they accept from: every process of a world sees the same
 * addresses. */
#include "base/alloc.h"
#include "io/sim/sim_private.h"

#define BACKLOG 4096
#define ACCEPTS_A_TURN 64

/* What is bound. One that was inherited stays when its listener goes. */
struct sim_socket {
    struct list_node world_node;
    struct sim_host *host;
    char *name; /* inherited under it, or NULL */
    struct io_address address;
    struct list queue; /* of ends that were not accepted yet */
    int queued, backlog;
    bool shard;
    struct sim_listener *listener; /* NULL: none */
};

struct sim_listener {
    struct listener base;
    struct sim_io io;
    struct list_node loop_node;
    struct sim_socket *socket; /* NULL: its process has crashed */
    struct io_address address;
    bool paused, closed, looking;
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
    struct list_node *node = list_first(&world->sockets);
    for (; node; node = list_next(&world->sockets, node)) {
        struct sim_socket *s = CONTAINER_OF(node, struct sim_socket, world_node);
        if ((reaches(&s->address, address) || reaches(address, &s->address)) &&
            !(shard && s->shard))
            return true;
    }
    return false;
}

static bool accepts(const struct sim_listener *l)
{
    return !l->closed && !l->paused && l->socket && l->socket->queued > 0;
}

static void watch(struct sim_listener *l)
{
    if (l && accepts(l))
        sim_loop_ready(l->base.loop, &l->io);
}

static void accept_one(struct sim_listener *l)
{
    struct sim_process *process = sim_process(l->base.loop->process);
    struct sim_end *end = CONTAINER_OF(list_pop(&l->socket->queue), struct sim_end, queue);
    l->socket->queued--;
    sim_end_hold(end, process);
    if (sim_chance(process->world, process->world->faults.accept_permille, 1000) ||
        !sim_end_count(end)) {
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
    for (int i = 0; i < ACCEPTS_A_TURN && accepts(l); i++)
        accept_one(l);
    l->looking = false;
    if (l->closed)
        mem_free(l);
    else
        watch(l);
}

enum sim_knock sim_knock(struct world *world, struct sim_host *host,
                         const struct io_address *address, struct sim_conn **ret_conn)
{
    struct sim_socket *found = NULL;
    uint64_t candidates = 0;
    struct list_node *node = list_first(&world->sockets);
    for (; node; node = list_next(&world->sockets, node)) {
        struct sim_socket *s = CONTAINER_OF(node, struct sim_socket, world_node);
        /* One of several shards: each with the same chance. */
        if (reaches(&s->address, address) && sim_draw_below(world, ++candidates) == 0)
            found = s;
    }
    if (!found)
        return address->family == IO_UNIX ? KNOCK_NOT_FOUND : KNOCK_REFUSED;
    if (sim_chance(world, world->faults.refuse_permille, 1000))
        return KNOCK_REFUSED;
    if (found->queued >= found->backlog || sim_is_cut(world, host, found->host) ||
        sim_is_cut(world, found->host, host))
        return KNOCK_FULL;
    struct sim_conn *conn = sim_conn_new(world, address->family == IO_UNIX);
    struct sim_end *end = &conn->ends[1];
    end->peer = (struct io_address){.family = address->family};
    if (address->family != IO_UNIX) {
        memcpy(end->peer.ip, address->ip, sizeof(end->peer.ip));
        end->peer.port = new_port(world);
    }
    sim_end_open(end, found->host);
    list_push(&found->queue, &end->queue);
    found->queued++;
    watch(found->listener);
    *ret_conn = conn;
    return KNOCK_TAKEN;
}

/* ---- sockets --------------------------------------------------------------------------- */

static struct sim_socket *socket_new(struct world *world, struct sim_host *host,
                                     const struct io_address *address, int backlog)
{
    struct sim_socket *s = sim_new(sizeof(*s));
    s->host = host;
    s->address = *address;
    s->backlog = backlog > 0 ? backlog : BACKLOG;
    list_init(&s->queue);
    list_push(&world->sockets, &s->world_node);
    return s;
}

static void socket_free(struct sim_socket *s)
{
    struct list_node *node;
    while ((node = list_pop(&s->queue)))
        sim_end_close(CONTAINER_OF(node, struct sim_end, queue), true);
    list_remove(&s->world_node);
    mem_free(s->name);
    mem_free(s);
}

/* The listener lets go of it; callers wait in one that was inherited. */
static void socket_leave(struct sim_listener *l)
{
    struct sim_socket *s = steal(&l->socket);
    if (!s)
        return;
    s->listener = NULL;
    if (!s->name)
        socket_free(s);
}

void sim_inherit(struct process *process, const char *name, const struct io_address *address)
{
    struct sim_process *p = sim_process(process);
    struct sim_socket *s = socket_new(p->world, p->host, address, 0);
    s->name = sim_strdup(name);
}

/* The one that the machine holds by that name; one that has a listener is taken. */
static struct sim_socket *inherited(struct sim_process *process, const char *name)
{
    struct list_node *node = list_first(&process->world->sockets);
    for (; node && name; node = list_next(&process->world->sockets, node)) {
        struct sim_socket *s = CONTAINER_OF(node, struct sim_socket, world_node);
        if (s->host == process->host && s->name && !s->listener && strcmp(s->name, name) == 0)
            return s;
    }
    return NULL;
}

void sim_sockets_release(struct world *world)
{
    struct list_node *node;
    while ((node = list_first(&world->sockets)))
        socket_free(CONTAINER_OF(node, struct sim_socket, world_node));
}

/* ---- listeners -------------------------------------------------------------------------- */

static result bind_new(struct sim_process *process, const struct io_address *address,
                       const struct listen_options *options, struct sim_socket **ret_socket,
                       struct diag *diag)
{
    struct world *world = process->world;
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
    *ret_socket = socket_new(world, process->host, &at, options->backlog);
    (*ret_socket)->shard = options->shard;
    return OK;
}

result sim_listen(struct loop *loop, const struct io_address *address,
                  const struct listen_options *options, listener_fn fn, void *arg,
                  struct listener **ret_listener, struct diag *diag)
{
    struct sim_process *process = sim_process(loop->process);
    struct sim_listener *l = MEM_NEW(struct sim_listener);
    if (!l)
        return diag_fail(diag, ERR_NO_MEMORY, "no memory for a listener");
    struct sim_socket *socket = inherited(process, options->name);
    result r = socket ? OK : bind_new(process, address, options, &socket, diag);
    if (failed(r)) {
        mem_free(l);
        return r;
    }
    l->base = (struct listener){.loop = loop, .fn = fn, .arg = arg};
    l->io.ready = look;
    l->socket = socket;
    l->address = socket->address;
    socket->listener = l;
    list_push(&sim_loop(loop)->listeners, &l->loop_node);
    watch(l);
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
    socket_leave(l);
    l->closed = true;
    list_remove(&l->io.node);
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

void sim_listeners_lose(struct sim_loop *loop)
{
    struct list_node *node = list_first(&loop->listeners);
    for (; node; node = list_next(&loop->listeners, node))
        socket_leave(CONTAINER_OF(node, struct sim_listener, loop_node));
}
