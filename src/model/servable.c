/* A version's life: loaded once, in a work job; then its queue feeds run slots. */
#include "model/servable.h"

#include "base/alloc.h"
#include "model/run.h"

/* How long the end waits for answers that a backend still owes: by the clock and, as a
 * simulated one stands still meanwhile, by turns of the loop that waits. */
#define LAST_ANSWERS (2 * IO_SEC)
#define LAST_ANSWERS_TURNS (1u << 27)

static struct slot_task *servable_next(struct slots_member *member, bool *ret_more);
static void servable_execute(struct slot_task *task);
static void servable_finish(struct slot_task *task);
static const struct slots_ops slots_ops = {servable_next, servable_execute, servable_finish};

/* ---- life ---- */

struct servable *servable_new(struct model_set *set, const char *name, int64_t number,
                              const char *path, struct backend *backend)
{
    struct servable *servable = MEM_NEW(struct servable);
    if (!servable)
        return NULL;
    servable->member.ops = &slots_ops;
    servable->set = set;
    servable->number = number;
    servable->backend = backend;
    servable->name = mem_strdup(name);
    servable->path = mem_strdup(path);
    io_lock_init(&servable->lock, set->process);
    list_init(&servable->running);
    servable->wake_at = TIME_NEVER;
    if (servable->name && servable->path)
        return servable;
    mem_free(servable->name);
    mem_free(servable->path);
    mem_free(servable);
    return NULL;
}

/* Asks the backend to end a run, if one goes on that was not asked before. */
static bool one_run_cancel(struct servable *servable)
{
    struct run *run = NULL;
    io_lock_take(&servable->lock);
    for (struct list_node *node = list_first(&servable->running); node && !run;
         node = list_next(&servable->running, node)) {
        struct run *candidate = CONTAINER_OF(node, struct run, node);
        if (!candidate->given_up)
            run = candidate;
    }
    if (run) {
        run->given_up = true;
        ref_get(&run->ref);
    }
    io_lock_give(&servable->lock);
    if (!run)
        return false;
    run_cancel(run);
    run_unref(run);
    return true;
}

/* Whether no answer is owed any more. */
static bool last_answers_wait(struct servable *servable)
{
    struct process *process = servable->set->process;
    io_time until = process_clock(process) + LAST_ANSWERS;
    io_lock_take(&servable->lock);
    servable->closing = true;
    io_lock_give(&servable->lock);
    while (one_run_cancel(servable))
        continue;
    bool owed = true;
    for (uint32_t turn = 0; owed && turn < LAST_ANSWERS_TURNS && process_clock(process) < until;
         turn++) {
        io_lock_take(&servable->lock);
        owed = !list_empty(&servable->running);
        io_lock_give(&servable->lock);
    }
    return !owed;
}

bool servable_free(struct servable *servable)
{
    bool answered = last_answers_wait(servable);
    for (int i = 0; servable->views && i < servable->set->loops_len; i++)
        version_series_release(&servable->views[i]->series);
    series_put(steal(&servable->gauge_queue));
    series_put(steal(&servable->gauge_state));
    series_put(steal(&servable->gauge_load));
    if (!answered)
        return false;
    const weir_backend *abi = servable->backend->abi;
    if (servable->instance)
        abi->instance_free(servable->instance);
    if (servable->model)
        abi->model_free(servable->model);
    mem_free(servable->views);
    mem_free(servable->name);
    mem_free(servable->path);
    mem_free(servable);
    return true;
}

/* ---- loading ---- */

static result load_failed(struct servable *servable, int32_t status, const weir_error *error)
{
    return diag_fail(&servable->load_diag, backend_err(status), "%s: %s", servable->path,
                     error->text[0] ? error->text : err_text(backend_err(status)));
}

static bool type_known(weir_type type)
{
    return type_size(type) > 0 || type.code == WEIR_STRING;
}

static result ports_check(struct servable *servable, const struct weir_port *ports, int count,
                          const char *what)
{
    if (count < 0 || count > WEIR_PORTS_MAX || (count > 0 && !ports))
        return diag_fail(&servable->load_diag, ERR_BACKEND, "the backend describes %d %ss", count,
                         what);
    for (int i = 0; i < count; i++) {
        const struct weir_port *port = &ports[i];
        if (port->size != sizeof(*port) || !port->name || port->rank < -1 ||
            port->rank > WEIR_RANK_MAX || !type_known(port->type))
            return diag_fail(&servable->load_diag, ERR_BACKEND,
                             "the backend describes %s %d in a way that is not valid", what, i);
        for (int d = 0; d < port->rank; d++)
            if (port->shape[d] < -1)
                return diag_fail(&servable->load_diag, ERR_BACKEND,
                                 "the backend gives %s '%.100s' an extent of %lld", what,
                                 port->name, (long long)port->shape[d]);
    }
    return OK;
}

static bool rows_open(const struct weir_port *ports, int count)
{
    for (int i = 0; i < count; i++)
        if (ports[i].rank < 1 || ports[i].shape[0] != -1)
            return false;
    return count > 0;
}

static result info_read(struct servable *servable)
{
    struct weir_model_info *info = &servable->info;
    info->size = sizeof(*info);
    servable->backend->abi->model_info(servable->model, info);
    TRY(ports_check(servable, info->inputs, info->inputs_len, "input"));
    TRY(ports_check(servable, info->outputs, info->outputs_len, "output"));
    info->batchable = info->batchable && rows_open(info->inputs, info->inputs_len) &&
                      rows_open(info->outputs, info->outputs_len);
    info->platform = info->platform ? info->platform : servable->backend->abi->name;
    return OK;
}

static result load(struct servable *servable)
{
    weir_backend *abi = servable->backend->abi;
    weir_model_config config = {
        .size = sizeof(config), .name = servable->name, .path = servable->path, .threads = 1};
    weir_error error = {.size = sizeof(error)};
    int32_t status = abi->model_load(abi, &config, &servable->model, &error);
    if (status)
        return load_failed(servable, status, &error);
    TRY(info_read(servable));
    status = abi->instance_new(servable->model, &servable->instance, &error);
    if (status)
        return load_failed(servable, status, &error);
    const struct model_set_options *options = &servable->set->options;
    servable->synchronous = abi->flags & WEIR_BACKEND_SYNCHRONOUS;
    servable->runs_max = abi->flags & WEIR_BACKEND_THREAD_SAFE ? INT32_MAX : 1;
    servable->limits = (struct batcher_limits){
        .queue_rows_max = options->queue_rows_max,
        .queue_bytes_max = options->queue_bytes_max,
        .batch_rows_max = servable->info.batchable ? MAX(options->batch_rows_max, 1u) : 1,
        .delay_max = options->batch_delay_max,
    };
    return OK;
}

void servable_load(struct servable *servable)
{
    struct process *process = servable->set->process;
    io_time started_at = process_clock(process);
    servable->load_result = load(servable);
    if (!failed(servable->load_result)) {
        servable_warm_up(servable);
        io_lock_take(&servable->lock); /* a scrape may look at it */
        batcher_init(&servable->batcher, &servable->limits, request_stacks);
        io_lock_give(&servable->lock);
    } else if (!servable->load_diag.code) {
        ignore(diag_fail(&servable->load_diag, servable->load_result.code, "%s: %s", servable->path,
                         err_text(servable->load_result.code)));
    }
    servable->load_time = process_clock(process) - started_at;
}

/* ---- the window ---- */

static void window_fired(struct io_timer *timer)
{
    struct model_version *view = CONTAINER_OF(timer, struct model_version, window);
    io_lock_take(&view->servable->lock);
    view->servable->wake_at = TIME_NEVER;
    io_lock_give(&view->servable->lock);
    slots_dispatch(view->loop->set->slots, &view->servable->member, view->loop->index);
}

static void window_start(struct model_version *view, io_time at)
{
    ASSERT(view->loop);
    view->window.fired = window_fired;
    timer_start(view->loop->loop, &view->window, at);
}

static void window_posted(struct io_post *post)
{
    struct model_version *view = CONTAINER_OF(post, struct model_version, window_post);
    io_lock_take(&view->servable->lock);
    view->window_posted = false;
    io_time at = view->window_at;
    io_lock_give(&view->servable->lock);
    window_start(view, at);
}

void servable_wake_at(struct servable *servable, io_time wake_at, struct model_loop *here)
{
    struct model_version *view = NULL;
    bool post = false;
    io_lock_take(&servable->lock);
    struct batch_item *head = batcher_head(&servable->batcher);
    if (head && wake_at < servable->wake_at) {
        servable->wake_at = wake_at;
        view = servable->views[request_of(head)->version->loop->index];
        if (view->loop != here) {
            view->window_at = wake_at;
            post = !view->window_posted;
            view->window_posted = true;
        }
    }
    io_lock_give(&servable->lock);
    if (!view)
        return;
    if (view->loop == here)
        window_start(view, wake_at);
    else if (post) {
        view->window_post.run = window_posted;
        loop_post(view->loop->loop, &view->window_post);
    }
}

/* ---- what the slots ask ---- */

static struct servable *servable_of(struct slots_member *member)
{
    return CONTAINER_OF(member, struct servable, member);
}

static struct run *run_of(struct slot_task *task)
{
    return CONTAINER_OF(task, struct run, task);
}

static void items_fail(struct list *items, enum err error, const char *text)
{
    for (struct list_node *node; (node = list_pop(items));)
        request_fail_post(request_of(item_of(node)), error, text);
}

/* Under the lock: takes the next batch out, marks its requests. */
static bool take_batch(struct servable *servable, io_time now, struct batch *batch,
                       io_time *ret_wake_at, bool *ret_more)
{
    *ret_wake_at = TIME_NEVER;
    *ret_more = false;
    if (servable->closing)
        return false;
    if (servable->runs_now >= servable->runs_max) {
        servable->held_back = true;
        return false;
    }
    if (!batcher_next(&servable->batcher, now, batch, ret_wake_at))
        return false;
    for (struct list_node *node = list_first(&batch->items); node;
         node = list_next(&batch->items, node))
        request_of(item_of(node))->state.phase = PHASE_RUNNING;
    for (struct list_node *node = list_first(&batch->expired); node;
         node = list_next(&batch->expired, node))
        request_of(item_of(node))->state.phase = PHASE_DONE;
    servable->runs_now += batch->items_len > 0;
    *ret_more = batcher_ready(&servable->batcher, now, ret_wake_at);
    slots_member_waiting(&servable->member, servable->batcher.items);
    return true;
}

/* A batch that was taken has ended, as `run` or, with NULL, without one. A run that
 * was begun on a loop was not counted. */
static void run_ended(struct servable *servable, struct run *run)
{
    io_lock_take(&servable->lock);
    servable->runs_now -= !run || list_node_linked(&run->node);
    if (run)
        list_remove(&run->node);
    bool again = servable->held_back && servable->batcher.items > 0 && !servable->closing;
    servable->held_back = false;
    io_lock_give(&servable->lock);
    if (again)
        slots_dispatch(servable->set->slots, &servable->member, -1);
}

static struct slot_task *servable_next(struct slots_member *member, bool *ret_more)
{
    struct servable *servable = servable_of(member);
    struct batch batch;
    io_time wake_at, now = process_clock(servable->set->process);
    io_lock_take(&servable->lock);
    bool some = take_batch(servable, now, &batch, &wake_at, ret_more);
    io_lock_give(&servable->lock);
    if (!*ret_more && wake_at != TIME_NEVER)
        servable_wake_at(servable, wake_at, NULL);
    if (!some)
        return NULL;
    items_fail(&batch.expired, ERR_DEADLINE, "the deadline passed while the request was queued");
    if (!batch.items_len)
        return NULL;
    struct run *run;
    if (!failed(run_new(servable, &batch, &run))) {
        io_lock_take(&servable->lock);
        run_publish(run);
        list_push(&servable->running, &run->node);
        io_lock_give(&servable->lock);
        return &run->task;
    }
    items_fail(&batch.items, ERR_NO_MEMORY, "no memory for a run");
    run_ended(servable, NULL);
    return NULL;
}

static void servable_execute(struct slot_task *task)
{
    struct run *run = run_of(task);
    if (run->on_loop)
        run_execute(run, run->started_at, run->exact);
    else
        run_execute(run, process_clock(run->servable->set->process), run->servable->synchronous);
}

static void servable_finish(struct slot_task *task)
{
    struct run *run = run_of(task);
    struct servable *servable = run->servable;
    io_lock_take(&servable->lock);
    bool closing = servable->closing;
    io_lock_give(&servable->lock);
    if (!closing)
        run_split(run);
    run_ended(servable, run);
    if (closing)
        run_drop(run);
    else
        run_post(run);
}
