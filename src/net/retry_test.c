#include "net/retry.h"

#include "base/test_cmocka.h"
#include "base/test_random.h"

static void only_idempotent_methods_may_go_out_twice(void **state)
{
    static const enum http_method yes[] = {METHOD_GET,    METHOD_HEAD,    METHOD_PUT,
                                           METHOD_DELETE, METHOD_OPTIONS, METHOD_TRACE};
    static const enum http_method no[] = {METHOD_POST, METHOD_PATCH, METHOD_CONNECT, METHOD_OTHER};
    for (size_t i = 0; i < ARRAY_LEN(yes); i++)
        assert_true(retry_idempotent(yes[i]));
    for (size_t i = 0; i < ARRAY_LEN(no); i++)
        assert_false(retry_idempotent(no[i]));
}

static void only_passing_statuses_are_tried_again(void **state)
{
    for (int status = 100; status < 600; status++)
        assert_int_equal(retry_status(status),
                         status == 429 || status == 502 || status == 503 || status == 504);
}

static void waits_are_drawn_below_a_bound_that_doubles(void **state)
{
    struct retry_policy policy = {.backoff = 10 * IO_MS, .backoff_max = 50 * IO_MS};
    static const io_time bounds[] = {0, 0, 10, 20, 40, 50, 50, 50};
    uint64_t random = 1;
    for (int64_t next = 2; next < 8; next++) {
        io_time least = IO_SEC, most = 0;
        for (int i = 0; i < 1000; i++) {
            io_time wait = retry_backoff(&policy, next, test_random(&random));
            least = MIN(least, wait);
            most = MAX(most, wait);
        }
        assert_true(least >= 0 && least < bounds[next] * IO_MS / 10);
        assert_true(most <= bounds[next] * IO_MS && most > bounds[next] * IO_MS * 9 / 10);
    }
    policy = (struct retry_policy){.backoff = 0, .backoff_max = IO_SEC};
    assert_int_equal(retry_backoff(&policy, 5, 123), 0);
    policy = (struct retry_policy){.backoff = INT64_MAX / 2, .backoff_max = INT64_MAX};
    assert_true(retry_backoff(&policy, 2, UINT64_MAX) >= 0);
}

static void retry_after_is_seconds_or_a_date(void **state)
{
    io_time wall = 784111777 * IO_SEC; /* Sun, 06 Nov 1994 08:49:37 GMT */
    assert_int_equal(retry_after(SPAN("120"), wall), 120 * IO_SEC);
    assert_int_equal(retry_after(SPAN("0"), wall), 0);
    assert_int_equal(retry_after(SPAN("Sun, 06 Nov 1994 08:49:47 GMT"), wall), 10 * IO_SEC);
    assert_int_equal(retry_after(SPAN("Sun, 06 Nov 1994 08:49:27 GMT"), wall), 0);
    assert_int_equal(retry_after(SPAN("soon"), wall), 0);
    assert_int_equal(retry_after(SPAN_NONE, wall), 0);
    assert_true(retry_after(SPAN("18446744073709551615"), wall) > 0);
}

static void retries_are_a_share_of_the_requests_of_a_window(void **state)
{
    struct retry_budget budget = {0};
    io_time now = 100 * IO_SEC;
    for (int i = 0; i < 50; i++)
        retry_budget_request(&budget, now);
    int taken = 0;
    while (retry_budget_take(&budget, 20, now))
        taken++;
    assert_int_equal(taken, 10);
    assert_false(retry_budget_take(&budget, 20, now + 9 * IO_SEC));
    /* The window has passed: there are no requests in it, and one retry. */
    assert_true(retry_budget_take(&budget, 20, now + 10 * IO_SEC));
    assert_false(retry_budget_take(&budget, 20, now + 10 * IO_SEC));
    assert_true(retry_budget_take(&budget, 20, now + 1000 * IO_SEC));
}

static void at_any_time_retries_stay_within_the_budget(void **state)
{
    struct retry_budget budget = {0};
    uint64_t random = 3;
    io_time now = 5 * IO_SEC;
    struct {
        io_time at;
        bool retry, request;
    } events[5000];
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        now += (io_time)(test_random(&random) % (20 * IO_MS));
        bool retry = test_random(&random) % 2;
        events[i].request = !retry;
        if (!retry)
            retry_budget_request(&budget, now);
        else
            retry = retry_budget_take(&budget, 20, now);
        events[i].at = now;
        events[i].retry = retry;
        if (!retry)
            continue;
        /* Counted by hand, over whole seconds as the window does. */
        int requests = 0, retries = 0;
        for (size_t k = 0; k <= i; k++) {
            if (events[k].at / IO_SEC > now / IO_SEC - RETRY_SLOTS)
                retries += events[k].retry, requests += events[k].request;
        }
        assert_true(retries <= MAX(requests / 5, 1));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_idempotent_methods_may_go_out_twice),
        cmocka_unit_test(only_passing_statuses_are_tried_again),
        cmocka_unit_test(waits_are_drawn_below_a_bound_that_doubles),
        cmocka_unit_test(retry_after_is_seconds_or_a_date),
        cmocka_unit_test(retries_are_a_share_of_the_requests_of_a_window),
        cmocka_unit_test(at_any_time_retries_stay_within_the_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
