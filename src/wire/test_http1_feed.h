/* For the tests of http1: plays the caller of h1_read, and writes down what it got.
 *
 * Every call sees the pending bytes in a fresh heap block of exactly their size, so
 * that a sanitizer notices a read beyond them and a span kept from an older call.
 */
#pragma once

#include "base/text.h"
#include "wire/http1.h"

#define FEED_HEADERS_MAX 128

struct feed {
    struct h1 h1;
    enum h1_role role;
    struct text pending, record, bodies;
    struct h1_header headers[FEED_HEADERS_MAX];
    size_t headers_max;
    /* what came, beside the record */
    unsigned messages;
    size_t complete; /* bytes of the record up to the end of the last message */
    int error;       /* status of H1_ERROR or H1_PREFACE; 0 */
    const char *reason;
    bool ended, in_body;
    char method[16], path[512], query[64], host[64];
    int32_t port;
    int status;
    bool keep_alive, framed;
    struct text trailers; /* "name=value\n" */
};

void feed_init(struct feed *f, enum h1_role role, const struct h1_limits *limits);
void feed_release(struct feed *f);
/* The next bytes that come; nothing happens after an error. */
void feed_bytes(struct feed *f, struct span bytes);
void feed_eof(struct feed *f);
/* All in pieces of `piece` bytes, or with `piece` 0 in one. */
void feed_pieces(struct feed *f, struct span bytes, size_t piece);
/* Everything was complete messages. */
bool feed_quiet(const struct feed *f);
