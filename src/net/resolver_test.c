/* The cache of names, over the simulator. */
#include "net/resolver.h"

#include "base/alloc.h"
#include "base/test_cmocka.h"
#include "io/sim/sim.h"

#include <stdio.h>

static const struct dns_config defaults = {
    .timeout = 4 * IO_SEC,
    .entries_max = 4,
    .ttl_min = IO_SEC,
    .ttl_max = 60 * IO_SEC,
    .negative_ttl = 5 * IO_SEC,
    .stale_max = 100 * IO_SEC,
};

struct rig {
    struct world *world;
    struct process *process;
    struct resolver *resolver;
    struct dns_config config;
};

struct ask {
    struct resolver_wait wait;
    struct io_post post; /* asks from the loop, whose time is of its turn */
    struct rig *rig;
    const char *name;
    io_time patience;
    int completions;
    result r;
    size_t count;
    uint8_t last;
    char why[400];
};

static void rig_init(struct rig *rig, uint64_t seed)
{
    *rig = (struct rig){.config = defaults};
    rig->world = sim_world_new(seed);
    rig->process = sim_process_new(rig->world, "one", 1);
    assert_int_equal(
        resolver_new(process_loop(rig->process, 0), &rig->config, NULL, &rig->resolver).code,
        ERR_NONE);
}

static void rig_release(struct rig *rig)
{
    resolver_free(rig->resolver);
    process_free(rig->process);
    sim_world_free(rig->world);
}

static void put(struct rig *rig, const char *name, uint8_t last, io_time ttl)
{
    struct io_address address = {.family = IO_INET, .ip = {192, 0, 2, last}};
    sim_name_put(rig->world, name, &address, 1, ttl);
}

static void answered(struct resolver_wait *wait, result r, const struct lookup_answer *answer,
                     const char *why)
{
    struct ask *ask = CONTAINER_OF(wait, struct ask, wait);
    ask->completions++;
    ask->r = r;
    assert_true(failed(r) == !answer);
    ask->count = answer ? answer->count : 0;
    ask->last = answer && wait ? answer->addresses[0].ip[3] : 0;
    snprintf(ask->why, sizeof(ask->why), "%s", why);
}

static void start_now(struct io_post *post)
{
    struct ask *ask = CONTAINER_OF(post, struct ask, post);
    int before = ask->completions;
    resolver_ask(ask->rig->resolver, &ask->wait, LOOKUP_ADDRESSES, span_cstr(ask->name),
                 sim_now(ask->rig->world) + ask->patience, answered);
    assert_int_equal(ask->completions, before); /* N1 */
}

static void start(struct rig *rig, struct ask *ask, const char *name, io_time patience)
{
    ask->rig = rig;
    ask->name = name;
    ask->patience = patience;
    ask->post.run = start_now;
    loop_post(process_loop(rig->process, 0), &ask->post);
}

static void run_for(struct rig *rig, io_time time)
{
    sim_run_until(rig->world, sim_now(rig->world) + time);
}

/* Asks and runs until it has completed; how long that took. */
static io_time ask_now(struct rig *rig, struct ask *ask, const char *name)
{
    io_time begun = sim_now(rig->world);
    *ask = (struct ask){0};
    start(rig, ask, name, 30 * IO_SEC);
    while (ask->completions == 0)
        assert_true(sim_step(rig->world));
    assert_int_equal(ask->completions, 1);
    return sim_now(rig->world) - begun;
}

/* What every answer but a cached one needs. */
static bool was_asked(struct rig *rig, struct ask *ask, const char *name)
{
    struct sim_faults slow = {.delay_min = 20 * IO_MS, .delay_max = 20 * IO_MS};
    sim_world_faults(rig->world, &slow);
    return ask_now(rig, ask, name) >= 20 * IO_MS;
}

static void an_answer_is_kept_for_its_ttl_within_the_limits(void **state)
{
    static const struct {
        io_time ttl, kept;
    } cases[] = {{10 * IO_SEC, 10 * IO_SEC}, {0, IO_SEC}, {3600 * IO_SEC, 60 * IO_SEC}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rig rig;
        struct ask ask;
        rig_init(&rig, i);
        put(&rig, "a.test", 1, cases[i].ttl);
        assert_true(was_asked(&rig, &ask, "a.test"));
        assert_int_equal(ask.last, 1);
        put(&rig, "a.test", 2, cases[i].ttl);
        run_for(&rig, cases[i].kept - 500 * IO_MS);
        assert_false(was_asked(&rig, &ask, "A.TEST"));
        assert_int_equal(ask.last, 1);
        run_for(&rig, 500 * IO_MS);
        assert_true(was_asked(&rig, &ask, "a.test"));
        assert_int_equal(ask.last, 2);
        rig_release(&rig);
    }
}

static void a_name_that_is_not_there_is_remembered_shortly(void **state)
{
    struct rig rig;
    struct ask ask;
    rig_init(&rig, 1);
    assert_true(was_asked(&rig, &ask, "no.test"));
    assert_int_equal(ask.r.code, ERR_NOT_FOUND);
    put(&rig, "no.test", 1, IO_SEC);
    assert_false(was_asked(&rig, &ask, "no.test"));
    assert_int_equal(ask.r.code, ERR_NOT_FOUND);
    assert_non_null(strstr(ask.why, "no.test"));
    run_for(&rig, 5 * IO_SEC);
    assert_true(was_asked(&rig, &ask, "no.test"));
    assert_int_equal(ask.r.code, ERR_NONE);
    rig_release(&rig);
}

static void a_failure_is_remembered_for_a_second(void **state)
{
    struct rig rig;
    struct ask ask;
    rig_init(&rig, 1);
    sim_name_fail(rig.world, "a.test", ERR_UNAVAILABLE);
    assert_true(was_asked(&rig, &ask, "a.test"));
    put(&rig, "a.test", 1, IO_SEC);
    assert_false(was_asked(&rig, &ask, "a.test"));
    assert_int_equal(ask.r.code, ERR_UNAVAILABLE);
    run_for(&rig, IO_SEC);
    assert_true(was_asked(&rig, &ask, "a.test"));
    assert_int_equal(ask.last, 1);
    rig_release(&rig);
}

static void one_lookup_serves_all_who_wait(void **state)
{
    struct rig rig;
    struct ask asks[10] = {0};
    rig_init(&rig, 1);
    put(&rig, "a.test", 1, IO_SEC);
    for (size_t i = 0; i < ARRAY_LEN(asks); i++)
        start(&rig, &asks[i], "a.test", IO_SEC);
    uint64_t before = sim_trace_hash(rig.world);
    run_for(&rig, IO_SEC);
    assert_int_not_equal(before, sim_trace_hash(rig.world));
    for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
        assert_int_equal(asks[i].completions, 1);
        assert_int_equal(asks[i].last, 1);
    }
    rig_release(&rig);
}

static void an_old_answer_is_used_while_no_new_one_is_to_be_had(void **state)
{
    static const enum err faults[] = {ERR_UNAVAILABLE, ERR_DEADLINE};
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        struct rig rig;
        struct ask ask;
        rig_init(&rig, i);
        put(&rig, "a.test", 1, 10 * IO_SEC);
        ask_now(&rig, &ask, "a.test");
        sim_name_fail(rig.world, "a.test", faults[i]);
        run_for(&rig, 20 * IO_SEC);
        /* The first one waits for a while, those who follow do not. */
        assert_true(ask_now(&rig, &ask, "a.test") <= RESOLVER_STALE_AFTER + 10 * IO_MS);
        assert_int_equal(ask.r.code, ERR_NONE);
        assert_int_equal(ask.last, 1);
        assert_true(ask_now(&rig, &ask, "a.test") < IO_MS);
        /* It is asked for again behind their backs. */
        put(&rig, "a.test", 2, 10 * IO_SEC);
        run_for(&rig, 10 * IO_SEC);
        ask_now(&rig, &ask, "a.test");
        run_for(&rig, IO_SEC);
        ask_now(&rig, &ask, "a.test");
        assert_int_equal(ask.last, 2);
        /* Not for ever. */
        sim_name_fail(rig.world, "a.test", ERR_UNAVAILABLE);
        run_for(&rig, 111 * IO_SEC);
        ask_now(&rig, &ask, "a.test");
        assert_int_equal(ask.r.code, ERR_UNAVAILABLE);
        rig_release(&rig);
    }
}

static void a_name_that_is_gone_is_not_served_from_old(void **state)
{
    struct rig rig;
    struct ask ask;
    rig_init(&rig, 1);
    put(&rig, "a.test", 1, IO_SEC);
    ask_now(&rig, &ask, "a.test");
    sim_name_fail(rig.world, "a.test", ERR_NOT_FOUND);
    run_for(&rig, 2 * IO_SEC);
    ask_now(&rig, &ask, "a.test");
    assert_int_equal(ask.r.code, ERR_NOT_FOUND);
    rig_release(&rig);
}

struct cancel {
    struct io_post post;
    struct ask *asks[2];
};

static void cancel_now(struct io_post *post)
{
    struct cancel *cancel = CONTAINER_OF(post, struct cancel, post);
    for (size_t i = 0; i < 2; i++) {
        int before = cancel->asks[i]->completions;
        resolver_cancel(&cancel->asks[i]->wait);
        resolver_cancel(&cancel->asks[i]->wait);
        assert_int_equal(cancel->asks[i]->completions, before);
    }
}

static void a_wait_ends_once_by_its_deadline_or_cancelled(void **state)
{
    struct rig rig;
    struct ask late = {0}, cancelled = {0}, early = {0};
    rig_init(&rig, 1);
    sim_name_fail(rig.world, "a.test", ERR_DEADLINE);
    put(&rig, "b.test", 1, 50 * IO_SEC);
    ask_now(&rig, &early, "b.test");
    early = (struct ask){0};
    start(&rig, &late, "a.test", IO_SEC);
    start(&rig, &cancelled, "a.test", 100 * IO_SEC);
    start(&rig, &early, "b.test", IO_SEC); /* answered, and not told yet */
    struct cancel cancel = {{.run = cancel_now}, {&cancelled, &early}};
    loop_post(process_loop(rig.process, 0), &cancel.post);
    run_for(&rig, 20 * IO_SEC);
    assert_int_equal(late.r.code, ERR_DEADLINE);
    assert_int_equal(cancelled.r.code, ERR_CANCELLED);
    assert_int_equal(early.r.code, ERR_CANCELLED);
    assert_int_equal(late.completions + cancelled.completions + early.completions, 3);
    rig_release(&rig);
}

static void names_are_bounded_and_the_oldest_makes_room(void **state)
{
    struct rig rig;
    struct ask ask, asks[5] = {0};
    char name[16];
    rig_init(&rig, 1);
    for (uint8_t i = 0; i < 6; i++) {
        snprintf(name, sizeof(name), "n%u.test", i);
        put(&rig, name, i, 50 * IO_SEC);
        assert_true(was_asked(&rig, &ask, name));
        if (i > 0)
            assert_false(was_asked(&rig, &ask, "n0.test") && i < 4);
    }
    assert_false(was_asked(&rig, &ask, "n0.test"));
    assert_true(was_asked(&rig, &ask, "n1.test"));
    /* Those that are waited for stay. */
    static const char *const waited[] = {"w0.test", "w1.test", "w2.test", "w3.test", "w4.test"};
    for (size_t i = 0; i < ARRAY_LEN(asks); i++)
        start(&rig, &asks[i], waited[i], IO_SEC);
    run_for(&rig, IO_SEC);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(asks[i].r.code, ERR_NOT_FOUND);
    assert_int_equal(asks[4].r.code, ERR_EXHAUSTED);
    rig_release(&rig);
}

/* What is to be had of memory or not: nothing leaks, every wait completes. */
static void without_memory_a_wait_still_ends(void **state)
{
    for (uint64_t countdown = 1; countdown < 12; countdown++) {
        struct rig rig;
        struct ask ask = {0};
        rig_init(&rig, countdown);
        mem_fail_after(countdown, false);
        resolver_ask(rig.resolver, &ask.wait, LOOKUP_ADDRESSES, SPAN("192.0.2.1"), TIME_NEVER,
                     answered);
        mem_fail_after(0, false);
        run_for(&rig, IO_SEC);
        assert_int_equal(ask.completions, 1);
        assert_true(is(ask.r, ERR_NONE) || is(ask.r, ERR_NO_MEMORY));
        rig_release(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_kept_for_its_ttl_within_the_limits),
        cmocka_unit_test(a_name_that_is_not_there_is_remembered_shortly),
        cmocka_unit_test(a_failure_is_remembered_for_a_second),
        cmocka_unit_test(one_lookup_serves_all_who_wait),
        cmocka_unit_test(an_old_answer_is_used_while_no_new_one_is_to_be_had),
        cmocka_unit_test(a_name_that_is_gone_is_not_served_from_old),
        cmocka_unit_test(a_wait_ends_once_by_its_deadline_or_cancelled),
        cmocka_unit_test(names_are_bounded_and_the_oldest_makes_room),
        cmocka_unit_test(without_memory_a_wait_still_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
