/* A caller in a simulated world: sends bytes on a connection of its own and keeps what
 * comes back, in memory that is taken beforehand. Nothing that it does counts for base's
 * test hook, so that a sweep fails the allocations of the side under test alone; but for
 * what its side of TLS takes by itself between its completions.
 */
#pragma once

#include "io/tls.h"

#define TALK_ANSWERS_MAX 4
#define TALK_BYTES_MAX ((size_t)4 << 20)

/* What one answer says; spans lie in the talk's memory. */
struct talk_answer {
    int status;
    struct span type, body; /* Content-Type */
};

struct talk {
    struct loop *loop;
    struct stream *stream;
    struct io_timer patience;
    struct span request;
    struct tls_context *tls; /* NULL: none; a reference of whoever set it */
    bool leaves;             /* closes as soon as all is written */
    int wanted;              /* answers after which it is over */
    void (*over)(struct talk *talk);
    void *arg;
    /* ---- once it is over ---- */
    struct talk_answer answers[TALK_ANSWERS_MAX];
    int answers_len;
    bool connected; /* and, with TLS, shaken hands */
    bool hung;      /* neither answered nor closed */
    bool broken;    /* an answer that is no HTTP */
    /* ---- private ---- */
    uint8_t *bytes;
    size_t len, taken; /* taken: by whole answers */
    bool closing;
};

/* `talk` holds its loop; its memory is taken once and serves every start. */
void talk_init(struct talk *talk, struct loop *loop);
void talk_release(struct talk *talk);
/* `over` is called once, when the connection is gone. */
void talk_start(struct talk *talk, const struct io_address *address, struct span request,
                int wanted, void (*over)(struct talk *talk), void *arg);
