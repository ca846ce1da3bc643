/* HTTP/1 as it comes, for the role that FUZZ_ROLE names. What was read must not depend on
 * where the bytes were cut, on the caller's reading past the codec, or on its body_max;
 * and what the writer makes of it reads the same again. */
#include "base/alloc.h"
#include "base/test_fuzz.h"
#include "base/test_random.h"
#include "wire/http1_head.h"
#include "wire/http1_write.h"
#include "wire/test_http1_feed.h"

#include <stdio.h>

#define WRITTEN_MAX ((size_t)1 << 20)
/* Up to here a message is cut at every place. */
#define CUT_ALL_MAX 48
#define CUTS 4

static const struct h1_limits small_limits = {
    .line_bytes_max = 64,
    .header_bytes_max = 128,
    .headers_max = 4,
    .trailer_bytes_max = 32,
    .trailers_max = 2,
    .chunk_line_max = 24,
    .body_bytes_max = 40,
};

static void feed_whole(struct feed *f, const struct h1_limits *limits, struct span bytes)
{
    feed_init(f, FUZZ_ROLE, limits);
    feed_bytes(f, bytes);
    feed_eof(f);
}

static void check_same(const struct feed *whole, struct feed *cut)
{
    feed_eof(cut);
    ASSERT(span_eq(text_span(&whole->record), text_span(&cut->record)));
    ASSERT(whole->error == cut->error && whole->messages == cut->messages);
    feed_release(cut);
}

static void check_cut(const struct feed *whole, const struct h1_limits *limits, struct span bytes,
                      size_t at)
{
    struct feed cut;
    feed_init(&cut, FUZZ_ROLE, limits);
    feed_bytes(&cut, span_first(bytes, at));
    feed_bytes(&cut, span_from(bytes, at));
    check_same(whole, &cut);
}

static void check_cuts(const struct feed *whole, const struct h1_limits *limits, struct span bytes)
{
    uint64_t seed = fuzz_seed(bytes);
    struct feed pieces;
    if (bytes.len <= CUT_ALL_MAX) {
        for (size_t at = 1; at < bytes.len; at++)
            check_cut(whole, limits, bytes, at);
    } else {
        for (int i = 0; i < CUTS; i++)
            check_cut(whole, limits, bytes, test_random(&seed) % bytes.len);
    }
    feed_init(&pieces, FUZZ_ROLE, limits);
    for (size_t at = 0; at < bytes.len;) {
        size_t len = test_random(&seed) % 9 + 1;
        feed_bytes(&pieces, span_first(span_from(bytes, at), len));
        at += len;
    }
    check_same(whole, &pieces);
    feed_init(&pieces, FUZZ_ROLE, limits);
    feed_pieces(&pieces, bytes, 1);
    check_same(whole, &pieces);
}

/* A caller that takes body bytes past the codec and otherwise wants few at a time; and
 * writes all it reads. */
struct copier {
    struct h1 h1;
    struct h1_header headers[FEED_HEADERS_MAX];
    struct h1_out out;
    struct h1_writer writer;
    struct text body;
    size_t complete; /* bytes written up to the last H1_END */
    unsigned messages;
    bool chunked, old, tunnel;
    int error;
};

static void write_fields(struct copier *c)
{
    for (size_t i = 0; i < c->out.head.headers_len; i++)
        h1_write_header(&c->writer, c->out.head.headers[i].name, c->out.head.headers[i].value);
    h1_write_end(&c->writer);
}

static size_t count(const struct h1_head *head, struct span name)
{
    size_t found = 0;
    for (size_t i = 0; i < head->headers_len; i++)
        found += span_eq_nocase(head->headers[i].name, name);
    return found;
}

static void check_fields(const struct h1_head *head)
{
    for (size_t i = 0; i < head->headers_len; i++) {
        struct span name = head->headers[i].name, value = head->headers[i].value;
        ASSERT(name.len > 0 && span_eq(value, span_trim(value)));
        for (size_t b = 0; b < name.len; b++)
            ASSERT(h1_tchar(name.ptr[b]));
        for (size_t b = 0; b < value.len; b++)
            ASSERT(value.ptr[b] == '\t' || (value.ptr[b] >= ' ' && value.ptr[b] != 0x7f));
    }
}

/* What no accepted head may be, whoever reads it next (RFC 9112 §3.2, §6.1, §6.3). */
static void check_head(const struct h1_head *head)
{
    size_t lengths = count(head, SPAN("content-length"));
    size_t codings = count(head, SPAN("transfer-encoding"));
    ASSERT(lengths <= 1 && (lengths == 0 || codings == 0));
    ASSERT(codings == 0 || head->minor == 1);
    ASSERT(head->no_body + head->chunked + head->until_close <= 1);
    ASSERT(!head->chunked || codings > 0);
    if (FUZZ_ROLE == H1_SERVER) {
        ASSERT(head->chunked == (codings > 0) && !head->until_close);
        ASSERT(count(head, SPAN("host")) == 1 || head->minor == 0);
        ASSERT(head->chunked == (head->content_length < 0) &&
               (lengths || head->content_length <= 0));
    }
}

static void write_head(struct copier *c)
{
    const struct h1_head *head = &c->out.head;
    check_head(head);
    check_fields(head);
    c->chunked = head->chunked;
    c->old = c->old || head->minor == 0;
    if (FUZZ_ROLE == H1_SERVER) {
        h1_write_request(&c->writer, head->method_text, head->target);
    } else {
        char line[32];
        snprintf(line, sizeof(line), "HTTP/1.1 %d ", head->status);
        h1_write_raw(&c->writer, span_cstr(line));
        h1_write_raw(&c->writer, head->reason);
        h1_write_raw(&c->writer, SPAN("\r\n"));
    }
    write_fields(c);
}

static void write_body(struct copier *c, struct span body)
{
    text_append(&c->body, body);
    if (c->chunked)
        h1_write_chunk_head(&c->writer, body.len);
    h1_write_raw(&c->writer, body);
    if (c->chunked)
        h1_write_raw(&c->writer, H1_CHUNK_TAIL);
}

/* False when nothing more comes of these bytes. */
static bool copy_event(struct copier *c, enum h1_event event)
{
    switch (event) {
    case H1_HEAD:
        write_head(c);
        return true;
    case H1_BODY:
        ASSERT(c->out.body.len > 0 && (!c->out.body_max || c->out.body.len <= c->out.body_max));
        write_body(c, c->out.body);
        return true;
    case H1_TRAILERS:
        h1_write_last_chunk(&c->writer);
        write_fields(c);
        c->chunked = false;
        return true;
    case H1_END:
        if (c->chunked)
            h1_write_raw(&c->writer, H1_CHUNK_LAST);
        c->complete = h1_writer_span(&c->writer).len;
        c->messages++;
        h1_next(&c->h1);
        return true;
    case H1_ERROR:
    case H1_PREFACE:
        c->error = c->out.status;
        return false;
    case H1_TUNNEL:
        c->tunnel = true;
        return false;
    case H1_MORE:
        return false;
    }
    return false;
}

static void copy_all(struct copier *c, struct span bytes)
{
    uint64_t seed = fuzz_seed(bytes);
    bool more = true;
    while (more) {
        uint64_t bypass = h1_body_bypass(&c->h1);
        size_t used = 0;
        if (bypass > 0 && bytes.len > 0 && test_random(&seed) % 2) {
            struct span taken = span_first(bytes, MIN(bypass, test_random(&seed) % 32 + 1));
            h1_body_skip(&c->h1, taken.len);
            write_body(c, taken);
            bytes = span_from(bytes, taken.len);
        }
        c->out.headers = c->headers;
        c->out.headers_max = FEED_HEADERS_MAX;
        c->out.body_max = test_random(&seed) % 32 + 1;
        more = copy_event(c, h1_read(&c->h1, bytes, &used, &c->out));
        ASSERT(used <= bytes.len);
        bytes = span_from(bytes, used);
    }
    if (!c->error && !c->tunnel)
        (void)copy_event(c, h1_eof(&c->h1, &c->out));
}

static void check_written(const struct feed *whole, struct span bytes)
{
    struct copier *c = mem_must(MEM_NEW(struct copier), sizeof(*c));
    struct span_mut written = {mem_must(mem_alloc(WRITTEN_MAX), WRITTEN_MAX), WRITTEN_MAX};
    h1_init(&c->h1, FUZZ_ROLE, &h1_limits_default);
    h1_writer_init(&c->writer, written);
    text_init(&c->body, WRITTEN_MAX);
    copy_all(c, bytes);
    ASSERT(c->messages == whole->messages && c->error == whole->error);
    ASSERT(span_eq(text_span(&c->body), text_span(&whole->bodies)));
    ASSERT(!failed(h1_writer_result(&c->writer)));
    /* The writer speaks HTTP/1.1, in which some of HTTP/1.0 means something else. */
    if (!c->old) {
        struct feed again;
        feed_whole(&again, &h1_limits_default, span_of(written.ptr, c->complete));
        ASSERT(!again.error && again.messages == whole->messages);
        ASSERT(span_eq(text_span(&again.record),
                       span_first(text_span(&whole->record), whole->complete)));
        feed_release(&again);
    }
    text_release(&c->body);
    mem_free(written.ptr);
    mem_free(c);
}

/* Whatever a caller passes on, what comes out is one head with just those fields, or a
 * failure: nothing begins a line of its own. */
static void check_writer(struct span any)
{
    uint8_t buffer[512];
    struct h1_writer w;
    struct feed f;
    struct span value = span_first(any, 200), name = span_cut(&value, ':');
    uint64_t number = fuzz_seed(any);
    int status = (int)(number % 1100);
    h1_writer_init(&w, (struct span_mut){buffer, number % sizeof(buffer)});
    if (FUZZ_ROLE == H1_SERVER)
        h1_write_request(&w, SPAN("GET"), SPAN("/"));
    else
        h1_write_status(&w, status);
    h1_write_header(&w, SPAN("host"), SPAN("a"));
    h1_write_header(&w, name, value);
    h1_write_header_u64(&w, SPAN("x-number"), number);
    h1_write_end(&w);
    result r = h1_writer_result(&w);
    ASSERT(h1_writer_span(&w).len <= number % sizeof(buffer));
    ASSERT(!failed(r) || is(r, ERR_SYNTAX) || is(r, ERR_TOO_LARGE) || is(r, ERR_RANGE));
    if (failed(r))
        return;
    feed_init(&f, FUZZ_ROLE, &h1_limits_default);
    feed_bytes(&f, h1_writer_span(&w));
    struct span record = text_span(&f.record), fields = SPAN("host=a\n");
    size_t at = span_search(record, fields);
    /* A field that frames may be refused; others are read as they were given. */
    if (!f.error && at < record.len) {
        struct span rest = span_from(record, at + fields.len);
        ASSERT(span_starts(rest, name));
        rest = span_from(rest, name.len + 1);
        ASSERT(span_starts(rest, span_trim(value)));
        ASSERT(span_starts(span_from(rest, span_trim(value).len), SPAN("\nx-number=")));
    }
    feed_release(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct span all = span_of(bytes, len);
    struct feed whole;
    feed_whole(&whole, &h1_limits_default, all);
    check_cuts(&whole, &h1_limits_default, all);
    check_written(&whole, all);
    check_writer(all);
    feed_release(&whole);
    feed_whole(&whole, &small_limits, all);
    check_cuts(&whole, &small_limits, all);
    feed_release(&whole);
    return 0;
}
