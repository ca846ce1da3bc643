/* Lookups. */
#include "io/conformance_test.h"

#include "io/lookup.h"

#include <stdio.h>

#define FAR (10 * IO_SEC)

struct ask {
    struct io_lookup lookup;
    struct fx *fx;
    int completions, again;
    result r;
    size_t count;
    io_time ttl;
    struct io_address first;
    struct lookup_service services[4];
    char why[384];
};

static struct io_address v4(uint8_t last)
{
    return (struct io_address){.family = IO_INET, .ip = {192, 0, 2, last}};
}

static int left; /* asks that have not completed */

static void answered(struct io_lookup *lookup, result r, const struct lookup_answer *answer,
                     const char *why)
{
    struct ask *ask = CONTAINER_OF(lookup, struct ask, lookup);
    assert_false(lookup_running(lookup));
    ask->completions++;
    ask->r = r;
    ask->count = answer ? answer->count : 0;
    assert_true(failed(r) == !answer);
    snprintf(ask->why, sizeof(ask->why), "%s", why);
    if (answer) {
        ask->ttl = answer->ttl;
        if (lookup->kind == LOOKUP_ADDRESSES)
            ask->first = answer->addresses[0];
        else
            memcpy(ask->services, answer->services,
                   MIN(answer->count, ARRAY_LEN(ask->services)) * sizeof(*ask->services));
    }
    if (--left == 0)
        fx_after(ask->fx, 20 * IO_MS, fx_stop); /* what comes twice would be seen */
}

static void ask_for(struct fx *fx, struct ask *ask, enum lookup_kind kind, const char *name,
                    io_time patience)
{
    ask->fx = fx;
    left++;
    int before = ask->completions;
    lookup_start(fx->loop, &ask->lookup, kind, span_cstr(name),
                 process_clock(fx->process) + patience, answered);
    assert_int_equal(ask->completions, before); /* I1 */
    assert_true(lookup_running(&ask->lookup));
}

static void a_name_becomes_its_addresses_with_their_ttl(void **state)
{
    struct fx fx;
    struct ask ask = {0};
    fx_init(&fx, 1);
    driver->put_name(fx.process, "one.test", &(struct io_address){0}, 0, 0);
    driver->put_name(fx.process, "one.test", (struct io_address[]){v4(1)}, 1, 77 * IO_SEC);
    ask_for(&fx, &ask, LOOKUP_ADDRESSES, "ONE.test", FAR);
    fx_run(&fx);
    assert_int_equal(ask.r.code, ERR_NONE);
    assert_int_equal(ask.count, 1);
    assert_int_equal(ask.ttl, 77 * IO_SEC);
    assert_int_equal(ask.first.port, 0);
    assert_int_equal(ask.first.family, IO_INET);
    assert_memory_equal(ask.first.ip, v4(1).ip, 4);
    fx_release(&fx);
}

static void both_families_are_asked_for(void **state)
{
    struct fx fx;
    struct ask ask = {0}, ask6 = {0};
    struct io_address both[] = {v4(1), {.family = IO_INET6, .ip = {0x20, 1, 0xd, 0xb8, [15] = 7}}};
    fx_init(&fx, 1);
    driver->put_name(fx.process, "both.test", both, 2, IO_SEC);
    driver->put_name(fx.process, "six.test", both + 1, 1, IO_SEC);
    ask_for(&fx, &ask, LOOKUP_ADDRESSES, "both.test", FAR);
    ask_for(&fx, &ask6, LOOKUP_ADDRESSES, "six.test", FAR);
    fx_run(&fx);
    assert_int_equal(ask.count, 2);
    assert_int_equal(ask6.count, 1);
    assert_int_equal(ask6.first.family, IO_INET6);
    assert_int_equal(ask6.first.ip[15], 7);
    fx_release(&fx);
}

static void literals_are_answered_without_asking(void **state)
{
    static const struct {
        const char *name;
        enum io_family family;
        uint8_t last;
    } cases[] = {{"192.0.2.9", IO_INET, 9},
                 {"::9", IO_INET6, 9},
                 {"[::9]", IO_INET6, 9},
                 {"localhost", IO_INET, 1}};
    struct fx fx;
    struct ask asks[ARRAY_LEN(cases)] = {0};
    fx_init(&fx, 1);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        driver->fail_name(fx.process, cases[i].name, ERR_NOT_FOUND);
        ask_for(&fx, &asks[i], LOOKUP_ADDRESSES, cases[i].name, FAR);
    }
    fx_run(&fx);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(asks[i].r.code, ERR_NONE);
        assert_int_equal(asks[i].first.family, cases[i].family);
        assert_int_equal(asks[i].first.ip[cases[i].family == IO_INET ? 3 : 15], cases[i].last);
    }
    fx_release(&fx);
}

static void a_failure_tells_the_name_and_the_server_s_answer(void **state)
{
    static const struct {
        const char *name;
        enum err fault, code;
        const char *says;
    } cases[] = {
        {"nobody.test", ERR_NOT_FOUND, ERR_NOT_FOUND, "NXDOMAIN"},
        {"empty.test", ERR_NONE, ERR_NOT_FOUND, "NODATA"},
        {"broken.test", ERR_UNAVAILABLE, ERR_UNAVAILABLE, "SERVFAIL"},
        {"silent.test", ERR_DEADLINE, ERR_UNAVAILABLE, "no name server answered"},
    };
    struct fx fx;
    struct ask asks[ARRAY_LEN(cases)] = {0};
    fx_init(&fx, 1);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (cases[i].fault)
            driver->fail_name(fx.process, cases[i].name, cases[i].fault);
        else
            driver->put_name(fx.process, cases[i].name, &(struct io_address){0}, 0, IO_SEC);
        ask_for(&fx, &asks[i], LOOKUP_ADDRESSES, cases[i].name, FAR);
    }
    fx_run(&fx);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(asks[i].r.code, cases[i].code);
        assert_int_equal(asks[i].completions, 1);
        assert_non_null(strstr(asks[i].why, cases[i].name));
        assert_non_null(strstr(asks[i].why, cases[i].says));
    }
    fx_release(&fx);
}

static void what_is_no_name_is_refused_without_asking(void **state)
{
    static const char *const names[] = {"",    ".",      "a..b",     ".a",   "a b",
                                        "a/b", "ä.test", "a.test..", "[::1", "a:b"};
    struct fx fx;
    struct ask asks[ARRAY_LEN(names) + 2] = {0};
    char label[65], name[300];
    memset(label, 'a', 64);
    label[64] = '\0';
    memset(name, 'a', 299);
    name[299] = '\0';
    fx_init(&fx, 1);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        ask_for(&fx, &asks[i], LOOKUP_ADDRESSES, names[i], FAR);
    ask_for(&fx, &asks[ARRAY_LEN(names)], LOOKUP_ADDRESSES, label, FAR);
    ask_for(&fx, &asks[ARRAY_LEN(names) + 1], LOOKUP_SERVICES, name, FAR);
    fx_run(&fx);
    for (size_t i = 0; i < ARRAY_LEN(asks); i++)
        assert_int_equal(asks[i].r.code, ERR_SYNTAX);
    fx_release(&fx);
}

static void a_deadline_ends_a_lookup(void **state)
{
    struct fx fx;
    struct ask ask = {0};
    fx_init(&fx, 1);
    driver->fail_name(fx.process, "silent.test", ERR_DEADLINE);
    io_time start = process_clock(fx.process);
    ask_for(&fx, &ask, LOOKUP_ADDRESSES, "silent.test", 30 * IO_MS);
    fx_run(&fx);
    assert_int_equal(ask.r.code, ERR_DEADLINE);
    assert_int_equal(ask.completions, 1);
    assert_true(process_clock(fx.process) - start >= 30 * IO_MS);
    fx_release(&fx);
}

static struct ask cancelled[3];

static void cancel_all(struct fx *fx)
{
    for (size_t i = 0; i < ARRAY_LEN(cancelled); i++) {
        lookup_cancel(&cancelled[i].lookup);
        lookup_cancel(&cancelled[i].lookup);
        assert_int_equal(cancelled[i].completions, 0);
    }
}

static void a_lookup_cancelled_completes_once(void **state)
{
    struct fx fx;
    memset(cancelled, 0, sizeof(cancelled));
    fx_init(&fx, 1);
    driver->fail_name(fx.process, "silent.test", ERR_DEADLINE);
    driver->put_name(fx.process, "one.test", (struct io_address[]){v4(1)}, 1, IO_SEC);
    ask_for(&fx, &cancelled[0], LOOKUP_ADDRESSES, "silent.test", FAR);
    ask_for(&fx, &cancelled[1], LOOKUP_ADDRESSES, "one.test", FAR);
    ask_for(&fx, &cancelled[2], LOOKUP_ADDRESSES, "192.0.2.1", FAR); /* answered already */
    cancel_all(&fx);
    fx_run(&fx);
    for (size_t i = 0; i < ARRAY_LEN(cancelled); i++) {
        assert_int_equal(cancelled[i].r.code, ERR_CANCELLED);
        assert_int_equal(cancelled[i].completions, 1);
    }
    fx_release(&fx);
}

static void ask_again(struct io_lookup *lookup, result r, const struct lookup_answer *answer,
                      const char *why)
{
    struct ask *ask = CONTAINER_OF(lookup, struct ask, lookup);
    assert_int_equal(r.code, ERR_NONE);
    left--;
    lookup_cancel(&cancelled[0].lookup); /* another, from inside a completion */
    if (++ask->again < 3) {
        left++;
        lookup_start(ask->fx->loop, lookup, LOOKUP_ADDRESSES, SPAN("one.test"), TIME_NEVER,
                     ask_again);
    } else {
        assert_int_equal(answer->count, 1);
        ask_for(ask->fx, ask, LOOKUP_ADDRESSES, "one.test", FAR);
    }
}

static void a_lookup_may_be_started_again_inside_its_completion(void **state)
{
    struct fx fx;
    struct ask ask = {.fx = &fx};
    memset(cancelled, 0, sizeof(cancelled));
    fx_init(&fx, 1);
    driver->put_name(fx.process, "one.test", (struct io_address[]){v4(1)}, 1, IO_SEC);
    driver->fail_name(fx.process, "silent.test", ERR_DEADLINE);
    ask_for(&fx, &cancelled[0], LOOKUP_ADDRESSES, "silent.test", FAR);
    left++;
    lookup_start(fx.loop, &ask.lookup, LOOKUP_ADDRESSES, SPAN("one.test"), TIME_NEVER, ask_again);
    fx_run(&fx);
    assert_int_equal(ask.again, 3);
    assert_int_equal(ask.completions, 1);
    assert_int_equal(cancelled[0].r.code, ERR_CANCELLED);
    fx_release(&fx);
}

static void many_names_are_looked_up_at_once(void **state)
{
    static struct ask asks[60];
    struct fx fx;
    memset(asks, 0, sizeof(asks));
    fx_init(&fx, 1);
    for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
        char name[32];
        snprintf(name, sizeof(name), "n%zu.test", i);
        driver->put_name(fx.process, name, (struct io_address[]){v4((uint8_t)i)}, 1, IO_SEC);
        ask_for(&fx, &asks[i], LOOKUP_ADDRESSES, name, FAR);
    }
    fx_run(&fx);
    for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
        assert_int_equal(asks[i].r.code, ERR_NONE);
        assert_int_equal(asks[i].first.ip[3], i);
    }
    fx_release(&fx);
}

static void answers_beyond_the_bound_are_left_out(void **state)
{
    struct fx fx;
    struct ask ask = {0};
    struct io_address many[40];
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        many[i] = v4((uint8_t)i);
    fx_init(&fx, 1);
    driver->put_name(fx.process, "many.test", many, ARRAY_LEN(many), IO_SEC);
    ask_for(&fx, &ask, LOOKUP_ADDRESSES, "many.test", FAR);
    fx_run(&fx);
    assert_int_equal(ask.count, LOOKUP_ANSWERS_MAX);
    fx_release(&fx);
}

static void services_come_by_priority_with_their_ttl(void **state)
{
    static const struct lookup_service services[] = {{10, 5, 8080, "pod-0.web.test"},
                                                     {10, 60, 8081, "pod-1.web.test"}};
    struct fx fx;
    struct ask ask = {0}, none = {0};
    fx_init(&fx, 1);
    driver->put_services(fx.process, "_http._tcp.web.test", services + 1, 1, 5 * IO_SEC);
    driver->put_services(fx.process, "_http._tcp.web.test",
                         (struct lookup_service[]){services[1], services[0]}, 2, 5 * IO_SEC);
    driver->fail_name(fx.process, "_no._tcp.web.test", ERR_NOT_FOUND);
    ask_for(&fx, &ask, LOOKUP_SERVICES, "_http._tcp.web.test", FAR);
    ask_for(&fx, &none, LOOKUP_SERVICES, "_no._tcp.web.test", FAR);
    fx_run(&fx);
    assert_int_equal(ask.r.code, ERR_NONE);
    assert_int_equal(ask.count, 2);
    assert_int_equal(ask.ttl, 5 * IO_SEC);
    assert_int_equal(ask.services[0].port, 8081);
    assert_int_equal(ask.services[0].weight, 60);
    assert_string_equal(ask.services[0].target, "pod-1.web.test");
    assert_int_equal(ask.services[1].priority, 10);
    assert_int_equal(none.r.code, ERR_NOT_FOUND);
    fx_release(&fx);
}

static void a_process_freed_with_lookups_under_way_leaks_nothing(void **state)
{
    struct fx fx;
    static struct ask asks[3];
    memset(asks, 0, sizeof(asks));
    fx_init(&fx, 1);
    driver->fail_name(fx.process, "silent.test", ERR_DEADLINE);
    ask_for(&fx, &asks[0], LOOKUP_ADDRESSES, "silent.test", FAR);
    ask_for(&fx, &asks[1], LOOKUP_SERVICES, "silent.test", FAR);
    fx_after(&fx, 5 * IO_MS, fx_stop);
    fx_run(&fx);
    ask_for(&fx, &asks[2], LOOKUP_ADDRESSES, "::1", FAR); /* answered, and not told */
    left = 0;
    fx_release(&fx);
    assert_int_equal(asks[0].completions + asks[1].completions + asks[2].completions, 0);
}

const struct CMUnitTest name_tests[] = {
    cmocka_unit_test(a_name_becomes_its_addresses_with_their_ttl),
    cmocka_unit_test(both_families_are_asked_for),
    cmocka_unit_test(literals_are_answered_without_asking),
    cmocka_unit_test(a_failure_tells_the_name_and_the_server_s_answer),
    cmocka_unit_test(what_is_no_name_is_refused_without_asking),
    cmocka_unit_test(a_deadline_ends_a_lookup),
    cmocka_unit_test(a_lookup_cancelled_completes_once),
    cmocka_unit_test(a_lookup_may_be_started_again_inside_its_completion),
    cmocka_unit_test(many_names_are_looked_up_at_once),
    cmocka_unit_test(answers_beyond_the_bound_are_left_out),
    cmocka_unit_test(services_come_by_priority_with_their_ttl),
    cmocka_unit_test(a_process_freed_with_lookups_under_way_leaks_nothing),
};
const size_t name_tests_count = ARRAY_LEN(name_tests);
