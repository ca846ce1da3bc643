/* An HTTP/1.1 client over one connection: one request at a time, answers read whole.
 *
 * Owner:   the caller, on one loop. Callbacks run from the loop.
 * Bounds:  the answer's body by `bytes_max`, its head by http1's own limits, the whole
 *          by `deadline`.
 */
#pragma once

#include "io/tls.h"
#include "wire/http.h"

struct client;

struct client_request {
    enum http_method method;
    struct span target; /* "/v1/models" */
    const struct http_header *headers;
    size_t headers_len;
    struct span body; /* stays until the answer has come */
    uint64_t bytes_max;
    io_time deadline;
};

struct client_response {
    int status;
    const struct http_header *headers;
    size_t headers_len;
    struct span body;
    bool keep_alive; /* another request may follow */
};

typedef void (*client_connect_fn)(void *arg, struct client *client, result r);
/* `response` is valid during the call, until the next client_send; NULL on failure: ERR_RESET,
 * ERR_CLOSED, ERR_SYNTAX, ERR_TOO_LARGE, ERR_DEADLINE. */
typedef void (*client_response_fn)(void *arg, struct client *client, result r,
                                   const struct client_response *response);

result client_connect(struct loop *loop, const struct io_address *address, client_connect_fn fn,
                      void *arg, struct client **ret_client);
/* The same over TLS with whom `name` is: the handshake is part of connecting, `deadline` holds
 * for it. ERR_PERMISSION when the peer is not trusted. */
result client_connect_tls(struct loop *loop, const struct io_address *address,
                          struct tls_context *context, const char *name, io_time deadline,
                          client_connect_fn fn, void *arg, struct client **ret_client);
/* Once connected and while no other is under way. `Host` and `Content-Length` are
 * written by the client. An answer that comes before the whole request was written ends
 * the connection. ERR_PRECONDITION; ERR_CLOSED when the connection cannot be used again;
 * ERR_SYNTAX and ERR_TOO_LARGE for what cannot be written. */
result client_send(struct client *client, const struct client_request *request,
                   client_response_fn fn, void *arg);
/* The value of a header of that name in any case, or SPAN_NONE. */
struct span client_header(const struct client_response *response, struct span name);
/* Any time; nothing comes afterwards. NULL is allowed. */
void client_close(struct client *client);
