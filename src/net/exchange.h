/* The unit of net: one request and its answer, whatever connection carries it.
 *
 * HTTP/1 has one exchange at a time on a connection, HTTP/2 many; a handler cannot
 * tell. The codec under it (net/codec.h) turns bytes into these calls and back.
 *
 * Life
 *   head complete -> admission -> route -> handler's `start`
 *   -> any number of exchange_read -> exchange_respond, or
 *      exchange_begin + exchange_write... + exchange_finish, or exchange_reset
 *
 * Rules
 *   X1  The handler has the exchange from `start` until it calls exchange_respond,
 *       exchange_finish or exchange_reset: then it is gone for the handler, while
 *       net may still be writing. Exactly one of them is called, once.
 *   X2  Callbacks run from the loop, never inside the call that asked for them,
 *       except those of exchange_read and exchange_collect.
 *   X3  When the client goes away, `gone` is called once, at most; the handler
 *       still answers (into nothing), so that there is one way to end.
 *   X4  Memory handed to read, respond or write stays until the exchange ends: it
 *       lies in the exchange's arena, in a block given to exchange_keep, or is static.
 *   X5  No body byte is read from the client beyond what exchange_read asks for,
 *       and one small read-ahead of the codec: that is the credit.
 *
 * Threads: an exchange belongs to its loop. A handler that computes elsewhere comes
 * back by post.
 */
#pragma once

#include "base/arena.h"
#include "base/slab.h"
#include "io/io.h"
#include "obs/trace.h"
#include "wire/http.h"

struct exchange;

/* ---- the request ---- */

enum http_method exchange_method(const struct exchange *x);
/* As sent: percent-encoded, without the query. */
struct span exchange_path(const struct exchange *x);
/* Without the '?'; empty when there is none. */
struct span exchange_query(const struct exchange *x);
/* The value of the first header of that name (lower case), or SPAN_NONE with a
 * NULL `ptr`. */
struct span exchange_header(const struct exchange *x, struct span name);
/* Content-Length, 0 for a request without a body, -1 when unknown (chunked). */
int64_t exchange_content_length(const struct exchange *x);
struct arena *exchange_arena(struct exchange *x);
struct loop *exchange_loop(const struct exchange *x);
/* Whether it came over TLS. */
bool exchange_secure(const struct exchange *x);
/* This exchange in its trace: a child of the caller's traceparent, or a new trace; to be
 * sent on with what is asked of others. */
const struct trace_context *exchange_trace(struct exchange *x);
/* For the handler's own state. */
void exchange_set_data(struct exchange *x, void *data);
void *exchange_data(const struct exchange *x);

/* ---- its body ---- */

/* `bytes` are valid during the call, or for good when they lie in memory that the
 * handler named. `end`: nothing follows. On failure (ERR_CLOSED, ERR_RESET,
 * ERR_DEADLINE, ERR_SYNTAX, ERR_TOO_LARGE, ERR_EXHAUSTED) there are no bytes; the
 * handler then answers with exchange_fail, and net knows what may still be sent. */
typedef void (*exchange_read_fn)(struct exchange *x, result r, struct span bytes, bool end);

/* Asks for the next body bytes. Into `into`, until it is full or the body ends; with
 * `into.len` 0 into memory of the codec's. One at a time. May call `fn` before it
 * returns when the bytes are there already. */
void exchange_read(struct exchange *x, struct span_mut into, exchange_read_fn fn);

/* The whole body as one span, valid until the exchange ends: in the arena when it is
 * small, else in one slab block. ERR_TOO_LARGE beyond `bytes_max`. May call `fn` before
 * it returns, as exchange_read does. */
typedef void (*exchange_body_fn)(struct exchange *x, result r, struct span body);
void exchange_collect(struct exchange *x, uint64_t bytes_max, exchange_body_fn fn);

/* Told when the client has gone (X3). A read or write that is pending fails instead. */
void exchange_on_gone(struct exchange *x, void (*gone)(struct exchange *x));
bool exchange_is_gone(const struct exchange *x);

/* ---- the answer ---- */

/* Before the head is sent. Copied into the arena. Names in lower case or as the
 * field's own spelling; a name or value with a control byte is dropped. At most
 * EXCHANGE_HEADERS_MAX. */
#define EXCHANGE_HEADERS_MAX 16
void exchange_add_header(struct exchange *x, const char *name, struct span value);
/* The whole answer. `type` may be NULL when the body is empty. Ends the exchange. A read
 * that is pending is dropped: its callback does not come. */
void exchange_respond(struct exchange *x, int status, const char *type, struct span body);
/* An answer by our own error table: status from the code (408 for a body that did not come
 * in time, 504 for any other ERR_DEADLINE), a `Weir-Reason` header with
 * the code's name and, when given, the detail; Retry-After where retrying helps. The
 * body is `text` as plain text. Ends the exchange. */
void exchange_fail(struct exchange *x, enum err code, const char *text);
/* Adds the headers that exchange_fail would (Weir-Reason, Retry-After). */
void exchange_add_reason(struct exchange *x, enum err code, const char *detail);

/* An answer in pieces. `length` is its Content-Length or -1. What is written beyond it is
 * left out; an answer that stays short of it is broken off. */
typedef void (*exchange_write_fn)(struct exchange *x, result r);
void exchange_begin(struct exchange *x, int status, const char *type, int64_t length);
/* One at a time; `fn` runs when more may be written. ERR_CLOSED or ERR_RESET when the
 * client has gone. */
void exchange_write(struct exchange *x, struct span bytes, exchange_write_fn fn);
/* Ends the exchange. No write may be pending; a read is dropped. */
void exchange_finish(struct exchange *x);
/* Breaks the exchange off, so that the client sees a failure even in mid-body. */
void exchange_reset(struct exchange *x, enum err code);

/* Takes over one reference of `block`, also on failure; given back when the exchange
 * ends. ERR_NO_MEMORY. */
result exchange_keep(struct exchange *x, struct block *block);
