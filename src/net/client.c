#include "net/client.h"

#include "base/alloc.h"
#include "base/arena.h"
#include "wire/http1.h"
#include "wire/http1_write.h"

#include <stdio.h>

#define HEADERS_MAX 128
#define HEAD_MAX 16384
#define ARENA_MAX (1 << 20)

struct client {
    struct loop *loop;
    struct stream *stream;   /* NULL once it is being closed */
    struct tls_context *tls; /* a reference; NULL: none */
    io_time tls_deadline;
    char *name; /* whom TLS has to find there */
    struct io_timer timer;
    struct io_post free_post;
    struct h1 h1;
    struct h1_limits limits;
    struct arena arena; /* of one request and its answer */
    struct text in;     /* read and not consumed */
    struct text body;
    struct client_response response;
    char host[160];
    client_connect_fn connect_fn;
    client_response_fn response_fn;
    void *arg;
    struct span parts[2];
    result outcome; /* told when the stream has closed */
    bool connected, writing, closed, ending;
    bool used;   /* a request was sent */
    bool broken; /* no other may follow */
};

static void on_read(void *arg, struct stream *stream, result r, struct span bytes);

/* ---- its end ---- */

static void client_free(struct client *client)
{
    arena_release(&client->arena);
    text_release(&client->in);
    text_release(&client->body);
    tls_context_unref(client->tls);
    mem_free(client->name);
    mem_free(client);
}

static void free_now(struct io_post *post)
{
    client_free(CONTAINER_OF(post, struct client, free_post));
}

static void respond(struct client *client, result r)
{
    client_response_fn fn = steal(&client->response_fn);
    client->response.body = text_span(&client->body);
    client->response.keep_alive &= !client->broken;
    client->broken = !client->response.keep_alive;
    fn(client->arg, client, r, failed(r) ? NULL : &client->response);
}

static void on_closed(void *arg)
{
    struct client *client = arg;
    client->ending = false;
    if (client->closed)
        client_free(client);
    else
        respond(client, client->outcome);
}

void client_close(struct client *client)
{
    if (!client || client->closed)
        return;
    client->closed = true;
    timer_stop(client->loop, &client->timer);
    if (client->stream) {
        stream_close(steal(&client->stream), STREAM_CLOSE, on_closed, client);
    } else if (!client->ending) {
        client->free_post.run = free_now;
        loop_defer(client->loop, &client->free_post);
    }
}

/* The request has its outcome. Its body may still be on its way out: then the connection is
 * given up first, since the caller's memory is free once it knows. */
static void complete(struct client *client, result r)
{
    timer_stop(client->loop, &client->timer);
    if (failed(r))
        client->broken = true;
    if (!client->response_fn || client->ending)
        return;
    if (!client->writing) {
        respond(client, r);
        return;
    }
    client->broken = client->ending = true;
    client->outcome = r;
    stream_close(steal(&client->stream), STREAM_CLOSE, on_closed, client);
}

static void on_deadline(struct io_timer *timer)
{
    complete(CONTAINER_OF(timer, struct client, timer), fail(ERR_DEADLINE));
}

/* ---- the answer ---- */

static bool head_keep(struct client *client, const struct h1_head *head)
{
    struct http_header *headers =
        arena_zalloc(&client->arena, head->headers_len + 1, sizeof(*headers));
    if (!headers)
        return false;
    for (size_t i = 0; i < head->headers_len; i++) {
        const struct h1_header *from = &head->headers[i];
        const char *name = arena_copy(&client->arena, from->name);
        const char *value = arena_copy(&client->arena, from->value);
        if (!name || !value)
            return false;
        headers[i].name = span_of(name, from->name.len);
        headers[i].value = span_of(value, from->value.len);
    }
    client->response = (struct client_response){
        .status = head->status,
        .headers = headers,
        .headers_len = head->headers_len,
        .keep_alive = head->keep_alive,
    };
    return true;
}

static result take_event(struct client *client, enum h1_event event, const struct h1_out *out,
                         bool *ret_done)
{
    switch (event) {
    case H1_HEAD:
        return head_keep(client, &out->head) ? OK : fail(ERR_NO_MEMORY);
    case H1_BODY:
        text_append(&client->body, out->body);
        return text_result(&client->body);
    case H1_TRAILERS:
        return OK;
    case H1_END:
        *ret_done = true;
        return OK;
    default:
        return fail(ERR_SYNTAX);
    }
}

/* Reads events until more bytes are needed or the answer is whole. */
static result parse(struct client *client, bool *ret_done)
{
    struct h1_header headers[HEADERS_MAX];
    struct h1_out out = {.headers = headers, .headers_max = HEADERS_MAX};
    struct span rest = text_span(&client->in);
    result r = OK;
    while (!failed(r) && !*ret_done) {
        size_t used = 0;
        enum h1_event event = h1_read(&client->h1, rest, &used, &out);
        rest = span_from(rest, used);
        if (event == H1_MORE)
            break;
        r = take_event(client, event, &out, ret_done);
    }
    size_t left = rest.len;
    if (left)
        memmove(client->in.ptr, rest.ptr, left);
    client->in.len = left;
    return r;
}

static void on_end(struct client *client)
{
    struct h1_out out = {0};
    bool whole = client->used && h1_eof(&client->h1, &out) == H1_END;
    client->broken = true;
    complete(client, whole ? OK : fail(ERR_CLOSED));
}

static void take(struct client *client, struct span bytes)
{
    bool done = false;
    if (!client->response_fn) {
        client->broken = true; /* nothing was asked for */
        return;
    }
    text_append(&client->in, bytes);
    result r = text_result(&client->in);
    if (!failed(r))
        r = parse(client, &done);
    if (done && client->in.len)
        client->broken = true;
    if (failed(r) || done)
        complete(client, r);
}

static void on_read(void *arg, struct stream *stream, result r, struct span bytes)
{
    struct client *client = arg;
    if (!client->stream)
        return;
    if (failed(r)) {
        complete(client, r);
    } else if (bytes.len == 0) {
        on_end(client);
    } else {
        stream_read(stream, (struct span_mut){NULL, 0}, on_read, client);
        take(client, bytes);
    }
}

/* ---- the request ---- */

/* A failure is not told: an answer may have come before it, and what is read next tells. */
static void on_written(void *arg, struct stream *stream, result r)
{
    struct client *client = arg;
    client->writing = false;
    if (failed(r))
        client->broken = true;
}

static result head_write(struct client *client, const struct client_request *request,
                         struct span *ret_head)
{
    uint8_t *buffer = arena_alloc(&client->arena, HEAD_MAX);
    if (!buffer)
        return fail(ERR_NO_MEMORY);
    struct h1_writer w;
    h1_writer_init(&w, (struct span_mut){buffer, HEAD_MAX});
    h1_write_request(&w, span_cstr(http_method_name(request->method)), request->target);
    h1_write_header(&w, SPAN("Host"), span_cstr(client->host));
    if (request->body.len || request->method == METHOD_POST || request->method == METHOD_PUT ||
        request->method == METHOD_PATCH)
        h1_write_header_u64(&w, SPAN("Content-Length"), request->body.len);
    for (size_t i = 0; i < request->headers_len; i++)
        h1_write_header(&w, request->headers[i].name, request->headers[i].value);
    h1_write_end(&w);
    TRY(h1_writer_result(&w));
    *ret_head = h1_writer_span(&w);
    return OK;
}

result client_send(struct client *client, const struct client_request *request,
                   client_response_fn fn, void *arg)
{
    if (!client->connected || client->response_fn || client->writing)
        return fail(ERR_PRECONDITION);
    if (client->broken)
        return fail(ERR_CLOSED);
    arena_clear(&client->arena);
    TRY(head_write(client, request, &client->parts[0]));
    if (client->used)
        h1_next(&client->h1);
    client->used = true;
    client->response = (struct client_response){0};
    text_release(&client->body);
    text_init(&client->body, request->bytes_max);
    client->parts[1] = request->body;
    h1_expect(&client->h1, request->method);
    client->response_fn = fn;
    client->arg = arg;
    client->writing = true;
    stream_write(client->stream, client->parts, request->body.len ? 2 : 1, on_written, client);
    if (request->deadline != TIME_NEVER)
        timer_start(client->loop, &client->timer, request->deadline);
    return OK;
}

struct span client_header(const struct client_response *response, struct span name)
{
    for (size_t i = 0; i < response->headers_len; i++)
        if (span_eq_nocase(response->headers[i].name, name))
            return response->headers[i].value;
    return SPAN_NONE;
}

static void on_ready(void *arg, struct stream *stream, result r)
{
    struct client *client = arg;
    if (!client->stream)
        return;
    client->connected = !failed(r);
    if (client->connected)
        stream_read(stream, (struct span_mut){NULL, 0}, on_read, client);
    client->connect_fn(client->arg, client, r);
}

static void on_connected(void *arg, struct stream *stream, result r)
{
    struct client *client = arg;
    if (!client->stream)
        return;
    if (!failed(r) && client->tls) {
        client->stream = NULL;
        r = tls_connect(client->tls, stream, client->name, client->tls_deadline, on_ready, client,
                        &client->stream);
        if (!failed(r))
            return;
        client->broken = true;
        client->connect_fn(client->arg, client, r);
        return;
    }
    on_ready(client, stream, r);
}

result client_connect(struct loop *loop, const struct io_address *address, client_connect_fn fn,
                      void *arg, struct client **ret_client)
{
    struct client *client = MEM_NEW(struct client);
    if (!client)
        return fail(ERR_NO_MEMORY);
    client->loop = loop;
    client->connect_fn = fn;
    client->arg = arg;
    client->timer.fired = on_deadline;
    arena_init(&client->arena, 4096, ARENA_MAX);
    text_init(&client->in, ARENA_MAX);
    client->limits = h1_limits_default;
    client->limits.body_bytes_max = UINT64_MAX; /* the request's `bytes_max` holds */
    h1_init(&client->h1, H1_CLIENT, &client->limits);
    if (address->family == IO_UNIX)
        memcpy(client->host, "localhost", sizeof("localhost"));
    else
        io_address_format(address, client->host, sizeof(client->host));
    result r = stream_connect(loop, address, on_connected, client, &client->stream);
    if (failed(r)) {
        mem_free(client);
        return r;
    }
    *ret_client = client;
    return OK;
}

result client_connect_tls(struct loop *loop, const struct io_address *address,
                          struct tls_context *context, const char *name, io_time deadline,
                          client_connect_fn fn, void *arg, struct client **ret_client)
{
    struct client *client;
    if (strlen(name) >= sizeof(client->host) - sizeof(":65535"))
        return fail(ERR_TOO_LARGE);
    char *copy = mem_strdup(name);
    if (!copy)
        return fail(ERR_NO_MEMORY);
    result r = client_connect(loop, address, fn, arg, &client);
    if (failed(r)) {
        mem_free(copy);
        return r;
    }
    client->name = copy;
    client->tls = tls_context_ref(context);
    client->tls_deadline = deadline;
    /* RFC 9110 §7.2: without the port where it is the scheme's own. */
    int len = snprintf(client->host, sizeof(client->host), "%s", name);
    if (address->port != 443)
        snprintf(client->host + len, sizeof(client->host) - (size_t)len, ":%u", address->port);
    *ret_client = client;
    return OK;
}
