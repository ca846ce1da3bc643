/* An HTTP/1.1 client over one connection: one request at a time, whose body goes out whole
 * or in parts, and whose answer is collected or comes by credit.
 *
 * Which connection a request takes, and whether it is sent again, is the pool's
 * (net/client_pool.h).
 *
 * Rules
 *   K1  Callbacks run from the loop, never inside the call that asked for them; a request
 *       that was begun ends exactly once, unless the client is closed before.
 *   K2  Memory named in a request stays until it has ended, a part's until it was written.
 *   K3  A read is armed whenever bytes are wanted, also while nothing is asked for: so the
 *       peer's end of an idle connection is seen, and told by `broken`.
 *
 * Owner:   the caller, on one loop.
 * Bounds:  a collected body by `bytes_max`, a head by http1's own limits, the whole by
 *          `deadline`, what was read and not taken by one read of the stream.
 */
#pragma once

#include "io/io.h"
#include "obs/trace.h"
#include "wire/http.h"

struct client;

struct client_request {
    enum http_method method;
    struct span target; /* "/v1/models" */
    struct span host;   /* for the Host field; empty: the address */
    const struct http_header *headers;
    size_t headers_len;
    const struct trace_context *trace; /* sent on as traceparent; NULL: none */
    struct span tracestate;            /* sent on beside it, if it may be */
    struct span request_id;            /* sent on as x-request-id; empty: none */
    struct span body;
    bool in_parts;     /* the body comes by client_write instead */
    int64_t parts_len; /* of that body in all; -1: unknown, it goes out in chunks */
    uint64_t bytes_max;
    io_time deadline;
};

struct client_response {
    int status;
    const struct http_header *headers;
    size_t headers_len;
    struct span body; /* what was collected */
    bool keep_alive;  /* another request may follow */
};

/* How an answer is told. Without `body` the body is collected. */
struct client_events {
    /* The final head (interim ones are passed over), valid until the end. May be NULL. */
    void (*head)(void *arg, const struct client_response *response);
    /* Bytes of the body, valid during the call. One call for each `client_more`. */
    void (*body)(void *arg, struct span bytes);
    /* `response` is valid during the call; NULL on failure: ERR_RESET, ERR_CLOSED,
     * ERR_SYNTAX, ERR_TOO_LARGE, ERR_DEADLINE. Another request may be begun inside. */
    void (*end)(void *arg, result r, const struct client_response *response);
};

typedef void (*client_connect_fn)(void *arg, struct client *client, result r);
typedef void (*client_response_fn)(void *arg, struct client *client, result r,
                                   const struct client_response *response);
typedef void (*client_write_fn)(void *arg, result r);

result client_connect(struct loop *loop, const struct io_address *address, client_connect_fn fn,
                      void *arg, struct client **ret_client);
/* Over a stream that is connected, also by TLS (io/tls.h). On failure it is still the caller's. */
result client_adopt(struct stream *stream, struct client **ret_client);
/* Told once, when a connection on which nothing is asked for cannot be used again. */
void client_on_broken(struct client *client, void (*broken)(void *arg), void *arg);

/* Once connected and while no other is under way. `Host`, `Content-Length` and
 * `Transfer-Encoding` are written by the client. An answer that comes before the whole
 * request was written ends the connection. `events` is static. ERR_PRECONDITION; ERR_CLOSED
 * when the connection cannot be used again; ERR_SYNTAX and ERR_TOO_LARGE for what cannot be
 * written. */
result client_begin(struct client *client, const struct client_request *request,
                    const struct client_events *events, void *arg);
/* The same, with the answer collected and told by one function. */
result client_send(struct client *client, const struct client_request *request,
                   client_response_fn fn, void *arg);
/* Credit for one more call of `body`, or for finding that there is none. */
void client_more(struct client *client);
/* Ends what is under way with `code`, at once or, while a write is pending, once the stream
 * has let go of it. From the loop only, not inside `head` or `body`. */
void client_abort(struct client *client, enum err code);
/* The next part of a body in parts; one at a time, not after the `last`, which may be
 * empty, nor after the end. `fn` gets the `arg` of the request. ERR_PRECONDITION;
 * ERR_RANGE: more, or with the last one fewer, than `parts_len`. */
result client_write(struct client *client, struct span bytes, bool last, client_write_fn fn);
/* Whether a byte of the answer to the last request has come. */
bool client_answered(const struct client *client);

/* The value of a header of that name in any case, or SPAN_NONE. */
struct span client_header(const struct client_response *response, struct span name);
/* Any time; nothing comes afterwards. NULL is allowed. */
void client_close(struct client *client);
/* The same; `fn` is called from the loop when the stream is closed and the client gone. */
void client_close_then(struct client *client, void (*fn)(void *arg), void *arg);
/* The same when no loop of the process runs any more, before the process is freed. */
void client_free(struct client *client);
