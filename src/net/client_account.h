/* What clients count: one account a process, one part of it a loop.
 *
 * Counters go into the loop's shard of the metrics. What is open, idle or waiting now is a
 * `quota` a loop, which its loop changes and a scrape adds up.
 *
 * Every function takes a NULL part, and then counts nothing.
 */
#pragma once

#include "base/quota.h"
#include "base/result.h"
#include "io/io.h"
#include "obs/metrics.h"

struct client_account;
struct client_account_loop;

extern const struct metric_def client_metrics[];
extern const size_t client_metrics_len;

/* Once in a process, at boot; `client_metrics` are defined by it. */
result client_account_new(struct process *process, struct metrics *metrics,
                          struct client_account **ret_account, struct diag *diag);
/* Before its metrics. NULL is allowed. */
void client_account_free(struct client_account *account);
/* NULL for a NULL account. */
struct client_account_loop *client_account_part(struct client_account *account, int loop_index);

enum account_name { ACCOUNT_NAME_CACHED, ACCOUNT_NAME_STALE, ACCOUNT_NAME_KINDS };
/* A name answered without asking. */
void client_account_name(struct client_account_loop *part, enum account_name kind);
/* A lookup has ended. */
void client_account_lookup(struct client_account_loop *part, result r);

enum account_gauge { ACCOUNT_OPEN, ACCOUNT_IDLE, ACCOUNT_WAITING, ACCOUNT_GAUGES };
/* One more, or one less. */
void client_account_more(struct client_account_loop *part, enum account_gauge gauge);
void client_account_less(struct client_account_loop *part, enum account_gauge gauge);

enum account_event {
    ACCOUNT_CONNECT,        /* a connection was made */
    ACCOUNT_CONNECT_FAILED, /* none could be made */
    ACCOUNT_REUSE,          /* a request went out on one that was there */
    ACCOUNT_WAIT,           /* a request had to wait for one, past the turn it was sent in */
    ACCOUNT_REFUSED,        /* a request found the queue full */
    ACCOUNT_RETRY,          /* sent again by the retry policy */
    ACCOUNT_REPLAY,         /* sent again because a kept connection had gone */
    ACCOUNT_RETRY_REFUSED,  /* not sent again: the budget was used up */
    ACCOUNT_EVENTS,
};
void client_account_event(struct client_account_loop *part, enum account_event event);

/* A request has ended: with the answer's status, or 0 and why. */
void client_account_request(struct client_account_loop *part, int status, result r, io_time took);
