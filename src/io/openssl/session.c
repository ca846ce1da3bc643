/* The OpenSSL engine: sessions. OpenSSL reads and writes through a BIO over the wire, so no
 * ciphertext is copied but into its own record buffer, which it gives back when empty. */
#include "io/openssl/ossl.h"

#include "base/alloc.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>

/* ---- once --------------------------------------------------------------------------- */

static void *door_alloc(size_t size, const char *file, int line)
{
    return mem_alloc(size);
}

static void *door_realloc(void *ptr, size_t size, const char *file, int line)
{
    if (size == 0) {
        mem_free(ptr);
        return NULL;
    }
    return mem_realloc(ptr, size);
}

static void door_free(void *ptr, const char *file, int line)
{
    mem_free(ptr);
}

static BIO_METHOD *bio_method;
static pthread_mutex_t init_mutex = PTHREAD_MUTEX_INITIALIZER;

static int bio_read(BIO *bio, char *to, int len)
{
    struct tls_wire *wire = BIO_get_data(bio);
    struct span bytes = span_first(wire->in, (size_t)MAX(len, 0));
    BIO_clear_retry_flags(bio);
    if (bytes.len == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(to, bytes.ptr, bytes.len);
    wire->in = span_from(wire->in, bytes.len);
    return (int)bytes.len;
}

static int bio_write(BIO *bio, const char *from, int len)
{
    BIO_clear_retry_flags(bio);
    tls_wire_send(BIO_get_data(bio), span_of(from, (size_t)MAX(len, 0)));
    return len;
}

static long bio_ctrl(BIO *bio, int command, long number, void *ptr)
{
    return command == BIO_CTRL_FLUSH;
}

/* The first TLS of a program may come with a reload, which has to survive lack of memory. */
static bool init(void)
{
    /* Refused, and of no harm, when another library of the program was first. */
    CRYPTO_set_mem_functions(door_alloc, door_realloc, door_free);
    /* Other threads may still be at work when the program ends. */
    if (!OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT | OPENSSL_INIT_LOAD_SSL_STRINGS, NULL))
        return false;
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "weir");
    if (!method)
        return false;
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_ctrl(method, bio_ctrl);
    bio_method = method;
    return true;
}

bool ossl_init(void)
{
    pthread_mutex_lock(&init_mutex);
    bool ready = bio_method || init();
    pthread_mutex_unlock(&init_mutex);
    return ready;
}

static BIO *bio_new(struct tls_wire *wire)
{
    BIO *bio = BIO_new(bio_method);
    if (bio) {
        BIO_set_data(bio, wire);
        BIO_set_init(bio, 1);
    }
    return bio;
}

const char *ossl_error(char *buffer, size_t size)
{
    unsigned long code = ERR_get_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    snprintf(buffer, size, "%s", reason ? reason : "unknown error");
    ERR_clear_error();
    return buffer;
}

/* ---- life ----------------------------------------------------------------------------- */

static struct ossl_session *ossl_session(struct tls_session *session)
{
    return (struct ossl_session *)session;
}

static void session_free(struct tls_session *session)
{
    struct ossl_session *s = ossl_session(session);
    SSL_free(s->ssl);
    mem_free(s);
}

/* SNI has no addresses (RFC 6066 §3). */
static bool expect_name(SSL *ssl, const char *name)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1)
        return true;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

static struct tls_session *session_new(struct tls_context *context, const char *name)
{
    const struct ossl_context *c = (const struct ossl_context *)context;
    struct ossl_session *s = MEM_NEW(struct ossl_session);
    if (!s)
        return NULL;
    s->ssl = SSL_new(c->certificates[0].ctx);
    bool bound = s->ssl && SSL_set_app_data(s->ssl, s) == 1;
    BIO *bio = bound ? bio_new(&s->base.wire) : NULL;
    if (!bio) {
        session_free(&s->base);
        ERR_clear_error();
        return NULL;
    }
    SSL_set_bio(s->ssl, bio, bio);
    if (!context->is_client) {
        SSL_set_accept_state(s->ssl);
    } else {
        SSL_set_connect_state(s->ssl);
        if (!expect_name(s->ssl, name)) {
            session_free(&s->base);
            ERR_clear_error();
            return NULL;
        }
    }
    return &s->base;
}

/* The queue is empty after each call here, and SSL_get_error goes by that. Emptying it once
 * more costs as much as half a request, so it is only done where someone else left something
 * on this thread. */
static inline void start_clean(void)
{
    if (UNLIKELY(ERR_peek_error() != 0))
        ERR_clear_error();
}

/* ---- what OpenSSL says ------------------------------------------------------------------ */

static enum tls_failure failure_of(unsigned long code)
{
    int reason = ERR_GET_REASON(code);
    if (ERR_GET_LIB(code) != ERR_LIB_SSL)
        return reason == ERR_R_MALLOC_FAILURE ? TLS_FAILURE_MEMORY : TLS_FAILURE_PROTOCOL;
    switch (reason) {
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_WRONG_SSL_VERSION:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_NO_PROTOCOLS_AVAILABLE:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
        return TLS_FAILURE_VERSION;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SHARED_GROUPS:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_GROUPS:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
        return TLS_FAILURE_CIPHER;
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return TLS_FAILURE_NO_CERTIFICATE;
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
        return TLS_FAILURE_BAD_CERTIFICATE;
    case ERR_R_MALLOC_FAILURE:
        return TLS_FAILURE_MEMORY;
    case ERR_R_INTERNAL_ERROR:
        return TLS_FAILURE_INTERNAL;
    default:
        return reason > SSL_AD_REASON_OFFSET ? TLS_FAILURE_ALERT : TLS_FAILURE_PROTOCOL;
    }
}

static enum tls_step failed_step(struct ossl_session *s)
{
    char text[160];
    enum tls_failure failure = failure_of(ERR_peek_error());
    ossl_error(text, sizeof(text));
    long verified = SSL_get_verify_result(s->ssl);
    if (failure == TLS_FAILURE_BAD_CERTIFICATE && verified != X509_V_OK)
        snprintf(text, sizeof(text), "%s", X509_verify_cert_error_string(verified));
    tls_session_fail(&s->base, failure, text);
    return TLS_FAILED;
}

/* What a call that returned `r` has come to. */
static enum tls_step step_of(struct ossl_session *s, int r)
{
    if (r > 0)
        return TLS_DONE;
    switch (SSL_get_error(s->ssl, r)) {
    case SSL_ERROR_WANT_READ:
        return TLS_MORE;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_END;
    default:
        return failed_step(s);
    }
}

static enum tls_step handshake(struct tls_session *session)
{
    struct ossl_session *s = ossl_session(session);
    start_clean();
    return step_of(s, SSL_do_handshake(s->ssl));
}

static enum tls_step read_(struct tls_session *session, struct span_mut into, size_t *ret_len)
{
    struct ossl_session *s = ossl_session(session);
    start_clean();
    return step_of(s, SSL_read_ex(s->ssl, into.ptr, into.len, ret_len));
}

static bool holds(const struct tls_session *session)
{
    return SSL_pending(((const struct ossl_session *)session)->ssl) > 0;
}

static enum tls_step write_(struct tls_session *session, struct span bytes)
{
    struct ossl_session *s = ossl_session(session);
    size_t written;
    start_clean();
    enum tls_step step = step_of(s, SSL_write_ex(s->ssl, bytes.ptr, bytes.len, &written));
    return step == TLS_DONE ? TLS_DONE : TLS_FAILED;
}

static void end(struct tls_session *session)
{
    start_clean();
    /* 0, as the peer's close_notify has not come; that is not waited for. */
    if (SSL_shutdown(ossl_session(session)->ssl) < 0)
        ERR_clear_error();
}

/* ---- info --------------------------------------------------------------------------------- */

static void peer_name(X509 *peer, char *into, size_t size)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(peer, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_DNS && name->type != GEN_URI && name->type != GEN_EMAIL)
            continue;
        const ASN1_IA5STRING *text = name->d.ia5;
        snprintf(into, size, "%.*s", ASN1_STRING_length(text),
                 (const char *)ASN1_STRING_get0_data(text));
        break;
    }
    GENERAL_NAMES_free(names);
}

static void peer_subject(X509 *peer, char *into, size_t size)
{
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio && X509_NAME_print_ex(bio, X509_get_subject_name(peer), 0, XN_FLAG_RFC2253) >= 0) {
        int n = BIO_read(bio, into, (int)size - 1);
        into[MAX(n, 0)] = '\0';
    }
    BIO_free(bio);
}

static void info(const struct tls_session *session, struct tls_info *ret_info)
{
    SSL *ssl = ((const struct ossl_session *)session)->ssl;
    const unsigned char *alpn;
    unsigned alpn_len;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    X509 *peer = SSL_get0_peer_certificate(ssl);
    ret_info->resumed = SSL_session_reused(ssl);
    ret_info->version = SSL_get_version(ssl);
    ret_info->cipher = SSL_get_cipher_name(ssl);
    SSL_get0_alpn_selected(ssl, &alpn, &alpn_len);
    snprintf(ret_info->alpn, sizeof(ret_info->alpn), "%.*s", (int)alpn_len,
             alpn_len ? (const char *)alpn : "");
    snprintf(ret_info->server_name, sizeof(ret_info->server_name), "%s", name ? name : "");
    ret_info->peer_given = peer != NULL;
    if (peer) {
        peer_subject(peer, ret_info->peer_subject, sizeof(ret_info->peer_subject));
        peer_name(peer, ret_info->peer_name, sizeof(ret_info->peer_name));
    }
    ERR_clear_error();
}

const struct tls_engine tls_openssl = {
    .context_new = ossl_context_new,
    .context_free = ossl_context_free,
    .certificates = ossl_certificates,
    .certificate = ossl_certificate,
    .session_new = session_new,
    .session_free = session_free,
    .handshake = handshake,
    .read = read_,
    .holds = holds,
    .write = write_,
    .end = end,
    .info = info,
};
