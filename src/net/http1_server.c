/* HTTP/1 on the server's side: reading, deadlines, and the states (http1_conn.h). */
#include "net/http1_conn.h"

#include "base/alloc.h"
#include "base/macros.h"

/* A client that still writes what nobody wants is heard for so long in all, and so long
 * without a byte, so that it reads the answer before the connection is reset. */
#define LINGER_TIME (30 * IO_SEC)
#define LINGER_IDLE (2 * IO_SEC)
/* A read stays armed while less than this waits to be consumed; so at most this and one
 * scratch do. */
#define READ_AHEAD 16384
/* Below this, the rest of a body is read through the scratch and copied. */
#define BYPASS_MIN 8192

/* ---- closing ---- */

/* N3 */
static void free_when_done(struct conn *conn)
{
    if (!conn->closed || conn->x)
        return;
    connection_closed(&conn->c);
    mem_free(conn->stash);
    mem_free(conn);
}

static void on_closed(void *arg)
{
    struct conn *conn = arg;
    conn->closed = true;
    if (conn->x)
        exchange_lost(conn->x, (enum err)conn->lost_code);
    else
        free_when_done(conn);
}

void conn_lost(struct conn *conn, enum err code, enum stream_close_how how)
{
    if (conn->state == CONN_CLOSED)
        return;
    conn->state = CONN_CLOSED;
    conn->lost_code = (uint8_t)code;
    conn->in = SPAN_NONE;
    timer_stop(server_loop_loop(conn->c.sl), &conn->timer);
    stream_close(conn->c.stream, how, on_closed, conn);
}

/* ---- deadlines ---- */

void conn_set_deadline(struct conn *conn, io_time delay)
{
    struct loop *loop = server_loop_loop(conn->c.sl);
    conn->deadline = loop_now(loop) + delay;
    if (!timer_running(&conn->timer) || conn->deadline < conn->timer_at) {
        conn->timer_at = conn->deadline;
        timer_start(loop, &conn->timer, conn->deadline);
    }
}

static void refuse(struct conn *conn, int status, const char *reason);

static void deadline_passed(struct conn *conn)
{
    struct span_mut into;
    conn->deadline = TIME_NEVER;
    if (conn->write != WRITE_NONE) {
        conn_lost(conn, ERR_DEADLINE, STREAM_RESET);
    } else if (conn->state == CONN_HEAD && conn->in.len) {
        refuse(conn, 408, "the head took longer than head_timeout");
    } else if (conn->state == CONN_BODY && exchange_wants(conn->x, &into)) {
        conn->body_error = ERR_DEADLINE;
        if (conn->reading && conn->bypass)
            stream_read_cancel(conn->c.stream);
        conn_run(conn);
    } else {
        conn_lost(conn, ERR_DEADLINE, STREAM_CLOSE);
    }
}

static void on_deadline(struct io_timer *timer)
{
    struct conn *conn = CONTAINER_OF(timer, struct conn, timer);
    struct loop *loop = server_loop_loop(conn->c.sl);
    if (conn->deadline == TIME_NEVER)
        return;
    if (loop_now(loop) >= conn->deadline) {
        deadline_passed(conn);
        return;
    }
    conn->timer_at = conn->deadline;
    timer_start(loop, timer, conn->deadline);
}

/* ---- reading ---- */

static void on_read(void *arg, struct stream *stream, result r, struct span bytes);

static void arm_read(struct conn *conn)
{
    if (conn->reading || conn->eof || conn->state == CONN_CLOSED)
        return;
    if (conn->in.len >= READ_AHEAD && !conn->starved)
        return;
    struct span_mut into = {NULL, 0}, wanted;
    conn->bypass = false;
    if (conn->state == CONN_BODY && !conn->in.len && exchange_wants(conn->x, &wanted) &&
        wanted.len) {
        uint64_t room = MIN(wanted.len - conn->filled, h1_body_bypass(&conn->h1));
        if (room >= BYPASS_MIN) {
            conn->bypass = true;
            into = (struct span_mut){wanted.ptr + conn->filled, room};
        }
    }
    conn->reading = true;
    stream_read(conn->c.stream, into, on_read, conn);
}

/* Keeps what `in` holds beyond the callback (N2). */
static void stash_rest(struct conn *conn)
{
    if (conn->in.len == 0) {
        if (UNLIKELY(conn->stash != NULL)) {
            mem_free(steal(&conn->stash));
            conn->stash_cap = 0;
        }
        return;
    }
    if (conn->stash && conn->in.ptr >= conn->stash && conn->in.ptr < conn->stash + conn->stash_cap)
        return;
    uint8_t *copy = mem_alloc(conn->in.len);
    if (!copy) {
        conn_lost(conn, ERR_NO_MEMORY, STREAM_RESET);
        return;
    }
    memcpy(copy, conn->in.ptr, conn->in.len);
    mem_free(conn->stash);
    conn->stash = copy;
    conn->stash_cap = conn->in.len;
    conn->in.ptr = copy;
}

/* More bytes behind those that are not enough. */
static bool stash_append(struct conn *conn, struct span bytes)
{
    size_t len = conn->in.len + bytes.len;
    size_t room = (size_t)(conn->stash + conn->stash_cap - (conn->in.ptr + conn->in.len));
    if (room < bytes.len) {
        size_t cap = MAX(len, conn->in.len * 2);
        uint8_t *grown = mem_alloc(cap);
        if (!grown)
            return false;
        memcpy(grown, conn->in.ptr, conn->in.len);
        mem_free(conn->stash);
        conn->stash = grown;
        conn->stash_cap = cap;
        conn->in.ptr = grown;
    }
    memcpy(conn->stash + (conn->in.ptr - conn->stash) + conn->in.len, bytes.ptr, bytes.len);
    conn->in.len = len;
    return true;
}

/* Room for header fields, shared by the loop's connections. */
static inline void head_slots(struct conn *conn, struct h1_out *ret_out)
{
    ret_out->headers = server_loop_slots(conn->c.sl);
    ret_out->headers_max = SERVER_HEADERS_MAX;
}

/* Whether all of the request has been seen, though the handler has not taken it yet. */
static bool request_whole(struct conn *conn)
{
    struct h1_out out;
    size_t used;
    if (conn->state == CONN_ANSWER)
        return true;
    if (conn->state != CONN_BODY)
        return false;
    head_slots(conn, &out);
    return h1_read(&conn->h1, SPAN_NONE, &used, &out) == H1_END;
}

static void read_ended(struct conn *conn)
{
    bool answers = conn->state == CONN_ANSWER || conn->state == CONN_BODY;
    conn->eof = true;
    /* With half_close, what is there is answered: see `starves`. */
    if (!answers || !server_loop_config(conn->c.sl)->half_close)
        conn_lost(conn, ERR_CLOSED, STREAM_CLOSE);
}

static void take_bytes(struct conn *conn, bool bypass, struct span bytes)
{
    server_loop_count(conn->c.sl, bytes.len, 0);
    if (bypass) {
        h1_body_skip(&conn->h1, bytes.len);
        conn->filled += bytes.len;
    } else if (conn->in.len == 0) {
        conn->in = bytes;
        conn->starved = false;
    } else if (stash_append(conn, bytes)) {
        conn->starved = false;
    } else {
        conn_lost(conn, ERR_NO_MEMORY, STREAM_RESET);
    }
}

static void on_read(void *arg, struct stream *stream, result r, struct span bytes)
{
    struct conn *conn = arg;
    bool bypass = conn->bypass;
    conn->reading = conn->bypass = false;
    if (conn->state == CONN_CLOSED || is(r, ERR_CANCELLED))
        ; /* by ourselves: see deadline_passed and conn_answered */
    else if (failed(r))
        conn_lost(conn, (enum err)r.code, STREAM_CLOSE);
    else if (bytes.len == 0)
        read_ended(conn);
    else
        take_bytes(conn, bypass, bytes);
    if (conn->ending)
        conn_answered(conn);
    conn_run(conn);
}

/* ---- a request's head ---- */

/* A span of the head, moved to its copy; static ones stay. */
static inline struct span moved(struct span s, struct span from, const char *to)
{
    bool inside = s.ptr >= from.ptr && s.ptr <= from.ptr + from.len;
    return inside ? span_of(to + (s.ptr - from.ptr), s.len) : s;
}

/* The head's bytes move into the exchange's arena, and every span with them. */
static bool head_copy(struct conn *conn, struct span bytes, const struct h1_head *head,
                      struct request_head *ret_head)
{
    struct arena *arena = exchange_arena(conn->x);
    char *copy = arena_copy(arena, bytes);
    struct http_header *headers = arena_alloc(arena, head->headers_len * sizeof(*headers));
    if (!copy || !headers)
        return false;
    for (size_t i = 0; i < head->headers_len; i++) {
        headers[i].name = moved(head->headers[i].name, bytes, copy);
        headers[i].value = moved(head->headers[i].value, bytes, copy);
    }
    *ret_head = (struct request_head){
        .method = head->method,
        .method_text = moved(head->method_text, bytes, copy),
        .path = moved(head->path, bytes, copy),
        .query = moved(head->query, bytes, copy),
        .headers = headers,
        .headers_len = head->headers_len,
        .content_length = head->content_length,
    };
    return true;
}

static bool open_exchange(struct conn *conn)
{
    conn->x = exchange_open(&conn->c, conn);
    conn->filled = 0;
    conn->discarded = 0;
    conn->out_first = conn->out_count = 0;
    conn->body_error = ERR_NONE;
    conn->chunked = false;
    conn->in_head = false;
    conn->deadline = TIME_NEVER;
    if (conn->x)
        return true;
    conn_lost(conn, ERR_NO_MEMORY, STREAM_RESET);
    return false;
}

static void note_head(struct conn *conn, const struct h1_head *head)
{
    conn->keep_alive = head->keep_alive;
    conn->expects = head->expect_continue;
    conn->head_only = head->method == METHOD_HEAD;
    conn->old = head->minor == 0;
    conn->served = true;
    conn->state = head->no_body ? CONN_ANSWER : CONN_BODY;
}

static void head_done(struct conn *conn, struct span bytes, const struct h1_head *head)
{
    struct request_head request;
    if (!open_exchange(conn))
        return;
    note_head(conn, head);
    if (head_copy(conn, bytes, head, &request)) {
        exchange_start(conn->x, &request);
    } else {
        conn_lost(conn, ERR_NO_MEMORY, STREAM_RESET);
        exchange_reset(conn->x, ERR_NO_MEMORY);
    }
}

/* A head that is not one: answered and closed. */
static void refuse(struct conn *conn, int status, const char *reason)
{
    if (!open_exchange(conn))
        return;
    note_head(conn, &(struct h1_head){.minor = 1});
    conn->body_error = ERR_SYNTAX;
    exchange_refuse(conn->x, status, reason);
}

/* A head that will not do, but whose message can be passed over. */
static void refuse_framed(struct conn *conn, const struct h1_out *out)
{
    if (!open_exchange(conn))
        return;
    note_head(conn, &out->head);
    exchange_refuse(conn->x, out->status, out->reason);
}

/* The parser needs more, which will not come after an end of file. */
static void starves(struct conn *conn)
{
    conn->starved = true;
    if (conn->eof)
        conn_lost(conn, ERR_CLOSED, STREAM_CLOSE);
}

static bool head_step(struct conn *conn)
{
    struct h1_out out;
    size_t used = 0;
    if (conn->in.len == 0)
        return false;
    head_slots(conn, &out);
    if (h1_idle(&conn->h1)) /* N6 */
        conn->limits = *server_loop_http1(conn->c.sl);
    enum h1_event event = h1_read(&conn->h1, conn->in, &used, &out);
    struct span bytes = span_first(conn->in, used);
    conn->in = span_from(conn->in, used);
    switch (event) {
    case H1_MORE:
        starves(conn);
        if (!conn->in_head && !conn->eof) {
            conn->in_head = true;
            conn_set_deadline(conn, server_loop_config(conn->c.sl)->head_timeout);
        }
        return false;
    case H1_HEAD:
        head_done(conn, bytes, &out.head);
        return true;
    case H1_ERROR:
        if (out.framed) {
            refuse_framed(conn, &out);
            return true;
        }
        __attribute__((fallthrough));
    default:
        refuse(conn, out.status, out.reason);
        return true;
    }
}

/* ---- a request's body ---- */

static void body_deliver(struct conn *conn, result r, struct span bytes, bool end)
{
    conn->filled = 0;
    if (conn->write == WRITE_NONE)
        conn->deadline = TIME_NEVER;
    exchange_got(conn->x, r, bytes, end);
}

static void send_continue(struct conn *conn)
{
    static const struct span line = SPAN_INIT("HTTP/1.1 100 Continue\r\n\r\n");
    conn->expects = false;
    server_loop_count(conn->c.sl, 0, line.len);
    if (stream_try_write(conn->c.stream, &line, 1) != line.len)
        conn_lost(conn, ERR_RESET, STREAM_RESET);
}

/* Reads the next body bytes into `body_in`. False when it must wait for more; true also
 * when the body has ended or failed. */
static bool body_parse(struct conn *conn)
{
    struct h1_out out;
    size_t used = 0;
    head_slots(conn, &out);
    enum h1_event event = h1_read(&conn->h1, conn->in, &used, &out);
    switch (event) {
    case H1_BODY:
        conn->in = span_from(conn->in, used - out.body.len);
        conn->body_in = out.body.len;
        conn->expects = false;
        return true;
    case H1_END:
        conn->in = span_from(conn->in, used);
        conn->state = CONN_ANSWER;
        return true;
    case H1_TRAILERS:
        conn->in = span_from(conn->in, used);
        return true;
    case H1_MORE:
        conn->in = span_from(conn->in, used);
        starves(conn);
        return false;
    default:
        conn->body_error = out.status == 413 ? ERR_TOO_LARGE : ERR_SYNTAX;
        return true;
    }
}

/* Body bytes from `in` to the handler, or into its memory. */
static void body_take(struct conn *conn, struct span_mut into)
{
    struct span bytes = span_first(conn->in, conn->body_in);
    if (into.len) {
        bytes = span_first(bytes, into.len - conn->filled);
        memcpy(into.ptr + conn->filled, bytes.ptr, bytes.len);
        conn->filled += bytes.len;
    }
    conn->in = span_from(conn->in, bytes.len);
    conn->body_in -= bytes.len;
    /* A body by length ends here and not with the next read. */
    if (conn->body_in == 0 && request_whole(conn))
        conn->state = CONN_ANSWER;
    if (into.len == 0)
        body_deliver(conn, OK, bytes, conn->state == CONN_ANSWER);
}

static void body_wait(struct conn *conn)
{
    if (conn->expects && conn->state == CONN_BODY)
        send_continue(conn);
    if (conn->state == CONN_BODY)
        conn_set_deadline(conn, server_loop_config(conn->c.sl)->body_timeout);
}

/* Gives the handler what it waits for. False when nothing more can be done now. */
static bool body_step(struct conn *conn)
{
    struct span_mut into;
    if (!exchange_wants(conn->x, &into) || (conn->reading && conn->bypass))
        return false;
    if (conn->body_error) {
        body_deliver(conn, fail((enum err)conn->body_error), SPAN_NONE, true);
        return true;
    }
    if (into.len && conn->filled == into.len) {
        bool end = conn->body_in == 0 && request_whole(conn);
        if (end)
            conn->state = CONN_ANSWER;
        body_deliver(conn, OK, span_of(into.ptr, conn->filled), end);
        return true;
    }
    if (conn->body_in) {
        body_take(conn, into);
    } else if (!body_parse(conn)) {
        body_wait(conn);
        return false;
    }
    return true;
}

/* The body has ended: a handler that waits is told. */
static bool end_step(struct conn *conn)
{
    struct span_mut into;
    if (!conn->x || !exchange_wants(conn->x, &into))
        return false;
    body_deliver(conn, OK, span_of(into.ptr, conn->filled), true);
    return true;
}

static void next_request(struct conn *conn)
{
    h1_next(&conn->h1);
    conn->state = CONN_HEAD;
    if (server_loop_draining(conn->c.sl) || (conn->eof && conn->in.len == 0))
        conn_lost(conn, ERR_DRAINING, STREAM_CLOSE);
    else
        conn_set_deadline(conn, server_loop_config(conn->c.sl)->idle_timeout);
}

static void linger(struct conn *conn)
{
    if (conn->eof) {
        conn_lost(conn, ERR_CLOSED, STREAM_CLOSE);
        return;
    }
    conn->state = CONN_LINGER;
    conn->in = SPAN_NONE;
    conn->body_in = 0;
    stream_shutdown(conn->c.stream);
    conn->linger_until = loop_now(server_loop_loop(conn->c.sl)) + LINGER_TIME;
    conn_set_deadline(conn, LINGER_IDLE);
}

static void linger_step(struct conn *conn)
{
    io_time left = conn->linger_until - loop_now(server_loop_loop(conn->c.sl));
    conn->in = SPAN_NONE;
    if (left <= 0)
        conn_lost(conn, ERR_CLOSED, STREAM_CLOSE);
    else
        conn_set_deadline(conn, MIN(left, LINGER_IDLE));
}

static bool discard_step(struct conn *conn)
{
    conn->in = span_from(conn->in, conn->body_in);
    conn->discarded += conn->body_in;
    conn->body_in = 0;
    size_t before = conn->in.len;
    bool more = body_parse(conn);
    if (conn->state == CONN_ANSWER) {
        next_request(conn);
        return true;
    }
    conn->discarded += before - conn->in.len;
    if (conn->body_error || conn->discarded + conn->body_in > DISCARD_MAX)
        linger(conn);
    return more;
}

/* ---- the machine ---- */

static bool conn_step(struct conn *conn)
{
    switch ((enum conn_state)conn->state) {
    case CONN_HEAD:
        return head_step(conn);
    case CONN_BODY:
        return conn->write != WRITE_ANSWER && !conn->ending && body_step(conn);
    case CONN_DISCARD:
        return discard_step(conn);
    case CONN_LINGER:
        linger_step(conn);
        return false;
    case CONN_ANSWER:
        return end_step(conn);
    case CONN_CLOSED:
        return false;
    }
    return false;
}

void conn_run(struct conn *conn)
{
    if (conn->running || conn->state == CONN_CLOSED)
        return;
    conn->running = true;
    while (conn_step(conn))
        ;
    conn->running = false;
    if (conn->state == CONN_CLOSED)
        return;
    stash_rest(conn);
    arm_read(conn);
}

void conn_answered(struct conn *conn)
{
    conn->ending = conn->reading && conn->bypass;
    if (conn->ending) {
        if (conn->state != CONN_CLOSED)
            stream_read_cancel(conn->c.stream);
        return;
    }
    exchange_end(steal(&conn->x));
    if (conn->state == CONN_CLOSED) {
        free_when_done(conn);
        return;
    }
    bool whole = conn->state == CONN_ANSWER;
    if (conn->keep_alive && whole) {
        next_request(conn);
    } else if (conn->keep_alive) {
        conn->state = CONN_DISCARD;
        conn_set_deadline(conn, server_loop_config(conn->c.sl)->body_timeout);
    } else if (whole && conn->in.len == 0) {
        conn_lost(conn, ERR_CLOSED, STREAM_CLOSE);
    } else {
        linger(conn);
    }
}

/* ---- what the server asks ---- */

void conn_stop(struct conn *conn, bool now)
{
    conn->keep_alive = false;
    if (now)
        conn_lost(conn, ERR_DRAINING, STREAM_RESET);
    else if (conn->state == CONN_HEAD && conn->in.len == 0 && conn->served)
        conn_lost(conn, ERR_DRAINING, STREAM_CLOSE);
    else if (conn->state == CONN_HEAD)
        conn_set_deadline(conn, DRAIN_FIRST);
}

result http1_accept(struct server_loop *sl, struct stream *stream)
{
    struct conn *conn = MEM_NEW(struct conn);
    if (!conn) {
        stream_close(stream, STREAM_RESET, NULL, NULL);
        return fail(ERR_NO_MEMORY);
    }
    h1_init(&conn->h1, H1_SERVER, &conn->limits);
    connection_opened(sl, &conn->c, &http1_ops, stream);
    conn->timer.fired = on_deadline;
    conn->state = CONN_HEAD;
    conn_set_deadline(conn, server_loop_config(sl)->idle_timeout);
    arm_read(conn);
    return OK;
}
