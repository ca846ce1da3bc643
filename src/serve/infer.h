/* One inference on its way, in either protocol.
 *
 *   infer_start: head -> body collected -> decode (scan, memory, fill, check)
 *   -> model_submit -> done -> encode -> respond
 *
 * Decoding and encoding run on the loop when they are short and as a work job when they
 * are not (INLINE_BYTES_MAX). Everything lies in the exchange's arena or in blocks that
 * it keeps; whichever way it ends, the protocol's own `answer` or `refuse` ends the
 * exchange.
 */
#pragma once

#include "serve/serve_private.h"

struct infer;

struct infer_protocol {
    /* On the loop or in a job: reads the body's frame and sets `plans`, one per input of
     * the model. */
    result (*scan)(struct infer *infer);
    /* The same: writes all inputs into their memory, `spaces` having one each. */
    result (*fill)(struct infer *infer, const struct tensor_space *spaces);
    /* The same: appends the answer. */
    result (*write)(struct infer *infer, struct text *out);
    /* On the loop: ends the exchange with an error in the protocol's form. */
    void (*refuse)(struct infer *infer, enum err code, const char *text);
    const char *type; /* content type of the answer */
};

struct infer {
    struct exchange *x;
    struct serve *serve;
    const struct infer_protocol *protocol;
    struct model_version *version;
    const struct weir_model_info *info;
    void *message; /* the protocol's own state, in the arena */
    struct span body;
    struct tensor_plan *plans;   /* per input; scan's */
    struct tensor_space *spaces; /* per input */
    struct weir_tensor *inputs;  /* per input */
    struct model_request request;
    struct io_work work;
    struct text out;
    struct diag diag;
    result r;
    bool submitted, done;
};

/* Takes the exchange over. `version` is available; `message` is the protocol's, in the
 * exchange's arena (NULL: there was no memory for it). */
void infer_start(struct exchange *x, struct serve *serve, struct model_version *version,
                 const struct infer_protocol *protocol, void *message);
