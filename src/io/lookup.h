/* Names to addresses and services, by DNS.
 *
 * A lookup is one question on one loop and lies in its owner's struct. The rules of
 * io.h hold: it completes from the loop, exactly once, also after `lookup_cancel`, at
 * its deadline at the latest, and its struct may be used again inside the completion.
 * Nothing is kept: a cache stands above (net/resolver.h).
 *
 * On libuv c-ares asks: /etc/hosts first, then the servers and search domains of
 * /etc/resolv.conf or `process_dns`, over UDP, over TCP when an answer is truncated.
 * IPv4 and IPv6 are asked for together and come in the order of RFC 6724. Literal
 * addresses are answered at once and never leave the process. Each loop has a channel
 * of its own, made when it first asks, and anew when nothing is under way and it is a
 * minute old, so that a changed resolv.conf is seen. Making it and reading /etc/hosts
 * are the only reads of small local files that a loop does itself.
 *
 * In the simulator the world has a table of names (io/sim/sim.h).
 *
 * Failures
 *   ERR_NOT_FOUND    the name does not exist (NXDOMAIN) or has no such record (NODATA)
 *   ERR_UNAVAILABLE  a server failed (SERVFAIL, REFUSED, ...), sent rubbish, or none
 *                    answered within its tries
 *   ERR_DEADLINE     the lookup's own deadline
 *   ERR_SYNTAX       no host name; nobody was asked
 *   ERR_CANCELLED, ERR_NO_MEMORY
 */
#pragma once

#include "base/list.h"
#include "io/io.h"

/* Letters, digits, "-", "_" and "." (RFC 1123 §2.1, with the "_" of RFC 2782). */
#define IO_NAME_MAX 253

/* ---- host:port, where the host may be a name ------------------------------------------- */

struct io_endpoint {
    bool named;
    char name[IO_NAME_MAX + 2]; /* lower case; a dot at its end stays: no search domains */
    struct io_address address;  /* `named`: only its port holds */
};
/* "db.example:5432", and what io_address_parse takes but an empty host: there is
 * nobody at "any". The port is from 1 to 65535. */
result io_endpoint_parse(struct span text, struct io_endpoint *ret_endpoint, struct diag *diag);
/* The inverse; always NUL-terminated; returns its length. */
size_t io_endpoint_format(const struct io_endpoint *endpoint, char *buffer, size_t size);
/* Whether it may be asked for: labels of 1 to 63 bytes; one dot at the end is allowed. */
bool io_name_valid(struct span name);

/* ---- lookups ----------------------------------------------------------------------------- */

/* What is beyond is left out. */
#define LOOKUP_ANSWERS_MAX 32

enum lookup_kind {
    LOOKUP_ADDRESSES, /* A and AAAA */
    LOOKUP_SERVICES,  /* SRV (RFC 2782), for which the name is "_service._proto.name" */
};

struct lookup_service {
    uint16_t priority, weight, port;
    char target[IO_NAME_MAX + 2];
};

struct lookup_answer {
    io_time ttl; /* the least of all records that led here; 0 of /etc/hosts and literals */
    size_t count;
    const struct io_address *addresses;    /* the best first; port 0. LOOKUP_ADDRESSES */
    const struct lookup_service *services; /* by priority. LOOKUP_SERVICES */
};

struct io_lookup;
/* `answer` is valid during the call; NULL on failure, which `why` tells in words. */
typedef void (*lookup_fn)(struct io_lookup *lookup, result r, const struct lookup_answer *answer,
                          const char *why);

/* Zeroed before its first use. All members are io's. */
struct io_lookup {
    struct loop *loop;
    enum lookup_kind kind;
    uint8_t state;
    uint16_t code;               /* enum err, of the completion to come */
    char name[IO_NAME_MAX + 2];  /* as asked for */
    char why[IO_NAME_MAX + 128]; /* of a failure */
    lookup_fn fn;
    struct io_timer timer;
    struct io_post post;
    struct list_node node;
    struct lookup_answer *answer; /* on the heap, with what it points to */
    void *query;                  /* the implementation's */
};

/* `name` is copied. Not while the lookup is under way. */
void lookup_start(struct loop *loop, struct io_lookup *lookup, enum lookup_kind kind,
                  struct span name, io_time deadline, lookup_fn fn);
/* Completes it with ERR_CANCELLED. Takes one that is not under way. */
void lookup_cancel(struct io_lookup *lookup);
/* When no loop of its process runs any more, before the process is freed: it completes no
 * more, and its struct may go. Takes one that is not under way. */
void lookup_drop(struct io_lookup *lookup);
bool lookup_running(const struct io_lookup *lookup);

/* ---- whom to ask ---------------------------------------------------------------------------- */

#define DNS_SERVERS_MAX 8

struct dns_options {
    struct io_address servers[DNS_SERVERS_MAX]; /* port 0: 53 */
    size_t servers_len;                         /* 0: those of resolv.conf */
    const char *resolv_conf;                    /* NULL: /etc/resolv.conf; static */
    io_time timeout;                            /* of the first try; doubles. 0: 2 s */
    int tries;                                  /* of each server; 0: 2 */
};
/* Boot only. */
void process_dns(struct process *process, const struct dns_options *options);
