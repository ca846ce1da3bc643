/* The server's side of toymux, and its frames. */
#include "support/toymux.h"

#include "base/alloc.h"
#include "net/codec.h"

#include <stdio.h>
#include <stdlib.h>

#define FRAME_HEAD 8
#define FRAME_MAX 65536
#define STREAMS_MAX 1000
/* Bytes that may wait for the kernel before data stops. */
#define OUT_DATA_MAX 262144
#define OUT_MAX (16u << 20)

/* ---- frames ---- */

static uint32_t u32_of(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void u32_to(uint8_t *p, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(value >> (8 * i));
}

bool toymux_next(struct span *bytes, struct toymux_frame *ret_frame, bool *ret_bad)
{
    if (bytes->len < FRAME_HEAD)
        return false;
    uint32_t word = u32_of(bytes->ptr + 4), len = word >> 8;
    if (len > FRAME_MAX || (word & 0xff) > TOY_GOAWAY) {
        *ret_bad = true;
        return false;
    }
    if (bytes->len < FRAME_HEAD + len)
        return false;
    *ret_frame = (struct toymux_frame){
        .stream = u32_of(bytes->ptr),
        .type = (enum toymux_type)(word & 0xff),
        .payload = span_of(bytes->ptr + FRAME_HEAD, len),
    };
    *bytes = span_from(*bytes, FRAME_HEAD + len);
    return true;
}

void toymux_put(struct text *out, uint32_t stream, enum toymux_type type, struct span payload)
{
    uint8_t head[FRAME_HEAD];
    u32_to(head, stream);
    u32_to(head + 4, (uint32_t)payload.len << 8 | (uint32_t)type);
    text_append(out, span_of(head, sizeof(head)));
    text_append(out, payload);
}

void toymux_put_credit(struct text *out, uint32_t stream, size_t bytes)
{
    uint8_t credit[4];
    u32_to(credit, (uint32_t)bytes);
    toymux_put(out, stream, TOY_CREDIT, span_of(credit, sizeof(credit)));
}

/* ---- connections and streams ---- */

enum toy_write { TOY_NOTHING, TOY_PIECE, TOY_ANSWER };

struct toy {
    struct connection c;
    struct list streams;
    size_t streams_len;
    struct text in, out, flying;
    enum err lost_code;
    bool writing, closing, closed, going;
};

struct toy_stream {
    struct list_node node;
    struct toy *toy;
    struct exchange *x; /* NULL once it has ended */
    uint32_t id;
    struct text in; /* body bytes not yet taken */
    bool in_end;
    size_t filled; /* of the memory that the handler named */
    uint64_t credit;
    struct span out;
    enum toy_write what;
    bool dead; /* reset by the client */
    bool no_body, head_only;
    bool pumping;
};

static const struct codec_ops toy_ops;

static void free_when_done(struct toy *toy)
{
    if (!toy->closed || toy->streams_len)
        return;
    connection_closed(&toy->c);
    text_release(&toy->in);
    text_release(&toy->out);
    text_release(&toy->flying);
    mem_free(toy);
}

static void on_closed(void *arg);

static void lose(struct toy *toy, enum err code, enum stream_close_how how)
{
    if (toy->closing)
        return;
    toy->closing = true;
    toy->lost_code = code;
    stream_close(toy->c.stream, how, on_closed, toy);
}

static void on_written(void *arg, struct stream *stream, result r);

static void flush(struct toy *toy)
{
    if (toy->writing || toy->closing)
        return;
    if (failed(text_result(&toy->out))) {
        lose(toy, ERR_NO_MEMORY, STREAM_RESET);
    } else if (toy->out.len) {
        struct text spare = toy->flying;
        toy->flying = toy->out;
        toy->out = spare;
        toy->writing = true;
        struct span bytes = text_span(&toy->flying);
        server_loop_count(toy->c.sl, 0, bytes.len);
        stream_write(toy->c.stream, &bytes, 1, on_written, toy);
    } else if (toy->going && !toy->streams_len) {
        lose(toy, ERR_DRAINING, STREAM_CLOSE);
    }
}

static void stream_free(struct toy_stream *s)
{
    text_release(&s->in);
    mem_free(s);
}

/* The exchange is over. */
static void stream_end(struct toy_stream *s)
{
    struct toy *toy = s->toy;
    exchange_end(steal(&s->x));
    list_remove(&s->node);
    toy->streams_len--;
    if (!s->pumping)
        stream_free(s);
    flush(toy);
    if (toy->closed)
        free_when_done(toy);
}

/* ---- answers ---- */

static bool is_lost(const struct toy_stream *s)
{
    return s->dead || s->toy->closing;
}

/* Sends what credit allows. True when all of `out` is on its way. */
static bool send_data(struct toy_stream *s)
{
    struct toy *toy = s->toy;
    while (s->out.len && s->credit && toy->out.len < OUT_DATA_MAX) {
        struct span part = span_first(s->out, MIN(s->credit, (uint64_t)TOYMUX_DATA_MAX));
        toymux_put(&toy->out, s->id, TOY_DATA, part);
        s->out = span_from(s->out, part.len);
        s->credit -= part.len;
    }
    return s->out.len == 0;
}

/* From the loop: more may be sent. */
static void pump_out(struct toy_stream *s)
{
    if (s->what == TOY_NOTHING || !send_data(s))
        return;
    enum toy_write what = s->what;
    s->what = TOY_NOTHING;
    if (what == TOY_PIECE) {
        exchange_wrote(s->x, OK);
        return;
    }
    toymux_put(&s->toy->out, s->id, TOY_END, SPAN_NONE);
    stream_end(s);
}

static void on_written(void *arg, struct stream *stream, result r)
{
    struct toy *toy = arg;
    toy->writing = false;
    text_clear(&toy->flying);
    if (failed(r)) {
        lose(toy, ERR_RESET, STREAM_RESET);
        return;
    }
    struct list_node *node = list_first(&toy->streams);
    while (node) {
        struct list_node *next = list_next(&toy->streams, node);
        pump_out(CONTAINER_OF(node, struct toy_stream, node));
        node = next;
    }
    flush(toy);
}

static void put_head(struct toy_stream *s, const struct response_head *head)
{
    struct text payload;
    text_init(&payload, FRAME_MAX);
    text_printf(&payload, "%d %lld\n", head->status, (long long)head->length);
    if (head->type)
        text_printf(&payload, "Content-Type: %s\n", head->type);
    for (size_t i = 0; i < head->headers_len; i++)
        text_printf(&payload, "%.*s: %.*s\n", SPAN_FMT(head->headers[i].name),
                    SPAN_FMT(head->headers[i].value));
    toymux_put(&s->toy->out, s->id, TOY_HEAD, text_span(&payload));
    text_release(&payload);
    s->no_body = s->head_only || head->status == 204 || head->status == 304;
}

static void toy_finish(struct exchange *x)
{
    struct toy_stream *s = exchange_codec_data(x);
    if (is_lost(s)) {
        stream_end(s);
        return;
    }
    s->what = TOY_ANSWER;
    pump_out(s);
}

static void toy_respond(struct exchange *x, const struct response_head *head, struct span body)
{
    struct toy_stream *s = exchange_codec_data(x);
    if (!is_lost(s)) {
        put_head(s, head);
        s->out = s->no_body ? SPAN_NONE : body;
    }
    toy_finish(x);
}

static void toy_begin(struct exchange *x, const struct response_head *head)
{
    struct toy_stream *s = exchange_codec_data(x);
    if (is_lost(s))
        return;
    put_head(s, head);
    flush(s->toy);
}

static void toy_write(struct exchange *x, struct span bytes)
{
    struct toy_stream *s = exchange_codec_data(x);
    if (s->toy->closing)
        return;
    s->out = s->no_body ? SPAN_NONE : bytes;
    if (send_data(s))
        exchange_wrote_later(x, OK);
    else
        s->what = TOY_PIECE;
    flush(s->toy);
}

static void toy_reset(struct exchange *x, enum err code)
{
    struct toy_stream *s = exchange_codec_data(x);
    if (!is_lost(s))
        toymux_put(&s->toy->out, s->id, TOY_RESET, SPAN_NONE);
    s->what = TOY_NOTHING;
    stream_end(s);
}

/* ---- requests ---- */

static void take(struct toy_stream *s, struct span_mut into, size_t len)
{
    if (!len)
        return;
    memcpy(into.ptr + s->filled, s->in.ptr, len);
    s->filled += len;
    memmove(s->in.ptr, s->in.ptr + len, s->in.len - len);
    s->in.len -= len;
    toymux_put_credit(&s->toy->out, s->id, len);
}

static void deliver(struct toy_stream *s, struct span bytes, bool end)
{
    s->filled = 0;
    exchange_got(s->x, OK, bytes, end);
}

/* One delivery; false when the handler has to wait. */
static bool pump_step(struct toy_stream *s)
{
    struct span_mut into;
    if (!s->x || s->dead || !exchange_wants(s->x, &into))
        return false;
    if (into.len) {
        take(s, into, MIN(s->in.len, into.len - s->filled));
        bool end = s->in_end && s->in.len == 0;
        if (!end && s->filled < into.len)
            return false;
        deliver(s, span_of(into.ptr, s->filled), end);
        return true;
    }
    if (!s->in.len && !s->in_end)
        return false;
    struct text bytes = s->in;
    text_init(&s->in, TOYMUX_WINDOW);
    if (bytes.len)
        toymux_put_credit(&s->toy->out, s->id, bytes.len);
    deliver(s, text_span(&bytes), s->in_end);
    text_release(&bytes);
    return true;
}

static void pump_in(struct toy_stream *s)
{
    struct toy *toy = s->toy;
    if (s->pumping)
        return;
    s->pumping = true;
    toy->streams_len++; /* so that it outlives this */
    while (pump_step(s))
        ;
    s->pumping = false;
    toy->streams_len--;
    if (!s->x)
        stream_free(s);
    flush(toy);
    if (toy->closed)
        free_when_done(toy);
}

static void toy_read(struct exchange *x)
{
    pump_in(exchange_codec_data(x));
}

/* "METHOD target length" and the lines behind it, in the arena. */
static bool parse_head(struct arena *arena, struct span payload, struct request_head *ret_head)
{
    const char *copy = arena_copy(arena, payload);
    if (!copy)
        return false;
    struct span rest = span_of(copy, payload.len);
    struct span line = span_cut(&rest, '\n');
    *ret_head = (struct request_head){.method_text = span_cut(&line, ' ')};
    struct span target = span_cut(&line, ' ');
    ret_head->method = http_method_of(ret_head->method_text);
    ret_head->path = span_cut(&target, '?');
    ret_head->query = target;
    ret_head->content_length = line.len ? strtoll((const char *)line.ptr, NULL, 10) : 0;
    struct http_header *headers = arena_zalloc(arena, 64, sizeof(*headers));
    if (!headers || !ret_head->path.len)
        return false;
    ret_head->headers = headers;
    while (rest.len && ret_head->headers_len < 64) {
        struct span value = span_cut(&rest, '\n');
        struct span name = span_cut(&value, ':');
        headers[ret_head->headers_len++] = (struct http_header){name, span_trim(value)};
    }
    return true;
}

static void on_head(struct toy *toy, const struct toymux_frame *frame)
{
    struct toy_stream *s =
        toy->going || toy->streams_len == STREAMS_MAX ? NULL : MEM_NEW(struct toy_stream);
    if (!s) {
        toymux_put(&toy->out, frame->stream, TOY_RESET, SPAN_NONE);
        return;
    }
    s->toy = toy;
    s->id = frame->stream;
    s->credit = TOYMUX_WINDOW;
    text_init(&s->in, TOYMUX_WINDOW);
    s->x = exchange_open(&toy->c, s);
    struct request_head head;
    if (!s->x) {
        mem_free(s);
        lose(toy, ERR_NO_MEMORY, STREAM_RESET);
        return;
    }
    list_push(&toy->streams, &s->node);
    toy->streams_len++;
    if (!parse_head(exchange_arena(s->x), frame->payload, &head)) {
        exchange_refuse(s->x, 400, "expected a head");
        return;
    }
    s->head_only = head.method == METHOD_HEAD;
    exchange_start(s->x, &head);
}

static struct toy_stream *find(struct toy *toy, uint32_t id)
{
    for (struct list_node *node = list_first(&toy->streams); node;
         node = list_next(&toy->streams, node)) {
        struct toy_stream *s = CONTAINER_OF(node, struct toy_stream, node);
        if (s->id == id)
            return s;
    }
    return NULL;
}

/* Nothing more can be sent. */
static void stream_lost(struct toy_stream *s, enum err code)
{
    enum toy_write what = s->what;
    s->what = TOY_NOTHING;
    if (what == TOY_ANSWER)
        stream_end(s);
    else
        exchange_lost(s->x, code);
}

static void on_closed(void *arg)
{
    struct toy *toy = arg;
    toy->closed = true;
    struct list_node *node = list_first(&toy->streams);
    while (node) {
        struct list_node *next = list_next(&toy->streams, node);
        struct toy_stream *s = CONTAINER_OF(node, struct toy_stream, node);
        toy->streams_len++; /* so that `toy` outlives the loop */
        stream_lost(s, toy->lost_code);
        toy->streams_len--;
        node = next;
    }
    free_when_done(toy);
}

static void on_frame(struct toy *toy, const struct toymux_frame *frame)
{
    if (frame->type == TOY_HEAD) {
        on_head(toy, frame);
        return;
    }
    struct toy_stream *s = find(toy, frame->stream);
    if (!s || s->dead)
        return; /* has ended here, which the client did not know yet */
    switch (frame->type) {
    case TOY_DATA:
        text_append(&s->in, frame->payload);
        if (failed(text_result(&s->in)))
            lose(toy, ERR_SYNTAX, STREAM_RESET); /* beyond its credit */
        else
            pump_in(s);
        break;
    case TOY_END:
        s->in_end = true;
        pump_in(s);
        break;
    case TOY_RESET:
        s->dead = true;
        stream_lost(s, ERR_RESET);
        break;
    case TOY_CREDIT:
        if (frame->payload.len == 4)
            s->credit += u32_of(frame->payload.ptr);
        pump_out(s);
        break;
    default:
        break;
    }
}

static void on_read(void *arg, struct stream *stream, result r, struct span bytes)
{
    struct toy *toy = arg;
    if (toy->closing)
        return;
    if (failed(r) || bytes.len == 0) {
        lose(toy, failed(r) ? (enum err)r.code : ERR_CLOSED, STREAM_CLOSE);
        return;
    }
    server_loop_count(toy->c.sl, bytes.len, 0);
    text_append(&toy->in, bytes);
    struct span rest = text_span(&toy->in);
    struct toymux_frame frame;
    bool bad = failed(text_result(&toy->in));
    while (!toy->closing && toymux_next(&rest, &frame, &bad))
        on_frame(toy, &frame);
    size_t left = rest.len;
    memmove(toy->in.ptr, rest.ptr, left);
    toy->in.len = left;
    if (bad)
        lose(toy, ERR_SYNTAX, STREAM_RESET);
    flush(toy);
    if (!toy->closing)
        stream_read(stream, (struct span_mut){NULL, 0}, on_read, toy);
}

/* ---- what the server asks ---- */

static void toy_stop(struct connection *c, bool now)
{
    struct toy *toy = CONTAINER_OF(c, struct toy, c);
    if (!toy->going && !toy->closing)
        toymux_put(&toy->out, 0, TOY_GOAWAY, SPAN_NONE);
    toy->going = true;
    if (now)
        lose(toy, ERR_DRAINING, STREAM_RESET);
    else
        flush(toy);
}

static void toy_free(struct connection *c)
{
    struct toy *toy = CONTAINER_OF(c, struct toy, c);
    struct list_node *node;
    while ((node = list_pop(&toy->streams)))
        stream_free(CONTAINER_OF(node, struct toy_stream, node));
    text_release(&toy->in);
    text_release(&toy->out);
    text_release(&toy->flying);
    mem_free(toy);
}

static const struct codec_ops toy_ops = {
    .name = "toymux",
    .read = toy_read,
    .respond = toy_respond,
    .begin = toy_begin,
    .write = toy_write,
    .finish = toy_finish,
    .reset = toy_reset,
    .stop = toy_stop,
    .free = toy_free,
};

result toymux_accept(struct server_loop *sl, struct stream *stream)
{
    struct toy *toy = MEM_NEW(struct toy);
    if (!toy) {
        stream_close(stream, STREAM_RESET, NULL, NULL);
        return fail(ERR_NO_MEMORY);
    }
    list_init(&toy->streams);
    text_init(&toy->in, OUT_MAX);
    text_init(&toy->out, OUT_MAX);
    text_init(&toy->flying, OUT_MAX);
    connection_opened(sl, &toy->c, &toy_ops, stream);
    stream_read(stream, (struct span_mut){NULL, 0}, on_read, toy);
    return OK;
}
