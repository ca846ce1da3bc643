#include "net/exchange.h"

#include "base/alloc.h"
#include "net/server_private.h"

#include <stdio.h>

/* A request's body whose length is not known is reserved by blocks of this size. */
#define BODY_BLOCK 65536
/* Smaller bodies are collected in the arena, larger ones in a slab block. */
#define ARENA_BODY_MAX 16384
#define ARENA_BLOCK 4096
#define ARENA_MAX (1024 * 1024)
/* Exchanges kept warm on a loop. */
#define IDLE_EXCHANGES_MAX 64

struct collect {
    exchange_body_fn fn;
    uint8_t *ptr;
    uint64_t len, cap, max;
    struct block *block; /* that `ptr` lies in, unless it is the arena's */
};

struct exchange {
    struct list_node node;
    /* Zeroed for every use, down to `headers`. */
    struct server_loop *sl;
    struct connection *connection;
    const struct codec_ops *codec;
    void *codec_data;
    void *data;
    size_t headers_len;
    io_time started;
    uint64_t reserved, received; /* body bytes */
    uint64_t body_bytes_max;     /* as it held when the exchange began */
    size_t route_index;
    int status;
    bool counted;  /* holds one of the server's requests_max */
    bool answered; /* the handler has ended it */
    bool begun;    /* an answer in pieces is under way */
    bool gone;
    bool late;   /* the request's body did not come in time */
    bool posted; /* wrote_post is on its way */
    bool ended;  /* only wrote_post is still to come */
    exchange_read_fn read_fn;
    struct span_mut into;
    exchange_write_fn write_fn;
    void (*gone_fn)(struct exchange *x);
    struct io_post wrote_post;
    result wrote;
    struct collect collect;
    struct span request_id; /* the caller's; NULL `ptr`: none */
    struct span reason;     /* of a failure */
    struct trace_context trace;
    bool traced; /* `trace` is set */
    /* Not zeroed. */
    struct http_header headers[EXCHANGE_HEADERS_MAX];
    struct request_head head;
    struct arena arena;
};

/* ---- life ---- */

static void exchange_init(struct exchange *x, struct connection *c, void *codec_data)
{
    memset(x, 0, offsetof(struct exchange, headers));
    x->sl = c->sl;
    x->connection = c;
    x->codec = c->codec;
    x->codec_data = codec_data;
    x->route_index = c->sl->server->routes_len;
    list_push(&c->sl->exchanges, &x->node);
    c->exchanges++;
}

struct exchange *exchange_open(struct connection *c, void *codec_data)
{
    struct server_loop *sl = c->sl;
    struct list_node *node = list_pop(&sl->idle_exchanges);
    struct exchange *x;
    if (node) {
        sl->idle_len--;
        x = CONTAINER_OF(node, struct exchange, node);
    } else {
        x = MEM_NEW(struct exchange);
        if (!x)
            return NULL;
        arena_init(&x->arena, ARENA_BLOCK, ARENA_MAX);
    }
    exchange_init(x, c, codec_data);
    return x;
}

static void exchange_free(struct exchange *x)
{
    block_unref(x->collect.block);
    arena_release(&x->arena);
    mem_free(x);
}

static void exchange_recycle(struct exchange *x)
{
    struct server_loop *sl = x->sl;
    list_remove(&x->node);
    if (sl->idle_len == IDLE_EXCHANGES_MAX) {
        exchange_free(x);
        return;
    }
    block_unref(steal(&x->collect.block));
    arena_clear(&x->arena);
    list_push_front(&sl->idle_exchanges, &x->node);
    sl->idle_len++;
}

static void exchange_log(struct exchange *x, io_time took)
{
    access_log(x->sl, &(struct access_line){
                          .method = x->head.method_text,
                          .path = x->head.path,
                          .route_index = x->route_index,
                          .status = x->status,
                          .took = took,
                          .received = x->received,
                          .request_id = x->request_id,
                          .reason = x->reason,
                          .client = x->connection->client,
                          .trace = exchange_trace(x),
                      });
}

void exchange_end(struct exchange *x)
{
    struct server_loop *sl = x->sl;
    x->connection->exchanges--;
    /* Not loop_now: an answer given within one turn would have taken no time. */
    io_time now = process_clock(sl->server->process);
    exchange_account(sl, x->route_index, x->status, now - x->started);
    if (access_wanted(sl, x->status))
        exchange_log(x, now - x->started);
    if (x->reserved)
        quota_give(&sl->server->request_bytes, x->reserved);
    if (x->counted)
        quota_give(&sl->server->requests, 1);
    x->ended = true;
    if (!x->posted)
        exchange_recycle(x);
}

static void exchanges_free(struct list *exchanges)
{
    struct list_node *node;
    while ((node = list_pop(exchanges)))
        exchange_free(CONTAINER_OF(node, struct exchange, node));
}

void exchanges_release(struct server_loop *sl)
{
    exchanges_free(&sl->exchanges);
    exchanges_free(&sl->idle_exchanges);
}

/* ---- the head: identity, admission and routing ---- */

/* The caller's name for its request comes back with the answer and into the log. */
static void take_request_id(struct exchange *x)
{
    struct span id = exchange_header(x, SPAN("x-request-id"));
    if (!id.ptr || !request_id_valid(id))
        return;
    x->request_id = id;
    x->headers[x->headers_len++] = (struct http_header){SPAN("X-Request-Id"), id};
}

/* A span of ours below the caller's; a trace of our own where none came, or a broken
 * one (W3C Trace Context §3.2). */
const struct trace_context *exchange_trace(struct exchange *x)
{
    struct trace_context parent;
    if (x->traced)
        return &x->trace;
    x->traced = true;
    if (trace_parse(exchange_header(x, SPAN("traceparent")), &parent))
        trace_child(&x->sl->trace_ids, &parent, &x->trace);
    else
        trace_root(&x->sl->trace_ids, &x->trace);
    return &x->trace;
}

static void answer_no_route(struct exchange *x, const struct route_found *found)
{
    if (!found->allowed) {
        exchange_respond(x, 404, "text/plain", SPAN("404 not found\n"));
        return;
    }
    char allow[128] = "";
    size_t len = 0;
    for (int m = 0; m < METHOD_OTHER; m++)
        if (found->allowed & ROUTE_METHOD(m))
            len += (size_t)snprintf(allow + len, sizeof(allow) - len, "%s%s", len ? ", " : "",
                                    http_method_name((enum http_method)m));
    exchange_add_header(x, "Allow", span_of(allow, MIN(len, sizeof(allow) - 1)));
    exchange_respond(x, 405, "text/plain", SPAN("405 method not allowed\n"));
}

static bool admit(struct exchange *x, bool always)
{
    struct server *server = x->sl->server;
    int64_t length = x->head.content_length;
    if (length > 0 && (uint64_t)length > x->body_bytes_max) {
        exchange_fail(x, ERR_TOO_LARGE, "the body is larger than body_bytes_max");
        return false;
    }
    x->counted = !always;
    if (x->counted && !quota_take(&server->requests, 1)) {
        x->counted = false;
        exchange_fail(x, ERR_EXHAUSTED, "requests_max is reached");
        return false;
    }
    uint64_t wanted = length < 0 ? BODY_BLOCK : (uint64_t)length;
    if (wanted && !quota_take(&server->request_bytes, wanted)) {
        exchange_fail(x, ERR_EXHAUSTED, "request_bytes_max is reached");
        return false;
    }
    x->reserved = wanted;
    return true;
}

void exchange_start(struct exchange *x, const struct request_head *head)
{
    struct server *server = x->sl->server;
    x->head = *head;
    x->started = loop_now(x->sl->loop);
    x->body_bytes_max = x->sl->config.body_bytes_max;
    take_request_id(x);
    struct route_found found = route_find(server, head->method, head->path);
    x->route_index = found.index;
    if (!admit(x, found.route && found.route->always))
        return;
    if (found.route)
        found.route->start(x, found.table->arg);
    else if (found.table && !found.allowed)
        found.table->fallback(x, found.table->arg);
    else
        answer_no_route(x, &found);
}

/* For the client and for the log. */
static void set_reason(struct exchange *x, struct span reason)
{
    size_t at = x->headers_len;
    exchange_add_header(x, "Weir-Reason", reason);
    if (x->headers_len > at)
        x->reason = x->headers[at].value;
}

void exchange_refuse(struct exchange *x, int status, const char *reason)
{
    x->head = (struct request_head){0};
    x->started = loop_now(x->sl->loop);
    set_reason(x, span_cstr(reason));
    const char *body = arena_printf(&x->arena, "%s\n", reason);
    exchange_respond(x, status, "text/plain", span_cstr(body));
}

/* ---- the request, for handlers ---- */

enum http_method exchange_method(const struct exchange *x)
{
    return x->head.method;
}

struct span exchange_path(const struct exchange *x)
{
    return x->head.path;
}

struct span exchange_query(const struct exchange *x)
{
    return x->head.query;
}

struct span exchange_header(const struct exchange *x, struct span name)
{
    for (size_t i = 0; i < x->head.headers_len; i++)
        if (span_eq_nocase(x->head.headers[i].name, name))
            return x->head.headers[i].value;
    return SPAN_NONE;
}

int64_t exchange_content_length(const struct exchange *x)
{
    return x->head.content_length;
}

struct arena *exchange_arena(struct exchange *x)
{
    return &x->arena;
}

struct loop *exchange_loop(const struct exchange *x)
{
    return x->sl->loop;
}

bool exchange_secure(const struct exchange *x)
{
    return x->connection->secure;
}

void exchange_set_data(struct exchange *x, void *data)
{
    x->data = data;
}

void *exchange_data(const struct exchange *x)
{
    return x->data;
}

void *exchange_codec_data(const struct exchange *x)
{
    return x->codec_data;
}

bool exchange_is_gone(const struct exchange *x)
{
    return x->gone;
}

void exchange_on_gone(struct exchange *x, void (*gone)(struct exchange *x))
{
    x->gone_fn = gone;
}

static void unref_block(void *block)
{
    block_unref(block);
}

result exchange_keep(struct exchange *x, struct block *block)
{
    result r = arena_on_clear(&x->arena, unref_block, block);
    if (failed(r))
        block_unref(block);
    return r;
}

/* ---- the body ---- */

void exchange_read(struct exchange *x, struct span_mut into, exchange_read_fn fn)
{
    ASSERT(!x->read_fn && !x->answered);
    x->read_fn = fn;
    x->into = into;
    if (x->gone)
        exchange_got(x, fail(ERR_CLOSED), SPAN_NONE, true);
    else
        x->codec->read(x);
}

bool exchange_wants(const struct exchange *x, struct span_mut *ret_into)
{
    *ret_into = x->into;
    return x->read_fn != NULL;
}

/* A body whose length is not known raises its reservation block by block. */
static result reserve_received(struct exchange *x, uint64_t len)
{
    x->received += len;
    if (x->received > x->body_bytes_max && x->head.content_length < 0)
        return fail(ERR_TOO_LARGE);
    if (x->received <= x->reserved || x->head.content_length >= 0)
        return OK;
    uint64_t missing = (x->received - x->reserved + BODY_BLOCK - 1) / BODY_BLOCK * BODY_BLOCK;
    if (!quota_take(&x->sl->server->request_bytes, missing))
        return fail(ERR_EXHAUSTED);
    x->reserved += missing;
    return OK;
}

void exchange_got(struct exchange *x, result r, struct span bytes, bool end)
{
    exchange_read_fn fn = steal(&x->read_fn);
    ASSERT(fn);
    x->late |= is(r, ERR_DEADLINE);
    if (!failed(r))
        r = reserve_received(x, bytes.len);
    fn(x, r, failed(r) ? SPAN_NONE : bytes, end || failed(r));
}

static void collect_more(struct exchange *x);

static void collect_done(struct exchange *x, result r)
{
    struct collect *c = &x->collect;
    c->fn(x, r, failed(r) ? SPAN_NONE : span_of(c->ptr, c->len));
}

static void collect_got(struct exchange *x, result r, struct span bytes, bool end)
{
    struct collect *c = &x->collect;
    c->len += bytes.len;
    if (!failed(r) && c->len > c->max)
        r = fail(ERR_TOO_LARGE);
    if (failed(r) || end)
        collect_done(x, r);
    else
        collect_more(x);
}

/* Room for `cap` bytes in all; what came so far moves along. */
static result collect_grow(struct exchange *x, uint64_t cap)
{
    struct collect *c = &x->collect;
    if (cap > x->reserved) {
        if (!quota_take(&x->sl->server->request_bytes, cap - x->reserved))
            return fail(ERR_EXHAUSTED);
        x->reserved = cap;
    }
    if (cap <= ARENA_BODY_MAX) {
        uint8_t *ptr = arena_alloc(&x->arena, cap);
        if (!ptr)
            return fail(ERR_NO_MEMORY);
        if (c->len)
            memcpy(ptr, c->ptr, c->len);
        c->ptr = ptr;
        c->cap = cap;
        return OK;
    }
    struct block *block = slab_get(x->sl->server->slab, cap);
    if (!block)
        return fail(ERR_EXHAUSTED);
    if (c->len)
        memcpy(block->ptr, c->ptr, c->len);
    block_unref(c->block);
    c->block = block;
    c->ptr = block->ptr;
    c->cap = cap;
    return OK;
}

/* All of the announced length is there; the codec has yet to say that it has ended. */
static void collect_end(struct exchange *x, result r, struct span bytes, bool end)
{
    if (!failed(r) && bytes.len)
        r = fail(ERR_SYNTAX);
    if (failed(r) || end)
        collect_done(x, r);
    else
        collect_more(x);
}

static void collect_more(struct exchange *x)
{
    struct collect *c = &x->collect;
    if (x->head.content_length > 0 && c->len == (uint64_t)x->head.content_length) {
        exchange_read(x, (struct span_mut){NULL, 0}, collect_end);
        return;
    }
    if (c->len == c->cap) {
        /* One byte above the limit, so that a body of just that size is told from a
         * larger one. */
        uint64_t least = c->max == UINT64_MAX ? c->max : c->max + 1;
        result r = collect_grow(x, MIN(c->cap ? c->cap * 2 : BODY_BLOCK, least));
        if (failed(r)) {
            collect_done(x, r);
            return;
        }
    }
    exchange_read(x, (struct span_mut){c->ptr + c->len, c->cap - c->len}, collect_got);
}

void exchange_collect(struct exchange *x, uint64_t bytes_max, exchange_body_fn fn)
{
    int64_t length = x->head.content_length;
    x->collect = (struct collect){
        .fn = fn,
        .max = MIN(bytes_max, x->body_bytes_max),
    };
    result r = OK;
    if (length > 0 && (uint64_t)length > x->collect.max)
        r = fail(ERR_TOO_LARGE);
    else if (length > 0)
        r = collect_grow(x, (uint64_t)length);
    if (failed(r) || length == 0)
        collect_done(x, r);
    else
        collect_more(x);
}

/* ---- the answer ---- */

void exchange_add_header(struct exchange *x, const char *name, struct span value)
{
    if (x->headers_len == EXCHANGE_HEADERS_MAX)
        return;
    for (size_t i = 0; i < value.len; i++)
        if ((value.ptr[i] < 0x20 && value.ptr[i] != '\t') || value.ptr[i] == 0x7f)
            return;
    char *copy = arena_copy(&x->arena, value);
    if (!copy)
        return;
    x->headers[x->headers_len++] = (struct http_header){span_cstr(name), span_of(copy, value.len)};
}

static struct response_head head_of(const struct exchange *x, const char *type, int64_t length)
{
    return (struct response_head){
        .status = x->status,
        .headers = x->headers,
        .headers_len = x->headers_len,
        .type = type,
        .length = length,
    };
}

void exchange_respond(struct exchange *x, int status, const char *type, struct span body)
{
    ASSERT(!x->answered && !x->begun);
    x->answered = true;
    x->read_fn = NULL;
    x->status = status;
    struct response_head head = head_of(x, type, (int64_t)body.len);
    x->codec->respond(x, &head, body);
}

static bool has_added(const struct exchange *x, const char *name)
{
    for (size_t i = 0; i < x->headers_len; i++)
        if (span_is(x->headers[i].name, name))
            return true;
    return false;
}

/* The first reason stands: an error whose text there is no memory for fails once more. */
void exchange_add_reason(struct exchange *x, enum err code, const char *detail)
{
    char reason[256];
    int len = snprintf(reason, sizeof(reason), detail ? "%s; %s" : "%s", err_name(code), detail);
    if (!x->reason.ptr)
        set_reason(x, span_of(reason, MIN((size_t)len, sizeof(reason) - 1)));
    if (err_retryable(code) && !has_added(x, "Retry-After"))
        exchange_add_header(x, "Retry-After", SPAN("1"));
}

/* HTTP's own status where the table's, which follows gRPC, is too coarse (RFC 9110
 * §15.5.9, §15.5.14). */
static int status_of(const struct exchange *x, enum err code)
{
    if (code == ERR_TOO_LARGE)
        return 413;
    if (code == ERR_DEADLINE && x->late)
        return 408;
    return err_http(code);
}

void exchange_fail(struct exchange *x, enum err code, const char *text)
{
    exchange_add_reason(x, code, text);
    const char *body = arena_printf(&x->arena, "%s\n", text ? text : err_text(code));
    exchange_respond(x, status_of(x, code), "text/plain", span_cstr(body));
}

void exchange_begin(struct exchange *x, int status, const char *type, int64_t length)
{
    ASSERT(!x->answered && !x->begun);
    x->begun = true;
    x->status = status;
    struct response_head head = head_of(x, type, length);
    x->codec->begin(x, &head);
}

void exchange_write(struct exchange *x, struct span bytes, exchange_write_fn fn)
{
    ASSERT(x->begun && !x->answered && !x->write_fn);
    x->write_fn = fn;
    if (x->gone)
        exchange_wrote_later(x, fail(ERR_CLOSED));
    else
        x->codec->write(x, bytes);
}

static void wrote_now(struct io_post *post)
{
    struct exchange *x = CONTAINER_OF(post, struct exchange, wrote_post);
    x->posted = false;
    if (x->ended)
        exchange_recycle(x);
    else
        exchange_wrote(x, x->wrote);
}

void exchange_wrote_later(struct exchange *x, result r)
{
    x->wrote = r;
    x->posted = true;
    x->wrote_post.run = wrote_now;
    loop_defer(x->sl->loop, &x->wrote_post);
}

void exchange_wrote(struct exchange *x, result r)
{
    exchange_write_fn fn = steal(&x->write_fn);
    if (fn)
        fn(x, r);
}

void exchange_finish(struct exchange *x)
{
    ASSERT(x->begun && !x->answered && !x->write_fn);
    x->answered = true;
    x->read_fn = NULL;
    x->codec->finish(x);
}

void exchange_reset(struct exchange *x, enum err code)
{
    ASSERT(!x->answered);
    x->answered = true;
    x->write_fn = NULL;
    x->read_fn = NULL;
    if (!x->status)
        x->status = err_http(code);
    x->codec->reset(x, code);
}

/* One notice is enough: a pending read or write fails, else `gone` is called. Each
 * may end the exchange. */
void exchange_lost(struct exchange *x, enum err code)
{
    if (x->gone)
        return;
    x->gone = true;
    if (x->answered)
        return;
    if (x->read_fn)
        exchange_got(x, fail(code), SPAN_NONE, true);
    else if (x->write_fn)
        exchange_wrote(x, fail(code));
    else if (x->gone_fn)
        x->gone_fn(x);
}
