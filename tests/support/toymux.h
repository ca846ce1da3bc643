/* A small multiplexed protocol, for tests only: many exchanges on one connection, so that
 * every handler is tried over something that is not HTTP/1 (net/codec.h).
 *
 * Frames, integers little-endian: u32 stream, then u32 whose low byte is the type and
 * whose upper 24 bits are the length of what follows.
 *
 *   HEAD    to the server: "METHOD target length", to the client "status length"; then a
 *           line "name: value" for each field. Length -1: unknown
 *   DATA    body bytes, at most TOYMUX_DATA_MAX, within the receiver's credit
 *   END     of the body, and of the answer
 *   RESET   the exchange is broken off
 *   CREDIT  u32: so many more body bytes may come. TOYMUX_WINDOW are free to begin with
 *   GOAWAY  no further streams will be taken
 */
#pragma once

#include "net/client.h"
#include "net/server.h"

#define TOYMUX_DATA_MAX 16384
#define TOYMUX_WINDOW 65536

enum toymux_type { TOY_HEAD, TOY_DATA, TOY_END, TOY_RESET, TOY_CREDIT, TOY_GOAWAY };

/* Reading frames and writing them. */
struct toymux_frame {
    uint32_t stream;
    enum toymux_type type;
    struct span payload;
};
/* Takes one frame from the front of `*bytes`; false when there is none yet. Sets `*ret_bad`
 * for one that no peer may send. */
bool toymux_next(struct span *bytes, struct toymux_frame *ret_frame, bool *ret_bad);
void toymux_put(struct text *out, uint32_t stream, enum toymux_type type, struct span payload);
void toymux_put_credit(struct text *out, uint32_t stream, size_t bytes);

/* For struct server_options. */
result toymux_accept(struct server_loop *sl, struct stream *stream);

/* ---- the client's side ---- */

struct toymux_client;

/* `response` as in net/client.h; NULL when the stream was reset or the connection lost. */
typedef void (*toymux_response_fn)(void *arg, result r, const struct client_response *response);

/* Requests may be sent at once; they go out when the connection stands. */
result toymux_connect(struct loop *loop, const struct io_address *address,
                      struct toymux_client **ret_client);
/* `body` stays until the answer has come. Returns the stream's number. */
uint32_t toymux_send(struct toymux_client *client, const struct client_request *request,
                     toymux_response_fn fn, void *arg);
/* Breaks one off; its callback does not come. */
void toymux_cancel(struct toymux_client *client, uint32_t stream);
/* Whether the server has said GOAWAY. */
bool toymux_going_away(const struct toymux_client *client);
/* What is under way fails with ERR_CANCELLED before this returns. */
void toymux_close(struct toymux_client *client);
