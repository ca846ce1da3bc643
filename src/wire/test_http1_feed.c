#include "wire/test_http1_feed.h"

#include "base/alloc.h"

#include <stdio.h>

#define TEXT_MAX (1 << 20)

void feed_init(struct feed *f, enum h1_role role, const struct h1_limits *limits)
{
    *f = (struct feed){.role = role, .headers_max = FEED_HEADERS_MAX};
    h1_init(&f->h1, role, limits);
    text_init(&f->pending, TEXT_MAX);
    text_init(&f->record, TEXT_MAX);
    text_init(&f->bodies, TEXT_MAX);
    text_init(&f->trailers, TEXT_MAX);
}

void feed_release(struct feed *f)
{
    text_release(&f->pending);
    text_release(&f->record);
    text_release(&f->bodies);
    text_release(&f->trailers);
}

static void note_headers(struct text *into, const struct h1_head *head)
{
    for (size_t i = 0; i < head->headers_len; i++) {
        text_append(into, head->headers[i].name);
        text_byte(into, '=');
        text_append(into, head->headers[i].value);
        text_byte(into, '\n');
    }
}

static void note_head(struct feed *f, const struct h1_head *head)
{
    snprintf(f->method, sizeof(f->method), "%s", http_method_name(head->method));
    snprintf(f->path, sizeof(f->path), "%.*s", SPAN_FMT(head->path));
    snprintf(f->query, sizeof(f->query), "%.*s", SPAN_FMT(head->query));
    snprintf(f->host, sizeof(f->host), "%.*s", SPAN_FMT(head->host));
    f->port = head->port;
    f->status = head->status;
    f->keep_alive = head->keep_alive;
    text_clear(&f->trailers);
    text_printf(&f->record, "HEAD %.*s|%.*s|%.*s|%s|%.*s|%d|%d|%.*s|", SPAN_FMT(head->method_text),
                SPAN_FMT(head->target), SPAN_FMT(head->path), f->query, SPAN_FMT(head->host),
                head->port, head->status, SPAN_FMT(head->reason));
    text_printf(&f->record, "%lld|%d%d%d%d%d%d%d|%.*s|%.*s\n", (long long)head->content_length,
                head->minor, head->no_body, head->chunked, head->until_close, head->keep_alive,
                head->expect_continue, head->upgrade, SPAN_FMT(head->upgrade_to),
                SPAN_FMT(head->content_type));
    note_headers(&f->record, head);
}

static void note_error(struct feed *f, const struct h1_out *out)
{
    f->error = out->status;
    f->reason = out->reason;
    f->framed = out->framed;
    text_printf(&f->record, "ERROR %d %s\n", out->status, out->reason);
}

/* Whether there may be more to get from the bytes at hand. */
static bool note(struct feed *f, enum h1_event event, const struct h1_out *out)
{
    bool body_goes_on = f->in_body && event == H1_BODY;
    f->in_body = event == H1_BODY || (f->in_body && event == H1_MORE);
    switch (event) {
    case H1_MORE:
        return false;
    case H1_HEAD:
        note_head(f, &out->head);
        return true;
    case H1_BODY:
        if (!body_goes_on)
            text_str(&f->record, "BODY ");
        text_append(&f->record, out->body);
        text_append(&f->bodies, out->body);
        return true;
    case H1_TRAILERS:
        note_headers(&f->trailers, &out->head);
        text_str(&f->record, "TRAILERS\n");
        note_headers(&f->record, &out->head);
        return true;
    case H1_END:
        text_str(&f->record, "END\n");
        f->messages++;
        f->complete = f->record.len;
        h1_next(&f->h1);
        return true;
    case H1_TUNNEL:
        text_str(&f->record, "TUNNEL\n");
        f->ended = true;
        return false;
    case H1_PREFACE:
    case H1_ERROR:
        note_error(f, out);
        f->ended = true;
        return false;
    }
    return false;
}

static bool feed_step(struct feed *f)
{
    struct span pending = text_span(&f->pending);
    struct h1_out out = {.headers = f->headers, .headers_max = f->headers_max};
    size_t used = 0;
    uint8_t *copy = mem_must(mem_alloc(pending.len), pending.len);
    if (pending.len)
        memcpy(copy, pending.ptr, pending.len);
    enum h1_event event = h1_read(&f->h1, span_of(copy, pending.len), &used, &out);
    bool more = note(f, event, &out);
    mem_free(copy);
    ASSERT(used <= pending.len);
    memmove(f->pending.ptr, f->pending.ptr + used, pending.len - used);
    f->pending.len -= used;
    return more;
}

void feed_bytes(struct feed *f, struct span bytes)
{
    if (f->ended || bytes.len == 0)
        return;
    text_append(&f->pending, bytes);
    while (feed_step(f)) {
    }
}

void feed_eof(struct feed *f)
{
    struct h1_out out = {.headers = f->headers, .headers_max = f->headers_max};
    if (!f->ended)
        (void)note(f, h1_eof(&f->h1, &out), &out);
}

void feed_pieces(struct feed *f, struct span bytes, size_t piece)
{
    if (piece == 0)
        piece = bytes.len;
    for (size_t at = 0; at < bytes.len; at += piece)
        feed_bytes(f, span_first(span_from(bytes, at), piece));
}

bool feed_quiet(const struct feed *f)
{
    return !f->error && h1_idle(&f->h1) && f->pending.len == 0;
}
