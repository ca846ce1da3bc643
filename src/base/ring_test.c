#include "base/alloc.h"
#include "base/ring.h"
#include "base/test_cmocka.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

struct record {
    uint32_t producer, number;
    char text[100];
};

static bool put(struct ring *ring, uint32_t producer, uint32_t number)
{
    struct record *record = ring_claim(ring);
    if (!record)
        return false;
    record->producer = producer;
    record->number = number;
    memset(record->text, (int)('a' + number % 26), sizeof(record->text));
    ring_commit(ring, record);
    return true;
}

static void records_come_out_whole_and_in_order_over_many_laps(void **state)
{
    (void)state;
    struct ring ring;
    assert_false(failed(ring_init(&ring, sizeof(struct record), 4)));
    uint32_t in = 0, out = 0;
    for (int round = 0; round < 100; round++) {
        for (int n = round % 4 + 1; n > 0; n--)
            assert_true(put(&ring, 0, in++));
        while (out < in) {
            struct record *record = ring_peek(&ring);
            assert_non_null(record);
            assert_int_equal((uintptr_t)record % 16, 0);
            assert_int_equal(record->number, out);
            assert_int_equal(record->text[99], 'a' + out % 26);
            ring_consume(&ring);
            out++;
        }
        assert_null(ring_peek(&ring));
    }
    assert_int_equal(ring_refused(&ring), 0);
    ring_release(&ring);
}

static void a_full_ring_refuses_counts_and_loses_nothing(void **state)
{
    (void)state;
    struct ring ring;
    assert_false(failed(ring_init(&ring, sizeof(struct record), 2)));
    assert_true(put(&ring, 0, 0));
    assert_true(put(&ring, 0, 1));
    assert_false(put(&ring, 0, 2));
    assert_false(put(&ring, 0, 3));
    assert_int_equal(ring_refused(&ring), 2);
    assert_int_equal(((struct record *)ring_peek(&ring))->number, 0);
    assert_false(put(&ring, 0, 4));
    ring_consume(&ring);
    assert_true(put(&ring, 0, 5));
    assert_int_equal(((struct record *)ring_peek(&ring))->number, 1);
    ring_consume(&ring);
    assert_int_equal(((struct record *)ring_peek(&ring))->number, 5);
    ring_release(&ring);
}

static void a_record_not_yet_committed_holds_back_the_later_ones(void **state)
{
    (void)state;
    struct ring ring;
    assert_false(failed(ring_init(&ring, sizeof(struct record), 4)));
    struct record *first = ring_claim(&ring);
    assert_true(put(&ring, 0, 1));
    assert_null(ring_peek(&ring));
    first->number = 0;
    ring_commit(&ring, first);
    assert_ptr_equal(ring_peek(&ring), first);
    ring_release(&ring);
}

static void no_memory_is_an_error(void **state)
{
    (void)state;
    struct ring ring;
    mem_fail_after(1, false);
    assert_true(is(ring_init(&ring, 100, 4), ERR_NO_MEMORY));
    mem_fail_after(0, false);
    ring_release(&ring);
    assert_true(is(ring_init(&ring, SIZE_MAX / 4, 8), ERR_NO_MEMORY));
    assert_true(is(ring_init(&ring, SIZE_MAX, 8), ERR_NO_MEMORY));
}

#define PRODUCERS 4
#define RECORDS 20000

struct producer {
    struct ring *ring;
    atomic_int *running;
    uint32_t index, refused;
    pthread_t thread;
};

static void *produce(void *arg)
{
    struct producer *producer = arg;
    for (uint32_t i = 0; i < RECORDS; i++)
        if (!put(producer->ring, producer->index, i)) {
            producer->refused++;
            sched_yield();
        }
    atomic_fetch_sub(producer->running, 1);
    return NULL;
}

/* Reads what is there: each record whole, each producer's in order. */
static uint32_t consume(struct ring *ring, int64_t last[PRODUCERS])
{
    uint32_t count = 0;
    for (struct record *record; (record = ring_peek(ring)); count++) {
        assert_in_range(record->producer, 0, PRODUCERS - 1);
        assert_true((int64_t)record->number > last[record->producer]);
        last[record->producer] = record->number;
        for (size_t i = 0; i < sizeof(record->text); i++)
            if (record->text[i] != (char)('a' + record->number % 26))
                fail_msg("a torn record: number %u, byte %zu", record->number, i);
        ring_consume(ring);
    }
    return count;
}

static void records_of_many_producers_arrive_once_whole_and_in_order(void **state)
{
    (void)state;
    struct ring ring;
    struct producer producers[PRODUCERS];
    atomic_int running = PRODUCERS;
    int64_t last[PRODUCERS] = {-1, -1, -1, -1};
    assert_false(failed(ring_init(&ring, sizeof(struct record), 64)));
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        producers[i] = (struct producer){&ring, &running, i, 0, 0};
        assert_int_equal(pthread_create(&producers[i].thread, NULL, produce, &producers[i]), 0);
    }
    uint32_t received = 0, refused = 0;
    while (atomic_load(&running) > 0)
        received += consume(&ring, last);
    for (int i = 0; i < PRODUCERS; i++) {
        pthread_join(producers[i].thread, NULL);
        refused += producers[i].refused;
    }
    received += consume(&ring, last);
    assert_int_equal(received + refused, PRODUCERS * RECORDS);
    assert_int_equal(ring_refused(&ring), refused);
    ring_release(&ring);
}

static void the_newest_records_can_still_be_seen_after_they_were_read(void **state)
{
    (void)state;
    struct ring ring;
    int64_t last[PRODUCERS] = {-1, -1, -1, -1};
    assert_false(failed(ring_init(&ring, sizeof(struct record), 4)));
    assert_null(ring_recent(&ring, 0));
    for (uint32_t i = 0; i < 6; i++) {
        assert_true(put(&ring, 0, i));
        if (i < 4)
            assert_int_equal(consume(&ring, last), 1);
    }
    for (uint32_t back = 0; back < 4; back++) {
        const struct record *record = ring_recent(&ring, back);
        assert_int_equal(record->number, 5 - back);
    }
    assert_null(ring_recent(&ring, 4));
    ring_release(&ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_out_whole_and_in_order_over_many_laps),
        cmocka_unit_test(a_full_ring_refuses_counts_and_loses_nothing),
        cmocka_unit_test(a_record_not_yet_committed_holds_back_the_later_ones),
        cmocka_unit_test(the_newest_records_can_still_be_seen_after_they_were_read),
        cmocka_unit_test(no_memory_is_an_error),
        cmocka_unit_test(records_of_many_producers_arrive_once_whole_and_in_order),
    };
    return cmocka_run_group_tests_name("base/ring", tests, NULL, NULL);
}
