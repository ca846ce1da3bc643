/* Making a connection: a name becomes addresses, and the addresses are tried.
 *
 * After RFC 8305 (happy eyeballs): the addresses in the resolver's order, families in
 * turns; the next is tried when one failed or has not answered for DIAL_NEXT_AFTER, and
 * goes on beside it. The first that stands is taken, the others are closed.
 *
 * A dial calls back from the loop, once, unless it is cancelled. What is left of it then
 * (attempts being closed, a wait for a name) ends by itself.
 *
 * Owner: a client pool. One loop. Bound: `dials_max`.
 */
#pragma once

#include "base/pool.h"
#include "net/resolver.h"

#define DIAL_NEXT_AFTER (250 * IO_MS)
#define DIAL_ADDRESSES_MAX 16

struct dial;

struct dialer {
    struct loop *loop;
    struct resolver *resolver;
    struct pool dials;
    io_time timeout; /* of a name and all its addresses: ERR_UNAVAILABLE */
};

void dialer_init(struct dialer *dialer, struct loop *loop, struct resolver *resolver,
                 io_time timeout, size_t dials_max);
/* When no loop runs any more, or `dialer_idle`. Takes a zeroed one. */
void dialer_release(struct dialer *dialer);
/* Nothing is under way, also not of those that have called back or were cancelled. */
bool dialer_idle(const struct dialer *dialer);

/* `stream` is connected, and the callee's; NULL on failure, which `why` tells in words. */
typedef void (*dial_fn)(void *arg, result r, struct stream *stream, const char *why);

/* `endpoint` stays until it has called back or was cancelled. NULL when there are too
 * many, or out of memory. */
struct dial *dial_start(struct dialer *dialer, const struct io_endpoint *endpoint, dial_fn fn,
                        void *arg);
/* Nothing comes afterwards. */
void dial_cancel(struct dial *dial);
