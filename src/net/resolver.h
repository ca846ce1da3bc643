/* What a loop knows of names: a bounded cache above io's lookups (io/lookup.h).
 *
 * An answer is kept for its TTL, between `ttl_min` and `ttl_max`; that a name is not there
 * for `negative_ttl`, a failure for at most one second of it. All who ask for a name while
 * it is being looked up wait for the one lookup.
 *
 * Static stability: when an answer is too old and cannot be had anew (servers fail, or do
 * not answer within RESOLVER_STALE_AFTER), the old one is given for `stale_max` longer,
 * and asked for again every `negative_ttl`. That a name is gone (NXDOMAIN, NODATA) is an
 * answer, not a failure.
 *
 * Invariants
 *   N1  A wait completes from the loop, never inside the call that began it, exactly
 *       once, also after `resolver_cancel`, and by its deadline.
 *   N2  At most `entries_max` names are kept. The one that was asked for longest ago
 *       makes room; one that somebody waits for or that is being looked up stays; when
 *       all are such, ERR_EXHAUSTED.
 *
 * Owner: the loop's client pool, or whoever made it. One loop.
 */
#pragma once

#include "config/schema.h"
#include "io/lookup.h"

struct client_account_loop;
struct resolver;

/* RFC 8767 §5 calls it the client response timer. */
#define RESOLVER_STALE_AFTER IO_SEC

struct dns_config {
    struct config_texts servers;
    io_time timeout, try_timeout;
    int64_t tries;
    int64_t entries_max;
    io_time ttl_min, ttl_max, negative_ttl, stale_max;
};
/* All of it holds from the start of the process to its end. */
extern const struct config_module dns_module;
/* Tells io whom to ask. Boot only. ERR_SYNTAX. */
result dns_apply(struct process *process, const struct dns_config *config, struct diag *diag);

struct resolver_wait;
/* `answer` is valid during the call; NULL on failure, which `why` tells in words. */
typedef void (*resolver_fn)(struct resolver_wait *wait, result r,
                            const struct lookup_answer *answer, const char *why);

/* Lies in its owner's struct, zeroed before its first use. */
struct resolver_wait {
    struct list_node node;
    struct io_post post;
    struct io_timer timer;
    struct resolver *resolver;
    struct resolver_entry *entry; /* NULL: not under way, or refused */
    resolver_fn fn;
    uint16_t code; /* enum err, of the completion to come */
    bool waiting, finished;
};

/* `config` must outlive it; `account` may be NULL. */
result resolver_new(struct loop *loop, const struct dns_config *config,
                    struct client_account_loop *account, struct resolver **ret_resolver);
/* When no loop of its process runs any more, before the process is freed. NULL is allowed. */
void resolver_free(struct resolver *resolver);

void resolver_ask(struct resolver *resolver, struct resolver_wait *wait, enum lookup_kind kind,
                  struct span name, io_time deadline, resolver_fn fn);
/* Completes it with ERR_CANCELLED. Takes one that is not under way. */
void resolver_cancel(struct resolver_wait *wait);
