/* For tests only: a DNS server on a thread of its own, over UDP and TCP on one port of
 * 127.0.0.1, that answers from a table and plays tricks. */
#pragma once

#include "io/lookup.h"

enum dns_trick {
    DNS_PLAIN,
    DNS_NXDOMAIN,
    DNS_SERVFAIL,
    DNS_REFUSED,
    DNS_SILENT,
    DNS_LOSES_FIRST, /* the first datagram of each type gets no answer */
    DNS_TRUNCATES,   /* over UDP the answer is cut and says so */
    DNS_GARBAGE,     /* the first answers are no DNS */
    DNS_WRONG_ID,    /* an answer with another id and address comes first */
    DNS_SLOW,        /* 150 ms */
    DNS_DAMAGED,     /* the records are cut off in their middle, and nothing says so */
};

/* Starts it, once in a program; its address. */
struct io_address dns_server_address(void);
/* Replaces what was. */
void dns_server_put(const char *name, const struct io_address *addresses, size_t count, io_time ttl,
                    enum dns_trick trick);
void dns_server_put_services(const char *name, const struct lookup_service *services, size_t count,
                             io_time ttl, enum dns_trick trick);
/* `name` is an alias of `target`, whose records come with it. */
void dns_server_put_alias(const char *name, const char *target, io_time ttl);
/* Questions for that name so far; over TCP alone. */
int dns_server_asked(const char *name);
int dns_server_asked_tcp(const char *name);
/* Forgets the table. */
void dns_server_clear(void);
