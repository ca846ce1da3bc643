/* HTTP/1 on the server's side: answers (http1_conn.h). */
#include "net/http1_conn.h"

#include "base/alloc.h"
#include "base/macros.h"

/* Offered to the kernel at a time, so that body_timeout is about progress and one large
 * answer does not keep a loop to itself. */
#define WRITE_SLICE ((size_t)64 << 10)

/* A body up to this many bytes is copied behind its head. */
#define JOIN_MAX 2048

/* ---- bytes on their way out ---- */

static void on_written(void *arg, struct stream *stream, result r);

/* The next slice of `out`. */
static void write_on(struct conn *conn)
{
    struct span parts[OUT_MAX] UNINITIALIZED;
    size_t room = WRITE_SLICE;
    int count = 0;
    while (conn->out_first < conn->out_count && room) {
        struct span *from = &conn->out[conn->out_first];
        struct span part = span_first(*from, room);
        *from = span_from(*from, part.len);
        room -= part.len;
        parts[count++] = part;
        if (from->len == 0)
            conn->out_first++;
    }
    conn_set_deadline(conn, server_loop_config(conn->c.sl)->body_timeout);
    stream_write(conn->c.stream, parts, count, on_written, conn);
}

static void on_written(void *arg, struct stream *stream, result r)
{
    struct conn *conn = arg;
    enum conn_write what = conn->write;
    if (failed(r)) {
        conn->write = WRITE_NONE;
        conn_lost(conn, ERR_RESET, STREAM_RESET);
        if (what == WRITE_ANSWER)
            conn_answered(conn);
        return;
    }
    if (conn->out_first < conn->out_count) {
        write_on(conn);
        return;
    }
    conn->write = WRITE_NONE;
    conn->deadline = TIME_NEVER;
    if (what == WRITE_ANSWER)
        conn_answered(conn);
    else
        exchange_wrote(conn->x, OK);
    conn_run(conn);
}

static void out_add(struct conn *conn, struct span bytes)
{
    if (conn->out_first == conn->out_count)
        conn->out_first = conn->out_count = 0;
    if (!bytes.len)
        return;
    conn->out[conn->out_count++] = bytes;
    server_loop_count(conn->c.sl, 0, bytes.len);
}

/* Offers `out` to the kernel. What it does not take stays there; a part of the loop's
 * scratch, which can only be the first, moves to the exchange's arena. False without
 * memory. */
static bool out_try(struct conn *conn, bool first_is_scratch)
{
    if (conn->out_first == conn->out_count)
        return true;
    struct span *parts = &conn->out[conn->out_first];
    size_t left = stream_try_write(conn->c.stream, parts, conn->out_count - conn->out_first);
    while (conn->out_first < conn->out_count && left >= conn->out[conn->out_first].len)
        left -= conn->out[conn->out_first++].len;
    if (conn->out_first == conn->out_count)
        return true;
    struct span *rest = &conn->out[conn->out_first];
    *rest = span_from(*rest, left);
    if (rest != parts || !first_is_scratch)
        return true;
    rest->ptr = (const uint8_t *)arena_copy(exchange_arena(conn->x), *rest);
    return rest->ptr != NULL;
}

/* The exchange is over as soon as `out` has been taken. */
static void out_finish(struct conn *conn)
{
    if (conn->state != CONN_CLOSED && conn->out_first < conn->out_count) {
        conn->write = WRITE_ANSWER;
        write_on(conn);
        return;
    }
    bool closed = conn->state == CONN_CLOSED;
    conn_answered(conn);
    if (!closed)
        conn_run(conn);
}

/* ---- heads ---- */

/* Whether the connection can go on after this answer (RFC 9112 §9.3). */
static void decide_keep_alive(struct conn *conn)
{
    bool last = conn->eof && conn->in.len == 0;
    if (server_loop_draining(conn->c.sl) || conn->body_error || last)
        conn->keep_alive = false;
    if (conn->state != CONN_BODY)
        return;
    /* A body that is still to come: read and thrown away if it is short. A client that
     * waits for 100 Continue may send it or not; which is not known. */
    if (conn->expects || h1_body_bypass(&conn->h1) + conn->body_in > DISCARD_MAX)
        conn->keep_alive = false;
    conn->expects = false;
}

/* RFC 9110 §6.4.1: answers without a body, whatever their fields say. */
static bool status_bare(int status)
{
    return status < 200 || status == 204 || status == 304;
}

static void frame_answer(struct conn *conn, const struct response_head *head)
{
    bool bare = status_bare(head->status);
    conn->no_body = conn->head_only || bare;
    conn->chunked = head->length < 0 && !conn->old && !bare;
    conn->answer_left = head->length < 0 ? UINT64_MAX : (uint64_t)head->length;
    decide_keep_alive(conn);
    if (head->length < 0 && conn->old && !conn->no_body)
        conn->keep_alive = false; /* it ends with the connection */
}

/* Name and value are known to be clean, so nothing need be checked. */
static void write_length(struct h1_writer *w, uint64_t length)
{
    char line[] = "Content-Length: 18446744073709551615\r\n";
    const size_t name = sizeof("Content-Length: ") - 1;
    size_t at = name, end;
    for (uint64_t rest = length; rest >= 10; rest /= 10)
        at++;
    end = at + 1;
    for (; at >= name; at--, length /= 10)
        line[at] = (char)('0' + length % 10);
    line[end++] = '\r';
    line[end++] = '\n';
    h1_write_raw(w, span_of(line, end));
}

/* Into the loop's scratch; false when it does not fit or holds what no head may. */
static bool write_head(struct conn *conn, const struct response_head *head)
{
    struct h1_writer w;
    h1_writer_init(&w, (struct span_mut){server_loop_out(conn->c.sl), SERVER_OUT_MAX});
    h1_write_status(&w, head->status);
    h1_write_raw(&w, server_loop_date(conn->c.sl));
    if (head->type)
        h1_write_header(&w, SPAN("Content-Type"), span_cstr(head->type));
    if (head->length >= 0 && !(status_bare(head->status) && head->length == 0))
        write_length(&w, (uint64_t)head->length);
    else if (conn->chunked)
        h1_write_raw(&w, SPAN("Transfer-Encoding: chunked\r\n"));
    if (!conn->keep_alive)
        h1_write_raw(&w, SPAN("Connection: close\r\n"));
    else if (conn->old)
        h1_write_raw(&w, SPAN("Connection: keep-alive\r\n"));
    for (size_t i = 0; i < head->headers_len; i++)
        h1_write_header(&w, head->headers[i].name, head->headers[i].value);
    h1_write_end(&w);
    if (failed(h1_writer_result(&w)))
        return false;
    out_add(conn, h1_writer_span(&w));
    return true;
}

/* ---- what the exchange asks ---- */

/* A short body joins its head in the scratch: copying it is cheaper than a second part is
 * to the kernel. False when it does not. */
static bool join_body(struct conn *conn, struct span body)
{
    struct span *head = &conn->out[conn->out_first];
    if (body.len > JOIN_MAX || head->len + body.len > SERVER_OUT_MAX)
        return false;
    memcpy(server_loop_out(conn->c.sl) + head->len, body.ptr, body.len);
    head->len += body.len;
    server_loop_count(conn->c.sl, 0, body.len);
    return true;
}

static void http1_respond(struct exchange *x, const struct response_head *head, struct span body)
{
    struct conn *conn = exchange_codec_data(x);
    if (conn->state == CONN_CLOSED) {
        conn_answered(conn);
        return;
    }
    frame_answer(conn, head);
    bool whole = write_head(conn, head);
    if (whole && !conn->no_body && body.len && !join_body(conn, body))
        out_add(conn, body);
    if (!whole || !out_try(conn, true))
        conn_lost(conn, ERR_INTERNAL, STREAM_RESET);
    out_finish(conn);
}

static void http1_begin(struct exchange *x, const struct response_head *head)
{
    struct conn *conn = exchange_codec_data(x);
    if (conn->state == CONN_CLOSED)
        return;
    frame_answer(conn, head);
    if (!write_head(conn, head) || !out_try(conn, true))
        conn_lost(conn, ERR_INTERNAL, STREAM_RESET);
}

static struct span chunk_head(struct conn *conn, size_t len)
{
    struct h1_writer w;
    h1_writer_init(&w, (struct span_mut){conn->chunk_head, sizeof(conn->chunk_head)});
    h1_write_chunk_head(&w, len);
    return h1_writer_span(&w);
}

static void http1_write(struct exchange *x, struct span bytes)
{
    struct conn *conn = exchange_codec_data(x);
    if (conn->state == CONN_CLOSED)
        return; /* the exchange hears of it, and this write fails, when the stream has closed */
    if (conn->answer_left != UINT64_MAX) {
        bytes = span_first(bytes, conn->answer_left);
        conn->answer_left -= bytes.len;
    }
    if (bytes.len && !conn->no_body) {
        if (conn->chunked)
            out_add(conn, chunk_head(conn, bytes.len));
        out_add(conn, bytes);
        if (conn->chunked)
            out_add(conn, H1_CHUNK_TAIL);
    }
    if (conn->out_first == conn->out_count) {
        exchange_wrote_later(x, OK);
        return;
    }
    conn->write = WRITE_PIECE;
    write_on(conn);
}

static void http1_finish(struct exchange *x)
{
    struct conn *conn = exchange_codec_data(x);
    if (conn->state != CONN_CLOSED) {
        if (conn->chunked && !conn->no_body)
            out_add(conn, H1_CHUNK_LAST);
        /* Fewer bytes than announced: only breaking it off tells the client. */
        bool short_of = conn->answer_left != UINT64_MAX && conn->answer_left && !conn->no_body;
        if (short_of || !out_try(conn, false))
            conn_lost(conn, ERR_INTERNAL, STREAM_RESET);
    }
    out_finish(conn);
}

static void http1_reset(struct exchange *x, enum err code)
{
    struct conn *conn = exchange_codec_data(x);
    conn_lost(conn, code, STREAM_RESET);
    if (conn->write == WRITE_NONE)
        conn_answered(conn);
    else
        conn->write = WRITE_ANSWER; /* ends with its completion */
}

static void http1_read(struct exchange *x)
{
    conn_run(exchange_codec_data(x));
}

static void http1_stop(struct connection *c, bool now)
{
    conn_stop(CONTAINER_OF(c, struct conn, c), now);
}

static void http1_free(struct connection *c)
{
    struct conn *conn = CONTAINER_OF(c, struct conn, c);
    mem_free(conn->stash);
    mem_free(conn);
}

const struct codec_ops http1_ops = {
    .name = "http1",
    .read = http1_read,
    .respond = http1_respond,
    .begin = http1_begin,
    .write = http1_write,
    .finish = http1_finish,
    .reset = http1_reset,
    .stop = http1_stop,
    .free = http1_free,
};
