/* Whether a request that failed is sent again, and when. Off by default: one attempt.
 *
 * Only what may succeed unchanged (result.h's retryable bit; 429, 502, 503 and 504) is
 * tried again; waits are drawn between nothing and a bound that doubles ("full jitter"),
 * and a Retry-After is never undercut. A budget keeps retries from becoming the load:
 * in a window they are at most `budget_percent` of the requests, and at least one.
 *
 * Pure: no clock and no chance of its own. One thread.
 */
#pragma once

#include "io/io.h"
#include "wire/http.h"

struct retry_policy {
    int64_t attempts; /* in all; 1: no retry */
    io_time backoff, backoff_max;
    int64_t budget_percent;
    bool any_method; /* also what is not idempotent */
};

/* RFC 9110 §9.2.2 */
bool retry_idempotent(enum http_method method);
bool retry_status(int status);
/* Before attempt `next` (2 is the first retry). `chance`: 64 random bits. */
io_time retry_backoff(const struct retry_policy *policy, int64_t next, uint64_t chance);
/* Delay-seconds or a date (RFC 9110 §10.2.3) as a time from `wall`; 0 for anything else. */
io_time retry_after(struct span value, io_time wall);

#define RETRY_SLOTS 10
#define RETRY_WINDOW (RETRY_SLOTS * IO_SEC)

struct retry_budget {
    int64_t second; /* of the newest slot */
    uint32_t requests[RETRY_SLOTS], retries[RETRY_SLOTS];
};
/* A request has begun. */
void retry_budget_request(struct retry_budget *budget, io_time now);
/* Takes one retry; false: the budget is used up. */
bool retry_budget_take(struct retry_budget *budget, int64_t percent, io_time now);
