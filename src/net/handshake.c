/* From a stream just accepted to its codec: at once, or by way of TLS. */
#include "base/alloc.h"
#include "net/server_private.h"
#include "obs/log.h"

#include <stdio.h>

struct handshake {
    struct list_node node; /* in its loop's list */
    struct server_loop *sl;
    struct stream *stream;  /* NULL once it is being closed */
    struct io_address peer; /* asked for while it is there */
};

static void on_closed(void *arg)
{
    connection_place_back(arg);
}

static void end(struct handshake *handshake)
{
    list_remove(&handshake->node);
    mem_free(handshake);
}

/* Not of those that just close: health checks do, again and again. They are counted. */
static void log_failure(const struct handshake *handshake, const struct tls_info *info)
{
    struct server_loop *sl = handshake->sl;
    char peer[160];
    if (info->failure == TLS_FAILURE_CLOSED)
        return;
    io_address_format(&handshake->peer, peer, sizeof(peer));
    log_event(sl->server->log, EVENT_TLS_HANDSHAKE_FAILED,
              LOG_FIELDS(log_str("server", sl->server->name), log_str("peer", peer),
                         log_str("reason", tls_failure_label(info->failure)),
                         log_str("detail", info->why), log_str("name", info->server_name)),
              "a handshake failed: %s", tls_failure_text(info->failure));
}

static void on_done(void *arg, struct stream *stream, result r)
{
    struct handshake *handshake = arg;
    struct server_loop *sl = handshake->sl;
    struct tls_info info;
    if (is(r, ERR_CANCELLED)) { /* by ourselves; the close tells */
        end(handshake);
        return;
    }
    tls_info(stream, &info);
    if (failed(r)) {
        handshake_failure_account(sl, info.failure);
        log_failure(handshake, &info);
        stream_close(stream, STREAM_CLOSE, on_closed, sl);
    } else {
        handshake_account(sl, &info);
        server_loop_begin(sl, stream);
    }
    end(handshake);
}

static bool start(struct server_loop *sl, struct stream *inner, struct tls_context *context)
{
    struct handshake *handshake = MEM_NEW(struct handshake);
    if (!handshake) {
        stream_close(inner, STREAM_RESET, NULL, NULL);
        return false;
    }
    io_time deadline = loop_now(sl->loop) + server_tls_timeout(sl->server->tls);
    handshake->sl = sl;
    stream_peer(inner, &handshake->peer);
    list_push(&sl->handshakes, &handshake->node);
    if (failed(tls_accept(context, inner, deadline, on_done, handshake, &handshake->stream))) {
        end(handshake);
        return false;
    }
    return true;
}

void handshake_start(struct server_loop *sl, struct stream *inner, struct tls_context *context)
{
    if (!context)
        server_loop_begin(sl, inner);
    else if (!start(sl, inner, context))
        connection_place_back(sl);
    tls_context_unref(context);
}

static void on_late(struct io_timer *timer)
{
    handshakes_cut(CONTAINER_OF(timer, struct server_loop, handshakes_timer));
}

void handshakes_stop(struct server_loop *sl)
{
    sl->handshakes_timer.fired = on_late;
    if (!list_empty(&sl->handshakes))
        timer_start(sl->loop, &sl->handshakes_timer, loop_now(sl->loop) + DRAIN_FIRST);
}

void handshakes_cut(struct server_loop *sl)
{
    struct list_node *node = list_first(&sl->handshakes);
    for (; node; node = list_next(&sl->handshakes, node)) {
        struct handshake *handshake = CONTAINER_OF(node, struct handshake, node);
        if (handshake->stream)
            stream_close(steal(&handshake->stream), STREAM_RESET, on_closed, sl);
    }
}

void handshakes_release(struct server_loop *sl)
{
    struct list_node *node;
    while ((node = list_pop(&sl->handshakes)))
        mem_free(CONTAINER_OF(node, struct handshake, node));
}
