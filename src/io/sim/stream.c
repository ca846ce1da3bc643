/* A stream is its loop's view of one end of a connection. */
#include "base/alloc.h"
#include "io/sim/sim_private.h"

/* How often, and how long apart, a caller asks again at a full backlog. */
#define KNOCKS_MAX 6
#define KNOCK_AGAIN IO_SEC

struct sim_stream {
    struct stream base;
    struct sim_io io;
    struct list_node node; /* in the loop's list */
    struct sim_end *end;   /* NULL: not connected */
    struct sim_event connect;
    struct io_address to;
    bool counted; /* as a descriptor, while it has no end */
    int knocks;
};

static const struct stream_ops sim_stream_ops;
static void sim_write(struct stream *stream);

static struct sim_stream *sim_stream(struct stream *stream)
{
    return (struct sim_stream *)stream;
}

static bool wants_turn(const struct sim_stream *s)
{
    if (!s->end || s->base.closing || s->base.connecting)
        return false;
    return (stream_wants(&s->base) && !s->base.read_ended && sim_end_readable(s->end)) ||
           (s->base.write_armed && !s->base.write_done && sim_end_writable(s->end));
}

void sim_stream_changed(struct stream *stream)
{
    struct sim_stream *s = sim_stream(stream);
    if (wants_turn(s))
        sim_loop_ready(stream->loop, &s->io);
}

static void look_to_read(struct sim_stream *s)
{
    struct span_mut into = s->base.read_into;
    if (into.len == 0)
        into = (struct span_mut){sim_loop(s->base.loop)->scratch, SIM_SCRATCH};
    into.len = MIN(into.len, stream_room(&s->base));
    if (into.len == 0)
        return; /* I7: it is looked at again in the next turn */
    size_t len = sim_end_read(s->end, into);
    sim_trace(sim_world_of(s->base.loop), "read", len, 0);
    if (len > 0)
        stream_read_deliver(&s->base, span_of(into.ptr, len));
    else
        stream_read_end(&s->base, (enum err)s->end->error);
}

static void look(struct sim_io *io)
{
    struct sim_stream *s = CONTAINER_OF(io, struct sim_stream, io);
    if (s->base.closing) {
        if (!s->base.gone)
            stream_gone(&s->base);
        return;
    }
    if (s->base.write_armed && !s->base.write_done && sim_end_writable(s->end))
        sim_write(&s->base);
    if (stream_wants(&s->base) && !s->base.read_ended && sim_end_readable(s->end))
        look_to_read(s);
    if (!s->base.closing)
        sim_stream_changed(&s->base);
}

static struct sim_stream *new_stream(struct loop *loop, struct sim_end *end)
{
    struct sim_stream *s = MEM_NEW(struct sim_stream);
    if (!s)
        return NULL;
    s->base.loop = loop;
    s->base.ops = &sim_stream_ops;
    s->io.ready = look;
    s->end = end;
    if (end)
        end->stream = &s->base;
    list_push(&sim_loop(loop)->streams, &s->node);
    return s;
}

result sim_adopt(struct loop *loop, struct io_detached detached, struct stream **ret_stream)
{
    struct sim_end *end = (struct sim_end *)(intptr_t)detached.handle;
    ASSERT(end->process && !end->stream);
    struct sim_stream *s = new_stream(loop, end);
    if (!s)
        return fail(ERR_NO_MEMORY);
    *ret_stream = &s->base;
    return OK;
}

void sim_detached_close(struct process *process, struct io_detached detached)
{
    if (sim_process(process)->crashed)
        return; /* it was the crash that closed it */
    sim_end_close((struct sim_end *)(intptr_t)detached.handle, false);
}

static result sim_detach(struct stream *stream, struct io_detached *ret_detached)
{
    struct sim_stream *s = sim_stream(stream);
    if (!s->end)
        return fail(ERR_PRECONDITION);
    ret_detached->handle = (int64_t)(intptr_t)s->end;
    s->end->stream = NULL;
    s->end = NULL;
    return OK;
}

/* ---- connect ------------------------------------------------------------------------- */

static void answered(struct sim_event *event)
{
    struct sim_stream *s = CONTAINER_OF(event, struct sim_stream, connect);
    stream_connect_done(&s->base, ERR_NONE);
}

/* The stream's descriptor is its end's from here on. */
static bool steal_count(struct sim_stream *s)
{
    bool counted = s->counted;
    s->counted = false;
    return counted;
}

static void knock(struct sim_event *event)
{
    struct sim_stream *s = CONTAINER_OF(event, struct sim_stream, connect);
    struct world *world = sim_world_of(s->base.loop);
    struct sim_conn *conn;
    enum sim_knock answer =
        sim_knock(world, sim_process(s->base.loop->process)->host, &s->to, &conn);
    sim_trace(world, "connect", (uint64_t)answer, 0);
    switch (answer) {
    case KNOCK_TAKEN:
        s->end = &conn->ends[0];
        s->end->stream = &s->base;
        s->end->peer = s->to;
        sim_end_open(s->end, sim_process(s->base.loop->process)->host);
        sim_end_hold(s->end, sim_process(s->base.loop->process));
        s->end->counted = steal_count(s);
        s->connect.run = answered;
        sim_schedule(world, &s->connect, world->now + sim_draw_delay(world));
        break;
    case KNOCK_REFUSED:
        stream_connect_done(&s->base, ERR_REFUSED);
        break;
    case KNOCK_NOT_FOUND:
        stream_connect_done(&s->base, ERR_NOT_FOUND);
        break;
    case KNOCK_FULL:
        if (s->to.family == IO_UNIX)
            stream_connect_done(&s->base, ERR_UNAVAILABLE);
        else if (++s->knocks == KNOCKS_MAX)
            stream_connect_done(&s->base, ERR_DEADLINE);
        else
            sim_schedule(world, &s->connect, world->now + KNOCK_AGAIN);
        break;
    }
}

result sim_connect(struct loop *loop, const struct io_address *address, struct stream **ret_stream)
{
    struct sim_process *process = sim_process(loop->process);
    if (process->descriptors_now >= process->descriptors_max)
        return fail(ERR_NO_DESCRIPTORS);
    struct sim_stream *s = new_stream(loop, NULL);
    if (!s)
        return fail(ERR_NO_MEMORY);
    s->to = *address;
    s->counted = true;
    process->descriptors_now++;
    s->connect.run = knock;
    sim_schedule(process->world, &s->connect, process->world->now + sim_draw_delay(process->world));
    *ret_stream = &s->base;
    return OK;
}

/* ---- reading and writing ----------------------------------------------------------------- */

static void sim_read(struct stream *stream)
{
    if (!sim_stream(stream)->end)
        stream_read_refused(stream, ERR_IO); /* a connection that was never made */
    else
        sim_stream_changed(stream);
}

static size_t sim_try_write(struct stream *stream, const struct span *parts, int count)
{
    struct sim_stream *s = sim_stream(stream);
    return s->end ? sim_end_write(s->end, parts, count) : 0;
}

static void sim_write(struct stream *stream)
{
    struct sim_stream *s = sim_stream(stream);
    if (!s->end || s->end->error || s->end->conn->pipes[s->end->side].fin) {
        stream_write_done(stream, ERR_CLOSED);
        return;
    }
    size_t n =
        sim_end_write(s->end, &stream->parts[stream->part], stream->part_count - stream->part);
    if (stream_advance(stream, n))
        stream_write_done(stream, ERR_NONE);
    else
        sim_stream_changed(stream);
}

static void sim_shutdown(struct stream *stream)
{
    struct sim_stream *s = sim_stream(stream);
    if (s->end)
        sim_end_shutdown(s->end);
}

static void sim_peer(struct stream *stream, struct io_address *ret_address)
{
    struct sim_stream *s = sim_stream(stream);
    *ret_address = s->end ? s->end->peer : s->to;
}

/* ---- end ------------------------------------------------------------------------------------ */

static void let_go(struct sim_stream *s, bool reset)
{
    sim_cancel(sim_world_of(s->base.loop), &s->connect);
    sim_process(s->base.loop->process)->descriptors_now -= steal_count(s);
    if (s->end)
        sim_end_close(s->end, reset);
    s->end = NULL;
}

static void sim_close(struct stream *stream, enum stream_close_how how)
{
    struct sim_stream *s = sim_stream(stream);
    let_go(s, how == STREAM_RESET);
    sim_loop_ready(stream->loop, &s->io);
}

static void sim_stream_free(struct stream *stream)
{
    struct sim_stream *s = sim_stream(stream);
    list_remove(&s->io.node);
    list_remove(&s->node);
    mem_free(s);
}

static const struct stream_ops sim_stream_ops = {
    .read = sim_read,
    .try_write = sim_try_write,
    .write = sim_write,
    .shutdown = sim_shutdown,
    .close = sim_close,
    .detach = sim_detach,
    .peer = sim_peer,
    .free = sim_stream_free,
};

void sim_streams_release(struct sim_loop *loop)
{
    struct list_node *node;
    while ((node = list_first(&loop->streams))) {
        struct sim_stream *s = CONTAINER_OF(node, struct sim_stream, node);
        let_go(s, false);
        sim_stream_free(&s->base);
    }
}

void sim_stream_lose(struct stream *stream)
{
    sim_stream(stream)->end = NULL;
}

void sim_streams_lose(struct sim_loop *loop)
{
    struct list_node *node = list_first(&loop->streams);
    for (; node; node = list_next(&loop->streams, node))
        sim_cancel(sim_world_of(&loop->base),
                   &CONTAINER_OF(node, struct sim_stream, node)->connect);
}
