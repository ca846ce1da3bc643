/* What a loop is in both implementations: its timers, its posts, its end of turn. */
#include "io/ops.h"

void loop_init(struct loop *loop, struct process *process, int index, io_time now)
{
    loop->process = process;
    loop->index = index;
    loop->tick_next = UINT64_MAX;
    wheel_init(&loop->wheel, (uint64_t)now >> LOOP_TICK_SHIFT);
    list_init(&loop->lookups);
}

void loop_release(struct loop *loop)
{
    tls_loop_release(loop);
}

struct process *loop_process(struct loop *loop)
{
    return loop->process;
}

int loop_index(const struct loop *loop)
{
    return loop->index;
}

io_time loop_now(const struct loop *loop)
{
    if (!loop->now_known) {
        /* The first who asks in a turn sets the time for all: a turn in which nobody
         * asks reads no clock. */
        struct loop *cache = (struct loop *)loop;
        cache->now = loop->process->ops->clock(loop->process);
        cache->now_known = true;
    }
    return loop->now;
}

uint64_t loop_turns(const struct loop *loop)
{
    return loop->process->ops->turns(loop);
}

void loop_turn_begin(struct loop *loop)
{
    loop->now_known = false;
    /* One writer: no read-modify-write is needed. Relaxed: it guards nothing. */
    uint64_t turns = atomic_load_explicit(&loop->turns, memory_order_relaxed);
    atomic_store_explicit(&loop->turns, turns + 1, memory_order_relaxed);
}

/* ---- posts ----------------------------------------------------------------- */

/* A stack of posts that any thread pushes and the loop takes whole and turns round, so
 * that the order of each sender is kept. Only whoever pushes on an empty one wakes the
 * loop: a burst costs one wake-up. Pushing releases and taking acquires, so that what
 * the sender wrote before is seen by `run`. */
void loop_post(struct loop *loop, struct io_post *post)
{
    struct io_post *first = atomic_load_explicit(&loop->posts, memory_order_relaxed);
    do
        post->next = first;
    while (!atomic_compare_exchange_weak_explicit(&loop->posts, &first, post, memory_order_release,
                                                  memory_order_relaxed));
    if (!first)
        loop->process->ops->wake(loop);
}

void loop_defer(struct loop *loop, struct io_post *post)
{
    post->next = NULL;
    if (loop->deferred.last)
        loop->deferred.last->next = post;
    else
        loop->deferred.first = post;
    loop->deferred.last = post;
}

static void run_all(struct io_post *post)
{
    while (post) {
        struct io_post *next = post->next; /* the post may be sent again in `run` */
        post->run(post);
        post = next;
    }
}

static void run_posts(struct loop *loop)
{
    if (!atomic_load_explicit(&loop->posts, memory_order_relaxed))
        return;
    struct io_post *newest = atomic_exchange_explicit(&loop->posts, NULL, memory_order_acquire);
    struct io_post *oldest = NULL;
    while (newest) {
        struct io_post *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    run_all(oldest);
}

static void run_deferred(struct loop *loop)
{
    struct io_post *first = loop->deferred.first;
    loop->deferred = (struct post_list){NULL, NULL};
    run_all(first);
}

void loop_turn_end(struct loop *loop)
{
    streams_complete(loop);
    run_posts(loop);
    run_deferred(loop);
    /* What the deferred wrote is most often complete by now; without this it would
     * cost another round through the kernel. */
    streams_complete(loop);
}

bool loop_has_more(struct loop *loop)
{
    return loop->ready.first || loop->deferred.first ||
           atomic_load_explicit(&loop->posts, memory_order_relaxed);
}

/* ---- timers ---------------------------------------------------------------- */

void timer_start(struct loop *loop, struct io_timer *timer, io_time at)
{
    uint64_t tick = 0;
    if (at > 0) { /* rounded up: never early */
        tick = (uint64_t)at >> LOOP_TICK_SHIFT;
        tick += ((uint64_t)at & (((uint64_t)1 << LOOP_TICK_SHIFT) - 1)) != 0;
    }
    wheel_add(&loop->wheel, &timer->node, tick);
    loop->tick_next = MIN(loop->tick_next, timer->node.due);
}

void timer_stop(struct loop *loop, struct io_timer *timer)
{
    wheel_remove(&loop->wheel, &timer->node);
}

void loop_fire_timers(struct loop *loop, io_time now)
{
    uint64_t tick = (uint64_t)now >> LOOP_TICK_SHIFT;
    struct wheel_node *node;
    while ((node = wheel_expire(&loop->wheel, tick))) {
        struct io_timer *timer = CONTAINER_OF(node, struct io_timer, node);
        timer->fired(timer);
    }
    loop->tick_next = wheel_next(&loop->wheel);
}

/* ---- work ------------------------------------------------------------------ */

static void work_ended(struct io_post *post)
{
    struct io_work *work = CONTAINER_OF(post, struct io_work, post);
    work->done(work);
}

void work_end(struct io_work *work)
{
    work->post.run = work_ended;
    loop_post(work->home, &work->post);
}

void work_run(struct io_work *work)
{
    /* Without `done`, the job may be freed by its own `run`. */
    bool ends = work->done != NULL;
    work->run(work);
    if (ends)
        work_end(work);
}
