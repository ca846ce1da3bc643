#include "model/batcher.h"

static struct batch_item *item_of(struct list_node *node)
{
    return node ? CONTAINER_OF(node, struct batch_item, node) : NULL;
}

void batcher_init(struct batcher *batcher, const struct batcher_limits *limits,
                  batch_stacks_fn stacks)
{
    ASSERT(limits->batch_rows_max >= 1 && limits->delay_max >= 0);
    *batcher = (struct batcher){.limits = *limits, .stacks = stacks};
    list_init(&batcher->queue);
}

result batcher_submit(struct batcher *batcher, struct batch_item *item, io_time now)
{
    ASSERT(item->rows >= 1);
    const struct batcher_limits *limits = &batcher->limits;
    uint64_t rows_now = MIN(batcher->rows, limits->queue_rows_max);
    bool crowded = batcher->items && (uint64_t)item->rows > limits->queue_rows_max - rows_now;
    if (crowded || item->bytes > limits->queue_bytes_max - batcher->bytes)
        return fail(ERR_EXHAUSTED);
    item->arrived_at = now;
    batcher->rows += (uint64_t)item->rows;
    batcher->bytes += item->bytes;
    batcher->items++;
    list_push(&batcher->queue, &item->node);
    return OK;
}

void batcher_remove(struct batcher *batcher, struct batch_item *item)
{
    ASSERT(list_node_linked(&item->node));
    list_remove(&item->node);
    batcher->rows -= (uint64_t)item->rows;
    batcher->bytes -= item->bytes;
    batcher->items--;
}

struct batch_item *batcher_head(const struct batcher *batcher)
{
    return item_of(list_first(&batcher->queue));
}

static bool expired(const struct batch_item *item, io_time now)
{
    return item->deadline <= now;
}

/* How long an item waits for company at most. */
static io_time window_end(const struct batcher *batcher, const struct batch_item *item)
{
    io_time delay = batcher->limits.delay_max;
    if (item->deadline != TIME_NEVER)
        delay = MIN(delay, (item->deadline - item->arrived_at) / 2);
    return delay > TIME_NEVER - item->arrived_at ? TIME_NEVER : item->arrived_at + delay;
}

enum fit { FITS, LEFT_OUT, FULL };

/* Whether `item`, which came after `head`, joins a batch of `rows` rows that `head`
 * leads. FULL: it belongs there, but there is no more room. */
static enum fit item_fits(const struct batcher *batcher, const struct batch_item *head,
                          const struct batch_item *item, int64_t rows)
{
    if (head->alone || item->alone || !batcher->stacks(head, item))
        return LEFT_OUT;
    return item->rows > batcher->limits.batch_rows_max - rows ? FULL : FITS;
}

/* The oldest item that may still run, found among the first ones; `ret_expired` says
 * whether an expired one was passed. */
static struct batch_item *leader(const struct batcher *batcher, io_time now, bool *ret_expired)
{
    int looked_at = 0;
    *ret_expired = false;
    for (struct list_node *node = list_first(&batcher->queue); node && looked_at < BATCH_SCAN_MAX;
         node = list_next(&batcher->queue, node), looked_at++) {
        if (!expired(item_of(node), now))
            return item_of(node);
        *ret_expired = true;
    }
    return NULL;
}

/* Whether the batch that `head` leads goes at `now`, else when. */
static bool due(const struct batcher *batcher, const struct batch_item *head, io_time now,
                io_time *ret_wake_at)
{
    int64_t rows_max = batcher->limits.batch_rows_max;
    if (head->alone || head->rows >= rows_max)
        return true;
    int64_t rows = head->rows;
    io_time wake_at = window_end(batcher, head);
    int looked_at = 0;
    for (struct list_node *node = list_next(&batcher->queue, &head->node);
         node && wake_at > now && looked_at < BATCH_SCAN_MAX;
         node = list_next(&batcher->queue, node), looked_at++) {
        struct batch_item *item = item_of(node);
        enum fit fit = expired(item, now) ? LEFT_OUT : item_fits(batcher, head, item, rows);
        if (fit == LEFT_OUT)
            continue;
        rows += item->rows;
        wake_at = MIN(wake_at, window_end(batcher, item));
        if (fit == FULL || rows >= rows_max)
            return true;
    }
    *ret_wake_at = wake_at;
    return wake_at <= now;
}

bool batcher_ready(const struct batcher *batcher, io_time now, io_time *ret_wake_at)
{
    *ret_wake_at = TIME_NEVER;
    bool some_expired;
    struct batch_item *head = leader(batcher, now, &some_expired);
    return some_expired || (head && due(batcher, head, now, ret_wake_at));
}

static void take(struct batcher *batcher, struct batch_item *item, struct list *into)
{
    batcher_remove(batcher, item);
    list_push(into, &item->node);
}

/* Moves the batch that `head` leads out of the queue. */
static void gather(struct batcher *batcher, struct batch_item *head, io_time now,
                   struct batch *batch)
{
    int left_out = 0;
    for (struct list_node *node = &head->node, *next; node && left_out < BATCH_SCAN_MAX;
         node = next) {
        next = list_next(&batcher->queue, node);
        struct batch_item *item = item_of(node);
        if (expired(item, now)) {
            take(batcher, item, &batch->expired);
            continue;
        }
        enum fit fit = item == head ? FITS : item_fits(batcher, head, item, batch->rows);
        if (fit == FULL)
            return;
        if (fit == LEFT_OUT) {
            left_out++;
            continue;
        }
        take(batcher, item, &batch->items);
        batch->items_len++;
        batch->rows += item->rows;
        if (item->alone || batch->rows >= batcher->limits.batch_rows_max)
            return;
    }
}

bool batcher_next(struct batcher *batcher, io_time now, struct batch *ret_batch,
                  io_time *ret_wake_at)
{
    if (!batcher_ready(batcher, now, ret_wake_at))
        return false;
    list_init(&ret_batch->items);
    list_init(&ret_batch->expired);
    ret_batch->items_len = 0;
    ret_batch->rows = 0;
    bool some_expired;
    struct batch_item *head = leader(batcher, now, &some_expired);
    for (struct batch_item *item = batcher_head(batcher);
         some_expired && item && expired(item, now); item = batcher_head(batcher))
        take(batcher, item, &ret_batch->expired);
    if (head && due(batcher, head, now, ret_wake_at))
        gather(batcher, head, now, ret_batch);
    return true;
}
