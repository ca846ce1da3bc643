/* Requests to other servers over kept connections: who asks names an origin, and the pool
 * finds, makes, keeps and ends the connections.
 *
 * A pool belongs to one loop; its limits are of that loop.
 *
 *   client_pool_new -> client_origin_get -> client_pool_send... -> client_pool_drain
 *   -> client_origin_put -> client_pool_free
 *
 * Invariants
 *   P1  A call ends exactly once, from the loop, never inside the call that began it, also
 *       after `client_call_cancel`, and by its deadline.
 *   P2  connections of an origin <= connections_per_origin_max, of the pool <=
 *       connections_max, being made, in use, idle. Beyond, calls wait, first come first
 *       served within an origin; an idle connection of another origin makes room.
 *   P3  At most `waiting_max` calls wait beyond what free connections could take, and a
 *       pool holds at most connections_max + waiting_max calls. Beyond: ERR_EXHAUSTED, as
 *       out of memory ERR_NO_MEMORY, and nothing is taken.
 *   P4  A connection carries one call at a time. The one used last is used first, so that
 *       the others grow old and go: by `idle_timeout`, `connection_age_max`,
 *       `connection_requests_max`, or because the other side ended them, which is seen
 *       while they are idle.
 *   P5  A request goes out once. Exceptions, never once a byte of its answer was told, a
 *       part of its body was taken or its deadline would pass:
 *         replay  a kept connection turned out to have ended before a byte of the answer
 *                 came: once more, on a new connection, only if the method is idempotent
 *                 (RFC 9110 §9.2.2, RFC 9112 §9.3.1)
 *         retry   by the policy (net/retry.h), off by default; what is not idempotent
 *                 only if none of it went out, or the policy says `any_method`
 *
 * Names are resolved anew for each new connection, out of the resolver's cache, and
 * addresses tried as net/dial.h says; kept connections live on when a name changes.
 *
 * Hot path: a call on a kept connection takes its memory from pools and the connection's
 * arena, nothing from the heap.
 */
#pragma once

#include "config/schema.h"
#include "io/tls.h"
#include "net/client.h"
#include "net/client_account.h"
#include "net/resolver.h"
#include "net/retry.h"

struct client_pool;
struct client_origin;
struct client_call;

struct client_config {
    int64_t connections_max, connections_per_origin_max;
    int64_t waiting_max;
    int64_t connection_requests_max;
    io_time connection_age_max, idle_timeout, connect_timeout;
    struct retry_policy retry;
};
/* All of it holds from the start of the process to its end. */
extern const struct config_module client_module;

struct client_pool_options {
    struct loop *loop;
    const struct client_config *config;  /* copied */
    struct resolver *resolver;           /* of the same loop; outlives the pool */
    struct client_account_loop *account; /* may be NULL */
    struct tls_context *tls;             /* of a client, for origins over TLS; NULL: none */
};
result client_pool_new(const struct client_pool_options *options, struct client_pool **ret_pool);
/* Refuses new calls with ERR_DRAINING, ends idle connections, and calls `fn` once all calls
 * have ended and all connections are closed. Calls that have not ended at `deadline` are
 * ended with ERR_CANCELLED; `cut` is how many. Once. */
void client_pool_drain(struct client_pool *pool, io_time deadline,
                       void (*fn)(void *arg, uint64_t cut), void *arg);
/* When it was drained, or no loop of the process runs any more and the process is not yet
 * freed. NULL is allowed. */
void client_pool_free(struct client_pool *pool);

/* A server as others name it. Counted: the same endpoint gives the same origin while
 * anybody holds it or it has connections or calls. `secure`: over TLS ("https"), with whom
 * the endpoint names; the handshake may take `connect_timeout` once more. ERR_NO_MEMORY,
 * ERR_EXHAUSTED (more than connections_max + waiting_max origins), ERR_UNSUPPORTED (secure,
 * and the pool has no TLS). */
result client_origin_get(struct client_pool *pool, const struct io_endpoint *endpoint, bool secure,
                         struct client_origin **ret_origin);
/* NULL is allowed. */
void client_origin_put(struct client_origin *origin);
/* Why no connection could be made the last time, in words; "" when one could. */
const char *client_origin_failure(const struct client_origin *origin);

struct client_call_options {
    struct client_origin *origin;
    struct client_request request;    /* an empty `host` is the origin's */
    const struct retry_policy *retry; /* static; NULL: the configuration's */
};
/* Takes the call: `events` (net/client.h; static) tell its answer with `arg`. Inside `end`
 * the call is gone. Memory named in the options stays until then. Failures of `end` besides
 * the client's: those of lookups, of connecting (ERR_REFUSED, ERR_UNAVAILABLE, ...), of
 * TLS (ERR_PERMISSION: the peer is not trusted), ERR_CANCELLED. */
result client_pool_send(struct client_pool *pool, const struct client_call_options *options,
                        const struct client_events *events, void *arg,
                        struct client_call **ret_call);
/* Any time before the end: it ends with ERR_CANCELLED, and nothing is told before that. */
void client_call_cancel(struct client_call *call);
/* See client_more. */
void client_call_more(struct client_call *call);
/* See client_write. May be called before there is a connection: the part then waits for
 * one. When the call ends first, `fn` is not called. */
result client_call_write(struct client_call *call, struct span bytes, bool last,
                         client_write_fn fn);

struct client_pool_counts {
    size_t calls, waiting, connections, idle;
};
void client_pool_counts(const struct client_pool *pool, struct client_pool_counts *ret_counts);
