/* HTTP servers: listeners, connections spread over the loops, routes, limits, drain.
 *
 * One loop accepts and hands each connection to the loop that has the fewest. From
 * then on the connection, its exchanges and their handlers belong to that loop.
 * Every limit comes from `server_config`; what is refused is refused at the head.
 *
 * Life:    server_new -> server_listen... -> (process_run) -> server_drain ->
 *          server_free. All on loop 0, before or while it runs.
 */
#pragma once

#include "base/quota.h"
#include "config/schema.h"
#include "io/io.h"
#include "net/exchange.h"
#include "net/server_tls.h"
#include "obs/metrics.h"

struct log;
struct server;

/* ---- configuration ---- */

enum access_log { ACCESS_OFF, ACCESS_ERRORS, ACCESS_ALL };

/* Live: a reload gives each loop a new copy; what is under way keeps what it has. */
struct server_config {
    int64_t connections_max;
    int64_t requests_max;       /* in flight, over all connections */
    uint64_t request_bytes_max; /* of bodies in flight, over all connections */
    uint64_t body_bytes_max;    /* of one request */
    uint64_t head_bytes_max;    /* of the request line, and of the headers */
    int64_t headers_max;        /* fields of one head */
    io_time head_timeout;       /* from the first byte to the end of the head */
    io_time body_timeout;       /* between two reads or writes of a body */
    io_time idle_timeout;       /* a kept-alive connection without a request */
    bool half_close;            /* a client may send FIN and still get its answer */
    int access_log;             /* enum access_log */
};
/* Its reload acts on a `struct server`. */
extern const struct config_module server_module;

/* Defined once in a process, before its first server. */
extern const struct metric_def server_metrics[];
extern const size_t server_metrics_len;

/* ---- routes ---- */

enum route_match {
    ROUTE_EXACT,
    ROUTE_PREFIX,        /* everything below the pattern */
    ROUTE_PREFIX_NOCASE, /* the same, ASCII case ignored */
};

struct route {
    uint32_t methods; /* bits 1 << enum http_method; GET implies HEAD */
    enum route_match match;
    const char *pattern;
    const char *name; /* in metrics and logs: one of few */
    void (*start)(struct exchange *x, void *arg);
    bool always; /* admitted beyond requests_max: what watches the server */
};
#define ROUTE_METHOD(m) (1u << (m))
#define ROUTE_ANY (~0u)

/* The first route that fits is taken. A path that fits one whose methods do not is
 * answered 405 with Allow; any other 404, by `fallback` where there is one. */
struct route_table {
    const struct route *routes;
    size_t len;
    void *arg; /* passed to each handler */
    void (*fallback)(struct exchange *x, void *arg);
};

/* ---- the server ---- */

struct server_loop;
struct stream;
/* Takes over a stream just accepted, also on failure; it begins a codec's connection
 * (net/codec.h). */
typedef result (*server_accept_fn)(struct server_loop *sl, struct stream *stream);

struct server_options {
    const char *name; /* "http", "admin": in metrics and logs */
    struct process *process;
    struct metrics *metrics;
    struct log *log;
    struct slab *slab;                  /* request bodies */
    const struct server_config *config; /* copied */
    const struct route_table *routes;   /* two at most; both must outlive the server */
    size_t routes_len;
    server_accept_fn accept; /* NULL: HTTP/1 */
    struct server_tls *tls;  /* NULL: never TLS; outlives the server */
};

result server_new(const struct server_options *options, struct server **ret_server,
                  struct diag *diag);
/* Begins to accept. `name`: taken from LISTEN_FDNAMES where it is there. */
result server_listen(struct server *server, const struct io_address *address, const char *name,
                     struct diag *diag);
/* The address of listener `index`, with its real port; false when there is none. */
bool server_address(const struct server *server, size_t index, struct io_address *ret_address);
/* Stops accepting, closes idle connections, lets exchanges end (HTTP/1 answers say
 * `Connection: close`), and cuts what is left at `deadline`. `drained` runs once on
 * loop 0 with the number of exchanges that were cut; it does not wait for the handlers
 * of those. */
void server_drain(struct server *server, io_time deadline, void (*drained)(void *arg, uint64_t cut),
                  void *arg);
/* After `process_run` has returned. NULL is allowed. */
void server_free(struct server *server);

/* For the page and for tests. Any thread. */
struct server_counts {
    uint64_t connections, requests, request_bytes; /* now */
    uint64_t refused;                              /* since the start */
};
void server_counts(const struct server *server, struct server_counts *ret_counts);
