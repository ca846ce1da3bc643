#include "io/openssl/test_certificates.h"

#include "io/openssl/ossl.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#define DAY 86400L

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool ok = extension && X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return ok;
}

static bool fill(X509 *cert, X509 *issuer, EVP_PKEY *key, const struct test_certificate *what)
{
    char names[300];
    X509_NAME *subject = X509_get_subject_name(cert);
    snprintf(names, sizeof(names), "DNS:%s%s%s", what->name, what->name_too ? ",DNS:" : "",
             what->name_too ? what->name_too : "");
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -10 * DAY);
    X509_gmtime_adj(X509_getm_notAfter(cert), what->expired ? -DAY : 100 * DAY);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const uint8_t *)what->name, -1, -1,
                               0);
    X509_set_issuer_name(cert, X509_get_subject_name(issuer));
    return add_extension(cert, issuer, NID_subject_alt_name, names) &&
           add_extension(cert, issuer, NID_basic_constraints,
                         issuer == cert ? "critical,CA:TRUE" : "critical,CA:FALSE");
}

static bool write_pem(X509 *cert, EVP_PKEY *key, char *ret_cert, char *ret_key, size_t size)
{
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, cert);
    int n = BIO_read(bio, ret_cert, (int)size - 1);
    ret_cert[n > 0 ? n : 0] = '\0';
    PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
    int m = BIO_read(bio, ret_key, (int)size - 1);
    ret_key[m > 0 ? m : 0] = '\0';
    BIO_free(bio);
    return n > 0 && m > 0;
}

static BIO *bio_of(const char *text)
{
    return BIO_new_mem_buf(text, -1);
}

bool test_certificate_make(const struct test_certificate *what, char *ret_cert, char *ret_key,
                           size_t size)
{
    bool ready = ossl_init();
    ASSERT(ready);
    EVP_PKEY *key = what->rsa_bits ? EVP_RSA_gen((unsigned)what->rsa_bits) : EVP_EC_gen("P-256");
    X509 *cert = X509_new(), *issuer = cert;
    EVP_PKEY *issuer_key = key;
    if (what->issuer_cert) {
        BIO *bio = bio_of(what->issuer_cert);
        issuer = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        BIO_free(bio);
        bio = bio_of(what->issuer_key);
        issuer_key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
        BIO_free(bio);
    }
    bool ok = key && cert && issuer && issuer_key && fill(cert, issuer, key, what) &&
              X509_sign(cert, issuer_key, EVP_sha256()) > 0 &&
              write_pem(cert, key, ret_cert, ret_key, size);
    if (issuer != cert) {
        X509_free(issuer);
        EVP_PKEY_free(issuer_key);
    }
    X509_free(cert);
    EVP_PKEY_free(key);
    return ok;
}
