/* The connections of a client pool, and who gets which. */
#include "base/alloc.h"
#include "net/client_pool_private.h"

#include <stdio.h>

/* ---- the end of a connection ---- */

static void set_idle(struct client_conn *conn, bool idle)
{
    struct client_pool *pool = conn->pool;
    if (conn->idle == idle)
        return;
    conn->idle = idle;
    if (idle) {
        conn->origin->idle_len++;
        list_push_front(&conn->origin->idle, &conn->node);
        list_push(&pool->idle, &conn->idle_node);
        client_account_more(pool->account, ACCOUNT_IDLE);
    } else {
        conn->origin->idle_len--;
        timer_stop(pool->loop, &conn->timer);
        list_remove(&conn->node);
        list_remove(&conn->idle_node);
        client_account_less(pool->account, ACCOUNT_IDLE);
    }
}

static void conn_gone(void *arg)
{
    struct client_conn *conn = arg;
    struct client_pool *pool = conn->pool;
    list_remove(&conn->all);
    pool_put(&pool->conns, conn);
    pool_pump_soon(pool); /* all may be over */
}

void conn_close(struct client_conn *conn)
{
    struct client_pool *pool = conn->pool;
    set_idle(conn, false);
    struct client_origin *origin = steal(&conn->origin);
    origin->conns--;
    pool->conns_len--;
    if (conn->dial) {
        dial_cancel(steal(&conn->dial));
        origin->dialing--;
    }
    if (conn->client) {
        client_account_less(pool->account, ACCOUNT_OPEN);
        client_close_then(conn->client, conn_gone, conn);
    } else if (conn->securing) {
        origin->dialing--;
        stream_close(steal(&conn->securing), STREAM_CLOSE, conn_gone, conn);
    } else {
        conn_gone(conn);
    }
    origin_settle(origin);
    pool_pump_soon(pool); /* there is room now */
}

static void idle_too_long(struct io_timer *timer)
{
    conn_close(CONTAINER_OF(timer, struct client_conn, timer));
}

/* The other side has ended it, or has said something that nobody asked for. */
static void idle_broken(void *arg)
{
    conn_close(arg);
}

static io_time old_at(const struct client_conn *conn)
{
    return conn->made_at + conn->pool->config.connection_age_max;
}

static bool worn_out(const struct client_conn *conn, io_time now)
{
    return conn->requests >= conn->pool->config.connection_requests_max || now >= old_at(conn);
}

void conn_release(struct client_conn *conn, bool usable)
{
    struct client_pool *pool = conn->pool;
    io_time now = loop_now(pool->loop);
    conn->call = NULL;
    if (!usable || worn_out(conn, now) || pool->draining) {
        conn_close(conn);
        return;
    }
    set_idle(conn, true);
    timer_start(pool->loop, &conn->timer, MIN(now + pool->config.idle_timeout, old_at(conn)));
    pool_pump_soon(pool);
}

/* ---- making one ---- */

/* The first that waits and may have it. */
static struct client_call *first_waiting(struct client_origin *origin, bool fresh)
{
    struct list_node *node = list_first(&origin->waiting);
    for (; node; node = list_next(&origin->waiting, node)) {
        struct client_call *call = CONTAINER_OF(node, struct client_call, waiting);
        if (fresh || !call->fresh_only)
            return call;
    }
    return NULL;
}

static void dial_failed(struct client_conn *conn, enum err code, const char *why)
{
    struct client_origin *origin = conn->origin;
    snprintf(origin->failure, sizeof(origin->failure), "%s", why);
    client_account_event(origin->pool->account, ACCOUNT_CONNECT_FAILED);
    struct client_call *call = first_waiting(origin, true);
    origin->calls++; /* stays until the call was told */
    conn_close(conn);
    if (call)
        call_connect_failed(call, code);
    origin->calls--;
    origin_settle(origin);
}

/* The stream, which is this function's, stands. */
static void stands(struct client_conn *conn, struct stream *stream)
{
    struct client_origin *origin = conn->origin;
    struct client_pool *pool = origin->pool;
    origin->dialing--;
    result r = client_adopt(stream, &conn->client);
    if (failed(r)) {
        stream_close(stream, STREAM_CLOSE, NULL, NULL);
        dial_failed(conn, (enum err)r.code, err_text((enum err)r.code));
        return;
    }
    client_on_broken(conn->client, idle_broken, conn);
    client_account_event(pool->account, ACCOUNT_CONNECT);
    client_account_more(pool->account, ACCOUNT_OPEN);
    conn->made_at = loop_now(pool->loop);
    origin->failure[0] = '\0';
    struct client_call *call = first_waiting(origin, true);
    if (!call || !call_give(call, conn, true))
        conn_release(conn, call == NULL);
}

static void secured(void *arg, struct stream *stream, result r)
{
    struct client_conn *conn = arg;
    struct tls_info info = {0};
    char why[640];
    conn->securing = NULL;
    if (!failed(r)) {
        stands(conn, stream);
        return;
    }
    tls_info(stream, &info);
    snprintf(why, sizeof(why), "no TLS with %s: %s%s%s", conn->origin->peer,
             tls_failure_text(info.failure), info.why[0] ? ": " : "", info.why);
    stream_close(stream, STREAM_CLOSE, NULL, NULL);
    conn->origin->dialing--;
    dial_failed(conn, (enum err)r.code, why);
}

static void dialed(void *arg, result r, struct stream *stream, const char *why)
{
    struct client_conn *conn = arg;
    struct client_origin *origin = conn->origin;
    struct client_pool *pool = origin->pool;
    conn->dial = NULL;
    if (!failed(r) && !origin->secure) {
        stands(conn, stream);
        return;
    }
    if (!failed(r)) {
        r = tls_connect(pool->tls, stream, origin->peer,
                        loop_now(pool->loop) + pool->config.connect_timeout, secured, conn,
                        &conn->securing);
        if (!failed(r))
            return;
        why = err_text((enum err)r.code);
    }
    origin->dialing--;
    dial_failed(conn, (enum err)r.code, why);
}

static bool dial_one(struct client_origin *origin)
{
    struct client_pool *pool = origin->pool;
    struct client_conn *conn = pool_get(&pool->conns);
    if (!conn)
        return false;
    conn->pool = pool;
    conn->origin = origin;
    conn->timer.fired = idle_too_long;
    conn->dial = dial_start(&pool->dialer, &origin->endpoint, dialed, conn);
    if (!conn->dial) {
        pool_put(&pool->conns, conn);
        return false;
    }
    list_push(&pool->all_conns, &conn->all);
    origin->conns++;
    origin->dialing++;
    pool->conns_len++;
    return true;
}

/* ---- who gets which ---- */

static void use_idle(struct client_origin *origin)
{
    struct list_node *node;
    io_time now = loop_now(origin->pool->loop);
    struct client_call *call;
    while ((node = list_first(&origin->idle)) && (call = first_waiting(origin, false))) {
        struct client_conn *conn = CONTAINER_OF(node, struct client_conn, node);
        if (worn_out(conn, now)) {
            conn_close(conn);
            continue;
        }
        set_idle(conn, false);
        if (!call_give(call, conn, false))
            conn_close(conn);
    }
}

/* Room for one more connection of this origin (P2). */
static bool make_room(struct client_origin *origin)
{
    struct client_pool *pool = origin->pool;
    if (origin->conns >= (size_t)pool->config.connections_per_origin_max) {
        struct list_node *own = list_first(&origin->idle); /* only replays wait */
        if (!own)
            return false;
        conn_close(CONTAINER_OF(own, struct client_conn, node));
    }
    if (pool->conns_len >= (size_t)pool->config.connections_max) {
        struct list_node *oldest = list_first(&pool->idle);
        if (!oldest)
            return false;
        conn_close(CONTAINER_OF(oldest, struct client_conn, idle_node));
    }
    return true;
}

static void serve(struct client_origin *origin)
{
    use_idle(origin);
    while (origin->dialing < origin->waiting_len && make_room(origin)) {
        if (dial_one(origin))
            continue;
        if (origin->conns > 0)
            break; /* one of them will be free, or gone */
        call_connect_failed(first_waiting(origin, true), ERR_NO_MEMORY);
    }
}

void pool_pump_soon(struct client_pool *pool)
{
    if (pool->pump_pending || pool->told)
        return;
    pool->pump_pending = true;
    loop_defer(pool->loop, &pool->pump);
}

/* Each origin for which calls wait gets its turn; the one that was served first this time
 * is last the next time. */
void pool_pump(struct io_post *post)
{
    struct client_pool *pool = CONTAINER_OF(post, struct client_pool, pump);
    pool->pump_pending = false;
    size_t count = 0;
    struct list_node *node = list_first(&pool->wanted);
    for (; node; node = list_next(&pool->wanted, node))
        count++;
    while (count-- > 0 && (node = list_pop(&pool->wanted))) {
        struct client_origin *origin = CONTAINER_OF(node, struct client_origin, wanted);
        list_push(&pool->wanted, node);
        origin->calls++; /* stays */
        serve(origin);
        origin->calls--;
        if (origin->waiting_len == 0)
            list_remove(&origin->wanted);
        origin_settle(origin);
    }
    pool_settle(pool);
}

void call_unqueue(struct client_call *call)
{
    if (!list_node_linked(&call->waiting))
        return;
    list_remove(&call->waiting);
    if (--call->origin->waiting_len == 0)
        list_remove(&call->origin->wanted);
}

/* ---- origins ---- */

void origin_settle(struct client_origin *origin)
{
    if (origin->refs || origin->calls || origin->conns)
        return;
    map_remove(&origin->pool->origins, span_cstr(origin->key));
    list_remove(&origin->wanted);
    mem_free(origin);
}

/* What stands in the Host field: without the default port (RFC 9110 §4.2.1). And whom TLS
 * has to find: the same without any port. */
static void write_host(struct client_origin *origin)
{
    uint16_t default_port = origin->secure ? 443 : 80;
    struct io_endpoint endpoint = origin->endpoint;
    size_t len = strlen(endpoint.name);
    if (len && endpoint.name[len - 1] == '.') /* says where to look, not what the name is */
        endpoint.name[len - 1] = '\0';
    io_endpoint_format(&endpoint, origin->host, sizeof(origin->host));
    if (!endpoint.named && endpoint.address.family == IO_UNIX) {
        snprintf(origin->host, sizeof(origin->host), "localhost");
        snprintf(origin->peer, sizeof(origin->peer), "localhost");
        return;
    }
    char *colon = strrchr(origin->host, ':');
    struct span peer = span_of(origin->host, (size_t)(colon - origin->host));
    if (span_starts(peer, SPAN("["))) /* RFC 3986 §3.2.2: an IPv6 address */
        peer = span_of(peer.ptr + 1, peer.len - 2);
    snprintf(origin->peer, sizeof(origin->peer), "%.*s", SPAN_FMT(peer));
    if (endpoint.address.port == default_port)
        *colon = '\0';
}

result client_origin_get(struct client_pool *pool, const struct io_endpoint *endpoint, bool secure,
                         struct client_origin **ret_origin)
{
    char key[sizeof(((struct client_origin *)0)->key)];
    if (secure && !pool->tls)
        return fail(ERR_UNSUPPORTED);
    key[0] = secure ? 's' : 'p'; /* nobody reads it */
    size_t len = 1 + io_endpoint_format(endpoint, key + 1, sizeof(key) - 1);
    struct client_origin *origin = map_get(&pool->origins, span_of(key, len));
    if (!origin) {
        origin = MEM_NEW(struct client_origin);
        if (!origin)
            return fail(ERR_NO_MEMORY);
        origin->pool = pool;
        origin->endpoint = *endpoint;
        origin->secure = secure;
        memcpy(origin->key, key, len + 1);
        write_host(origin);
        list_init(&origin->waiting);
        list_init(&origin->idle);
        result r = map_set(&pool->origins, span_of(origin->key, len), origin);
        if (failed(r)) {
            mem_free(origin);
            return r;
        }
    }
    origin->refs++;
    *ret_origin = origin;
    return OK;
}

void client_origin_put(struct client_origin *origin)
{
    if (!origin)
        return;
    origin->refs--;
    origin_settle(origin);
}

const char *client_origin_failure(const struct client_origin *origin)
{
    return origin->failure;
}
