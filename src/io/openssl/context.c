/* The OpenSSL engine: contexts. One SSL_CTX a certificate; the first is where each handshake
 * begins, and the name that the client asks for picks the one that goes on. */
#include "io/openssl/ossl.h"

#include "base/alloc.h"

#include <ctype.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdio.h>

/* AEAD with an ephemeral key exchange (RFC 9325 §4.2). */
#define CIPHERS_1_2 \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:" \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:" \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define CIPHERS_1_3 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
/* Of finite fields there are none: one exchange would hold a loop up for milliseconds. */
#define GROUPS "X25519:P-256:P-384"
#define NAMES_MAX 10000
#define VERIFY_DEPTH 8

static struct ossl_context *ossl_context(struct tls_context *context)
{
    return (struct ossl_context *)context;
}

/* ---- the certificate by name ----------------------------------------------------------- */

static bool lower(char *into, size_t size, struct span name)
{
    if (name.len == 0 || name.len >= size)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] == 0)
            return false;
        into[i] = (char)tolower(name.ptr[i]);
    }
    into[name.len] = '\0';
    return true;
}

static const struct ossl_name *find_name(const struct ossl_context *c, const char *name)
{
    for (size_t i = 0; i < c->names_len; i++)
        if (strcmp(c->names[i].name, name) == 0)
            return &c->names[i];
    return NULL;
}

static SSL_CTX *ctx_for(const struct ossl_context *c, const char *asked)
{
    char name[TLS_NAME_MAX + 1];
    if (!lower(name + 1, TLS_NAME_MAX, span_cstr(asked)))
        return NULL;
    const struct ossl_name *found = find_name(c, name + 1);
    char *dot = strchr(name + 1, '.');
    if (!found && dot) { /* "*.example.com" is good for one label */
        *--dot = '*';
        found = find_name(c, dot);
    }
    return found ? c->certificates[found->certificate].ctx : NULL;
}

static int on_name(SSL *ssl, int *ret_alert, void *arg)
{
    const char *asked = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    SSL_CTX *ctx = asked ? ctx_for(arg, asked) : NULL;
    if (!ctx)
        return SSL_TLSEXT_ERR_NOACK;
    if (!SSL_set_SSL_CTX(ssl, ctx)) {
        *ret_alert = SSL_AD_INTERNAL_ERROR;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    return SSL_TLSEXT_ERR_OK;
}

static result add_name(struct ossl_context *c, size_t index, struct span text)
{
    char name[TLS_NAME_MAX];
    if (!lower(name, sizeof(name), text) || c->names_len == NAMES_MAX)
        return OK; /* no client can ask for it */
    if (c->certificates[index].name[0] == '\0')
        memcpy(c->certificates[index].name, name, sizeof(name));
    if (find_name(c, name))
        return OK; /* the first one counts */
    if (c->names_len == c->names_cap) {
        size_t cap = c->names_cap * 2 + 8;
        struct ossl_name *grown = mem_realloc(c->names, cap * sizeof(*grown));
        if (!grown)
            return fail(ERR_NO_MEMORY);
        c->names = grown;
        c->names_cap = cap;
    }
    char *copy = mem_strdup(name);
    if (!copy)
        return fail(ERR_NO_MEMORY);
    c->names[c->names_len++] = (struct ossl_name){copy, index};
    return OK;
}

/* The subject's common name counts only where there are no other names (RFC 6125 §6.4.4). */
static result add_names(struct ossl_context *c, size_t index)
{
    X509 *leaf = SSL_CTX_get0_certificate(c->certificates[index].ctx);
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    result r = OK;
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && !failed(r); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_DNS)
            r = add_name(c, index,
                         span_of(ASN1_STRING_get0_data(name->d.dNSName),
                                 (size_t)ASN1_STRING_length(name->d.dNSName)));
    }
    bool has = names != NULL;
    GENERAL_NAMES_free(names);
    char common[TLS_NAME_MAX];
    if (!has && X509_NAME_get_text_by_NID(X509_get_subject_name(leaf), NID_commonName, common,
                                          sizeof(common)) > 0)
        r = add_name(c, index, span_cstr(common));
    return r;
}

/* ---- ALPN -------------------------------------------------------------------------------- */

static result alpn_set(struct ossl_context *c, const char *const *names)
{
    for (; names && *names; names++) {
        size_t len = strlen(*names);
        if (len == 0 || len > 31 || c->alpn_len + len + 1 > sizeof(c->alpn))
            return fail(ERR_RANGE);
        c->alpn[c->alpn_len++] = (uint8_t)len;
        memcpy(c->alpn + c->alpn_len, *names, len);
        c->alpn_len += len;
    }
    return OK;
}

/* The first of ours that the client has; without one the handshake ends (RFC 7301 §3.2). */
static int on_alpn(SSL *ssl, const unsigned char **ret_name, unsigned char *ret_len,
                   const unsigned char *offered, unsigned offered_len, void *arg)
{
    const struct ossl_context *c = arg;
    for (size_t i = 0; i < c->alpn_len; i += c->alpn[i] + 1u) {
        for (unsigned k = 0; k + 1 < offered_len; k += offered[k] + 1u) {
            if (offered[k] == c->alpn[i] && k + 1 + offered[k] <= offered_len &&
                memcmp(offered + k + 1, c->alpn + i + 1, offered[k]) == 0) {
                *ret_name = c->alpn + i + 1;
                *ret_len = c->alpn[i];
                return SSL_TLSEXT_ERR_OK;
            }
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* ---- tickets ------------------------------------------------------------------------------ */

/* 1: go on; 2: and renew the ticket; 0: no such key; -1: an error. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int seals)
{
    const struct tls_session *session = SSL_get_app_data(ssl);
    struct tls_tickets *tickets = ((const struct ossl_context *)session->context)->tickets;
    struct tls_ticket_key key;
    bool renew = false;
    if (seals) {
        tls_tickets_seal(tickets, &key);
        memcpy(name, key.name, sizeof(key.name));
        process_random(session->context->process, (struct span_mut){iv, 16});
    } else if (!tls_tickets_open(tickets, name, &key, &renew)) {
        return 0;
    }
    /* Used once only, so that nobody who listens can link two connections (RFC 8446 §C.4). */
    renew |= SSL_version(ssl) == TLS1_3_VERSION;
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key.mac, sizeof(key.mac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    bool ok = EVP_MAC_CTX_set_params(mac, params) == 1 &&
              EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.cipher, iv, seals) == 1;
    explicit_bzero(&key, sizeof(key));
    return !ok ? -1 : renew && !seals ? 2 : 1;
}

/* ---- contexts ------------------------------------------------------------------------------ */

static bool set_protocol(SSL_CTX *ctx, const struct tls_options *options)
{
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    int min = options->min_version == TLS_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
    return SSL_CTX_set_min_proto_version(ctx, min) == 1 &&
           SSL_CTX_set1_groups_list(ctx, GROUPS) == 1 &&
           SSL_CTX_set_cipher_list(ctx, CIPHERS_1_2) == 1 &&
           SSL_CTX_set_ciphersuites(ctx, CIPHERS_1_3) == 1;
}

static void set_verify(SSL_CTX *ctx, const struct tls_options *options, bool is_client)
{
    int mode = SSL_VERIFY_NONE;
    if (is_client || options->client_auth != TLS_CLIENT_OFF)
        mode = SSL_VERIFY_PEER;
    if (options->client_auth == TLS_CLIENT_REQUIRED)
        mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_CTX_set_verify(ctx, mode, NULL);
    SSL_CTX_set_verify_depth(ctx, VERIFY_DEPTH);
}

/* A session is resumed only where the same would be asked of a new one: the context's id
 * holds what its clients have to prove. */
static bool set_session_id(SSL_CTX *ctx, const struct tls_options *options)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    uint8_t id[EVP_MAX_MD_SIZE], auth = (uint8_t)options->client_auth;
    unsigned len = 0;
    bool ok =
        md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 && EVP_DigestUpdate(md, &auth, 1) == 1;
    STACK_OF(X509_OBJECT) *trusted = X509_STORE_get0_objects(SSL_CTX_get_cert_store(ctx));
    for (int i = 0; ok && auth != TLS_CLIENT_OFF && i < sk_X509_OBJECT_num(trusted); i++) {
        uint8_t one[EVP_MAX_MD_SIZE];
        unsigned one_len;
        X509 *ca = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(trusted, i));
        ok = ca && X509_digest(ca, EVP_sha256(), one, &one_len) == 1 &&
             EVP_DigestUpdate(md, one, one_len) == 1;
    }
    ok = ok && EVP_DigestFinal_ex(md, id, &len) == 1 &&
         SSL_CTX_set_session_id_context(ctx, id, len) == 1;
    EVP_MD_CTX_free(md);
    return ok;
}

static bool set_server(struct ossl_context *c, SSL_CTX *ctx, const struct tls_options *options)
{
    SSL_CTX_set_tlsext_servername_callback(ctx, on_name);
    SSL_CTX_set_tlsext_servername_arg(ctx, c);
    if (c->alpn_len)
        SSL_CTX_set_alpn_select_cb(ctx, on_alpn, c);
    if (!c->tickets) {
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(ctx, 0);
        return true;
    }
    return SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket) == 1 &&
           set_session_id(ctx, options);
}

static result make_ctx(struct ossl_context *c, size_t index, const struct tls_options *options,
                       struct diag *diag)
{
    struct process *process = c->base.process;
    struct ossl_certificate *certificate = &c->certificates[index];
    bool is_client = c->base.is_client;
    SSL_CTX *ctx = SSL_CTX_new(is_client ? TLS_client_method() : TLS_server_method());
    certificate->ctx = ctx;
    if (!ctx || !set_protocol(ctx, options))
        return diag_fail(diag, ERR_NO_MEMORY, "no memory for a TLS context");
    if (index < options->certificates_len)
        TRY(ossl_load_pair(process, options, &options->certificates[index], certificate, diag));
    if (is_client || options->client_auth != TLS_CLIENT_OFF)
        TRY(ossl_load_ca(process, &options->ca, ctx, diag));
    set_verify(ctx, options, is_client);
    bool ok = is_client ? c->alpn_len == 0 ||
                              SSL_CTX_set_alpn_protos(ctx, c->alpn, (unsigned)c->alpn_len) == 0
                        : set_server(c, ctx, options);
    if (!ok || (!is_client && failed(add_names(c, index))))
        return diag_fail(diag, ERR_NO_MEMORY, "no memory for a TLS context");
    c->base.slow |= ossl_sign_time(process, ctx) > TLS_SIGN_INLINE_MAX;
    return OK;
}

static result context_fill(struct ossl_context *c, const struct tls_options *options,
                           struct diag *diag)
{
    c->given = options->certificates_len;
    c->certificates_len = MAX(options->certificates_len, (size_t)1);
    c->certificates = mem_zalloc(c->certificates_len, sizeof(*c->certificates));
    if (!c->certificates)
        return diag_fail(diag, ERR_NO_MEMORY, "no memory for a TLS context");
    if (failed(alpn_set(c, options->alpn)))
        return diag_fail(diag, ERR_RANGE, "expected short names of protocols for ALPN");
    for (size_t i = 0; i < c->certificates_len; i++)
        TRY(make_ctx(c, i, options, diag));
    return OK;
}

result ossl_context_new(struct process *process, const struct tls_options *options, bool is_client,
                        struct tls_context **ret_context, struct diag *diag)
{
    struct ossl_context *c = ossl_init() ? MEM_NEW(struct ossl_context) : NULL;
    if (!c)
        return diag_fail(diag, ERR_NO_MEMORY, "no memory for a TLS context");
    c->base =
        (struct tls_context){.engine = &tls_openssl, .process = process, .is_client = is_client};
    ref_init(&c->base.ref);
    if (options->tickets && !is_client)
        c->tickets = tls_tickets_ref(options->tickets);
    ERR_clear_error();
    result r = context_fill(c, options, diag);
    ERR_clear_error();
    if (failed(r)) {
        ossl_context_free(&c->base);
        return r;
    }
    *ret_context = &c->base;
    return OK;
}

void ossl_context_free(struct tls_context *context)
{
    struct ossl_context *c = ossl_context(context);
    for (size_t i = 0; c->certificates && i < c->certificates_len; i++) {
        SSL_CTX_free(c->certificates[i].ctx);
        mem_free(c->certificates[i].path);
    }
    for (size_t i = 0; i < c->names_len; i++)
        mem_free(c->names[i].name);
    mem_free(c->names);
    mem_free(c->certificates);
    tls_tickets_unref(c->tickets);
    mem_free(c);
}

size_t ossl_certificates(const struct tls_context *context)
{
    return ((const struct ossl_context *)context)->given;
}

void ossl_certificate(const struct tls_context *context, size_t index,
                      struct tls_certificate_info *ret_info)
{
    const struct ossl_certificate *certificate =
        &((const struct ossl_context *)context)->certificates[index];
    *ret_info = (struct tls_certificate_info){.path = certificate->path,
                                              .not_after = certificate->not_after};
    memcpy(ret_info->name, certificate->name, sizeof(ret_info->name));
}
