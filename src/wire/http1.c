#include "wire/http1.h"

#include "wire/http1_head.h"

enum state { HEAD, BODY, CHUNK_LINE, CHUNK_DATA, TRAILERS, END, TUNNEL, FAILED };

/* Of one step: go on with the bytes that are left. Beside the public events. */
#define AGAIN ((enum h1_event)(H1_ERROR + 1))

/* What of a chunk line needs no excuse: its size and line ends. */
#define CHUNK_LINE_FREE 16

const struct h1_limits h1_limits_default = {
    .line_bytes_max = 8192,
    .header_bytes_max = 32768,
    .headers_max = 100,
    .trailer_bytes_max = 8192,
    .trailers_max = 32,
    .chunk_line_max = 1024,
    .body_bytes_max = 64 << 20,
};

/* ---- llhttp ---- */

static struct h1 *h1_of(llhttp_t *parser)
{
    return CONTAINER_OF(parser, struct h1, parser);
}

/* Remembered here, because llhttp puts an error of its own in the place of ours. */
static int refuse_fields(struct h1 *h1, const char *reason)
{
    h1->status = 431;
    h1->reason = reason;
    return HPE_USER;
}

/* Spans are recorded only when the whole section stands in one call, so a name is never
 * told in parts then. Whether there is one too many is decided at its end, which does not
 * depend on how the bytes came. */
static int on_name(llhttp_t *parser, const char *at, size_t len)
{
    struct h1 *h1 = h1_of(parser);
    if (h1->out && h1->fields < h1->out->headers_max)
        h1->out->headers[h1->fields].name = span_of(at, len);
    return 0;
}

static int on_name_complete(llhttp_t *parser)
{
    struct h1 *h1 = h1_of(parser);
    bool trailers = h1->state == TRAILERS;
    if (h1->fields >= (trailers ? h1->limits->trailers_max : h1->limits->headers_max))
        return refuse_fields(h1, trailers ? "too many trailers" : "too many header fields");
    if (h1->out) {
        if (h1->fields >= h1->out->headers_max)
            return refuse_fields(h1, "more header fields than there is room for");
        struct h1_header *header = &h1->out->headers[h1->fields];
        header->value = span_of(header->name.ptr + header->name.len, 0);
    }
    h1->fields++;
    return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t len)
{
    struct h1 *h1 = h1_of(parser);
    if (h1->out) {
        struct span *value = &h1->out->headers[h1->fields - 1].value;
        *value = span_of(value->len ? value->ptr : (const uint8_t *)at, value->len + len);
    }
    return 0;
}

static int on_pause(llhttp_t *parser)
{
    (void)parser;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_header_field = on_name,
    .on_header_field_complete = on_name_complete,
    .on_header_value = on_value,
    .on_headers_complete = on_pause,
    .on_chunk_header = on_pause,
};

static llhttp_errno_t feed(struct h1 *h1, struct span bytes)
{
    h1->scanned_total += bytes.len;
    return llhttp_execute(&h1->parser, (const char *)bytes.ptr, bytes.len);
}

/* How many of the bytes were taken before the pause: it comes behind the line end of a
 * section or a chunk line. */
static size_t paused_after(const struct h1 *h1, struct span bytes)
{
    return (size_t)((const uint8_t *)llhttp_get_error_pos(&h1->parser) - bytes.ptr);
}

static void section_clear(struct h1 *h1)
{
    h1->scanned = 0;
    h1->fields = 0;
    h1->pieces = false;
}

/* ---- faults ---- */

static enum h1_event report(struct h1 *h1, struct h1_out *out)
{
    out->status = h1->status;
    out->reason = h1->reason;
    out->framed = false;
    return H1_ERROR;
}

static enum h1_event refuse(struct h1 *h1, struct h1_out *out, int status, const char *reason)
{
    h1->status = (uint16_t)(h1->role == H1_CLIENT ? 502 : status);
    h1->reason = reason;
    h1->state = FAILED;
    return report(h1, out);
}

/* One that leaves the message readable: the state stays. */
static enum h1_event refuse_framed(struct h1 *h1, struct h1_out *out, int status,
                                   const char *reason)
{
    out->status = h1->role == H1_CLIENT ? 502 : status;
    out->reason = reason;
    out->framed = true;
    return H1_ERROR;
}

static enum h1_event refuse_parsed(struct h1 *h1, struct h1_out *out, llhttp_errno_t error)
{
    if (h1->status)
        return refuse(h1, out, h1->status, h1->reason);
    return refuse(h1, out, 400, llhttp_get_error_reason(&h1->parser));
}

/* ---- sections: headers and trailers ---- */

static llhttp_errno_t section_start(struct h1 *h1, struct span bytes, struct h1_out *out)
{
    section_clear(h1);
    llhttp_init(&h1->parser, HTTP_REQUEST, &settings);
    llhttp_errno_t error = feed(h1, SPAN("GET / HTTP/1.1\r\n"));
    ASSERT(error == HPE_OK);
    h1->out = out;
    error = feed(h1, bytes);
    h1->out = NULL;
    return error;
}

/* A parser in front of the first chunk line. A head of its own, so that what is chunked is
 * decided in one place only (http1_head.c). */
static void chunks_start(struct h1 *h1)
{
    llhttp_init(&h1->parser, HTTP_REQUEST, &settings);
    llhttp_errno_t error = feed(h1, SPAN("PUT / HTTP/1.1\r\nTransfer-Encoding:chunked\r\n\r\n"));
    ASSERT(error == HPE_PAUSED);
    llhttp_resume(&h1->parser);
    h1->chunk_line = h1->chunk_waste = 0;
}

/* Reads a section that begins at `bytes`. AGAIN: it is complete, `*ret_len` bytes long, and
 * its fields stand in `out->headers`. */
static enum h1_event read_section(struct h1 *h1, struct span bytes, uint32_t bytes_max,
                                  size_t *ret_len, struct h1_out *out)
{
    struct span all = span_first(bytes, bytes_max);
    llhttp_errno_t error;
    if (h1->scanned > 0 && all.len <= h1->scanned)
        return H1_MORE;
    if (h1->scanned == 0) {
        error = section_start(h1, all, out);
    } else {
        h1->pieces = true;
        error = feed(h1, span_from(all, h1->scanned));
    }
    if (error == HPE_OK) {
        if (all.len == bytes_max)
            return refuse(h1, out, 431, "a header or trailer section above its limit");
        h1->scanned = (uint32_t)all.len;
        return H1_MORE;
    }
    if (error != HPE_PAUSED)
        return refuse_parsed(h1, out, error);
    *ret_len = paused_after(h1, all);
    if (h1->pieces) {
        error = section_start(h1, span_first(bytes, *ret_len), out);
        if (error != HPE_PAUSED)
            return refuse_parsed(h1, out, error);
    }
    return AGAIN;
}

/* ---- heads ---- */

/* RFC 9112 §2.2: one empty line before a request is passed over. */
static enum h1_event skip_empty_line(struct h1 *h1, struct span bytes, struct h1_out *out)
{
    if (h1->line_start || h1->role == H1_CLIENT)
        return AGAIN;
    if (bytes.ptr[0] != '\r')
        return AGAIN;
    if (bytes.len < 2)
        return H1_MORE;
    if (bytes.ptr[1] != '\n')
        return refuse(h1, out, 400, "a bare CR before the request");
    h1->line_start = 2;
    h1->searched = 2;
    return AGAIN;
}

/* So that a peer of another protocol gets its answer at once. */
static enum h1_event check_first_byte(struct h1 *h1, uint8_t c, struct h1_out *out)
{
    if (h1->role == H1_CLIENT)
        return c == 'H' ? AGAIN : refuse(h1, out, 400, "the response does not begin with HTTP/");
    if (h1_tchar(c))
        return AGAIN;
    if (c == 0x16)
        return refuse(h1, out, 400, "a TLS handshake on a port without TLS");
    if (c == '\r' || c == '\n')
        return refuse(h1, out, 400, "empty lines before the request");
    return refuse(h1, out, 400, "the request does not begin with a method");
}

/* Finds the end of the first line; AGAIN when it is there. */
static enum h1_event find_line(struct h1 *h1, struct span bytes, struct h1_out *out)
{
    if (bytes.len == 0 || bytes.len < h1->searched)
        return H1_MORE;
    enum h1_event event = skip_empty_line(h1, bytes, out);
    if (event != AGAIN)
        return event;
    if (bytes.len == h1->line_start)
        return H1_MORE;
    event = check_first_byte(h1, bytes.ptr[h1->line_start], out);
    if (event != AGAIN)
        return event;
    uint64_t end_max = (uint64_t)h1->line_start + h1->limits->line_bytes_max;
    struct span line = span_first(bytes, end_max);
    size_t feed_at = h1->searched + span_find(span_from(line, h1->searched), '\n');
    if (feed_at == line.len) {
        if (line.len == end_max)
            return refuse(h1, out, 414, "the first line is above its limit");
        h1->searched = (uint32_t)line.len;
        return H1_MORE;
    }
    if (bytes.ptr[feed_at - 1] != '\r')
        return refuse(h1, out, 400, "the first line does not end with CRLF");
    h1->line_end = (uint32_t)feed_at + 1;
    return AGAIN;
}

static enum h1_event read_line(struct h1 *h1, struct span bytes, struct h1_out *out)
{
    struct span line = span_of(bytes.ptr + h1->line_start, h1->line_end - h1->line_start - 2);
    out->head = (struct h1_head){0};
    if (h1->role == H1_SERVER && h1_preface_line(line)) {
        (void)refuse(h1, out, 505, "HTTP/2 with prior knowledge");
        return H1_PREFACE;
    }
    struct h1_fault fault = h1->role == H1_SERVER ? h1_request_line(line, &out->head)
                                                  : h1_status_line(line, &out->head);
    return fault.status ? refuse(h1, out, fault.status, fault.reason) : AGAIN;
}

/* The state in which the message goes on behind its head. */
static void frame(struct h1 *h1, const struct h1_head *head)
{
    section_clear(h1);
    h1->line_end = h1->line_start = h1->searched = 0;
    h1->body_left = 0;
    h1->body_bytes = 0;
    if (h1->role == H1_CLIENT) {
        if (head->status == 101 ||
            (h1->request_method == METHOD_CONNECT && head->status >= 200 && head->status < 300)) {
            h1->state = TUNNEL;
            return;
        }
        if (head->status < 200)
            return;
    }
    if (head->no_body) {
        h1->state = END;
    } else if (head->chunked) {
        chunks_start(h1);
        h1->state = CHUNK_LINE;
    } else {
        h1->body_left = head->until_close ? UINT64_MAX : (uint64_t)head->content_length;
        h1->state = BODY;
    }
}

/* The head is complete: works out what it says. */
static enum h1_event finish_head(struct h1 *h1, struct h1_out *out)
{
    struct h1_head *head = &out->head;
    head->headers = out->headers;
    head->headers_len = h1->fields;
    struct h1_fault fault = h1->role == H1_SERVER
                                ? h1_request_fields(head)
                                : h1_response_fields(head, (enum http_method)h1->request_method);
    if (fault.status && fault.status != 417)
        return refuse(h1, out, fault.status, fault.reason);
    if (h1->role == H1_CLIENT && head->status < 200 && ++h1->interim > H1_INTERIM_MAX)
        return refuse(h1, out, 502, "too many interim responses");
    frame(h1, head);
    if (h1->state == BODY && !head->until_close && h1->body_left > h1->limits->body_bytes_max)
        return refuse_framed(h1, out, 413, "Content-Length is above the limit of a body");
    if (fault.status)
        return refuse_framed(h1, out, fault.status, fault.reason);
    return H1_HEAD;
}

static enum h1_event read_head(struct h1 *h1, struct span bytes, size_t *ret_used,
                               struct h1_out *out)
{
    bool line_known = h1->line_end != 0;
    enum h1_event event = line_known ? AGAIN : find_line(h1, bytes, out);
    if (event == AGAIN && !line_known)
        event = read_line(h1, bytes, out);
    if (event != AGAIN)
        return event;
    size_t line_end = h1->line_end, len = 0;
    event = read_section(h1, span_from(bytes, line_end), h1->limits->header_bytes_max, &len, out);
    if (event == AGAIN && line_known)
        event = read_line(h1, bytes, out);
    if (event != AGAIN)
        return event;
    event = finish_head(h1, out);
    if (event == H1_HEAD || out->framed)
        *ret_used = line_end + len;
    return event;
}

/* ---- bodies ---- */

/* As many of the bytes as are body and wanted by the caller. */
static struct span body_part(const struct h1 *h1, struct span bytes, const struct h1_out *out)
{
    struct span part = span_first(bytes, h1->body_left);
    return out->body_max ? span_first(part, out->body_max) : part;
}

static enum h1_event read_body(struct h1 *h1, struct span bytes, size_t *ret_used,
                               struct h1_out *out)
{
    if (h1->body_left == 0) {
        h1->state = END;
        return AGAIN;
    }
    if (bytes.len == 0)
        return H1_MORE;
    if (h1->body_left == UINT64_MAX) {
        out->body =
            span_first(body_part(h1, bytes, out), h1->limits->body_bytes_max - h1->body_bytes);
        if (out->body.len == 0)
            return refuse(h1, out, 413, "the body is above its limit");
        h1->body_bytes += out->body.len;
    } else {
        out->body = body_part(h1, bytes, out);
        h1->body_left -= out->body.len;
    }
    *ret_used = out->body.len;
    return H1_BODY;
}

/* The line feed before a chunk's size line, the line itself. */
static enum h1_event read_chunk_line(struct h1 *h1, struct span bytes, size_t *ret_used,
                                     struct h1_out *out)
{
    struct span line = span_first(bytes, h1->limits->chunk_line_max - h1->chunk_line);
    if (bytes.len == 0)
        return H1_MORE;
    llhttp_errno_t error = feed(h1, line);
    if (error != HPE_OK && error != HPE_PAUSED)
        return refuse_parsed(h1, out, error);
    *ret_used = error == HPE_PAUSED ? paused_after(h1, line) : line.len;
    h1->chunk_line += (uint32_t)*ret_used;
    if (error == HPE_OK) {
        if (h1->chunk_line == h1->limits->chunk_line_max)
            return refuse(h1, out, 400, "a chunk's size and extensions are above their limit");
        return H1_MORE;
    }
    uint64_t size = h1->parser.content_length;
    uint64_t excused = CHUNK_LINE_FREE + 2 * MIN(size, (uint64_t)H1_CHUNK_WASTE_MAX);
    uint64_t waste = (uint64_t)h1->chunk_waste + h1->chunk_line;
    h1->chunk_waste = waste > excused ? (uint32_t)(waste - excused) : 0;
    h1->chunk_line = 0;
    if (h1->chunk_waste > H1_CHUNK_WASTE_MAX)
        return refuse(h1, out, 400, "more chunk framing than data");
    if (size == 0) {
        section_clear(h1);
        h1->state = TRAILERS;
        return AGAIN;
    }
    if (size > h1->limits->body_bytes_max - h1->body_bytes)
        return refuse(h1, out, 413, "the body is above its limit");
    h1->body_bytes += size;
    h1->body_left = size;
    llhttp_resume(&h1->parser);
    h1->state = CHUNK_DATA;
    return AGAIN;
}

/* llhttp takes data in one step, without looking at it. */
static enum h1_event read_chunk_data(struct h1 *h1, struct span bytes, size_t *ret_used,
                                     struct h1_out *out)
{
    if (bytes.len == 0)
        return H1_MORE;
    out->body = body_part(h1, bytes, out);
    llhttp_errno_t error = llhttp_execute(&h1->parser, (const char *)out->body.ptr, out->body.len);
    if (error != HPE_OK)
        return refuse_parsed(h1, out, error);
    h1->body_left -= out->body.len;
    if (h1->body_left == 0)
        h1->state = CHUNK_LINE;
    *ret_used = out->body.len;
    return H1_BODY;
}

static enum h1_event read_trailers(struct h1 *h1, struct span bytes, size_t *ret_used,
                                   struct h1_out *out)
{
    size_t len = 0;
    if (bytes.len == 0)
        return H1_MORE;
    enum h1_event event = read_section(h1, bytes, h1->limits->trailer_bytes_max, &len, out);
    if (event != AGAIN)
        return event;
    out->head = (struct h1_head){.headers = out->headers, .headers_len = h1->fields};
    struct h1_fault fault = h1_trailer_fields(&out->head);
    if (fault.status)
        return refuse(h1, out, fault.status, fault.reason);
    *ret_used = len;
    h1->state = END;
    return out->head.headers_len ? H1_TRAILERS : H1_END;
}

static enum h1_event step(struct h1 *h1, struct span bytes, size_t *ret_used, struct h1_out *out)
{
    switch ((enum state)h1->state) {
    case HEAD:
        return read_head(h1, bytes, ret_used, out);
    case BODY:
        return read_body(h1, bytes, ret_used, out);
    case CHUNK_LINE:
        return read_chunk_line(h1, bytes, ret_used, out);
    case CHUNK_DATA:
        return read_chunk_data(h1, bytes, ret_used, out);
    case TRAILERS:
        return read_trailers(h1, bytes, ret_used, out);
    case END:
        return H1_END;
    case TUNNEL:
        return H1_TUNNEL;
    case FAILED:
        break;
    }
    return report(h1, out);
}

/* ---- the public face ---- */

void h1_init(struct h1 *h1, enum h1_role role, const struct h1_limits *limits)
{
    *h1 = (struct h1){.limits = limits, .role = (uint8_t)role, .state = HEAD};
}

void h1_expect(struct h1 *h1, enum http_method method)
{
    h1->request_method = (uint8_t)method;
}

enum h1_event h1_read(struct h1 *h1, struct span bytes, size_t *ret_used, struct h1_out *out)
{
    enum h1_event event;
    size_t used = 0;
    do {
        size_t len = 0;
        event = step(h1, span_from(bytes, used), &len, out);
        used += len;
    } while (event == AGAIN);
    *ret_used = used;
    return event;
}

void h1_next(struct h1 *h1)
{
    ASSERT(h1->state == END);
    h1->state = HEAD;
    h1->interim = 0;
}

enum h1_event h1_eof(struct h1 *h1, struct h1_out *out)
{
    if (h1->state == END || (h1->state == BODY && h1->body_left == UINT64_MAX)) {
        h1->state = END;
        return H1_END;
    }
    if (h1_idle(h1))
        return H1_MORE;
    return refuse(h1, out, 400, "the connection ended within a message");
}

void h1_switch(struct h1 *h1)
{
    h1->state = TUNNEL;
}

uint64_t h1_body_bypass(const struct h1 *h1)
{
    if (h1->state != BODY)
        return 0;
    return h1->body_left == UINT64_MAX ? h1->limits->body_bytes_max - h1->body_bytes
                                       : h1->body_left;
}

void h1_body_skip(struct h1 *h1, uint64_t len)
{
    ASSERT(len <= h1_body_bypass(h1));
    if (h1->body_left == UINT64_MAX)
        h1->body_bytes += len;
    else
        h1->body_left -= len;
}

bool h1_idle(const struct h1 *h1)
{
    return h1->state == HEAD && h1->line_end == 0 && h1->searched <= h1->line_start &&
           h1->interim == 0;
}
