/* Between an exchange and the codec that carries it: HTTP/1 (net/http1_server.c),
 * later HTTP/2, and a toy multiplexed one in the tests.
 *
 * The codec owns connections and bytes; the exchange owns routing, admission, limits
 * and the handler's rules (net/exchange.h). Both run on one loop. Either may call the
 * other at any time; each function says what it may lead to.
 *
 * Private to net and to the tests' codec.
 */
#pragma once

#include "base/list.h"
#include "net/server.h"
#include "wire/http1.h"

/* What a codec knows when a head is complete. The spans lie in the exchange's arena
 * or are static. */
struct request_head {
    enum http_method method;
    struct span method_text, path, query;
    const struct http_header *headers;
    size_t headers_len;
    int64_t content_length; /* -1: unknown */
};

struct response_head {
    int status;
    const struct http_header *headers;
    size_t headers_len;
    const char *type;
    int64_t length; /* -1: unknown */
};

struct connection;
struct server_loop;

/* What the exchange asks of its codec. After `respond`, `finish` or `reset` the codec
 * calls exchange_end exactly once, at once or later: when nothing of its own uses the
 * exchange's memory any more. When its connection breaks, it calls exchange_lost, not
 * from within one of these. */
struct codec_ops {
    const char *name;
    /* The handler waits for body bytes: answer with exchange_got. */
    void (*read)(struct exchange *x);
    void (*respond)(struct exchange *x, const struct response_head *head, struct span body);
    void (*begin)(struct exchange *x, const struct response_head *head);
    /* Answer with exchange_wrote from the loop, or with exchange_wrote_later; not when the
     * connection is broken, as exchange_lost fails the write. */
    void (*write)(struct exchange *x, struct span bytes);
    void (*finish)(struct exchange *x);
    void (*reset)(struct exchange *x, enum err code);
    /* Drain: no new exchange on this connection. Closes it when nothing runs; with
     * `now`, whatever runs. */
    void (*stop)(struct connection *c, bool now);
    /* Frees the connection's memory without I/O, after the loops have ended. */
    void (*free)(struct connection *c);
};

/* First member of a codec's own struct. Linked into its loop. */
struct connection {
    struct list_node node;
    const struct codec_ops *codec;
    struct server_loop *sl;
    struct stream *stream;
    uint32_t exchanges; /* in flight */
    bool secure;        /* over TLS */
    char *client;       /* the subject of the certificate that it gave; NULL: none */
};

/* How long a connection without its first request may delay a drain. */
#define DRAIN_FIRST (1 * IO_SEC)

/* Limits as they hold now on this loop. */
const struct server_config *server_loop_config(const struct server_loop *sl);
struct loop *server_loop_loop(const struct server_loop *sl);
/* The header line "Date: ...\r\n" of this second (RFC 9110 §5.6.7). */
struct span server_loop_date(struct server_loop *sl);
bool server_loop_draining(const struct server_loop *sl);
/* Scratch for one head at a time, SERVER_OUT_MAX bytes. */
#define SERVER_OUT_MAX 16384
uint8_t *server_loop_out(struct server_loop *sl);
/* HTTP/1's limits as they hold now; the address stays. */
const struct h1_limits *server_loop_http1(const struct server_loop *sl);
/* Room for the fields of one head at a time. */
#define SERVER_HEADERS_MAX 1000
struct h1_header *server_loop_slots(struct server_loop *sl);
/* Counters of bytes on the wire. */
void server_loop_count(struct server_loop *sl, uint64_t bytes_in, uint64_t bytes_out);
/* Links and unlinks a connection; the second gives its place in the limit back and
 * ends a drain when it was the last. The codec frees its memory itself. */
void connection_opened(struct server_loop *sl, struct connection *c, const struct codec_ops *codec,
                       struct stream *stream);
void connection_closed(struct connection *c);

/* A fresh exchange for `c`, or NULL without memory. */
struct exchange *exchange_open(struct connection *c, void *codec_data);
void *exchange_codec_data(const struct exchange *x);
/* The head is complete and stands in `head` (copied by value): admission, routing, the
 * handler. May answer before it returns. */
void exchange_start(struct exchange *x, const struct request_head *head);
/* The same for a head that is not one: answered with `status` and the reason, after
 * which the codec closes. */
void exchange_refuse(struct exchange *x, int status, const char *reason);
/* Where the handler wants its bytes, and whether it wants any. `ret_into->len` 0: the
 * codec's memory will do. */
bool exchange_wants(const struct exchange *x, struct span_mut *ret_into);
/* Body bytes for a handler that wants some (they may lie in what exchange_wants
 * named), or a failure. */
void exchange_got(struct exchange *x, result r, struct span bytes, bool end);
/* The write has been taken, or has failed. */
void exchange_wrote(struct exchange *x, result r);
/* The same at the end of this turn: for a codec that is done at once. */
void exchange_wrote_later(struct exchange *x, result r);
/* The client has gone. The exchange stays until the handler answers, which it may do
 * before this returns. */
void exchange_lost(struct exchange *x, enum err code);
/* The answer has been written or given up; `x` is gone. */
void exchange_end(struct exchange *x);

/* HTTP/1: takes over a stream just accepted, also on failure. ERR_NO_MEMORY. */
result http1_accept(struct server_loop *sl, struct stream *stream);
