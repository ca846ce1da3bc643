/* The OpenSSL engine: certificates and keys, from PEM. Each failure names its file. */
#include "io/openssl/ossl.h"

#include "base/alloc.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>

static void say(const struct tls_options *options, const char *path, const char *what)
{
    char text[512];
    if (!options->warn)
        return;
    snprintf(text, sizeof(text), "%s: %s", path, what);
    options->warn(options->warn_arg, text);
}

/* ---- reading ---------------------------------------------------------------------- */

static void free_text(struct text *text)
{
    if (text->ptr)
        explicit_bzero(text->ptr, text->cap);
    text_release(text);
}

static void free_bio(BIO **bio)
{
    BIO_free(*bio);
}

static void free_x509(X509 **x509)
{
    X509_free(*x509);
}

static void free_key(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

/* The PEM text, in `into` where it comes from a file. */
static result pem_read(struct process *process, const struct tls_pem *pem, struct text *into,
                       struct span *ret_pem, struct diag *diag)
{
    text_init(into, TLS_PEM_BYTES_MAX);
    if (pem->text.len == 0)
        TRY(file_read(process, pem->path, into, diag));
    *ret_pem = pem->text.len ? pem->text : text_span(into);
    return OK;
}

static const char *name_of(const struct tls_pem *pem)
{
    return pem->path ? pem->path : "(given text)";
}

static BIO *bio_over(struct span bytes)
{
    /* Only reads; the cast is what the function wants. */
    return BIO_new_mem_buf(bytes.ptr ? bytes.ptr : (const uint8_t *)"", (int)bytes.len);
}

/* Whether the queue says no more than that the PEM text has no further object. */
static bool at_pem_end(void)
{
    unsigned long code = ERR_peek_last_error();
    bool over = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
    if (over)
        ERR_clear_error();
    return over;
}

static result refused(struct diag *diag, const struct tls_pem *pem, const char *expected)
{
    char why[160];
    return diag_fail(diag, ERR_SYNTAX, "%s: expected %s: %s", name_of(pem), expected,
                     ossl_error(why, sizeof(why)));
}

/* ---- certificates ------------------------------------------------------------------- */

static io_time time_of(const ASN1_TIME *time)
{
    int days = 0, seconds = 0;
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    if (epoch)
        ASN1_TIME_diff(&days, &seconds, epoch, time);
    ASN1_TIME_free(epoch);
    /* Beyond what a time can be (the year 2262): the last one. */
    return days > 106000 ? INT64_MAX : ((io_time)days * 86400 + seconds) * IO_SEC;
}

static void check_times(struct process *process, const struct tls_options *options,
                        const struct tls_pem *pem, const X509 *leaf)
{
    io_time now = process_wall(process);
    if (time_of(X509_get0_notAfter(leaf)) <= now)
        say(options, name_of(pem), "the certificate has expired");
    else if (time_of(X509_get0_notBefore(leaf)) > now)
        say(options, name_of(pem), "the certificate is not valid yet");
}

static result load_chain(struct process *process, const struct tls_options *options,
                         const struct tls_pem *pem, struct ossl_certificate *certificate,
                         struct diag *diag)
{
    struct text text CLEANUP(free_text) = {0};
    struct span bytes;
    TRY(pem_read(process, pem, &text, &bytes, diag));
    BIO *bio CLEANUP(free_bio) = bio_over(bytes);
    X509 *leaf CLEANUP(free_x509) = bio ? PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL) : NULL;
    if (!leaf)
        return refused(diag, pem, "a certificate in PEM");
    if (SSL_CTX_use_certificate(certificate->ctx, leaf) != 1)
        return refused(diag, pem, "a certificate that can be used");
    X509 *more;
    while ((more = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
        if (SSL_CTX_add0_chain_cert(certificate->ctx, more) != 1) {
            X509_free(more);
            return refused(diag, pem, "a chain of certificates");
        }
    }
    if (!at_pem_end())
        return refused(diag, pem, "nothing but certificates in PEM");
    certificate->not_after = time_of(X509_get0_notAfter(leaf));
    check_times(process, options, pem, leaf);
    return OK;
}

/* ---- keys ---------------------------------------------------------------------------- */

static int no_passphrase(char *buffer, int size, int writing, void *asked)
{
    *(bool *)asked = true;
    return -1;
}

static void check_mode(struct process *process, const struct tls_options *options,
                       const struct tls_pem *pem)
{
    struct file_info info;
    if (pem->text.len || failed(file_stat(process, pem->path, &info, NULL)))
        return;
    if (info.mode & 0004)
        say(options, pem->path, "the private key can be read by every user of this machine");
}

static result load_key(struct process *process, const struct tls_options *options,
                       const struct tls_certificate *pair, SSL_CTX *ctx, struct diag *diag)
{
    const struct tls_pem *pem = &pair->key;
    struct text text CLEANUP(free_text) = {0};
    struct span bytes;
    bool asked = false;
    if (!pem->path && pem->text.len == 0)
        return diag_fail(diag, ERR_ARGUMENT, "%s: expected a private key with this certificate",
                         name_of(&pair->chain));
    TRY(pem_read(process, pem, &text, &bytes, diag));
    BIO *bio CLEANUP(free_bio) = bio_over(bytes);
    EVP_PKEY *key CLEANUP(free_key) =
        bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &asked) : NULL;
    if (!key && asked) {
        ERR_clear_error();
        return diag_fail(diag, ERR_UNSUPPORTED, "%s: expected a private key without a passphrase",
                         name_of(pem));
    }
    if (!key)
        return refused(diag, pem, "a private key in PEM");
    if (SSL_CTX_use_PrivateKey(ctx, key) != 1 || SSL_CTX_check_private_key(ctx) != 1) {
        ERR_clear_error();
        return diag_fail(diag, ERR_ARGUMENT, "%s: expected the private key of the certificate %s",
                         name_of(pem), name_of(&pair->chain));
    }
    check_mode(process, options, pem);
    return OK;
}

result ossl_load_pair(struct process *process, const struct tls_options *options,
                      const struct tls_certificate *pair, struct ossl_certificate *certificate,
                      struct diag *diag)
{
    certificate->path = mem_strdup(name_of(&pair->chain));
    if (!certificate->path)
        return diag_fail(diag, ERR_NO_MEMORY, "no memory for a certificate");
    TRY(load_chain(process, options, &pair->chain, certificate, diag));
    return load_key(process, options, pair, certificate->ctx, diag);
}

io_time ossl_sign_time(struct process *process, SSL_CTX *ctx)
{
    static const uint8_t digest[32] = {1};
    EVP_PKEY *key = SSL_CTX_get0_privatekey(ctx);
    io_time best = 0;
    if (!key)
        return 0;
    /* The first one pays for what is set up lazily. */
    for (int round = 0; round < 3; round++) {
        uint8_t signature[2048];
        size_t len = sizeof(signature);
        EVP_MD_CTX *md = EVP_MD_CTX_new();
        bool hashes =
            EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA || EVP_PKEY_get_base_id(key) == EVP_PKEY_EC;
        io_time from = process_clock(process);
        if (md && EVP_DigestSignInit(md, NULL, hashes ? EVP_sha256() : NULL, NULL, key) == 1)
            EVP_DigestSign(md, signature, &len, digest, sizeof(digest));
        io_time took = process_clock(process) - from;
        EVP_MD_CTX_free(md);
        best = round == 0 ? took : MIN(best, took);
    }
    ERR_clear_error();
    return best;
}

/* ---- who is trusted ------------------------------------------------------------------- */

static result add_ca(SSL_CTX *ctx, X509 *ca)
{
    return X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), ca) == 1 &&
                   SSL_CTX_add_client_CA(ctx, ca) == 1
               ? OK
               : fail(ERR_NO_MEMORY);
}

static result load_bundle(struct process *process, const struct tls_pem *pem, SSL_CTX *ctx,
                          struct diag *diag)
{
    struct text text CLEANUP(free_text) = {0};
    struct span bytes;
    size_t count = 0;
    TRY(pem_read(process, pem, &text, &bytes, diag));
    BIO *bio CLEANUP(free_bio) = bio_over(bytes);
    X509 *ca;
    while (bio && (ca = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
        result r = add_ca(ctx, ca);
        X509_free(ca);
        if (failed(r))
            return refused(diag, pem, "certificates that can be trusted");
        count++;
    }
    if (!at_pem_end() || count == 0)
        return refused(diag, pem, "certificates in PEM");
    return OK;
}

/* OpenSSL's own look-up by directory would read files during handshakes (I5). */
static result load_system(struct process *process, SSL_CTX *ctx, struct diag *diag)
{
    const char *const paths[] = {
        X509_get_default_cert_file(),
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
    };
    struct file_info info;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        if (!failed(file_stat(process, paths[i], &info, NULL)))
            return load_bundle(process, &(struct tls_pem){.path = paths[i]}, ctx, diag);
    return diag_fail(diag, ERR_NOT_FOUND,
                     "expected the system's trusted certificates in %s, found none", paths[1]);
}

result ossl_load_ca(struct process *process, const struct tls_pem *pem, SSL_CTX *ctx,
                    struct diag *diag)
{
    return pem->path || pem->text.len ? load_bundle(process, pem, ctx, diag)
                                      : load_system(process, ctx, diag);
}
