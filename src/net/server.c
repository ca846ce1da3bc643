#include "net/server.h"

#include "base/alloc.h"
#include "net/server_private.h"
#include "obs/log.h"

#include <stdio.h>

/* ---- what codecs ask of their loop ---- */

const struct server_config *server_loop_config(const struct server_loop *sl)
{
    return &sl->config;
}

struct loop *server_loop_loop(const struct server_loop *sl)
{
    return sl->loop;
}

uint8_t *server_loop_out(struct server_loop *sl)
{
    return sl->out;
}

const struct h1_limits *server_loop_http1(const struct server_loop *sl)
{
    return &sl->http1;
}

struct h1_header *server_loop_slots(struct server_loop *sl)
{
    return sl->slots;
}

bool server_loop_draining(const struct server_loop *sl)
{
    return sl->draining;
}

void server_loop_count(struct server_loop *sl, uint64_t bytes_in, uint64_t bytes_out)
{
    sl->bytes_in += bytes_in;
    sl->bytes_out += bytes_out;
}

struct span server_loop_date(struct server_loop *sl)
{
    io_time now = loop_now(sl->loop);
    if (now >= sl->date_until) {
        io_time wall = process_wall(sl->server->process);
        char date[HTTP_DATE_SIZE];
        http_date(wall / IO_SEC, date);
        sl->date_len = (size_t)snprintf(sl->date, sizeof(sl->date), "Date: %s\r\n", date);
        sl->date_until = now + IO_SEC - wall % IO_SEC;
    }
    return span_of(sl->date, sl->date_len);
}

/* ---- connections ---- */

void connection_opened(struct server_loop *sl, struct connection *c, const struct codec_ops *codec,
                       struct stream *stream)
{
    c->sl = sl;
    c->codec = codec;
    c->stream = stream;
    struct tls_info info;
    c->secure = sl->server->tls && tls_info(stream, &info);
    if (c->secure && info.peer_given)
        c->client = mem_strdup(info.peer_subject);
    list_push(&sl->connections, &c->node);
}

static void loop_drained(struct io_post *post)
{
    struct server_loop *sl = CONTAINER_OF(post, struct server_loop, drained_post);
    struct server *server = sl->server;
    server->cut += sl->cut;
    if (--server->loops_draining == 0)
        server->drained(server->drained_arg, server->cut);
}

static void drained_once(struct server_loop *sl)
{
    if (sl->drained)
        return;
    sl->drained = true;
    timer_stop(sl->loop, &sl->drain_timer);
    timer_stop(sl->loop, &sl->handshakes_timer);
    loop_post(process_loop(sl->server->process, 0), &sl->drained_post);
}

static void drained_when_empty(struct server_loop *sl)
{
    if (sl->draining && list_empty(&sl->connections) && list_empty(&sl->handshakes))
        drained_once(sl);
}

void connection_place_back(struct server_loop *sl)
{
    quota_give(&sl->load, 1);
    quota_give(&sl->server->connections, 1);
    drained_when_empty(sl);
}

void connection_closed(struct connection *c)
{
    list_remove(&c->node);
    mem_free(steal(&c->client));
    connection_place_back(c->sl);
}

static void connections_stop(struct server_loop *sl, bool now)
{
    /* A connection that stops may unlink itself at once; others stay. */
    struct list_node *node = list_first(&sl->connections);
    while (node) {
        struct list_node *next = list_next(&sl->connections, node);
        struct connection *c = CONTAINER_OF(node, struct connection, node);
        if (now)
            sl->cut += c->exchanges;
        c->codec->stop(c, now);
        node = next;
    }
}

/* A connection on its way to its loop. */
struct handover {
    struct list_node node;
    struct io_detached detached;
    struct tls_context *tls; /* a reference, or NULL */
};

void server_loop_begin(struct server_loop *sl, struct stream *stream)
{
    if (failed(sl->server->accept(sl, stream)))
        connection_place_back(sl);
    else if (sl->draining)
        connections_stop(sl, false); /* its handshake was under way */
}

static void loop_accept(struct server_loop *sl, struct io_detached detached,
                        struct tls_context *tls)
{
    struct stream *stream;
    if (!failed(stream_adopt(sl->loop, detached, &stream))) {
        handshake_start(sl, stream, tls);
        return;
    }
    detached_close(sl->server->process, detached);
    connection_place_back(sl);
    tls_context_unref(tls);
}

static struct handover *handover_pop(struct server_loop *sl)
{
    io_lock_take(&sl->handovers_lock);
    struct list_node *node = list_pop(&sl->handovers);
    sl->handovers_posted &= node != NULL;
    io_lock_give(&sl->handovers_lock);
    return node ? CONTAINER_OF(node, struct handover, node) : NULL;
}

static void handovers_arrived(struct io_post *post)
{
    struct server_loop *sl = CONTAINER_OF(post, struct server_loop, handovers_post);
    struct handover *handover;
    while ((handover = handover_pop(sl))) {
        loop_accept(sl, handover->detached, handover->tls);
        mem_free(handover);
    }
}

/* One post for all that are accepted until the loop has its turn. */
static void hand_over(struct server_loop *sl, struct handover *handover)
{
    io_lock_take(&sl->handovers_lock);
    list_push(&sl->handovers, &handover->node);
    bool posted = sl->handovers_posted;
    sl->handovers_posted = true;
    io_lock_give(&sl->handovers_lock);
    if (!posted)
        loop_post(sl->loop, &sl->handovers_post);
}

/* After the loops have ended: those that they had no turn left for. */
static void handovers_free(struct server_loop *sl)
{
    struct handover *handover;
    while ((handover = handover_pop(sl))) {
        detached_close(sl->server->process, handover->detached);
        tls_context_unref(handover->tls);
        mem_free(handover);
    }
}

static struct server_loop *least_loaded(struct server *server)
{
    struct server_loop *least = &server->loops[0];
    for (int i = 1; i < server->loops_len; i++)
        if (quota_now(&server->loops[i].load) < quota_now(&least->load))
            least = &server->loops[i];
    return least;
}

static void accepted(void *arg, struct listener *listener, struct io_detached detached)
{
    struct server *server = arg;
    if (!quota_take(&server->connections, 1)) {
        log_event(server->log, EVENT_CONNECTION_REFUSED,
                  LOG_FIELDS(log_str("server", server->name)),
                  "a connection was closed: connections_max is reached");
        detached_close(server->process, detached);
        return;
    }
    struct server_loop *sl = least_loaded(server);
    /* Its maximum is the server's, which has just been asked. */
    bool taken = quota_take(&sl->load, 1);
    ASSERT(taken);
    if (sl == &server->loops[0]) {
        loop_accept(sl, detached, server_tls_context(server->tls));
        return;
    }
    struct handover *handover = MEM_NEW(struct handover);
    if (!handover) {
        detached_close(server->process, detached);
        connection_place_back(sl);
        return;
    }
    handover->detached = detached;
    handover->tls = server_tls_context(server->tls);
    hand_over(sl, handover);
}

/* ---- life ---- */

static result loop_init(struct server_loop *sl, struct server *server, int index)
{
    sl->server = server;
    sl->loop = process_loop(server->process, index);
    server_loop_configure(sl, &server->config);
    quota_init(&sl->load, UINT64_MAX);
    list_init(&sl->connections);
    list_init(&sl->handshakes);
    list_init(&sl->handovers);
    io_lock_init(&sl->handovers_lock, server->process);
    sl->handovers_post.run = handovers_arrived;
    list_init(&sl->exchanges);
    list_init(&sl->idle_exchanges);
    trace_ids_init(&sl->trace_ids, server->process);
    sl->out = mem_alloc(SERVER_OUT_MAX);
    sl->slots = mem_zalloc(SERVER_HEADERS_MAX, sizeof(*sl->slots));
    sl->series = mem_zalloc(server->routes_len + 1, sizeof(*sl->series));
    sl->shard = metrics_shard(server->metrics, index);
    return sl->out && sl->slots && sl->series ? OK : fail(ERR_NO_MEMORY);
}

result server_new(const struct server_options *options, struct server **ret_server,
                  struct diag *diag)
{
    struct server *server = MEM_NEW(struct server);
    if (!server)
        return diag_fail(diag, ERR_NO_MEMORY, "no memory for the %s server", options->name);
    server->name = options->name;
    server->accept = options->accept ? options->accept : http1_accept;
    server->tls = options->tls;
    server->process = options->process;
    server->metrics = options->metrics;
    server->log = options->log;
    server->slab = options->slab;
    server->tables = options->routes;
    server->tables_len = options->routes_len;
    for (size_t t = 0; t < server->tables_len; t++)
        server->routes_len += server->tables[t].len;
    server->config = *options->config;
    list_init(&server->config_messages);
    quota_init(&server->connections, 0);
    quota_init(&server->requests, 0);
    quota_init(&server->request_bytes, 0);
    server_quotas_set(server);
    server->loops_len = process_loop_count(server->process);
    server->loops = mem_zalloc((size_t)server->loops_len, sizeof(*server->loops));
    result r = server->loops ? OK : fail(ERR_NO_MEMORY);
    for (int i = 0; !failed(r) && i < server->loops_len; i++)
        r = loop_init(&server->loops[i], server, i);
    if (!failed(r))
        r = server_account_init(server);
    if (failed(r)) {
        server_free(server);
        return diag_fail(diag, (enum err)r.code, "cannot make the %s server: %s", options->name,
                         err_text((enum err)r.code));
    }
    *ret_server = server;
    return OK;
}

result server_listen(struct server *server, const struct io_address *address, const char *name,
                     struct diag *diag)
{
    if (server->listeners_len == SERVER_LISTENERS_MAX)
        return diag_fail(diag, ERR_EXHAUSTED, "expected at most %d listeners",
                         SERVER_LISTENERS_MAX);
    struct listen_options options = {.name = name};
    TRY(listener_open(process_loop(server->process, 0), address, &options, accepted, server,
                      &server->listeners[server->listeners_len], diag));
    server->listeners_len++;
    return OK;
}

bool server_address(const struct server *server, size_t index, struct io_address *ret_address)
{
    if (index >= server->listeners_len)
        return false;
    listener_address(server->listeners[index], ret_address);
    return true;
}

static void connections_free(struct server_loop *sl)
{
    struct list_node *node;
    while ((node = list_pop(&sl->connections))) {
        struct connection *c = CONTAINER_OF(node, struct connection, node);
        mem_free(c->client);
        c->codec->free(c);
    }
}

void server_free(struct server *server)
{
    if (!server)
        return;
    metrics_collect_end(server->metrics, server);
    for (size_t i = 0; i < server->listeners_len; i++)
        listener_close(server->listeners[i]);
    for (int i = 0; server->loops && i < server->loops_len; i++) {
        struct server_loop *sl = &server->loops[i];
        if (!sl->server)
            continue;
        handovers_free(sl);
        connections_free(sl);
        handshakes_release(sl);
        exchanges_release(sl);
        server_account_release(sl);
        mem_free(sl->out);
        mem_free(sl->slots);
        mem_free(sl->series);
    }
    server_config_messages_free(server);
    mem_free(server->loops);
    mem_free(server);
}

/* ---- drain ---- */

static void drain_deadline(struct io_timer *timer)
{
    struct server_loop *sl = CONTAINER_OF(timer, struct server_loop, drain_timer);
    connections_stop(sl, true);
    handshakes_cut(sl);
    drained_once(sl);
}

static void drain_arrived(struct io_post *post)
{
    struct server_loop *sl = CONTAINER_OF(post, struct server_loop, drain_post);
    sl->draining = true;
    sl->drain_timer.fired = drain_deadline;
    timer_start(sl->loop, &sl->drain_timer, sl->drain_deadline);
    connections_stop(sl, false);
    handshakes_stop(sl);
    drained_when_empty(sl);
}

void server_drain(struct server *server, io_time deadline, void (*drained)(void *arg, uint64_t cut),
                  void *arg)
{
    ASSERT(!server->drained);
    server->drained = drained;
    server->drained_arg = arg;
    server->loops_draining = server->loops_len;
    for (size_t i = 0; i < server->listeners_len; i++)
        listener_close(server->listeners[i]);
    server->listeners_len = 0;
    for (int i = 0; i < server->loops_len; i++) {
        struct server_loop *sl = &server->loops[i];
        sl->drain_deadline = deadline;
        sl->drain_post.run = drain_arrived;
        sl->drained_post.run = loop_drained;
        loop_post(sl->loop, &sl->drain_post);
    }
}

void server_counts(const struct server *server, struct server_counts *ret_counts)
{
    *ret_counts = (struct server_counts){
        .connections = quota_now(&server->connections),
        .requests = quota_now(&server->requests),
        .request_bytes = quota_now(&server->request_bytes),
        .refused = quota_refused(&server->connections) + quota_refused(&server->requests) +
                   quota_refused(&server->request_bytes),
    };
}
