/* The way of a request: submitted on its loop, run there at the end of the turn or
 * queued for a slot, completed there.
 *
 *   model_submit --- inline may be --> TURN ---- view_run ----> RUNNING
 *        |                              | no time left, not calm    |
 *        |                              v                           |
 *        +------------------------> QUEUED -- servable_next --> RUNNING
 *                                       |                           | request_complete
 *          model_cancel, deadline_fired +-------------------------> DONE
 */
#include "model/run.h"

/* Inline work in one turn of a loop. */
#define TURN_BUDGET (200 * IO_US)
/* A request whose inputs are larger goes to a slot: what it costs cannot be told from
 * the runs before it. */
#define INLINE_BYTES_MAX (64u << 10)

static const char deadline_text[] = "the deadline passed while the request was queued";

/* ---- completion ---- */

void request_complete(struct model_request *request)
{
    struct model_version *view = request->version;
    timer_stop(request->home, &request->state.deadline);
    request->state.phase = PHASE_DONE;
    version_count_request(&view->series, view->loop->set->options.metrics, view->loop->shard,
                          request);
    request->done(request);
}

static void request_failed(struct model_request *request, enum err error, const char *text)
{
    request->error = error;
    request->error_text = text;
    request->ended_at = loop_now(request->home);
}

static void posted_complete(struct io_post *post)
{
    request_complete(CONTAINER_OF(post, struct model_request, state.post));
}

void request_fail_post(struct model_request *request, enum err error, const char *text)
{
    request->error = error;
    request->error_text = text;
    request->ended_at = process_clock(request->version->loop->set->process);
    request->state.post.run = posted_complete;
    loop_post(request->home, &request->state.post);
}

/* On the home loop, outside of the present call. */
static void request_fail_soon(struct model_request *request, enum err error, const char *text)
{
    request_failed(request, error, text);
    request->state.phase = PHASE_DONE;
    request->state.post.run = posted_complete;
    loop_defer(request->home, &request->state.post);
}

/* ---- queueing ---- */

bool request_stacks(const struct batch_item *a, const struct batch_item *b)
{
    const struct model_request *left = CONTAINER_OF(a, struct model_request, state.item);
    const struct model_request *right = CONTAINER_OF(b, struct model_request, state.item);
    const struct weir_model_info *info = &left->version->servable->info;
    for (int i = 0; i < info->inputs_len; i++) {
        const struct weir_tensor *one = &left->inputs[i], *other = &right->inputs[i];
        if (one->rank != other->rank)
            return false;
        for (int d = 1; d < one->rank; d++)
            if (one->shape[d] != other->shape[d])
                return false;
    }
    return true;
}

/* Takes a request out of the servable's queue, if it is still there. */
static bool request_unqueue(struct model_request *request)
{
    struct servable *servable = request->version->servable;
    io_lock_take(&servable->lock);
    bool queued = request->state.phase == PHASE_QUEUED;
    if (queued) {
        batcher_remove(&servable->batcher, &request->state.item);
        request->state.phase = PHASE_DONE;
        slots_member_waiting(&servable->member, servable->batcher.items);
    }
    io_lock_give(&servable->lock);
    return queued;
}

static void deadline_fired(struct io_timer *timer)
{
    struct model_request *request = CONTAINER_OF(timer, struct model_request, state.deadline);
    if (!request_unqueue(request))
        return;
    request_failed(request, ERR_DEADLINE, deadline_text);
    request_complete(request);
}

static result servable_queue(struct model_request *request, io_time now)
{
    struct model_version *view = request->version;
    struct servable *servable = view->servable;
    io_time wake_at = TIME_NEVER;
    bool ready = false;
    /* Before it is queued: from then on a worker may complete it. */
    if (request->deadline != TIME_NEVER) {
        request->state.deadline.fired = deadline_fired;
        timer_start(request->home, &request->state.deadline, request->deadline);
    }
    uint8_t phase = request->state.phase;
    request->state.phase = PHASE_QUEUED;
    io_lock_take(&servable->lock);
    result r = batcher_submit(&servable->batcher, &request->state.item, now);
    if (!failed(r)) {
        ready = batcher_ready(&servable->batcher, now, &wake_at);
        wake_at = wake_at < servable->wake_at ? wake_at : TIME_NEVER;
        slots_member_waiting(&servable->member, servable->batcher.items);
    }
    io_lock_give(&servable->lock);
    if (failed(r)) {
        timer_stop(request->home, &request->state.deadline);
        request->state.phase = phase;
        return r;
    }
    if (ready)
        slots_dispatch(view->loop->set->slots, &servable->member, view->loop->index);
    else if (wake_at != TIME_NEVER)
        servable_wake_at(servable, wake_at, view->loop);
    return OK;
}

/* ---- inline ---- */

/* Whether the version may run on this loop at `now`: it is quick, and overtakes nobody. */
static bool inline_now(const struct model_version *view, io_time now)
{
    return inline_rule_allows(&view->rule, now) &&
           slots_calm(view->loop->set->slots, &view->servable->member);
}

static bool inline_may_be(const struct model_version *view, const struct model_request *request)
{
    const struct servable *servable = view->servable;
    return servable->synchronous && !view->late && servable->runs_max > 1 &&
           servable->limits.delay_max == 0 && request->state.item.bytes <= INLINE_BYTES_MAX &&
           inline_now(view, loop_now(view->loop->loop));
}

static void loop_turn(struct io_post *post);

/* Sees to it that the view's turn comes, at the end of this turn of the loop, or of the
 * next one when called from there. */
static void turn_join(struct model_version *view)
{
    struct model_loop *loop = view->loop;
    if (!list_node_linked(&view->turn_node))
        list_push(&loop->turn_views, &view->turn_node);
    if (!loop->turn_deferred) {
        loop->turn_deferred = true;
        loop->turn_post.run = loop_turn;
        loop_defer(loop->loop, &loop->turn_post);
    }
}

static result turn_queue(struct model_request *request, io_time now)
{
    struct model_version *view = request->version;
    TRY(batcher_submit(&view->turn, &request->state.item, now));
    request->state.phase = PHASE_TURN;
    turn_join(view);
    return OK;
}

/* Runs one batch on this thread, at `*now`, which moves on to its end. False: the
 * answer is to come, and the slot went with it, though the backend promised otherwise;
 * the version is inline no more. */
static bool batch_run(struct model_version *view, struct batch *batch, io_time *now)
{
    struct model_loop *loop = view->loop;
    struct servable *servable = view->servable;
    struct run *run;
    if (failed(run_new(servable, batch, &run))) {
        for (struct list_node *node; (node = list_pop(&batch->items));)
            request_fail_soon(request_of(item_of(node)), ERR_NO_MEMORY, "no memory for a run");
        return true;
    }
    for (struct list_node *node = list_first(&run->items); node;
         node = list_next(&run->items, node))
        request_of(item_of(node))->state.phase = PHASE_RUNNING;
    run_publish(run);
    run->on_loop = true;
    run->started_at = *now;
    run->exact = inline_rule_wants_cpu(&view->rule);
    if (!slot_task_run(loop->set->slots, loop->index, &servable->member, &run->task)) {
        view->late = true;
        return false;
    }
    run_split(run);
    *now = run->ended_at;
    list_push(&loop->turn_done, &run->done);
    return true;
}

/* Only now that all of the turn's runs are over: their answers are encoded and written to
 * sockets, after which the model would find nothing of its own left in the caches. */
static void turn_complete(struct model_loop *loop)
{
    for (struct list_node *node; (node = list_pop(&loop->turn_done));) {
        struct run *run = CONTAINER_OF(node, struct run, done);
        run_complete(run, &run->items);
        run_unref(run);
    }
}

/* What could not be run on the loop goes the other way. */
static void turn_hand_over(struct model_version *view)
{
    io_time now = process_clock(view->loop->set->process);
    for (struct batch_item *item; (item = batcher_head(&view->turn));) {
        struct model_request *request = request_of(item);
        batcher_remove(&view->turn, item);
        if (failed(servable_queue(request, now)))
            request_fail_soon(request, ERR_EXHAUSTED, "the model's queue is full");
    }
}

/* Runs what the turn brought for one version while there is time until `end`; `*slot`:
 * the loop's slot is held. What comes while it runs is for the next turn. */
static void view_run(struct model_version *view, io_time *now, io_time end, bool *slot)
{
    struct batch batch;
    io_time wake_at;
    int64_t left = view->turn.items;
    while (left > 0 && *slot && *now < end && inline_now(view, *now) &&
           batcher_next(&view->turn, *now, &batch, &wake_at)) {
        for (struct list_node *node; (node = list_pop(&batch.expired)); left--)
            request_fail_soon(request_of(item_of(node)), ERR_DEADLINE, deadline_text);
        left -= batch.items_len;
        if (batch.items_len)
            *slot = batch_run(view, &batch, now);
    }
    if (left <= 0)
        return;
    /* The time is up. Another core takes the rest if one is free; else this one goes on
     * after the next look at its sockets, for a hop to a worker would gain nothing. */
    if (*slot && *now >= end && inline_now(view, *now) && !slots_spare(view->loop->set->slots))
        turn_join(view);
    else
        turn_hand_over(view);
}

static void loop_turn(struct io_post *post)
{
    struct model_loop *loop = CONTAINER_OF(post, struct model_loop, turn_post);
    struct list views;
    loop->turn_deferred = false;
    list_init(&views);
    for (struct list_node *node; (node = list_pop(&loop->turn_views));)
        list_push(&views, node);
    bool slot = slots_take(loop->set->slots, loop->index);
    io_time now = process_clock(loop->set->process), end = now + TURN_BUDGET;
    for (struct list_node *node; (node = list_pop(&views));)
        view_run(CONTAINER_OF(node, struct model_version, turn_node), &now, end, &slot);
    if (slot)
        slots_leave(loop->set->slots, loop->index);
    turn_complete(loop);
}

/* ---- the contract ---- */

static void item_init(struct model_request *request)
{
    const struct weir_model_info *info = &request->version->servable->info;
    uint64_t bytes = 0;
    for (int i = 0; i < info->inputs_len; i++)
        bytes += request->inputs[i].bytes;
    request->state.item = (struct batch_item){
        .deadline = request->deadline,
        .bytes = bytes,
        .rows = MAX(request->rows, (int64_t)1),
        .alone = !info->batchable || request->rows < 1,
    };
}

static result reject(struct model_version *view, enum err error, enum reject_reason reason)
{
    version_count_rejected(&view->series, view->loop->set->options.metrics, view->loop->shard, view,
                           reason);
    return fail(error);
}

result model_submit(struct model_set *set, struct model_request *request)
{
    struct model_version *view = request->version;
    io_time now = loop_now(request->home);
    ASSERT(view->loop->loop == request->home && view->loop->set == set);
    if (view->state != MODEL_AVAILABLE)
        return reject(view, ERR_UNAVAILABLE, REJECT_NOT_AVAILABLE);
    if (request->deadline <= now)
        return reject(view, ERR_DEADLINE, REJECT_DEADLINE);
    request->queued_at = now;
    request->state.run = NULL;
    request->state.cancelled = false;
    item_init(request);
    result r =
        inline_may_be(view, request) ? turn_queue(request, now) : servable_queue(request, now);
    return failed(r) ? reject(view, r.code, REJECT_QUEUE_FULL) : OK;
}

void model_cancel(struct model_set *set, struct model_request *request)
{
    struct model_version *view = request->version;
    struct servable *servable = view->servable;
    struct run *unwanted = NULL;
    io_lock_take(&servable->lock);
    enum request_phase phase = (enum request_phase)request->state.phase;
    if (phase == PHASE_QUEUED) {
        batcher_remove(&servable->batcher, &request->state.item);
        slots_member_waiting(&servable->member, servable->batcher.items);
    } else if (phase == PHASE_RUNNING && !request->state.cancelled) {
        request->state.cancelled = true;
        struct run *run = request->state.run;
        if (run && ++run->cancelled == run->items_len)
            unwanted = run;
    }
    io_lock_give(&servable->lock);
    if (phase == PHASE_TURN)
        batcher_remove(&view->turn, &request->state.item);
    if (phase == PHASE_TURN || phase == PHASE_QUEUED)
        request_fail_soon(request, ERR_CANCELLED, "the caller has gone");
    /* The run stays: this request holds it, and its answer comes by a later post. */
    if (unwanted)
        run_cancel(unwanted);
}

void model_request_release(struct model_request *request)
{
    struct run *run = steal(&request->state.run);
    if (run)
        run_unref(run);
}
