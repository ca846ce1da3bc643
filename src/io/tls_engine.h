/* Between the machine of a TLS stream (tls.c) and what does the cryptography: OpenSSL
 * (openssl/) or the simulator's toy (sim/tls.c).
 *
 * An engine does no I/O. It takes ciphertext from the front of `wire->in` and puts its own
 * out through `tls_wire_send`, which takes all it is given. It keeps no state outside
 * contexts and sessions. A session is used by one thread at a time.
 *
 * Private to src/io.
 */
#pragma once

#include "base/ref.h"
#include "io/tls.h"

/* The two ends of the ciphertext, as an engine sees them. */
struct tls_wire {
    struct span in;
    /* What the inner stream has not taken; NULL: nothing waits. */
    uint8_t *out;
    size_t out_len, out_cap;
    struct stream *direct; /* the inner stream, while it may be written; else NULL */
    bool broken;           /* no memory for `out`: nothing can be sent any more */
};
void tls_wire_send(struct tls_wire *wire, struct span bytes);

enum tls_step {
    TLS_DONE,
    TLS_MORE,   /* `wire->in` is used up */
    TLS_END,    /* of the peer's bytes, by close_notify */
    TLS_FAILED, /* see `failure` of the session */
};

/* An engine's structs begin with these. */
struct tls_context {
    const struct tls_engine *engine;
    struct process *process;
    struct ref ref;
    bool is_client;
    bool slow; /* handshakes are jobs */
};

struct tls_session {
    struct tls_context *context;
    struct tls_wire wire;
    uint8_t failure; /* enum tls_failure */
    char *why;       /* NULL, or heap */
};

struct tls_engine {
    result (*context_new)(struct process *process, const struct tls_options *options,
                          bool is_client, struct tls_context **ret_context, struct diag *diag);
    void (*context_free)(struct tls_context *context);
    size_t (*certificates)(const struct tls_context *context);
    void (*certificate)(const struct tls_context *context, size_t index,
                        struct tls_certificate_info *ret_info);

    /* `name` is NULL on a server. NULL without memory. The stream fills `context`, which it
     * holds a reference of, and `wire`. */
    struct tls_session *(*session_new)(struct tls_context *context, const char *name);
    void (*session_free)(struct tls_session *session);
    enum tls_step (*handshake)(struct tls_session *session);
    /* At most one record; TLS_DONE with `ret_len` > 0 bytes of plain text. */
    enum tls_step (*read)(struct tls_session *session, struct span_mut into, size_t *ret_len);
    /* Whether `read` has bytes without more from the wire. */
    bool (*holds)(const struct tls_session *session);
    /* One record of at most TLS_RECORD_MAX bytes; all or TLS_FAILED. */
    enum tls_step (*write)(struct tls_session *session, struct span bytes);
    /* close_notify; once. */
    void (*end)(struct tls_session *session);
    void (*info)(const struct tls_session *session, struct tls_info *ret_info);
};

#define TLS_RECORD_MAX ((size_t)16384)

/* Sets the failure, the first one only. `why` is copied, may be NULL. */
void tls_session_fail(struct tls_session *session, enum tls_failure failure, const char *why);

/* ---- tickets ---- */

struct tls_ticket_key {
    uint8_t name[16], cipher[32], mac[32];
    io_time made_at;
};
/* The key that seals now, made anew when its time is over. */
void tls_tickets_seal(struct tls_tickets *tickets, struct tls_ticket_key *ret_key);
/* The key of that name; `ret_renew`: it is good, but no longer the one that seals. */
bool tls_tickets_open(struct tls_tickets *tickets, const uint8_t name[16],
                      struct tls_ticket_key *ret_key, bool *ret_renew);

extern const struct tls_engine tls_openssl, tls_toy;
