/* Connections: two ends, and between them two buffers through which bytes take their
 * time. An end that is closed sends FIN, or RST when bytes were left unread in it, or
 * when bytes come later; like a kernel. */
#include "base/alloc.h"
#include "io/sim/sim_private.h"

enum arrival_kind { ARRIVE_BYTES, ARRIVE_FIN, ARRIVE_RESET, ARRIVE_ROOM };

/* Something on its way from one end to the other. */
struct arrival {
    struct sim_event event;
    struct sim_conn *conn;
    enum arrival_kind kind;
    int from; /* side */
    size_t len;
};

static void unref(struct sim_conn *conn)
{
    if (--conn->refs > 0)
        return;
    mem_free(conn->pipes[0].ring);
    mem_free(conn->pipes[1].ring);
    mem_free(conn);
}

static void changed(struct sim_end *end)
{
    if (end->stream)
        sim_stream_changed(end->stream);
}

static void empty(struct sim_pipe *pipe)
{
    pipe->len = pipe->visible = 0;
}

static void send(struct sim_conn *conn, int from, enum arrival_kind kind, size_t len);

/* The end's connection is over. Bytes that had come but were not read may or may not be
 * lost by it, as among kernels. */
static void reset_end(struct sim_end *end)
{
    struct sim_conn *conn = end->conn;
    struct sim_pipe *in = &conn->pipes[!end->side];
    if (!end->process || end->reset)
        return;
    end->reset = true;
    in->len = in->visible;
    if (sim_draw(conn->world) & 1)
        empty(in);
    empty(&conn->pipes[end->side]);
    changed(end);
}

static void arrive(struct sim_event *event)
{
    struct arrival *a = CONTAINER_OF(event, struct arrival, event);
    struct sim_conn *conn = a->conn;
    struct sim_pipe *pipe = &conn->pipes[a->from];
    struct sim_end *to = &conn->ends[!a->from];
    sim_trace(conn->world, "arrive", (uint64_t)a->kind, a->len);
    switch (a->kind) {
    case ARRIVE_BYTES:
        if (!to->process) {
            empty(pipe);
            send(conn, to->side, ARRIVE_RESET, 0);
        } else if (!to->reset) {
            pipe->visible = MIN(pipe->visible + a->len, pipe->len);
        }
        break;
    case ARRIVE_FIN:
        pipe->fin_arrived = true;
        break;
    case ARRIVE_RESET:
        reset_end(to);
        break;
    case ARRIVE_ROOM:
        break;
    }
    if (to->process)
        changed(to);
    mem_free(a);
    unref(conn);
}

static void send(struct sim_conn *conn, int from, enum arrival_kind kind, size_t len)
{
    struct arrival *a = sim_new(sizeof(*a));
    struct sim_pipe *pipe = &conn->pipes[from];
    *a =
        (struct arrival){.event.run = arrive, .conn = conn, .kind = kind, .from = from, .len = len};
    conn->refs++;
    io_time at = conn->world->now + sim_draw_delay(conn->world);
    if (kind != ARRIVE_ROOM) {
        /* One behind the other: two of one moment could change places. */
        at = MAX(at, pipe->arrival_last + 1);
        pipe->arrival_last = at;
    }
    sim_schedule(conn->world, &a->event, at);
}

/* ---- ends ------------------------------------------------------------------------------ */

struct sim_conn *sim_conn_new(struct world *world, bool is_unix)
{
    struct sim_conn *conn = sim_new(sizeof(*conn));
    conn->world = world;
    conn->is_unix = is_unix;
    for (int side = 0; side < 2; side++) {
        size_t cap = world->faults.buffer_bytes;
        conn->ends[side].conn = conn;
        conn->ends[side].side = side;
        conn->pipes[side] = (struct sim_pipe){.ring = sim_new(cap), .cap = cap};
    }
    return conn;
}

void sim_end_hold(struct sim_end *end, struct sim_process *process)
{
    ASSERT(!end->process);
    end->process = process;
    list_push(&process->ends, &end->node);
    end->conn->refs++;
}

bool sim_end_count(struct sim_end *end)
{
    if (end->process->descriptors_now >= end->process->descriptors_max)
        return false;
    end->process->descriptors_now++;
    end->counted = true;
    return true;
}

void sim_end_shutdown(struct sim_end *end)
{
    struct sim_pipe *out = &end->conn->pipes[end->side];
    if (out->fin || end->reset)
        return;
    out->fin = true;
    send(end->conn, end->side, ARRIVE_FIN, 0);
}

void sim_end_close(struct sim_end *end, bool reset)
{
    struct sim_conn *conn = end->conn;
    struct sim_pipe *in = &conn->pipes[!end->side];
    ASSERT(end->process);
    if (!end->reset) {
        if ((reset && !conn->is_unix) || in->visible > 0)
            send(conn, end->side, ARRIVE_RESET, 0);
        else
            sim_end_shutdown(end);
    }
    empty(in);
    list_remove(&end->node);
    end->process->descriptors_now -= end->counted;
    end->process = NULL;
    end->stream = NULL;
    unref(conn);
}

static bool at_eof(const struct sim_end *end)
{
    const struct sim_pipe *in = &end->conn->pipes[!end->side];
    return in->fin_arrived && in->len == 0;
}

bool sim_end_readable(const struct sim_end *end)
{
    return end->conn->pipes[!end->side].visible > 0 || at_eof(end) || end->reset;
}

bool sim_end_writable(const struct sim_end *end)
{
    const struct sim_pipe *out = &end->conn->pipes[end->side];
    return out->len < out->cap || out->fin || end->reset;
}

size_t sim_end_read(struct sim_end *end, struct span_mut into)
{
    struct world *world = end->conn->world;
    struct sim_pipe *in = &end->conn->pipes[!end->side];
    size_t len = MIN(into.len, in->visible);
    if (len > 1 && sim_draw_below(world, 100) < world->faults.short_read_percent)
        len = 1 + (size_t)sim_draw_below(world, len - 1);
    for (size_t done = 0; done < len;) {
        size_t run = MIN(len - done, in->cap - in->head);
        memcpy(into.ptr + done, in->ring + in->head, run);
        in->head = (in->head + run) % in->cap;
        done += run;
    }
    bool was_full = in->len == in->cap;
    in->len -= len;
    in->visible -= len;
    if (was_full && len > 0 && !end->reset)
        send(end->conn, end->side, ARRIVE_ROOM, 0);
    return len;
}

static void put(struct sim_pipe *out, struct span bytes)
{
    while (bytes.len > 0) {
        size_t tail = (out->head + out->len) % out->cap;
        size_t run = MIN(bytes.len, out->cap - tail);
        memcpy(out->ring + tail, bytes.ptr, run);
        out->len += run;
        bytes = span_from(bytes, run);
    }
}

size_t sim_end_write(struct sim_end *end, const struct span *parts, int count)
{
    struct sim_conn *conn = end->conn;
    struct world *world = conn->world;
    struct sim_pipe *out = &conn->pipes[end->side];
    if (end->reset || out->fin)
        return 0;
    size_t room = out->cap - out->len, total = 0;
    if (room > 0 && sim_draw_below(world, 100) < world->faults.short_write_percent)
        room = (size_t)sim_draw_below(world, room);
    for (int i = 0; i < count && total < room; i++) {
        struct span part = span_first(parts[i], room - total);
        put(out, part);
        total += part.len;
    }
    if (total == 0)
        return 0;
    if (sim_draw_below(world, 1000) < world->faults.reset_permille) {
        send(conn, end->side, ARRIVE_RESET, 0);
        send(conn, !end->side, ARRIVE_RESET, 0);
    } else {
        send(conn, end->side, ARRIVE_BYTES, total);
    }
    return total;
}
