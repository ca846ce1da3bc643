/* For tests of clients: a server that answers as the test chooses, well or badly. Its
 * process and loop are the caller's; everything runs on that loop. */
#pragma once

#include "base/list.h"
#include "net/test_fixture.h"

enum origin_how {
    ORIGIN_ANSWER,
    ORIGIN_CLOSE, /* without a byte */
    ORIGIN_RESET,
    ORIGIN_HALF, /* half of the answer, then the end */
    ORIGIN_NEVER,
};

struct origin_request {
    enum http_method method;
    struct span target, body; /* the body's end, if it is long */
    size_t body_len;
    int on_connection; /* the how-manieth there, from 1 */
    struct span traceparent, tracestate, request_id, host;
};

/* Zeroed: 200 with no body, at once. */
struct origin_reply {
    enum origin_how how;
    int status;
    const char *headers; /* whole lines */
    struct span body;
    io_time delay;
    bool chunked, close_after;
};

struct origin {
    struct loop *loop;
    struct listener *listener;
    struct io_address address;
    struct list conns, closing;
    int accepted, open, requests;
    void (*choose)(struct origin *origin, const struct origin_request *request,
                   struct origin_reply *ret_reply);
    void *arg;
};

/* Listens on that address; port 0: any. */
void origin_start(struct origin *origin, struct loop *loop, const struct io_address *at);
/* From the loop. */
void origin_close_connections(struct origin *origin, enum stream_close_how how);
void origin_stop(struct origin *origin);
/* When no loop runs any more: what was not closed. */
void origin_release(struct origin *origin);
