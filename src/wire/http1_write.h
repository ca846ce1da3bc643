/* HTTP/1.1 on its way out: heads and chunk framing into the caller's buffer.
 *
 * The first failure sticks and is told once, by `h1_writer_result`; what was written
 * until then must not be sent. A name that is no token, a value with a control byte
 * other than HTAB, a target or method with a byte that would end it: ERR_SYNTAX, so
 * that nothing a caller passes on can begin a line of its own (RFC 9110 §5.5). A
 * buffer that is too short: ERR_TOO_LARGE.
 *
 * Framing is the caller's: nothing is added that was not asked for.
 *
 * Owner: the caller, on its stack. One thread.
 */
#pragma once

#include "base/result.h"
#include "base/span.h"

struct h1_writer {
    uint8_t *start, *at, *end;
    uint16_t error; /* enum err; sticks */
};

void h1_writer_init(struct h1_writer *w, struct span_mut buffer);
result h1_writer_result(const struct h1_writer *w);
/* What has been written so far. */
static inline struct span h1_writer_span(const struct h1_writer *w)
{
    return span_of(w->start, (size_t)(w->at - w->start));
}

/* "HTTP/1.1 200 OK\r\n". ERR_RANGE for a status outside 100 to 999. */
void h1_write_status(struct h1_writer *w, int status);
/* "GET /path HTTP/1.1\r\n" */
void h1_write_request(struct h1_writer *w, struct span method, struct span target);
void h1_write_header(struct h1_writer *w, struct span name, struct span value);
void h1_write_header_u64(struct h1_writer *w, struct span name, uint64_t value);
/* The empty line that ends a head or trailers. */
void h1_write_end(struct h1_writer *w);
/* Checked before and known to be clean: whole header lines, each with its CRLF. */
void h1_write_raw(struct h1_writer *w, struct span lines);

/* In front of `size` bytes of data (more than 0), which H1_CHUNK_TAIL follows. Never
 * more than H1_CHUNK_HEAD_MAX bytes. */
#define H1_CHUNK_HEAD_MAX 18
#define H1_CHUNK_TAIL SPAN("\r\n")
void h1_write_chunk_head(struct h1_writer *w, uint64_t size);
/* "0\r\n"; then trailers with h1_write_header, then h1_write_end. */
void h1_write_last_chunk(struct h1_writer *w);
/* A last chunk without trailers. */
#define H1_CHUNK_LAST SPAN("0\r\n\r\n")
