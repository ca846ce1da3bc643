#include "model/batcher.h"

#include "base/test_cmocka.h"
struct row {
    struct batch_item item;
    int shape, serial;
    bool queued;
};

static struct row *row_of(struct batch_item *item)
{
    return item ? CONTAINER_OF(item, struct row, item) : NULL;
}

static bool same_shape(const struct batch_item *a, const struct batch_item *b)
{
    return CONTAINER_OF(a, struct row, item)->shape == CONTAINER_OF(b, struct row, item)->shape;
}

static void make(struct batcher *batcher, int64_t batch_rows_max, io_time delay_max)
{
    batcher_init(batcher,
                 &(struct batcher_limits){.queue_rows_max = 100,
                                          .queue_bytes_max = 1000,
                                          .batch_rows_max = batch_rows_max,
                                          .delay_max = delay_max},
                 same_shape);
}

static struct row row_make(int shape, int64_t rows)
{
    return (struct row){.item = {.deadline = TIME_NEVER, .bytes = 1, .rows = rows}, .shape = shape};
}

static void submit(struct batcher *batcher, struct row *row, io_time now)
{
    assert_false(failed(batcher_submit(batcher, &row->item, now)));
}

static struct row *pop(struct list *list)
{
    struct list_node *node = list_pop(list);
    return node ? row_of(CONTAINER_OF(node, struct batch_item, node)) : NULL;
}

static void a_submit_beyond_a_limit_fails_and_changes_nothing(void **state)
{
    struct batcher batcher;
    make(&batcher, 8, 0);
    struct row big = row_make(0, 100), one = row_make(0, 1), heavy = row_make(0, 1);
    submit(&batcher, &big, 0);
    assert_true(is(batcher_submit(&batcher, &one.item, 0), ERR_EXHAUSTED));
    assert_int_equal(batcher.rows, 100);
    batcher_remove(&batcher, &big.item);
    heavy.item.bytes = 1001;
    assert_true(is(batcher_submit(&batcher, &heavy.item, 0), ERR_EXHAUSTED));
    assert_int_equal(batcher.rows, 0);
    assert_int_equal(batcher.bytes, 0);
    heavy.item.bytes = 1000;
    submit(&batcher, &heavy, 0);
}

static void a_request_larger_than_the_queue_waits_in_it_alone(void **state)
{
    struct batcher batcher;
    make(&batcher, 8, 0);
    struct row large = row_make(0, 101), one = row_make(0, 1);
    submit(&batcher, &large, 0);
    assert_true(is(batcher_submit(&batcher, &one.item, 0), ERR_EXHAUSTED));
    batcher_remove(&batcher, &large.item);
    submit(&batcher, &one, 0);
    assert_true(is(batcher_submit(&batcher, &large.item, 0), ERR_EXHAUSTED));
}

static void without_a_window_what_is_there_goes_at_once(void **state)
{
    struct batcher batcher;
    struct batch batch;
    io_time wake_at;
    make(&batcher, 8, 0);
    struct row rows[3] = {row_make(0, 1), row_make(0, 2), row_make(0, 1)};
    assert_false(batcher_next(&batcher, 5, &batch, &wake_at));
    assert_int_equal(wake_at, TIME_NEVER);
    for (int i = 0; i < 3; i++)
        submit(&batcher, &rows[i], 5);
    assert_true(batcher_next(&batcher, 5, &batch, &wake_at));
    assert_int_equal(batch.rows, 4);
    assert_int_equal(batch.items_len, 3);
    for (int i = 0; i < 3; i++)
        assert_ptr_equal(pop(&batch.items), &rows[i]);
    assert_false(batcher_next(&batcher, 5, &batch, &wake_at));
}

static void a_batch_waits_for_its_window_unless_it_is_full(void **state)
{
    struct batcher batcher;
    struct batch batch;
    io_time wake_at;
    make(&batcher, 4, 100);
    struct row rows[4] = {row_make(0, 2), row_make(0, 1), row_make(0, 1), row_make(0, 1)};
    submit(&batcher, &rows[0], 10);
    submit(&batcher, &rows[1], 50);
    assert_false(batcher_next(&batcher, 60, &batch, &wake_at));
    assert_int_equal(wake_at, 110);
    submit(&batcher, &rows[2], 60);
    assert_true(batcher_next(&batcher, 60, &batch, &wake_at));
    assert_int_equal(batch.rows, 4);
    submit(&batcher, &rows[3], 70);
    assert_false(batcher_next(&batcher, 169, &batch, &wake_at));
    assert_int_equal(wake_at, 170);
    assert_true(batcher_next(&batcher, 170, &batch, &wake_at));
    assert_int_equal(batch.rows, 1);
}

static void a_request_that_no_longer_fits_sends_the_batch_off(void **state)
{
    struct batcher batcher;
    struct batch batch;
    io_time wake_at;
    make(&batcher, 4, 100);
    struct row rows[3] = {row_make(0, 3), row_make(0, 2), row_make(0, 1)};
    for (int i = 0; i < 3; i++)
        submit(&batcher, &rows[i], 0);
    assert_true(batcher_next(&batcher, 0, &batch, &wake_at));
    assert_int_equal(batch.rows, 3); /* the single row behind does not overtake */
    assert_false(batcher_next(&batcher, 0, &batch, &wake_at));
    assert_true(batcher_next(&batcher, 100, &batch, &wake_at));
    assert_int_equal(batch.rows, 3);
}

static void a_request_larger_than_a_batch_runs_alone(void **state)
{
    struct batcher batcher;
    struct batch batch;
    io_time wake_at;
    make(&batcher, 4, 100);
    struct row big = row_make(0, 9), one = row_make(0, 1);
    submit(&batcher, &big, 0);
    submit(&batcher, &one, 0);
    assert_true(batcher_next(&batcher, 0, &batch, &wake_at));
    assert_int_equal(batch.rows, 9);
    assert_int_equal(batch.items_len, 1);
    assert_ptr_equal(pop(&batch.items), &big);
}

static void shapes_that_do_not_stack_are_kept_apart_in_order(void **state)
{
    struct batcher batcher;
    struct batch batch;
    io_time wake_at;
    make(&batcher, 8, 0);
    struct row rows[5] = {row_make(1, 1), row_make(2, 1), row_make(1, 1), row_make(2, 1),
                          row_make(1, 1)};
    rows[4].item.alone = true;
    for (int i = 0; i < 5; i++)
        submit(&batcher, &rows[i], 0);
    static const int expected[3][3] = {{0, 2, -1}, {1, 3, -1}, {4, -1, -1}};
    for (int b = 0; b < 3; b++) {
        assert_true(batcher_next(&batcher, 0, &batch, &wake_at));
        for (int i = 0; expected[b][i] >= 0; i++)
            assert_ptr_equal(pop(&batch.items), &rows[expected[b][i]]);
        assert_true(list_empty(&batch.items));
    }
    assert_false(batcher_next(&batcher, 0, &batch, &wake_at));
}

static void an_expired_request_is_handed_back_and_never_run(void **state)
{
    struct batcher batcher;
    struct batch batch;
    io_time wake_at;
    make(&batcher, 8, 0);
    struct row rows[3] = {row_make(0, 1), row_make(0, 1), row_make(0, 1)};
    rows[0].item.deadline = 10;
    rows[2].item.deadline = 10;
    for (int i = 0; i < 3; i++)
        submit(&batcher, &rows[i], 0);
    assert_true(batcher_next(&batcher, 10, &batch, &wake_at));
    assert_int_equal(batch.items_len, 1);
    assert_ptr_equal(pop(&batch.items), &rows[1]);
    assert_ptr_equal(pop(&batch.expired), &rows[0]);
    assert_ptr_equal(pop(&batch.expired), &rows[2]);
    assert_int_equal(batcher.rows, 0);
}

static void expired_requests_do_not_shorten_the_window_of_others(void **state)
{
    struct batcher batcher;
    struct batch batch;
    io_time wake_at;
    make(&batcher, 8, 100);
    struct row old = row_make(0, 1), young = row_make(0, 1);
    old.item.deadline = 20;
    submit(&batcher, &old, 0);
    submit(&batcher, &young, 15);
    assert_true(batcher_next(&batcher, 30, &batch, &wake_at));
    assert_true(list_empty(&batch.items));
    assert_ptr_equal(pop(&batch.expired), &old);
    assert_false(batcher_next(&batcher, 30, &batch, &wake_at));
    assert_int_equal(wake_at, 115);
}

static void nobody_waits_for_company_longer_than_half_of_the_time_left(void **state)
{
    struct batcher batcher;
    io_time wake_at;
    make(&batcher, 8, 100);
    struct row patient = row_make(0, 1), hasty = row_make(0, 1);
    hasty.item.deadline = 50;
    submit(&batcher, &patient, 0);
    submit(&batcher, &hasty, 10);
    assert_false(batcher_ready(&batcher, 10, &wake_at));
    assert_int_equal(wake_at, 30);
    assert_true(batcher_ready(&batcher, 30, &wake_at));
}

static void a_removed_request_is_not_handed_out(void **state)
{
    struct batcher batcher;
    struct batch batch;
    io_time wake_at;
    make(&batcher, 8, 0);
    struct row rows[2] = {row_make(0, 1), row_make(0, 3)};
    submit(&batcher, &rows[0], 0);
    submit(&batcher, &rows[1], 0);
    batcher_remove(&batcher, &rows[0].item);
    assert_int_equal(batcher.rows, 3);
    assert_ptr_equal(batcher_head(&batcher), &rows[1].item);
    assert_true(batcher_next(&batcher, 0, &batch, &wake_at));
    assert_ptr_equal(pop(&batch.items), &rows[1]);
    assert_null(batcher_head(&batcher));
}

/* ---- against a naive model ---- */

#define LIVE 64

struct naive {
    struct row *queue[LIVE];
    int count;
};

static uint64_t next_random(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u;
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void naive_drop(struct naive *naive, int index)
{
    naive->queue[index]->queued = false;
    for (int i = index; i + 1 < naive->count; i++)
        naive->queue[i] = naive->queue[i + 1];
    naive->count--;
}

/* Checks a batch against the naive queue: expired ones first leave both. */
static void naive_check(struct naive *naive, struct batcher *batcher, struct batch *batch,
                        io_time now)
{
    for (struct row *row; (row = pop(&batch->expired));) {
        assert_true(row->item.deadline <= now);
        for (int i = 0; i < naive->count; i++)
            if (naive->queue[i] == row)
                naive_drop(naive, i--);
        assert_false(row->queued);
    }
    int64_t rows = 0;
    struct row *head = NULL;
    int at = 0;
    for (struct row *row; (row = pop(&batch->items));) {
        assert_true(row->queued && row->item.deadline > now);
        /* The next one that stacks with the head, and no other. */
        while (at < naive->count && naive->queue[at] != row) {
            struct row *passed = naive->queue[at++];
            assert_true(head != NULL);
            assert_true(passed->item.deadline <= now || passed->item.alone || head->item.alone ||
                        passed->shape != head->shape);
        }
        assert_true(at < naive->count);
        naive_drop(naive, at);
        head = head ? head : row;
        rows += row->item.rows;
    }
    assert_int_equal(rows, batch->rows);
    if (head && rows > batcher->limits.batch_rows_max)
        assert_int_equal(batch->items_len, 1);
}

static void random_submit(struct batcher *batcher, struct naive *naive, struct row *row,
                          io_time now, uint64_t *random)
{
    *row = row_make((int)(next_random(random) % 3), 1 + (int64_t)(next_random(random) % 4));
    row->item.alone = next_random(random) % 10 == 0;
    if (next_random(random) % 3 == 0)
        row->item.deadline = now + 1 + (io_time)(next_random(random) % 100);
    bool too_many = batcher->rows + (uint64_t)row->item.rows > 100;
    result r = batcher_submit(batcher, &row->item, now);
    assert_int_equal(failed(r), too_many);
    if (failed(r))
        return;
    row->queued = true;
    naive->queue[naive->count++] = row;
}

static void random_next(struct batcher *batcher, struct naive *naive, io_time now)
{
    struct batch batch;
    io_time wake_at;
    if (batcher_next(batcher, now, &batch, &wake_at)) {
        assert_false(list_empty(&batch.items) && list_empty(&batch.expired));
        naive_check(naive, batcher, &batch, now);
    } else if (naive->count) {
        assert_true(wake_at > now && wake_at < TIME_NEVER);
        assert_true(wake_at <= naive->queue[0]->item.arrived_at + batcher->limits.delay_max);
    }
}

static void random_history(uint64_t seed)
{
    static struct row rows[LIVE];
    struct naive naive = {.count = 0};
    struct batcher batcher;
    uint64_t random = seed;
    io_time now = 0;
    memset(rows, 0, sizeof(rows));
    make(&batcher, 1 + (int64_t)(next_random(&random) % 8),
         (io_time)(next_random(&random) % 3) * 40);
    for (int step = 0; step < 400; step++) {
        now += (io_time)(next_random(&random) % 20);
        uint64_t what = next_random(&random) % 10, total = 0;
        struct row *row = &rows[next_random(&random) % LIVE];
        if (what < 6 && !row->queued) {
            random_submit(&batcher, &naive, row, now, &random);
        } else if (what == 6 && row->queued) {
            batcher_remove(&batcher, &row->item);
            for (int i = 0; i < naive.count; i++)
                if (naive.queue[i] == row)
                    naive_drop(&naive, i--);
        } else {
            random_next(&batcher, &naive, now);
        }
        for (int i = 0; i < naive.count; i++)
            total += (uint64_t)naive.queue[i]->item.rows;
        assert_int_equal(batcher.rows, total);
        assert_int_equal(batcher.items, naive.count);
    }
}

static void random_histories_agree_with_a_naive_model(void **state)
{
    for (uint64_t seed = 1; seed <= 200; seed++)
        random_history(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_submit_beyond_a_limit_fails_and_changes_nothing),
        cmocka_unit_test(a_request_larger_than_the_queue_waits_in_it_alone),
        cmocka_unit_test(without_a_window_what_is_there_goes_at_once),
        cmocka_unit_test(a_batch_waits_for_its_window_unless_it_is_full),
        cmocka_unit_test(a_request_that_no_longer_fits_sends_the_batch_off),
        cmocka_unit_test(a_request_larger_than_a_batch_runs_alone),
        cmocka_unit_test(shapes_that_do_not_stack_are_kept_apart_in_order),
        cmocka_unit_test(an_expired_request_is_handed_back_and_never_run),
        cmocka_unit_test(expired_requests_do_not_shorten_the_window_of_others),
        cmocka_unit_test(nobody_waits_for_company_longer_than_half_of_the_time_left),
        cmocka_unit_test(a_removed_request_is_not_handed_out),
        cmocka_unit_test(random_histories_agree_with_a_naive_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
