/* HTTP/1.0 and HTTP/1.1 without I/O: bytes in, events out (RFC 9112, RFC 9110).
 *
 * Both roles use the same calls: a server reads requests, a client responses.
 *
 * Reading
 *   `h1_read` takes the bytes that have come and returns one event. `*ret_used` says
 *   how many bytes from the front are done with; the others must stand at the front
 *   of the next call, followed by what has come since. They may have moved meanwhile.
 *   A head and a trailer section are not done with until they are complete: so they
 *   are always contiguous, and the spans given out point into the caller's bytes.
 *   What was looked at before is not looked at again, so a slow peer costs linear
 *   time: a section that came in pieces is read twice, once for early errors and once
 *   for its spans.
 *
 *   One message: H1_HEAD, any number of H1_BODY, H1_TRAILERS if there were any,
 *   H1_END; then `h1_next` for the next message, whose first bytes may already be
 *   there (pipelining). A client gets an H1_HEAD for each interim response too (1xx;
 *   at most H1_INTERIM_MAX) and no H1_END between them.
 *
 *            h1_init, h1_next
 *                   |
 *                   v      interim          chunk data
 *                 HEAD <----------+        +---------+
 *                   | \___________/        v         |
 *                   |----------------> CHUNK_LINE -> CHUNK_DATA
 *                   |                      | size 0
 *                   |---> BODY             v
 *                   |      |           TRAILERS
 *                   |      v               |
 *                   +---> END <------------+
 *                   +---> TUNNEL (h1_switch; 101 and 2xx to CONNECT for a client)
 *   any of them ------> FAILED: every further h1_read gives the same error
 *
 * llhttp 9 in strict mode reads header sections (also trailers) and chunk lines, each
 * section behind a stand-in for its first line. First lines are read here, so that
 * any method token passes and each fault gets its own status.
 *
 * What is refused although other servers take it: equal Content-Length fields sent
 * twice, Content-Length beside Transfer-Encoding, empty elements in
 * Transfer-Encoding, white space around a chunk size, CONNECT with a body, userinfo
 * in a target, bytes in a target that only a lax parser lets through (wire/url.h),
 * a fragment, more than one empty line before a request, a trailer that frames or
 * routes a message (Content-Length, Transfer-Encoding, Host, Connection, Upgrade,
 * Expect, Trailer, TE). Other trailers are handed over apart from the headers, and
 * must not be merged into them (RFC 9110 §6.5.1).
 * What is accepted: one empty line before a request (RFC 9112 §2.2), HTTP/1.2 to
 * HTTP/1.9 as 1.1 (RFC 9110 §2.5), an empty Host, any method that is a token.
 *
 * Owner: the connection. One thread at a time. No allocation.
 */
#pragma once

#include "base/result.h"
#include "base/span.h"
#include "wire/http.h"

#include <llhttp.h>

/* X(id, first letter, name): fields that the codec or those above it ask for by number.
 * No two have both the length and the first letter in common. */
#define H1_KNOWN(X) \
    X(ACCEPT, 'a', "accept") \
    X(ACCEPT_ENCODING, 'a', "accept-encoding") \
    X(AUTHORIZATION, 'a', "authorization") \
    X(CACHE_CONTROL, 'c', "cache-control") \
    X(CONNECTION, 'c', "connection") \
    X(CONTENT_ENCODING, 'c', "content-encoding") \
    X(CONTENT_LENGTH, 'c', "content-length") \
    X(CONTENT_TYPE, 'c', "content-type") \
    X(COOKIE, 'c', "cookie") \
    X(DATE, 'd', "date") \
    X(ETAG, 'e', "etag") \
    X(EXPECT, 'e', "expect") \
    X(FORWARDED, 'f', "forwarded") \
    X(HOST, 'h', "host") \
    X(IF_NONE_MATCH, 'i', "if-none-match") \
    X(INFERENCE_HEADER_CONTENT_LENGTH, 'i', "inference-header-content-length") \
    X(KEEP_ALIVE, 'k', "keep-alive") \
    X(LOCATION, 'l', "location") \
    X(ORIGIN, 'o', "origin") \
    X(PROXY_CONNECTION, 'p', "proxy-connection") \
    X(RETRY_AFTER, 'r', "retry-after") \
    X(SERVER, 's', "server") \
    X(TE, 't', "te") \
    X(TRACEPARENT, 't', "traceparent") \
    X(TRACESTATE, 't', "tracestate") \
    X(TRAILER, 't', "trailer") \
    X(TRANSFER_ENCODING, 't', "transfer-encoding") \
    X(UPGRADE, 'u', "upgrade") \
    X(USER_AGENT, 'u', "user-agent") \
    X(VIA, 'v', "via") \
    X(X_FORWARDED_FOR, 'x', "x-forwarded-for") \
    X(X_REQUEST_ID, 'x', "x-request-id")

enum h1_known {
    H1_FIELD_UNKNOWN,
#define X(id, first, name) H1_FIELD_##id,
    H1_KNOWN(X)
#undef X
        H1_FIELD_COUNT
};

/* The field of that name in any case, or H1_FIELD_UNKNOWN. */
enum h1_known h1_known_of(struct span name);

struct h1_header {
    struct span name, value; /* as sent; the value without white space at its ends */
    enum h1_known id;
};

/* Every member holds; none means "no limit" except UINT64_MAX in body_bytes_max. */
struct h1_limits {
    uint32_t line_bytes_max;    /* first line with its CRLF; beyond: 414 */
    uint32_t header_bytes_max;  /* header section with its CRLFs; beyond: 431 */
    uint32_t headers_max;       /* fields; beyond: 431 */
    uint32_t trailer_bytes_max; /* beyond: 431 */
    uint32_t trailers_max;      /* beyond: 431 */
    uint32_t chunk_line_max;    /* one chunk's size and extensions; beyond: 400 */
    uint64_t body_bytes_max;    /* beyond: 413 */
};
/* 8 kB, 32 kB, 100, 8 kB, 32, 1 kB, 64 MB. */
extern const struct h1_limits h1_limits_default;

/* Framing beyond what the data of its chunks can justify: every chunk line counts,
 * less 16 bytes and twice its data; the sum may not pass this. */
#define H1_CHUNK_WASTE_MAX 16384
#define H1_INTERIM_MAX 16

enum h1_role { H1_SERVER, H1_CLIENT };

enum h1_event {
    H1_MORE,     /* more bytes are needed */
    H1_HEAD,     /* `out.head` is filled */
    H1_BODY,     /* `out.body` is the next part of the body, in the caller's bytes */
    H1_TRAILERS, /* `out.head.headers` holds the trailer fields */
    H1_END,      /* the message is complete */
    H1_TUNNEL,   /* what follows is not HTTP/1; nothing is used */
    H1_PREFACE,  /* the client speaks HTTP/2 (RFC 9113 §3.4); nothing is used. Whoever
                  * cannot switch answers `out.status`, 505, and closes */
    H1_ERROR,    /* `out.status` and `out.reason` */
};

struct h1_head {
    /* a request */
    enum http_method method;
    struct span method_text, target;
    struct span path;  /* "/" for an absolute form without one, "*", "" for CONNECT */
    struct span query; /* without '?'; NULL `ptr` when there is none */
    struct span host;  /* of the target if that has one, else of Host; may be empty */
    int32_t port;      /* -1: not given */
    /* a response */
    int status;
    struct span reason;
    /* both */
    struct h1_header *headers; /* the caller's array */
    size_t headers_len;
    int64_t content_length; /* -1 when unknown. Request without the field: 0. Of a response
                             * to HEAD and a 304: what the field says */
    uint8_t minor;          /* HTTP/1.x: 0, or 1 for anything above */
    bool no_body;           /* H1_END comes next */
    bool chunked;
    bool until_close;     /* the body ends with the connection: see h1_eof */
    bool keep_alive;      /* the peer would go on after this message */
    bool expect_continue; /* the client waits for 100; only when a body follows */
    bool upgrade;         /* Connection names upgrade and `upgrade_to` is the field */
    struct span upgrade_to;
    struct span content_type; /* NULL `ptr` when there is none */
};

struct h1_out {
    /* Given by the caller with every call; as many as the limits allow, else a head may be
     * refused for want of room. May be shared by all connections of a loop. */
    struct h1_header *headers;
    size_t headers_max;
    /* H1_BODY gives at most this many bytes; 0: as many as there are. (To cut the input
     * instead would hide the rest of a trailer section.) */
    size_t body_max;
    /* The answer. */
    struct h1_head head;
    struct span body;
    int status;         /* what a server answers; 502 for a bad response */
    const char *reason; /* static text for people */
    /* With H1_ERROR: `head` is filled, and the message may be read on, so that the
     * connection survives (413 by Content-Length, 417). */
    bool framed;
};

/* Private to the codec, but embedded by the connection. About 200 bytes. */
struct h1 {
    llhttp_t parser;
    const struct h1_limits *limits;
    struct h1_out *out;     /* where spans are recorded; only inside h1_read */
    const char *reason;     /* of the failure */
    uint64_t body_left;     /* of the Content-Length or the chunk; UINT64_MAX: till close */
    uint64_t body_bytes;    /* chunk data announced so far */
    uint64_t scanned_total; /* bytes given to llhttp since h1_init: for tests */
    uint32_t scanned;       /* bytes of the present section that llhttp has had */
    uint32_t line_end;      /* length of the first line and what stands before it; 0: not there */
    uint32_t line_start;    /* bytes of an empty line before it */
    uint32_t searched;      /* bytes of the first line searched for its end */
    uint32_t chunk_line;    /* bytes of the present chunk line */
    uint32_t chunk_waste;
    uint32_t fields; /* in the present section */
    uint16_t status; /* of the failure */
    uint8_t role, state, interim;
    uint8_t request_method; /* client: of the request being answered */
    bool pieces;            /* the present section came in more than one call */
};

/* `limits` must outlive it. */
void h1_init(struct h1 *h1, enum h1_role role, const struct h1_limits *limits);
/* Client: the method of the request whose response comes next (HEAD and CONNECT change
 * what a response means). Before its first h1_read. */
void h1_expect(struct h1 *h1, enum http_method method);
enum h1_event h1_read(struct h1 *h1, struct span bytes, size_t *ret_used, struct h1_out *out);
/* After H1_END: ready for the next message. */
void h1_next(struct h1 *h1);
/* The peer has closed and every byte has been read. H1_END: that ended the message
 * (until_close). H1_MORE: between messages, nothing was cut off. H1_ERROR: it was. */
enum h1_event h1_eof(struct h1 *h1, struct h1_out *out);
/* After H1_HEAD or H1_END: the connection changes its protocol; h1_read gives H1_TUNNEL
 * from now on. */
void h1_switch(struct h1 *h1);

/* How many body bytes may be read past the codec, straight into the handler's memory: the
 * rest of the Content-Length, or of the limit for a body that ends with the connection.
 * 0 for a chunked one and outside a body. */
uint64_t h1_body_bypass(const struct h1 *h1);
/* Accounts bytes that were, at most h1_body_bypass. The next h1_read may be with no bytes,
 * to get H1_END. */
void h1_body_skip(struct h1 *h1, uint64_t len);
/* Nothing of a message has been seen since h1_init or h1_next. */
bool h1_idle(const struct h1 *h1);
