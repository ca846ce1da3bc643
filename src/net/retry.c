#include "net/retry.h"

#include "base/number.h"

/* A longer one is as good as "never" for any deadline. */
#define AFTER_MAX ((uint64_t)86400 * 365)

bool retry_idempotent(enum http_method method)
{
    switch (method) {
    case METHOD_GET:
    case METHOD_HEAD:
    case METHOD_PUT:
    case METHOD_DELETE:
    case METHOD_OPTIONS:
    case METHOD_TRACE:
        return true;
    default:
        return false;
    }
}

bool retry_status(int status)
{
    return status == 429 || (status >= 502 && status <= 504);
}

io_time retry_backoff(const struct retry_policy *policy, int64_t next, uint64_t chance)
{
    io_time bound = policy->backoff;
    for (int64_t i = 2; i < next && bound < policy->backoff_max; i++)
        bound *= 2;
    bound = MIN(bound, policy->backoff_max);
    return (io_time)(chance % ((uint64_t)bound + 1));
}

io_time retry_after(struct span value, io_time wall)
{
    uint64_t seconds;
    int64_t date;
    if (!failed(number_parse_u64(value, &seconds)))
        return (io_time)MIN(seconds, AFTER_MAX) * IO_SEC;
    if (!http_date_parse(value, &date))
        return 0;
    int64_t wait = date - wall / IO_SEC;
    return wait > 0 ? (io_time)MIN((uint64_t)wait, AFTER_MAX) * IO_SEC : 0;
}

static size_t slot_of(struct retry_budget *budget, io_time now)
{
    int64_t second = now / IO_SEC;
    if (second - budget->second >= RETRY_SLOTS)
        budget->second = second - RETRY_SLOTS;
    while (budget->second < second) {
        size_t slot = (size_t)(++budget->second % RETRY_SLOTS);
        budget->requests[slot] = budget->retries[slot] = 0;
    }
    return (size_t)(second % RETRY_SLOTS);
}

void retry_budget_request(struct retry_budget *budget, io_time now)
{
    budget->requests[slot_of(budget, now)]++;
}

bool retry_budget_take(struct retry_budget *budget, int64_t percent, io_time now)
{
    uint64_t requests = 0, retries = 0;
    size_t slot = slot_of(budget, now);
    for (size_t i = 0; i < RETRY_SLOTS; i++) {
        requests += budget->requests[i];
        retries += budget->retries[i];
    }
    if (retries >= MAX(requests * (uint64_t)percent / 100, (uint64_t)1))
        return false;
    budget->retries[slot]++;
    return true;
}
