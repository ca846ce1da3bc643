/* What the sources of the OpenSSL engine share. Private to them. */
#pragma once

#include "io/tls_engine.h"

#include <openssl/ssl.h>

struct ossl_name {
    char *name; /* lower case; "*.example.com" */
    size_t certificate;
};

struct ossl_certificate {
    char *path;
    SSL_CTX *ctx;
    io_time not_after;
    char name[TLS_NAME_MAX];
};

struct ossl_context {
    struct tls_context base;
    struct ossl_certificate *certificates; /* a client without one has an entry, too */
    size_t certificates_len;
    size_t given; /* of them */
    struct ossl_name *names;
    size_t names_len, names_cap;
    uint8_t alpn[256]; /* as on the wire: each with its length in front */
    size_t alpn_len;
    struct tls_tickets *tickets;
};

struct ossl_session {
    struct tls_session base;
    SSL *ssl;
};

/* Before OpenSSL is used: its memory comes through base's door. Once it has worked in a
 * program it does nothing; false without memory, and may be tried again. */
bool ossl_init(void);
/* The reason of the first error that OpenSSL has queued on this thread, and empties the
 * queue; "unknown error" without one. */
const char *ossl_error(char *buffer, size_t size);

/* context.c */
result ossl_context_new(struct process *process, const struct tls_options *options, bool is_client,
                        struct tls_context **ret_context, struct diag *diag);
void ossl_context_free(struct tls_context *context);
size_t ossl_certificates(const struct tls_context *context);
void ossl_certificate(const struct tls_context *context, size_t index,
                      struct tls_certificate_info *ret_info);

/* pem.c */
result ossl_load_pair(struct process *process, const struct tls_options *options,
                      const struct tls_certificate *pair, struct ossl_certificate *certificate,
                      struct diag *diag);
result ossl_load_ca(struct process *process, const struct tls_pem *pem, SSL_CTX *ctx,
                    struct diag *diag);
/* How long one signature with the key of `ctx` takes; 0 without a key. */
io_time ossl_sign_time(struct process *process, SSL_CTX *ctx);
