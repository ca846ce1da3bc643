/* What server.c, exchange.c and router.c share of a server. Private to net. */
#pragma once

#include "base/list.h"
#include "net/codec.h"

/* Series of one route, made when they are first needed. */
#define ROUTE_CODES 600
struct route_series {
    struct series *seconds;
    struct series *codes[ROUTE_CODES]; /* by status; 0 for an exchange without */
};

/* Of TLS handshakes: by version and whether a session was resumed, and by failure. */
struct tls_series {
    struct series *done[2][2], *failed[TLS_FAILURES];
};

/* One loop's part of a server; used on that loop only, but for `load`. */
struct server_loop {
    struct server *server;
    struct loop *loop;
    struct server_config config; /* as it holds for what comes now */
    struct quota load;           /* connections here; the accepting loop reads it */
    struct list connections;
    struct list handshakes; /* streams that will be connections */
    struct io_lock handovers_lock;
    struct list handovers; /* handovers_lock: connections accepted for this loop */
    bool handovers_posted; /* handovers_lock */
    struct io_post handovers_post;
    struct list exchanges;      /* in flight */
    struct list idle_exchanges; /* for reuse, with a warm arena */
    size_t idle_len;
    struct h1_limits http1;
    struct h1_header *slots;
    uint8_t *out;
    char date[sizeof("Date: \r\n") + HTTP_DATE_SIZE];
    size_t date_len;
    io_time date_until;
    uint64_t bytes_in, bytes_out; /* not yet in the metrics */
    bool draining, drained;
    uint64_t cut;
    io_time drain_deadline;
    struct io_timer drain_timer, handshakes_timer;
    struct io_post drain_post, drained_post;
    struct metrics_shard *shard;
    struct trace_ids trace_ids;
    struct tls_series tls_series;
    struct route_series *series; /* one per route, then one for what no route took */
};

#define SERVER_LISTENERS_MAX 8

struct server {
    const char *name;
    server_accept_fn accept;
    struct server_tls *tls;
    struct process *process;
    struct metrics *metrics;
    struct log *log;
    struct slab *slab;
    const struct route_table *tables;
    size_t tables_len;
    size_t routes_len; /* over all tables */
    struct server_config config;
    struct quota connections, requests, request_bytes;
    struct listener *listeners[SERVER_LISTENERS_MAX];
    size_t listeners_len;
    struct server_loop *loops;
    int loops_len, loops_draining;
    struct series *series_received, *series_sent, *series_connections, *series_requests,
        *series_bytes, *series_refused;
    struct list config_messages; /* on their way; loop 0 */
    uint64_t cut;
    void (*drained)(void *arg, uint64_t cut);
    void *drained_arg;
};

/* The answer of the routing table to a request. */
struct route_found {
    const struct route_table *table; /* whose `arg` the handler gets; NULL: none fits */
    const struct route *route;       /* NULL: the fallback of `table`, or nothing */
    size_t index;                    /* over all tables; routes_len when no route */
    uint32_t allowed;                /* methods, when only the method does not fit */
};
struct route_found route_find(const struct server *server, enum http_method method,
                              struct span path);

/* handshake.c: begins with an accepted stream, at once or over TLS; takes over the reference
 * of `context`, which may be NULL. */
void handshake_start(struct server_loop *sl, struct stream *inner, struct tls_context *context);
/* Drain: they have DRAIN_FIRST to come to an end. */
void handshakes_stop(struct server_loop *sl);
/* Ends all that are under way. */
void handshakes_cut(struct server_loop *sl);
/* Frees them without I/O. */
void handshakes_release(struct server_loop *sl);
/* server.c: the codec takes the stream over; or its place in the limit comes back. */
void server_loop_begin(struct server_loop *sl, struct stream *stream);
void connection_place_back(struct server_loop *sl);
/* account.c */
void handshake_account(struct server_loop *sl, const struct tls_info *info);
void handshake_failure_account(struct server_loop *sl, enum tls_failure failure);

void server_loop_configure(struct server_loop *sl, const struct server_config *config);
void server_quotas_set(struct server *server);
/* After the loops have ended: those that they had no turn left for. */
void server_config_messages_free(struct server *server);
/* One exchange more in the metrics of its route. */
void exchange_account(struct server_loop *sl, size_t route_index, int status, io_time took);
result server_account_init(struct server *server);
void server_account_release(struct server_loop *sl);
/* What the access log says of one exchange. */
struct access_line {
    struct span method, path;
    size_t route_index;
    int status;
    io_time took;
    uint64_t received;
    struct span request_id, reason; /* NULL `ptr`: none */
    const char *client;             /* of its certificate; NULL: none */
    const struct trace_context *trace;
};
bool access_wanted(const struct server_loop *sl, int status);
void access_log(struct server_loop *sl, const struct access_line *line);
const char *server_route_name(const struct server *server, size_t index);
/* Frees what idles and what is in flight, without I/O: after the loops have ended. */
void exchanges_release(struct server_loop *sl);
