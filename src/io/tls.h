/* TLS over a stream: what a handshake makes is an ordinary stream (io.h).
 *
 * An engine does the cryptography: OpenSSL 3 in production, in the simulator a toy with
 * as many flights and the same ends (io/tls_engine.h). All else, which is when what is
 * read, written, flushed, cancelled and closed, is one machine over both (tls.c).
 *
 *   T1  `tls_accept` and `tls_connect` take the inner stream over, also on failure. It
 *       has to be connected, with nothing pending. The new stream exists at once and
 *       completes by `fn`, as of `stream_connect`; until then nothing but closing it is
 *       allowed. After a failure its one use is `tls_info`, then it has to be closed.
 *   T2  Rules I1 to I7 hold. `stream_detach` is ERR_UNSUPPORTED.
 *   T3  End of file is the peer's close_notify. A connection that ends without one reads
 *       ERR_RESET, as the end may be missing; one whose records are damaged ERR_CORRUPT.
 *   T4  What `stream_try_write` took reaches the peer even if STREAM_CLOSE follows: then
 *       the close callback waits until the kernel has it, TLS_FLUSH_TIME at most.
 *       STREAM_RESET, and a close with a `stream_write` pending, drop it.
 *   T5  `stream_shutdown` sends close_notify and FIN; reading goes on.
 *   T6  Small parts of one write travel in one record.
 *
 * Memory. A connection that idles has the engine's state and no buffer: ciphertext comes
 * to the loop's scratch, plain text leaves through one of the loop's own. Bytes that
 * cannot be delivered yet, or that the kernel does not take, lie on the heap meanwhile;
 * at most one scratch of the former and STREAM_TURN_BYTES of the latter.
 *
 * The private key's step costs a loop up to several milliseconds (RSA 4096). The time of
 * one signature is measured when a context is made. If it is above TLS_SIGN_INLINE_MAX,
 * each step of its handshakes is a WORK_COMPUTE job, which has the engine's session to
 * itself meanwhile: the loop looks at neither side until it is home. Below, a hop to a
 * worker and back would cost more than it saves.
 *
 * Contexts are immutable and counted; connections hold the one they began with, so a
 * new certificate is a new context for what comes next.
 */
#pragma once

#include "io/io.h"

struct tls_context;
struct tls_tickets;

#define TLS_FLUSH_TIME (5 * IO_SEC)
#define TLS_SIGN_INLINE_MAX (500 * IO_US)
/* From the peer, until the handshake is done. */
#define TLS_HANDSHAKE_BYTES_MAX ((size_t)128 << 10)
/* Of one PEM file. */
#define TLS_PEM_BYTES_MAX ((size_t)4 << 20)
#define TLS_CERTIFICATES_MAX 64
#define TLS_NAME_MAX 256

/* ---- contexts: at boot or inside a work job, as files are read (I5) ---------------- */

/* A PEM file, or its text where that is at hand; then `path` is its name in messages. */
struct tls_pem {
    const char *path; /* NULL, with no text: none */
    struct span text;
};

/* A certificate with its chain, leaf first, and its private key without a passphrase. */
struct tls_certificate {
    struct tls_pem chain, key;
};

enum tls_client_auth {
    TLS_CLIENT_OFF,
    TLS_CLIENT_OPTIONAL, /* asked for; a wrong one is refused, none is not */
    TLS_CLIENT_REQUIRED,
};
enum tls_version { TLS_1_2, TLS_1_3 };

struct tls_options {
    /* A server's, by SNI: exact names and wildcards of one label (RFC 6125 §6.4.3); the
     * first for unknown names and for clients without SNI. A client's: none or one. */
    const struct tls_certificate *certificates;
    size_t certificates_len;
    struct tls_pem ca; /* who may sign the peer; a client without one trusts the system's */
    enum tls_client_auth client_auth; /* a server's; needs `ca` unless it is off */
    enum tls_version min_version;
    const char *const *alpn;     /* in order of preference, ended by NULL; NULL: none */
    struct tls_tickets *tickets; /* a server's; NULL: no session is resumed */
    /* What is odd but no failure, such as an expired certificate; may be NULL. */
    void (*warn)(void *arg, const char *text);
    void *warn_arg;
};

/* Failures name the file and what was expected. TLS 1.2 is limited to AEAD ciphers with an
 * ephemeral key exchange; there is no compression, renegotiation or early data. */
result tls_server_new(struct process *process, const struct tls_options *options,
                      struct tls_context **ret_context, struct diag *diag);
result tls_client_new(struct process *process, const struct tls_options *options,
                      struct tls_context **ret_context, struct diag *diag);
/* Any thread. */
struct tls_context *tls_context_ref(struct tls_context *context);
/* Any thread; the last one frees. NULL is allowed. */
void tls_context_unref(struct tls_context *context);

struct tls_certificate_info {
    const char *path;
    char name[TLS_NAME_MAX]; /* the first that it is good for */
    io_time not_after;       /* wall clock */
};
size_t tls_context_certificates(const struct tls_context *context);
void tls_context_certificate(const struct tls_context *context, size_t index,
                             struct tls_certificate_info *ret_info);

/* The keys that session tickets are sealed with. Outlives reloads, so that sessions
 * outlive them too; a key seals for 12 hours and opens for 12 more. Any thread. */
#define TLS_TICKET_PERIOD (12 * 3600 * IO_SEC)
struct tls_tickets *tls_tickets_new(struct process *process);
struct tls_tickets *tls_tickets_ref(struct tls_tickets *tickets);
/* NULL is allowed. */
void tls_tickets_unref(struct tls_tickets *tickets);

/* ---- connections ------------------------------------------------------------------- */

/* ERR_NO_MEMORY; then `inner` has been closed. `deadline` bounds the handshake. */
result tls_accept(struct tls_context *context, struct stream *inner, io_time deadline,
                  stream_connect_fn fn, void *arg, struct stream **ret_stream);
/* `name` is sent as SNI, unless it is an address, and has to be one of the peer's. */
result tls_connect(struct tls_context *context, struct stream *inner, const char *name,
                   io_time deadline, stream_connect_fn fn, void *arg, struct stream **ret_stream);

/* X(NAME, "label", error code, "what happened") */
#define TLS_FAILURE_TABLE(X) \
    X(NONE, "none", NONE, "it did not fail") \
    X(TIMEOUT, "timeout", DEADLINE, "the handshake took too long") \
    X(TOO_LARGE, "too_large", TOO_LARGE, "the handshake took too many bytes") \
    X(CLOSED, "closed", CLOSED, "the peer closed the connection during the handshake") \
    X(PLAIN_HTTP, "plain_http", SYNTAX, "the peer spoke HTTP without TLS") \
    X(NOT_TLS, "not_tls", SYNTAX, "the peer did not speak TLS") \
    X(VERSION, "version", UNSUPPORTED, "no version of TLS in common") \
    X(CIPHER, "cipher", UNSUPPORTED, "no cipher, group or signature in common") \
    X(NO_CERTIFICATE, "no_certificate", PERMISSION, "the peer gave no certificate") \
    X(BAD_CERTIFICATE, "bad_certificate", PERMISSION, "the peer's certificate was refused") \
    X(ALERT, "alert", REFUSED, "the peer refused the handshake") \
    X(PROTOCOL, "protocol", CORRUPT, "the peer broke the protocol") \
    X(MEMORY, "memory", NO_MEMORY, "out of memory") \
    X(INTERNAL, "internal", INTERNAL, "the engine reported an error")

enum tls_failure {
#define X(name, label, code, text) TLS_FAILURE_##name,
    TLS_FAILURE_TABLE(X)
#undef X
        TLS_FAILURES
};
/* "bad_certificate" */
const char *tls_failure_label(enum tls_failure failure);
const char *tls_failure_text(enum tls_failure failure);

struct tls_info {
    enum tls_failure failure;
    bool resumed, peer_given;
    const char *version, *cipher;    /* "TLSv1.3"; "" before it is known */
    char why[160];                   /* of a failure: more about it, or "" */
    char alpn[32];                   /* "" for none */
    char server_name[TLS_NAME_MAX];  /* SNI, or "" */
    char peer_subject[TLS_NAME_MAX]; /* RFC 2253; "" without a certificate */
    char peer_name[TLS_NAME_MAX];    /* its first DNS, URI or mail name, or "" */
};
/* False, and nothing written, for a stream that is not TLS. */
bool tls_info(struct stream *stream, struct tls_info *ret_info);
