/* The calls of a client pool: from the queue over their attempts to their one end. */
#include "net/client_pool.h"

#include "base/alloc.h"
#include "net/client_pool_private.h"

/* Of an answer that is thrown away for a retry; a longer one costs its connection. */
#define DISCARD_MAX ((size_t)64 << 10)

/* A Retry-After beyond it is not waited for. */
#define AFTER_MAX (60 * IO_SEC)

static const struct client_events streamed, collected;

/* ---- the end of a call ---- */

static void call_free(struct client_call *call)
{
    if (!call->stop_pending)
        pool_put(&call->pool->calls, call);
}

static void leave_queue(struct client_call *call)
{
    struct client_pool *pool = call->pool;
    if (call->state != CALL_WAITING && call->state != CALL_SLEEPING)
        return;
    call_unqueue(call);
    timer_stop(pool->loop, &call->sleep);
    pool->waiting--;
    client_account_less(pool->account, ACCOUNT_WAITING);
}

static void call_end(struct client_call *call, result r, const struct client_response *response)
{
    struct client_pool *pool = call->pool;
    struct client_origin *origin = call->origin;
    leave_queue(call);
    call->state = CALL_ENDED;
    if (call->cancelled) { /* whatever came in the same turn */
        r = fail(ERR_CANCELLED);
        response = NULL;
    }
    timer_stop(pool->loop, &call->deadline);
    list_remove(&call->all);
    client_account_request(pool->account, response ? response->status : 0, r,
                           loop_now(pool->loop) - call->started);
    call->events->end(call->arg, r, response);
    call_free(call);
    origin->calls--;
    origin_settle(origin);
    pool_pump_soon(pool);
}

/* From the loop: a timer or a post. */
static void call_stop(struct client_call *call, enum err code)
{
    if (call->state == CALL_SENT)
        client_abort(call->conn->client, code);
    else
        call_end(call, fail(code), NULL);
}

static void stop_posted(struct io_post *post)
{
    struct client_call *call = CONTAINER_OF(post, struct client_call, stop);
    call->stop_pending = false;
    if (call->state == CALL_ENDED)
        call_free(call);
    else
        call_stop(call, ERR_CANCELLED);
}

void client_call_cancel(struct client_call *call)
{
    if (call->cancelled)
        return;
    call->cancelled = true;
    call->stop.run = stop_posted;
    if (!call->stop_pending)
        loop_defer(call->pool->loop, &call->stop);
    call->stop_pending = true;
}

static void deadline_passed(struct io_timer *timer)
{
    call_stop(CONTAINER_OF(timer, struct client_call, deadline), ERR_DEADLINE);
}

/* ---- waiting ---- */

static void enqueue(struct client_call *call, bool first)
{
    struct client_origin *origin = call->origin;
    call->state = CALL_WAITING;
    call->queued_turn = loop_turns(call->pool->loop);
    if (first)
        list_push_front(&origin->waiting, &call->waiting);
    else
        list_push(&origin->waiting, &call->waiting);
    origin->waiting_len++;
    if (!list_node_linked(&origin->wanted))
        list_push(&call->pool->wanted, &origin->wanted);
    pool_pump_soon(call->pool);
}

static void count_waiting(struct client_call *call)
{
    call->pool->waiting++;
    client_account_more(call->pool->account, ACCOUNT_WAITING);
}

static void slept(struct io_timer *timer)
{
    enqueue(CONTAINER_OF(timer, struct client_call, sleep), false);
}

static void sleep_for(struct client_call *call, io_time wait)
{
    struct loop *loop = call->pool->loop;
    call_unqueue(call);
    call->state = CALL_SLEEPING;
    timer_start(loop, &call->sleep, loop_now(loop) + wait);
}

/* ---- once more? (P5) ---- */

/* Whether the policy lets it go out again, and after which wait, in which the deadline does
 * not pass. Takes from the budget. */
static bool may_retry(struct client_call *call, bool sent, io_time at_least, io_time *ret_wait)
{
    struct client_pool *pool = call->pool;
    const struct retry_policy *policy = call->retry;
    bool safe = !sent || policy->any_method || retry_idempotent(call->request.method);
    if (call->attempts >= policy->attempts || !safe || call->headed || call->parts_taken ||
        call->cancelled || pool->draining)
        return false;
    io_time now = loop_now(pool->loop);
    uint64_t chance = process_random_u64(loop_process(pool->loop));
    io_time wait = MAX(retry_backoff(policy, call->attempts + 1, chance), at_least);
    if (at_least > AFTER_MAX ||
        (call->deadline_at != TIME_NEVER && wait >= call->deadline_at - now))
        return false;
    if (!retry_budget_take(&call->origin->budget, policy->budget_percent, now)) {
        client_account_event(pool->account, ACCOUNT_RETRY_REFUSED);
        return false;
    }
    client_account_event(pool->account, ACCOUNT_RETRY);
    *ret_wait = wait;
    return true;
}

void call_connect_failed(struct client_call *call, enum err code)
{
    io_time wait;
    call->attempts++;
    if (err_retryable(code) && may_retry(call, false, 0, &wait))
        sleep_for(call, wait);
    else
        call_end(call, fail(code), NULL);
}

/* On a connection that has been closed. */
static void attempt_failed(struct client_call *call, enum err code, bool reused, bool answered)
{
    io_time wait;
    bool ended = code == ERR_CLOSED || code == ERR_RESET;
    if (reused && !answered && ended && !call->parts_taken && !call->cancelled &&
        retry_idempotent(call->request.method)) {
        call->fresh_only = true; /* and so never again */
        call->attempts--;        /* not one of the policy's */
        client_account_event(call->pool->account, ACCOUNT_REPLAY);
        count_waiting(call);
        enqueue(call, true);
    } else if (err_retryable(code) && may_retry(call, true, 0, &wait)) {
        count_waiting(call);
        sleep_for(call, wait);
    } else {
        call_end(call, fail(code), NULL);
    }
}

/* ---- on a connection ---- */

static void part_written(void *arg, result r)
{
    struct client_conn *conn = arg;
    client_write_fn fn = conn->call ? steal(&conn->call->part_fn) : NULL;
    if (fn && !conn->call->cancelled)
        fn(conn->call->arg, r);
}

static void on_head(void *arg, const struct client_response *response)
{
    struct client_conn *conn = arg;
    struct client_call *call = conn->call;
    if (call->cancelled)
        return;
    if (retry_status(response->status)) {
        io_time wall = process_wall(loop_process(call->pool->loop));
        io_time after = retry_after(client_header(response, SPAN("retry-after")), wall);
        call->discarding = may_retry(call, true, after, &call->retry_wait);
    }
    if (call->discarding) {
        call->discarded = 0;
        client_more(conn->client);
        return;
    }
    call->headed = call->events->head || call->events->body;
    if (call->events->head)
        call->events->head(call->arg, response);
    if (call->credit)
        client_more(conn->client);
}

static void give_up_late(struct io_post *post);

static void on_body(void *arg, struct span bytes)
{
    struct client_conn *conn = arg;
    struct client_call *call = conn->call;
    if (call->cancelled)
        return;
    if (!call->discarding) {
        call->credit = false;
        call->events->body(call->arg, bytes);
        return;
    }
    call->discarded += bytes.len;
    if (call->discarded <= DISCARD_MAX) {
        client_more(conn->client);
    } else if (!call->stop_pending) { /* not inside of the client's own call */
        call->stop_pending = true;
        call->stop.run = give_up_late;
        loop_defer(call->pool->loop, &call->stop);
    }
}

static void give_up_late(struct io_post *post)
{
    struct client_call *call = CONTAINER_OF(post, struct client_call, stop);
    call->stop_pending = false;
    if (call->state == CALL_ENDED)
        call_free(call);
    else if (call->state == CALL_SENT && call->discarding)
        client_abort(call->conn->client, ERR_TOO_LARGE);
}

static void on_end(void *arg, result r, const struct client_response *response)
{
    struct client_conn *conn = arg;
    struct client_call *call = conn->call;
    bool reused = conn->requests > 1;
    bool answered = client_answered(conn->client);
    call->conn = NULL;
    if (call->discarding && !is(r, ERR_DEADLINE) && !is(r, ERR_CANCELLED)) {
        call->discarding = false;
        conn_release(conn, response && response->keep_alive);
        count_waiting(call);
        sleep_for(call, call->retry_wait);
    } else if (!failed(r)) {
        bool usable = response->keep_alive;
        conn->call = NULL;
        call_end(call, OK, response);
        conn_release(conn, usable);
    } else {
        conn_release(conn, false);
        attempt_failed(call, (enum err)r.code, reused, answered);
    }
}

/* A body is told as it comes, or collected. */
static const struct client_events streamed = {on_head, on_body, on_end};
static const struct client_events collected = {on_head, NULL, on_end};

bool call_give(struct client_call *call, struct client_conn *conn, bool fresh)
{
    struct client_pool *pool = call->pool;
    result r = client_begin(conn->client, &call->request,
                            call->events->body ? &streamed : &collected, conn);
    if (is(r, ERR_CLOSED) || is(r, ERR_PRECONDITION))
        return false;
    if (failed(r)) { /* of what was to be written; the connection is as it was */
        call_end(call, r, NULL);
        conn_release(conn, true);
        return true;
    }
    leave_queue(call);
    call->state = CALL_SENT;
    call->conn = conn;
    call->attempts++;
    conn->call = call;
    conn->requests++;
    if (!fresh)
        client_account_event(pool->account, ACCOUNT_REUSE);
    if (call->queued_turn != loop_turns(pool->loop))
        client_account_event(pool->account, ACCOUNT_WAIT);
    if (call->part_held) {
        call->part_held = false;
        r = client_write(conn->client, call->part, call->part_last, part_written);
        if (failed(r)) /* longer or shorter than was promised */
            client_abort(conn->client, (enum err)r.code);
    }
    return true;
}

/* ---- what callers do ---- */

static bool full(const struct client_pool *pool, const struct client_origin *origin)
{
    size_t per_origin = (size_t)pool->config.connections_per_origin_max;
    size_t busy = origin->conns - origin->dialing - origin->idle_len;
    size_t free_slots = per_origin - MIN(per_origin, busy);
    return pool->calls.in_use >= pool->calls.objects_max ||
           origin->waiting_len >= (size_t)pool->config.waiting_max + free_slots;
}

result client_pool_send(struct client_pool *pool, const struct client_call_options *options,
                        const struct client_events *events, void *arg,
                        struct client_call **ret_call)
{
    struct client_origin *origin = options->origin;
    if (pool->draining)
        return fail(ERR_DRAINING);
    if (full(pool, origin)) {
        client_account_event(pool->account, ACCOUNT_REFUSED);
        return fail(ERR_EXHAUSTED);
    }
    struct client_call *call = pool_get(&pool->calls);
    if (!call)
        return fail(ERR_NO_MEMORY);
    call->pool = pool;
    call->origin = origin;
    call->request = options->request;
    call->deadline_at = options->request.deadline;
    call->request.deadline = TIME_NEVER; /* the call's own timer holds, over all attempts */
    if (!call->request.host.len)
        call->request.host = span_cstr(origin->host);
    call->retry = options->retry ? options->retry : &pool->config.retry;
    call->events = events;
    call->arg = arg;
    call->started = loop_now(pool->loop);
    call->deadline.fired = deadline_passed;
    call->sleep.fired = slept;
    list_push(&pool->all_calls, &call->all);
    origin->calls++;
    retry_budget_request(&origin->budget, call->started);
    count_waiting(call);
    enqueue(call, false);
    if (call->deadline_at != TIME_NEVER)
        timer_start(pool->loop, &call->deadline, call->deadline_at);
    if (ret_call)
        *ret_call = call;
    return OK;
}

void client_call_more(struct client_call *call)
{
    call->credit = true;
    if (call->state == CALL_SENT && call->headed && !call->cancelled)
        client_more(call->conn->client);
}

result client_call_write(struct client_call *call, struct span bytes, bool last, client_write_fn fn)
{
    if (!call->request.in_parts || call->part_fn || call->part_held || call->cancelled)
        return fail(ERR_PRECONDITION);
    call->parts_taken = true;
    call->part = bytes;
    call->part_last = last;
    call->part_fn = fn;
    call->part_held = call->state != CALL_SENT;
    if (call->part_held)
        return OK;
    result r = client_write(call->conn->client, bytes, last, part_written);
    if (failed(r))
        call->part_fn = NULL;
    return r;
}

/* ---- the pool ---- */

result client_pool_new(const struct client_pool_options *options, struct client_pool **ret_pool)
{
    const struct client_config *config = options->config;
    struct client_pool *pool = MEM_NEW(struct client_pool);
    if (!pool)
        return fail(ERR_NO_MEMORY);
    size_t connections = (size_t)config->connections_max;
    size_t calls = connections + (size_t)config->waiting_max;
    pool->loop = options->loop;
    pool->config = *config;
    pool->account = options->account;
    pool->tls = options->tls ? tls_context_ref(options->tls) : NULL;
    pool->pump.run = pool_pump;
    /* What was cancelled or has lost may still be on its way out. */
    dialer_init(&pool->dialer, options->loop, options->resolver, config->connect_timeout,
                connections * 2);
    pool_init(&pool->calls, sizeof(struct client_call), calls);
    pool_init(&pool->conns, sizeof(struct client_conn), connections * 2);
    map_init(&pool->origins, process_random_u64(loop_process(options->loop)), calls);
    list_init(&pool->all_calls);
    list_init(&pool->all_conns);
    list_init(&pool->wanted);
    list_init(&pool->idle);
    *ret_pool = pool;
    return OK;
}

static void tell_drained(struct io_post *post)
{
    struct client_pool *pool = CONTAINER_OF(post, struct client_pool, drained_post);
    pool->drained(pool->drained_arg, pool->cut);
}

/* Connections that are being made for nobody. */
static void cancel_dials(struct client_pool *pool)
{
    struct list_node *node = list_first(&pool->all_conns);
    while (node) {
        struct client_conn *conn = CONTAINER_OF(node, struct client_conn, all);
        node = list_next(&pool->all_conns, node);
        if (conn->dial)
            conn_close(conn);
    }
}

void pool_settle(struct client_pool *pool)
{
    if (pool->draining && pool->calls.in_use == 0)
        cancel_dials(pool);
    if (!pool->draining || pool->told || pool->pump_pending || pool->calls.in_use ||
        pool->conns.in_use)
        return;
    if (!dialer_idle(&pool->dialer)) { /* what has lost is being closed: a few turns */
        timer_start(pool->loop, &pool->drain_timer, loop_now(pool->loop) + IO_MS);
        return;
    }
    pool->told = true;
    timer_stop(pool->loop, &pool->drain_timer);
    pool->drained_post.run = tell_drained;
    loop_defer(pool->loop, &pool->drained_post);
}

static void cut_all(struct client_pool *pool)
{
    struct list_node *node = list_first(&pool->all_calls);
    while (node) {
        struct client_call *call = CONTAINER_OF(node, struct client_call, all);
        node = list_next(&pool->all_calls, node);
        pool->cut += !call->cancelled;
        client_call_cancel(call);
    }
}

static void drain_due(struct io_timer *timer)
{
    struct client_pool *pool = CONTAINER_OF(timer, struct client_pool, drain_timer);
    cut_all(pool);
    pool_settle(pool);
}

void client_pool_drain(struct client_pool *pool, io_time deadline,
                       void (*fn)(void *arg, uint64_t cut), void *arg)
{
    ASSERT(!pool->draining);
    pool->draining = true;
    pool->drained = fn;
    pool->drained_arg = arg;
    pool->drain_timer.fired = drain_due;
    struct list_node *node;
    while ((node = list_first(&pool->idle)))
        conn_close(CONTAINER_OF(node, struct client_conn, idle_node));
    if (deadline != TIME_NEVER)
        timer_start(pool->loop, &pool->drain_timer, deadline);
    pool_pump_soon(pool);
}

void client_pool_free(struct client_pool *pool)
{
    if (!pool)
        return;
    struct list_node *node = list_first(&pool->all_conns);
    for (; node; node = list_next(&pool->all_conns, node)) {
        struct client_conn *conn = CONTAINER_OF(node, struct client_conn, all);
        client_free(conn->client);
    }
    MAP_EACH (&pool->origins, entry)
        mem_free(entry->value);
    map_release(&pool->origins);
    pool_release(&pool->calls);
    pool_release(&pool->conns);
    dialer_release(&pool->dialer);
    tls_context_unref(pool->tls);
    mem_free(pool);
}

void client_pool_counts(const struct client_pool *pool, struct client_pool_counts *ret_counts)
{
    *ret_counts = (struct client_pool_counts){
        .calls = pool->calls.in_use,
        .waiting = pool->waiting,
        .connections = pool->conns_len,
    };
    const struct list_node *node = list_first(&pool->idle);
    for (; node; node = list_next(&pool->idle, node))
        ret_counts->idle++;
}
