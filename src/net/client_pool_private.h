/* The insides of a client pool: client_pool.c has the calls, client_conn.c the connections.
 *
 * State of a call
 *
 *   client_pool_send        conn_give            on_end: done
 *         |        +---------------------> SENT ------------------> ENDED
 *         v        |                        |                         ^
 *      WAITING ----+ <--- replay -----------+                         |
 *         ^  \                              | retry                   |
 *         |   \   call_attempt_failed       v                         |
 *         |    +------------------------> SLEEPING -- deadline, ------+
 *         +-------------- slept -----------+           cancel
 *
 * Every choice of who gets which connection is made in one place, `pool_pump`, which runs
 * at the end of a turn in which something changed.
 */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "base/pool.h"
#include "net/client_pool.h"
#include "net/dial.h"

enum call_state { CALL_WAITING, CALL_SENT, CALL_SLEEPING, CALL_ENDED };

struct client_call {
    struct list_node all;     /* of the pool */
    struct list_node waiting; /* of the origin, while WAITING */
    struct client_pool *pool;
    struct client_origin *origin;
    struct client_conn *conn; /* SENT */
    struct client_request request;
    const struct retry_policy *retry;
    const struct client_events *events;
    void *arg;
    struct io_timer deadline, sleep;
    struct io_post stop;
    io_time started, deadline_at;
    int64_t attempts;     /* that ended or are under way */
    uint64_t queued_turn; /* of the loop's */
    enum call_state state;
    bool fresh_only;   /* a replay: no kept connection */
    bool cancelled;    /* `stop` is on its way or has run */
    bool stop_pending; /* the memory is needed by `stop` */
    bool headed;       /* the caller was told a head */
    bool discarding;   /* the answer is thrown away, a retry follows */
    bool credit;       /* given before there was a connection */
    bool parts_taken;
    struct span part; /* that waits for a connection */
    client_write_fn part_fn;
    bool part_held, part_last;
    io_time retry_wait;
    size_t discarded;
};

struct client_conn {
    struct list_node node;      /* of the origin's idle ones, the one used last first */
    struct list_node idle_node; /* of the pool's, the one used last at the end */
    struct list_node all;       /* of the pool */
    struct client_pool *pool;
    struct client_origin *origin; /* until it is being closed */
    struct dial *dial;            /* while it is being made */
    struct stream *securing;      /* then, while TLS shakes hands */
    struct client *client;        /* afterwards */
    struct client_call *call;
    struct io_timer timer; /* idle */
    io_time made_at;
    int64_t requests;
    bool idle;
};

struct client_origin {
    struct list_node wanted; /* in the pool's list, while calls wait */
    struct client_pool *pool;
    struct io_endpoint endpoint;
    bool secure;
    char key[320], host[320], peer[320]; /* peer: whom TLS has to find there */
    char failure[512];
    struct list waiting, idle;
    size_t refs, calls, conns, dialing, waiting_len, idle_len;
    struct retry_budget budget;
};

struct client_pool {
    struct loop *loop;
    struct client_config config;
    struct client_account_loop *account;
    struct tls_context *tls; /* a reference, or NULL */
    struct dialer dialer;
    struct pool calls, conns;
    struct map origins;
    struct list all_calls, all_conns;
    struct list wanted; /* origins for which calls wait, in turns */
    struct list idle;
    size_t waiting;   /* calls WAITING or SLEEPING */
    size_t conns_len; /* without those that are being closed */
    struct io_post pump, drained_post;
    struct io_timer drain_timer;
    void (*drained)(void *arg, uint64_t cut);
    void *drained_arg;
    uint64_t cut;
    bool pump_pending, draining, told;
};

/* client_conn.c */

/* Gives waiting calls their connections, at the end of this turn. */
void pool_pump_soon(struct client_pool *pool);
void pool_pump(struct io_post *post);
/* Ends the connection; its call, if it has one, must not be told by it any more. */
void conn_close(struct client_conn *conn);
/* Its call has ended: it is kept, or ended. */
void conn_release(struct client_conn *conn, bool usable);
/* Frees it when nobody needs it. */
void origin_settle(struct client_origin *origin);
/* Takes the call out of the queue. */
void call_unqueue(struct client_call *call);

/* client_pool.c */

/* `fresh`: the connection was made for this. False: the connection cannot be used, and the
 * call still waits. */
bool call_give(struct client_call *call, struct client_conn *conn, bool fresh);
/* The connection that a waiting call was to get could not be made. */
void call_connect_failed(struct client_call *call, enum err code);
/* Tells the drained one, if all is over. */
void pool_settle(struct client_pool *pool);
