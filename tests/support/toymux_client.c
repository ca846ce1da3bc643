/* The client's side of toymux. */
#include "base/alloc.h"
#include "base/list.h"
#include "support/toymux.h"

#include <stdlib.h>

#define BUFFER_MAX (16u << 20)
#define OUT_DATA_MAX 262144
#define HEADERS_MAX 64

struct toymux_client {
    struct loop *loop;
    struct stream *stream; /* NULL once it is being closed */
    struct list calls;
    struct text in, out, flying;
    uint32_t last_id;
    bool connected, writing, going, closed, gone;
};

struct call {
    struct list_node node;
    uint32_t id;
    toymux_response_fn fn;
    void *arg;
    struct span out;
    uint64_t credit;
    bool sent;
    struct text head, body;
    struct http_header headers[HEADERS_MAX];
    struct client_response response;
};

static void on_read(void *arg, struct stream *stream, result r, struct span bytes);

static void call_free(struct call *call)
{
    list_remove(&call->node);
    text_release(&call->head);
    text_release(&call->body);
    mem_free(call);
}

static void call_done(struct call *call, result r)
{
    list_remove(&call->node);
    call->response.body = text_span(&call->body);
    call->fn(call->arg, r, failed(r) ? NULL : &call->response);
    call_free(call);
}

static void calls_fail(struct toymux_client *client, enum err code)
{
    struct list_node *node;
    while ((node = list_first(&client->calls)))
        call_done(CONTAINER_OF(node, struct call, node), fail(code));
}

static void on_closed(void *arg)
{
    struct toymux_client *client = arg;
    text_release(&client->in);
    text_release(&client->out);
    text_release(&client->flying);
    mem_free(client);
}

void toymux_close(struct toymux_client *client)
{
    if (client->closed)
        return;
    client->closed = true;
    stream_close(steal(&client->stream), STREAM_CLOSE, on_closed, client);
    calls_fail(client, ERR_CANCELLED);
}

bool toymux_going_away(const struct toymux_client *client)
{
    return client->going;
}

/* ---- requests ---- */

static void send_data(struct toymux_client *client, struct call *call)
{
    while (call->out.len && call->credit && client->out.len < OUT_DATA_MAX) {
        struct span part = span_first(call->out, MIN(call->credit, (uint64_t)TOYMUX_DATA_MAX));
        toymux_put(&client->out, call->id, TOY_DATA, part);
        call->out = span_from(call->out, part.len);
        call->credit -= part.len;
    }
    if (!call->out.len && !call->sent) {
        call->sent = true;
        toymux_put(&client->out, call->id, TOY_END, SPAN_NONE);
    }
}

static void on_written(void *arg, struct stream *stream, result r);

static void flush(struct toymux_client *client)
{
    if (!client->connected || client->writing || client->closed || client->gone || !client->out.len)
        return;
    struct text spare = client->flying;
    client->flying = client->out;
    client->out = spare;
    client->writing = true;
    struct span bytes = text_span(&client->flying);
    stream_write(client->stream, &bytes, 1, on_written, client);
}

static void on_written(void *arg, struct stream *stream, result r)
{
    struct toymux_client *client = arg;
    client->writing = false;
    text_clear(&client->flying);
    if (failed(r) || client->closed)
        return; /* the next read tells */
    for (struct list_node *node = list_first(&client->calls); node;
         node = list_next(&client->calls, node))
        send_data(client, CONTAINER_OF(node, struct call, node));
    flush(client);
}

uint32_t toymux_send(struct toymux_client *client, const struct client_request *request,
                     toymux_response_fn fn, void *arg)
{
    struct call *call = mem_must(MEM_NEW(struct call), sizeof(*call));
    call->id = ++client->last_id;
    call->fn = fn;
    call->arg = arg;
    call->out = request->body;
    call->credit = TOYMUX_WINDOW;
    text_init(&call->head, BUFFER_MAX);
    text_init(&call->body, request->bytes_max);
    list_push(&client->calls, &call->node);
    struct text head;
    text_init(&head, TOYMUX_DATA_MAX);
    text_printf(&head, "%s %.*s %zu\n", http_method_name(request->method),
                SPAN_FMT(request->target), request->body.len);
    for (size_t i = 0; i < request->headers_len; i++)
        text_printf(&head, "%.*s: %.*s\n", SPAN_FMT(request->headers[i].name),
                    SPAN_FMT(request->headers[i].value));
    toymux_put(&client->out, call->id, TOY_HEAD, text_span(&head));
    text_release(&head);
    send_data(client, call);
    flush(client);
    return call->id;
}

static struct call *find(struct toymux_client *client, uint32_t id)
{
    for (struct list_node *node = list_first(&client->calls); node;
         node = list_next(&client->calls, node)) {
        struct call *call = CONTAINER_OF(node, struct call, node);
        if (call->id == id)
            return call;
    }
    return NULL;
}

void toymux_cancel(struct toymux_client *client, uint32_t stream)
{
    struct call *call = find(client, stream);
    if (!call)
        return;
    toymux_put(&client->out, stream, TOY_RESET, SPAN_NONE);
    call_free(call);
    flush(client);
}

/* ---- answers ---- */

static void take_head(struct call *call, struct span payload)
{
    text_append(&call->head, payload);
    struct span rest = text_span(&call->head);
    struct span line = span_cut(&rest, '\n');
    call->response.status = line.len ? (int)strtol((const char *)line.ptr, NULL, 10) : 0;
    call->response.headers = call->headers;
    call->response.keep_alive = true;
    while (rest.len && call->response.headers_len < HEADERS_MAX) {
        struct span value = span_cut(&rest, '\n');
        struct span name = span_cut(&value, ':');
        call->headers[call->response.headers_len++] = (struct http_header){name, span_trim(value)};
    }
}

static void on_frame(struct toymux_client *client, const struct toymux_frame *frame)
{
    if (frame->type == TOY_GOAWAY)
        client->going = true;
    struct call *call = find(client, frame->stream);
    if (!call)
        return;
    switch (frame->type) {
    case TOY_HEAD:
        take_head(call, frame->payload);
        break;
    case TOY_DATA:
        text_append(&call->body, frame->payload);
        toymux_put_credit(&client->out, call->id, frame->payload.len);
        break;
    case TOY_END:
        call_done(call, text_result(&call->body));
        break;
    case TOY_RESET:
        call_done(call, fail(ERR_RESET));
        break;
    case TOY_CREDIT:
        call->credit += (uint64_t)frame->payload.ptr[0] | (uint64_t)frame->payload.ptr[1] << 8 |
                        (uint64_t)frame->payload.ptr[2] << 16;
        send_data(client, call);
        break;
    case TOY_GOAWAY:
        break;
    }
}

static void on_read(void *arg, struct stream *stream, result r, struct span bytes)
{
    struct toymux_client *client = arg;
    if (client->closed)
        return;
    if (failed(r) || !bytes.len) {
        client->gone = true;
        calls_fail(client, failed(r) ? (enum err)r.code : ERR_CLOSED);
        return;
    }
    text_append(&client->in, bytes);
    struct span rest = text_span(&client->in);
    struct toymux_frame frame;
    bool bad = false;
    while (toymux_next(&rest, &frame, &bad)) {
        on_frame(client, &frame);
        if (client->closed)
            return;
    }
    size_t left = rest.len;
    memmove(client->in.ptr, rest.ptr, left);
    client->in.len = left;
    flush(client);
    stream_read(stream, (struct span_mut){NULL, 0}, on_read, client);
}

static void on_connected(void *arg, struct stream *stream, result r)
{
    struct toymux_client *client = arg;
    if (client->closed)
        return;
    if (failed(r)) {
        client->gone = true;
        calls_fail(client, (enum err)r.code);
        return;
    }
    client->connected = true;
    stream_read(stream, (struct span_mut){NULL, 0}, on_read, client);
    flush(client);
}

result toymux_connect(struct loop *loop, const struct io_address *address,
                      struct toymux_client **ret_client)
{
    struct toymux_client *client = mem_must(MEM_NEW(struct toymux_client), sizeof(*client));
    client->loop = loop;
    list_init(&client->calls);
    text_init(&client->in, BUFFER_MAX);
    text_init(&client->out, BUFFER_MAX);
    text_init(&client->flying, BUFFER_MAX);
    result r = stream_connect(loop, address, on_connected, client, &client->stream);
    if (failed(r)) {
        mem_free(client);
        return r;
    }
    *ret_client = client;
    return OK;
}
