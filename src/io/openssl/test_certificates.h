/* For tests only: certificates and keys, made anew each time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct test_certificate {
    const char *name;                     /* the subject's, and a DNS name */
    const char *name_too;                 /* another DNS name, or NULL */
    const char *issuer_cert, *issuer_key; /* PEM; NULL: it signs itself, and may sign others */
    bool expired;
    int rsa_bits; /* 0: ECDSA over P-256 */
};

/* PEM text into two buffers of that size. */
bool test_certificate_make(const struct test_certificate *what, char *ret_cert, char *ret_key,
                           size_t size);
