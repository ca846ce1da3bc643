/* Connections: two ends, and between them two buffers through which bytes take their
 * time. An end that is closed sends FIN, or RST when bytes were left unread in it, or
 * when bytes come later; like a kernel. What meets a cut waits until it heals; what an
 * end sends on a connection that has vanished is dropped. Either way the end gives the
 * connection up in the end. */
#include "base/alloc.h"
#include "io/sim/sim_private.h"

enum arrival_kind { ARRIVE_BYTES, ARRIVE_FIN, ARRIVE_RESET, ARRIVE_ROOM };

/* When Linux does by default (tcp_retries2, tcp(7)). */
#define GIVE_UP (924 * IO_SEC)

/* Something on its way from one end to the other. */
struct arrival {
    struct sim_event event;
    struct list_node held; /* in the world's list, not scheduled */
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
static void break_end(struct sim_end *end, enum err code)
{
    struct sim_conn *conn = end->conn;
    struct sim_pipe *in = &conn->pipes[!end->side];
    if (!end->open || end->error)
        return;
    end->error = (uint8_t)code;
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
        if (!to->open) {
            empty(pipe);
            send(conn, to->side, ARRIVE_RESET, 0);
        } else if (!to->error) {
            pipe->visible = MIN(pipe->visible + a->len, pipe->len);
        }
        break;
    case ARRIVE_FIN:
        pipe->fin_arrived = true;
        break;
    case ARRIVE_RESET:
        break_end(to, ERR_RESET);
        break;
    case ARRIVE_ROOM:
        break;
    }
    if (to->open)
        changed(to);
    mem_free(a);
    unref(conn);
}

static void give_up(struct sim_event *event)
{
    struct sim_end *end = CONTAINER_OF(event, struct sim_end, give_up);
    sim_trace(end->conn->world, "give up", 0, 0);
    break_end(end, ERR_DEADLINE);
    unref(end->conn);
}

static void give_up_later(struct sim_end *end)
{
    if (!end->open || sim_scheduled(&end->give_up))
        return;
    end->conn->refs++;
    end->give_up.run = give_up;
    sim_schedule(end->conn->world, &end->give_up, end->conn->world->now + GIVE_UP);
}

static void give_up_not(struct sim_end *end)
{
    if (!sim_scheduled(&end->give_up))
        return;
    sim_cancel(end->conn->world, &end->give_up);
    unref(end->conn);
}

static void set_out(struct arrival *a)
{
    struct sim_conn *conn = a->conn;
    struct sim_pipe *pipe = &conn->pipes[a->from];
    io_time at = conn->world->now + sim_draw_delay(conn->world);
    if (a->kind != ARRIVE_ROOM) {
        /* One behind the other: two of one moment could change places. */
        at = MAX(at, pipe->arrival_last + 1);
        pipe->arrival_last = at;
    }
    sim_schedule(conn->world, &a->event, at);
}

static void send(struct sim_conn *conn, int from, enum arrival_kind kind, size_t len)
{
    struct sim_end *end = &conn->ends[from];
    bool cut = sim_is_cut(conn->world, end->host, conn->ends[!from].host);
    if ((cut || conn->vanished) && (kind == ARRIVE_BYTES || kind == ARRIVE_FIN))
        give_up_later(end);
    if (conn->vanished)
        return;
    struct arrival *a = sim_new(sizeof(*a));
    *a =
        (struct arrival){.event.run = arrive, .conn = conn, .kind = kind, .from = from, .len = len};
    conn->refs++;
    if (cut)
        list_push(&conn->world->held, &a->held);
    else
        set_out(a);
}

/* ---- cuts -------------------------------------------------------------------------- */

static struct sim_cut *find_cut(struct world *world, const struct sim_host *from,
                                const struct sim_host *to)
{
    struct list_node *node = list_first(&world->cuts);
    for (; node; node = list_next(&world->cuts, node)) {
        struct sim_cut *cut = CONTAINER_OF(node, struct sim_cut, node);
        if (cut->from == from && cut->to == to)
            return cut;
    }
    return NULL;
}

bool sim_is_cut(struct world *world, const struct sim_host *from, const struct sim_host *to)
{
    return find_cut(world, from, to) != NULL;
}

static void heal(struct world *world, const struct sim_host *from, const struct sim_host *to)
{
    struct list_node *node = list_first(&world->held), *next;
    for (; node; node = next) {
        next = list_next(&world->held, node);
        struct arrival *a = CONTAINER_OF(node, struct arrival, held);
        struct sim_conn *conn = a->conn;
        if (conn->ends[a->from].host != from || conn->ends[!a->from].host != to)
            continue;
        list_remove(&a->held);
        give_up_not(&conn->ends[a->from]);
        set_out(a);
    }
}

void sim_cut(struct world *world, const char *from, const char *to, bool cut)
{
    struct sim_host *sender = sim_host(world, from), *receiver = sim_host(world, to);
    struct sim_cut *there = find_cut(world, sender, receiver);
    if (cut == (there != NULL))
        return;
    sim_trace(world, cut ? "cut" : "heal", 0, 0);
    if (cut) {
        there = sim_new(sizeof(*there));
        *there = (struct sim_cut){.from = sender, .to = receiver};
        list_push(&world->cuts, &there->node);
    } else {
        list_remove(&there->node);
        mem_free(there);
        heal(world, sender, receiver);
    }
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
        conn->pipes[side] = (struct sim_pipe){.cap = cap};
    }
    return conn;
}

void sim_end_open(struct sim_end *end, struct sim_host *host)
{
    end->host = host;
    end->open = true;
    end->conn->refs++;
}

void sim_end_hold(struct sim_end *end, struct sim_process *process)
{
    ASSERT(end->open && !end->process);
    end->process = process;
    list_push(&process->ends, &end->node);
}

void sim_end_vanish(struct sim_end *end)
{
    end->conn->vanished = true;
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
    if (out->fin || end->error)
        return;
    out->fin = true;
    send(end->conn, end->side, ARRIVE_FIN, 0);
}

void sim_end_close(struct sim_end *end, bool reset)
{
    struct sim_conn *conn = end->conn;
    struct sim_pipe *in = &conn->pipes[!end->side];
    ASSERT(end->open);
    if (!end->error) {
        if ((reset && !conn->is_unix) || in->visible > 0)
            send(conn, end->side, ARRIVE_RESET, 0);
        else
            sim_end_shutdown(end);
    }
    empty(in);
    give_up_not(end);
    list_remove(&end->node);
    if (end->process)
        end->process->descriptors_now -= end->counted;
    end->process = NULL;
    end->stream = NULL;
    end->open = false;
    unref(conn);
}

static bool at_eof(const struct sim_end *end)
{
    const struct sim_pipe *in = &end->conn->pipes[!end->side];
    return in->fin_arrived && in->len == 0;
}

bool sim_end_readable(const struct sim_end *end)
{
    return end->conn->pipes[!end->side].visible > 0 || at_eof(end) || end->error;
}

bool sim_end_writable(const struct sim_end *end)
{
    const struct sim_pipe *out = &end->conn->pipes[end->side];
    return out->len < out->cap || out->fin || end->error;
}

size_t sim_end_read(struct sim_end *end, struct span_mut into)
{
    struct world *world = end->conn->world;
    struct sim_pipe *in = &end->conn->pipes[!end->side];
    size_t len = MIN(into.len, in->visible);
    if (len > 1 && sim_chance(world, world->faults.short_read_percent, 100))
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
    if (was_full && len > 0 && !end->error)
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
    if (end->error || out->fin)
        return 0;
    if (!out->ring)
        out->ring = sim_new(out->cap);
    size_t room = out->cap - out->len, total = 0;
    if (room > 0 && sim_chance(world, world->faults.short_write_percent, 100))
        room = (size_t)sim_draw_below(world, room);
    for (int i = 0; i < count && total < room; i++) {
        struct span part = span_first(parts[i], room - total);
        put(out, part);
        total += part.len;
    }
    if (total == 0)
        return 0;
    if (sim_chance(world, world->faults.vanish_permille, 1000))
        conn->vanished = true;
    if (sim_chance(world, world->faults.reset_permille, 1000)) {
        send(conn, end->side, ARRIVE_RESET, 0);
        send(conn, !end->side, ARRIVE_RESET, 0);
    } else {
        send(conn, end->side, ARRIVE_BYTES, total);
    }
    return total;
}
