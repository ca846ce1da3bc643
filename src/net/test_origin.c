#include "net/test_origin.h"

#include "base/alloc.h"

#include <stdio.h>

struct conn {
    struct list_node node;
    struct origin *origin;
    struct stream *stream; /* NULL once it is being closed */
    struct h1 h1;
    struct text in, out;
    struct io_timer timer;
    struct origin_request request;
    struct origin_reply reply;
    char target[256], trace[64], state[64], id[64], host[128];
    uint8_t tail[64];
    int requests;
    bool answering;
};

static void on_read(void *arg, struct stream *stream, result r, struct span bytes);
static void look(struct conn *conn);

static void conn_free(void *arg)
{
    struct conn *conn = arg;
    list_remove(&conn->node);
    text_release(&conn->in);
    text_release(&conn->out);
    mem_free(conn);
}

static void conn_close(struct conn *conn, enum stream_close_how how)
{
    if (!conn->stream)
        return;
    timer_stop(conn->origin->loop, &conn->timer);
    list_remove(&conn->node);
    list_push(&conn->origin->closing, &conn->node);
    conn->origin->open--;
    stream_close(steal(&conn->stream), how, conn_free, conn);
}

/* ---- answers ---- */

static void written(void *arg, struct stream *stream, result r)
{
    struct conn *conn = arg;
    if (!conn->stream)
        return;
    conn->answering = false;
    if (failed(r) || conn->reply.how == ORIGIN_HALF || conn->reply.close_after) {
        conn_close(conn, STREAM_CLOSE);
        return;
    }
    h1_next(&conn->h1);
    look(conn);
}

static void answer(struct io_timer *timer)
{
    struct conn *conn = CONTAINER_OF(timer, struct conn, timer);
    const struct origin_reply *reply = &conn->reply;
    bool head = conn->request.method == METHOD_HEAD;
    text_clear(&conn->out);
    text_printf(&conn->out, "HTTP/1.1 %d X\r\n%s%s", reply->status ? reply->status : 200,
                reply->headers ? reply->headers : "",
                reply->close_after ? "Connection: close\r\n" : "");
    if (reply->chunked)
        text_printf(&conn->out, "Transfer-Encoding: chunked\r\n\r\n%zx\r\n", reply->body.len);
    else
        text_printf(&conn->out, "Content-Length: %zu\r\n\r\n", reply->body.len);
    if (!head)
        text_append(&conn->out, reply->body);
    if (reply->chunked)
        text_str(&conn->out, reply->body.len ? "\r\n0\r\n\r\n" : "\r\n");
    assert_false(failed(text_result(&conn->out)));
    struct span all = text_span(&conn->out);
    if (reply->how == ORIGIN_HALF)
        all.len /= 2;
    stream_write(conn->stream, &all, 1, written, conn);
}

static void reply_now(struct conn *conn)
{
    struct origin *origin = conn->origin;
    conn->answering = true;
    conn->reply = (struct origin_reply){0};
    origin->requests++;
    conn->request.on_connection = ++conn->requests;
    if (origin->choose)
        origin->choose(origin, &conn->request, &conn->reply);
    switch (conn->reply.how) {
    case ORIGIN_CLOSE:
        conn_close(conn, STREAM_CLOSE);
        return;
    case ORIGIN_RESET:
        conn_close(conn, STREAM_RESET);
        return;
    case ORIGIN_NEVER:
        return;
    default:
        conn->timer.fired = answer;
        timer_start(origin->loop, &conn->timer, loop_now(origin->loop) + conn->reply.delay);
    }
}

/* ---- requests ---- */

static struct span keep(char *buffer, size_t size, struct span from)
{
    snprintf(buffer, size, "%.*s", SPAN_FMT(from));
    return span_cstr(buffer);
}

static void take_head(struct conn *conn, const struct h1_head *head)
{
    struct origin_request *request = &conn->request;
    *request = (struct origin_request){.method = head->method};
    request->target = keep(conn->target, sizeof(conn->target), head->target);
    for (size_t i = 0; i < head->headers_len; i++) {
        const struct h1_header *h = &head->headers[i];
        if (h->id == H1_FIELD_TRACEPARENT)
            request->traceparent = keep(conn->trace, sizeof(conn->trace), h->value);
        else if (h->id == H1_FIELD_TRACESTATE)
            request->tracestate = keep(conn->state, sizeof(conn->state), h->value);
        else if (h->id == H1_FIELD_X_REQUEST_ID)
            request->request_id = keep(conn->id, sizeof(conn->id), h->value);
        else if (h->id == H1_FIELD_HOST)
            request->host = keep(conn->host, sizeof(conn->host), h->value);
    }
}

static void take_body(struct conn *conn, struct span bytes)
{
    struct origin_request *request = &conn->request;
    request->body_len += bytes.len;
    request->body = span_from(bytes, bytes.len - MIN(bytes.len, sizeof(conn->tail)));
    memcpy(conn->tail, request->body.ptr, request->body.len);
    request->body.ptr = conn->tail;
}

static void look(struct conn *conn)
{
    struct h1_header headers[32];
    struct h1_out out = {.headers = headers, .headers_max = ARRAY_LEN(headers)};
    struct span rest = text_span(&conn->in);
    bool whole = false;
    while (!whole && !conn->answering) {
        size_t used;
        enum h1_event event = h1_read(&conn->h1, rest, &used, &out);
        rest = span_from(rest, used);
        if (event == H1_MORE)
            break;
        if (event == H1_HEAD)
            take_head(conn, &out.head);
        else if (event == H1_BODY)
            take_body(conn, out.body);
        else if (event == H1_END)
            whole = true;
        else
            fail_msg("the client sent no HTTP: %s", out.reason);
    }
    if (rest.len)
        memmove(conn->in.ptr, rest.ptr, rest.len);
    conn->in.len = rest.len;
    if (whole)
        reply_now(conn);
}

static void on_read(void *arg, struct stream *stream, result r, struct span bytes)
{
    struct conn *conn = arg;
    if (!conn->stream)
        return;
    if (failed(r) || bytes.len == 0) {
        conn_close(conn, STREAM_CLOSE);
        return;
    }
    text_append(&conn->in, bytes);
    stream_read(stream, (struct span_mut){NULL, 0}, on_read, conn);
    look(conn);
}

static void accepted(void *arg, struct listener *listener, struct io_detached detached)
{
    struct origin *origin = arg;
    struct conn *conn = mem_must(MEM_NEW(struct conn), sizeof(*conn));
    conn->origin = origin;
    assert_false(failed(stream_adopt(origin->loop, detached, &conn->stream)));
    text_init(&conn->in, 16u << 20);
    text_init(&conn->out, 16u << 20);
    h1_init(&conn->h1, H1_SERVER, &h1_limits_default);
    list_push(&origin->conns, &conn->node);
    origin->accepted++;
    origin->open++;
    stream_read(conn->stream, (struct span_mut){NULL, 0}, on_read, conn);
}

/* ---- life ---- */

void origin_start(struct origin *origin, struct loop *loop, const struct io_address *at)
{
    struct diag diag = {0};
    origin->loop = loop;
    list_init(&origin->conns);
    list_init(&origin->closing);
    if (failed(listener_open(loop, at, NULL, accepted, origin, &origin->listener, &diag)))
        fail_msg("%s", diag.text);
    listener_address(origin->listener, &origin->address);
}

void origin_close_connections(struct origin *origin, enum stream_close_how how)
{
    struct list_node *node;
    while ((node = list_first(&origin->conns)))
        conn_close(CONTAINER_OF(node, struct conn, node), how);
}

void origin_stop(struct origin *origin)
{
    origin_close_connections(origin, STREAM_CLOSE);
    listener_close(steal(&origin->listener));
}

void origin_release(struct origin *origin)
{
    struct list_node *node;
    while ((node = list_first(&origin->conns)) || (node = list_first(&origin->closing))) {
        struct conn *conn = CONTAINER_OF(node, struct conn, node);
        timer_stop(origin->loop, &conn->timer);
        conn_free(conn);
    }
}
