#include "net/client.h"

#include "base/alloc.h"
#include "base/arena.h"
#include "wire/http1.h"
#include "wire/http1_write.h"

#define HEADERS_MAX 128
#define HEAD_MAX 65536
#define ARENA_MAX (1 << 20)
/* A collected body up to this keeps its memory for the next one. */
#define BODY_KEEP_MAX ((size_t)64 << 10)

struct client {
    struct loop *loop;
    struct stream *stream; /* NULL once it is being closed */
    struct io_timer timer;
    struct io_post free_post, more_post;
    struct h1 h1;
    struct h1_limits limits;
    struct arena arena; /* of one request and its answer */
    struct text in;     /* read and not consumed */
    struct text body;
    struct client_response response;
    char host[160];
    client_connect_fn connect_fn;
    const struct client_events *events; /* NULL: nothing is asked for */
    void *arg;
    client_response_fn response_fn; /* of client_send */
    void *response_arg;
    void (*broken_fn)(void *arg), (*closed_fn)(void *arg);
    void *broken_arg, *closed_arg;
    client_write_fn write_fn;
    struct span parts[3];
    uint8_t chunk_head[H1_CHUNK_HEAD_MAX + 2];
    int64_t parts_left; /* of a body in parts; -1: chunked */
    int part_count;     /* of `parts`, that wait for the head to be written; 0: none */
    result outcome;     /* told when the stream has closed */
    int holds;          /* callbacks to come that need this memory */
    bool connected, reading, writing, closed, ending;
    bool used;       /* a request was sent */
    bool broken;     /* no other may follow */
    bool parts_open; /* the last part was not given yet */
    bool headed;     /* the final head has come */
    bool credit, more_pending, answered;
};

static void on_read(void *arg, struct stream *stream, result r, struct span bytes);

/* ---- its end ---- */

void client_free(struct client *client)
{
    if (!client)
        return;
    timer_stop(client->loop, &client->timer);
    arena_release(&client->arena);
    text_release(&client->in);
    text_release(&client->body);
    mem_free(client);
}

/* A callback that needs the memory has come; true when that was the last. */
static bool let_go(struct client *client)
{
    if (--client->holds > 0 || !client->closed)
        return false;
    void (*fn)(void *arg) = client->closed_fn;
    void *arg = client->closed_arg;
    client_free(client);
    if (fn)
        fn(arg);
    return true;
}

static void free_now(struct io_post *post)
{
    let_go(CONTAINER_OF(post, struct client, free_post));
}

static void respond(struct client *client, result r)
{
    const struct client_events *events = steal(&client->events);
    client->response.body = text_span(&client->body);
    client->response.keep_alive &= !client->broken;
    client->broken = !client->response.keep_alive;
    events->end(client->arg, r, failed(r) ? NULL : &client->response);
}

static void on_closed(void *arg)
{
    struct client *client = arg;
    if (let_go(client))
        return;
    if (!client->closed) {
        client->ending = false;
        respond(client, client->outcome);
    }
}

static void close_stream(struct client *client)
{
    client->holds++;
    stream_close(steal(&client->stream), STREAM_CLOSE, on_closed, client);
}

void client_close(struct client *client)
{
    if (!client || client->closed)
        return;
    client->closed = true;
    timer_stop(client->loop, &client->timer);
    if (client->stream) {
        close_stream(client);
    } else if (client->holds == 0) {
        client->holds++;
        client->free_post.run = free_now;
        loop_defer(client->loop, &client->free_post);
    }
}

void client_close_then(struct client *client, void (*fn)(void *arg), void *arg)
{
    client->closed_fn = fn;
    client->closed_arg = arg;
    client_close(client);
}

/* The request has its outcome. Its body may still be on its way out: then the connection is
 * given up first, since the caller's memory is free once it knows. */
static void complete(struct client *client, result r)
{
    timer_stop(client->loop, &client->timer);
    if (failed(r) || client->parts_open)
        client->broken = true;
    if (!client->events || client->ending)
        return;
    if (!client->writing) {
        respond(client, r);
        return;
    }
    client->broken = client->ending = true;
    client->outcome = r;
    close_stream(client);
}

void client_abort(struct client *client, enum err code)
{
    client->broken = true;
    complete(client, fail(code));
}

static void on_deadline(struct io_timer *timer)
{
    complete(CONTAINER_OF(timer, struct client, timer), fail(ERR_DEADLINE));
}

/* Nothing was asked for, and nothing can be any more. */
static void break_idle(struct client *client)
{
    client->broken = true;
    void (*broken)(void *arg) = steal(&client->broken_fn);
    if (broken)
        broken(client->broken_arg);
}

void client_on_broken(struct client *client, void (*broken)(void *arg), void *arg)
{
    client->broken_fn = broken;
    client->broken_arg = arg;
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

static result take_head(struct client *client, const struct h1_head *head)
{
    if (head->status < 200 && head->status != 101)
        return OK;
    if (!head_keep(client, head))
        return fail(ERR_NO_MEMORY);
    client->headed = true;
    if (client->events->head)
        client->events->head(client->arg, &client->response);
    return OK;
}

static result take_event(struct client *client, enum h1_event event, const struct h1_out *out,
                         bool *ret_done)
{
    switch (event) {
    case H1_HEAD:
        return take_head(client, &out->head);
    case H1_BODY:
        if (client->events->body) {
            client->credit = false;
            client->events->body(client->arg, out->body);
            return OK;
        }
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

/* Body bytes wait for the caller. */
static bool must_wait(const struct client *client)
{
    return client->events && client->events->body && client->headed && !client->credit;
}

/* Whether the caller, in the event just told, has ended what was asked for. */
static bool abandoned(const struct client *client)
{
    return client->closed || client->ending || !client->events;
}

/* Reads events until more bytes are needed, the answer is whole, or the caller has to give
 * credit. Without credit, what needs none is read on: the end of a message without more
 * bytes. */
static result parse(struct client *client, struct span *rest, bool *ret_done)
{
    struct h1_header headers[HEADERS_MAX];
    struct h1_out out = {.headers = headers, .headers_max = HEADERS_MAX};
    result r = OK;
    while (!failed(r) && !*ret_done) {
        size_t used = 0;
        struct span offered = must_wait(client) ? SPAN_NONE : *rest;
        enum h1_event event = h1_read(&client->h1, offered, &used, &out);
        *rest = span_from(*rest, used);
        if (event == H1_MORE)
            break;
        r = take_event(client, event, &out, ret_done);
        if (abandoned(client))
            break;
    }
    return r;
}

/* What was not consumed stands in `in`, or is put there. */
static result keep_rest(struct client *client, struct span rest)
{
    bool inside =
        client->in.len && rest.ptr >= client->in.ptr && rest.ptr <= client->in.ptr + client->in.len;
    if (inside) {
        memmove(client->in.ptr, rest.ptr, rest.len);
        client->in.len = rest.len;
        return OK;
    }
    text_clear(&client->in);
    text_append(&client->in, rest);
    return text_result(&client->in);
}

/* Looks at `bytes`, which are `in` or, when that is empty, what was just read. */
static void advance(struct client *client, struct span bytes)
{
    bool done = false;
    result r = parse(client, &bytes, &done);
    if (abandoned(client))
        return;
    result kept = keep_rest(client, bytes);
    if (!failed(r) && !done)
        r = kept;
    if (done && client->in.len)
        client->broken = true;
    if (failed(r) || done)
        complete(client, r);
}

static void take(struct client *client, struct span bytes)
{
    if (!client->events) {
        break_idle(client); /* nothing was asked for */
        return;
    }
    client->answered = true;
    if (client->in.len == 0) {
        advance(client, bytes);
        return;
    }
    text_append(&client->in, bytes);
    result r = text_result(&client->in);
    if (failed(r))
        complete(client, r);
    else
        advance(client, text_span(&client->in));
}

static void arm(struct client *client)
{
    if (!client->stream || client->reading || must_wait(client))
        return;
    client->reading = true;
    stream_read(client->stream, (struct span_mut){NULL, 0}, on_read, client);
}

static void on_end(struct client *client)
{
    struct h1_out out = {0};
    if (!client->events) {
        break_idle(client);
        return;
    }
    bool whole = client->used && h1_eof(&client->h1, &out) == H1_END;
    client->broken = true;
    complete(client, whole ? OK : fail(ERR_CLOSED));
}

static void on_read(void *arg, struct stream *stream, result r, struct span bytes)
{
    struct client *client = arg;
    client->reading = false;
    if (!client->stream)
        return;
    if (failed(r)) {
        if (client->events)
            complete(client, r);
        else
            break_idle(client);
    } else if (bytes.len == 0) {
        on_end(client);
    } else {
        take(client, bytes);
        arm(client);
    }
}

static void more(struct io_post *post)
{
    struct client *client = CONTAINER_OF(post, struct client, more_post);
    client->more_pending = false;
    if (let_go(client) || abandoned(client))
        return;
    if (client->in.len)
        advance(client, text_span(&client->in));
    arm(client);
}

void client_more(struct client *client)
{
    client->credit = true;
    if (client->more_pending)
        return;
    client->more_pending = true;
    client->holds++;
    client->more_post.run = more;
    loop_defer(client->loop, &client->more_post);
}

bool client_answered(const struct client *client)
{
    return client->answered;
}

/* ---- the request ---- */

static void on_written(void *arg, struct stream *stream, result r);

static void write_part(struct client *client)
{
    int count = client->part_count;
    client->part_count = 0;
    client->writing = true;
    stream_write(client->stream, client->parts, count, on_written, client);
}

/* A failure is told to nobody but a part's writer: an answer may have come before it, and
 * what is read next tells. */
static void on_written(void *arg, struct stream *stream, result r)
{
    struct client *client = arg;
    client->writing = false;
    if (failed(r))
        client->broken = true;
    if (client->part_count && !failed(r) && client->stream) {
        write_part(client); /* given while the head was on its way */
        return;
    }
    client_write_fn fn = steal(&client->write_fn);
    if (fn && !client->closed)
        fn(client->arg, r);
}

static size_t head_bound(const struct client *client, const struct client_request *request)
{
    size_t bound = 512 + request->target.len + request->host.len + sizeof(client->host) +
                   request->tracestate.len + request->request_id.len;
    for (size_t i = 0; i < request->headers_len; i++)
        bound += request->headers[i].name.len + request->headers[i].value.len + 4;
    return bound;
}

static void write_framing(struct h1_writer *w, const struct client_request *request)
{
    bool has_body = request->method == METHOD_POST || request->method == METHOD_PUT ||
                    request->method == METHOD_PATCH;
    if (request->in_parts && request->parts_len < 0)
        h1_write_header(w, SPAN("Transfer-Encoding"), SPAN("chunked"));
    else if (request->in_parts)
        h1_write_header_u64(w, SPAN("Content-Length"), (uint64_t)request->parts_len);
    else if (request->body.len || has_body)
        h1_write_header_u64(w, SPAN("Content-Length"), request->body.len);
}

static void write_context(struct h1_writer *w, const struct client_request *request)
{
    char traceparent[TRACEPARENT_LEN + 1];
    if (request->trace) {
        struct span state = tracestate_carry(request->tracestate);
        trace_format(request->trace, traceparent);
        h1_write_header(w, SPAN("traceparent"), span_cstr(traceparent));
        if (state.len)
            h1_write_header(w, SPAN("tracestate"), state);
    }
    if (request->request_id.len)
        h1_write_header(w, SPAN("x-request-id"), request->request_id);
}

static result head_write(struct client *client, const struct client_request *request,
                         struct span *ret_head)
{
    size_t bound = MIN(head_bound(client, request), (size_t)HEAD_MAX);
    uint8_t *buffer = arena_alloc(&client->arena, bound);
    if (!buffer)
        return fail(ERR_NO_MEMORY);
    struct h1_writer w;
    h1_writer_init(&w, (struct span_mut){buffer, bound});
    h1_write_request(&w, span_cstr(http_method_name(request->method)), request->target);
    h1_write_header(&w, SPAN("Host"), request->host.len ? request->host : span_cstr(client->host));
    write_framing(&w, request);
    for (size_t i = 0; i < request->headers_len; i++)
        h1_write_header(&w, request->headers[i].name, request->headers[i].value);
    write_context(&w, request);
    h1_write_end(&w);
    TRY(h1_writer_result(&w));
    *ret_head = h1_writer_span(&w);
    return OK;
}

static void body_clear(struct client *client, uint64_t bytes_max)
{
    if (client->body.cap > BODY_KEEP_MAX)
        text_release(&client->body);
    client->body.max = MIN(bytes_max, (uint64_t)SIZE_MAX);
    text_clear(&client->body);
}

result client_begin(struct client *client, const struct client_request *request,
                    const struct client_events *events, void *arg)
{
    if (!client->connected || client->events || client->writing)
        return fail(ERR_PRECONDITION);
    if (client->broken)
        return fail(ERR_CLOSED);
    arena_clear(&client->arena);
    TRY(head_write(client, request, &client->parts[0]));
    if (client->used)
        h1_next(&client->h1);
    client->used = true;
    client->headed = client->credit = client->answered = false;
    client->response = (struct client_response){0};
    body_clear(client, request->bytes_max);
    client->parts[1] = request->body;
    client->parts_open = request->in_parts;
    client->parts_left = request->parts_len;
    client->part_count = 0;
    client->write_fn = NULL;
    h1_expect(&client->h1, request->method);
    client->events = events;
    client->arg = arg;
    client->writing = true;
    bool whole = !request->in_parts && request->body.len > 0;
    stream_write(client->stream, client->parts, whole ? 2 : 1, on_written, client);
    if (request->deadline != TIME_NEVER)
        timer_start(client->loop, &client->timer, request->deadline);
    return OK;
}

static void sent_end(void *arg, result r, const struct client_response *response)
{
    struct client *client = arg;
    client_response_fn fn = steal(&client->response_fn);
    fn(client->response_arg, client, r, response);
}

result client_send(struct client *client, const struct client_request *request,
                   client_response_fn fn, void *arg)
{
    static const struct client_events collected = {.end = sent_end};
    TRY(client_begin(client, request, &collected, client));
    client->response_fn = fn;
    client->response_arg = arg;
    return OK;
}

static int chunk_parts(struct client *client, struct span bytes, bool last)
{
    struct h1_writer w;
    int count = 0;
    h1_writer_init(&w, (struct span_mut){client->chunk_head, sizeof(client->chunk_head)});
    if (bytes.len) {
        h1_write_chunk_head(&w, bytes.len);
        client->parts[count++] = h1_writer_span(&w);
        client->parts[count++] = bytes;
        client->parts[count++] = last ? SPAN("\r\n0\r\n\r\n") : H1_CHUNK_TAIL;
    } else if (last) {
        client->parts[count++] = H1_CHUNK_LAST;
    } else {
        client->parts[count++] = SPAN_NONE; /* nothing, and the write still completes */
    }
    return count;
}

result client_write(struct client *client, struct span bytes, bool last, client_write_fn fn)
{
    if (!client->events || !client->parts_open || client->write_fn || !client->stream)
        return fail(ERR_PRECONDITION);
    int64_t left = client->parts_left;
    if (left >= 0 && (bytes.len > (uint64_t)left || (last && bytes.len < (uint64_t)left)))
        return fail(ERR_RANGE);
    client->part_count = 1;
    if (left < 0) {
        client->part_count = chunk_parts(client, bytes, last);
    } else {
        client->parts[0] = bytes;
        client->parts_left -= (int64_t)bytes.len;
    }
    client->parts_open = !last;
    client->write_fn = fn;
    if (!client->writing)
        write_part(client);
    return OK;
}

struct span client_header(const struct client_response *response, struct span name)
{
    for (size_t i = 0; i < response->headers_len; i++)
        if (span_eq_nocase(response->headers[i].name, name))
            return response->headers[i].value;
    return SPAN_NONE;
}

/* ---- its beginning ---- */

static void on_connected(void *arg, struct stream *stream, result r)
{
    struct client *client = arg;
    if (!client->stream)
        return;
    client->connected = !failed(r);
    if (client->connected)
        arm(client);
    client->connect_fn(client->arg, client, r);
}

static struct client *client_new(struct loop *loop, const struct io_address *address)
{
    struct client *client = MEM_NEW(struct client);
    if (!client)
        return NULL;
    client->loop = loop;
    client->timer.fired = on_deadline;
    arena_init(&client->arena, 4096, ARENA_MAX);
    text_init(&client->in, ARENA_MAX);
    text_init(&client->body, 0);
    client->limits = h1_limits_default;
    client->limits.body_bytes_max = UINT64_MAX; /* the request's `bytes_max` holds */
    h1_init(&client->h1, H1_CLIENT, &client->limits);
    if (address->family == IO_UNIX)
        memcpy(client->host, "localhost", sizeof("localhost"));
    else
        io_address_format(address, client->host, sizeof(client->host));
    return client;
}

result client_connect(struct loop *loop, const struct io_address *address, client_connect_fn fn,
                      void *arg, struct client **ret_client)
{
    struct client *client = client_new(loop, address);
    if (!client)
        return fail(ERR_NO_MEMORY);
    client->connect_fn = fn;
    client->arg = arg;
    result r = stream_connect(loop, address, on_connected, client, &client->stream);
    if (failed(r)) {
        client_free(client);
        return r;
    }
    *ret_client = client;
    return OK;
}

result client_adopt(struct stream *stream, struct client **ret_client)
{
    struct io_address peer;
    stream_peer(stream, &peer);
    struct client *client = client_new(stream_loop(stream), &peer);
    if (!client)
        return fail(ERR_NO_MEMORY);
    client->stream = stream;
    client->connected = true;
    arm(client);
    *ret_client = client;
    return OK;
}
