#include "base/alloc.h"
#include "model/catalog.h"
#include "model/repository.h"

#include <stdlib.h>

#define VERSIONS_MAX 10000

/* ---- life ---- */

static void collect(void *arg)
{
    struct model_set *set = arg;
    for (int i = 0; set->published && i < set->servables_len; i++) {
        struct servable *servable = set->servables[i];
        io_lock_take(&servable->lock);
        uint64_t rows = servable->batcher.rows;
        io_lock_give(&servable->lock);
        gauge_set(servable->gauge_queue, (double)rows);
    }
}

static result metrics_init(struct model_set *set, struct diag *diag)
{
    struct metrics *metrics = set->options.metrics;
    if (!metrics)
        return OK;
    TRY(model_metrics_define(metrics, diag));
    for (int i = 0; i < set->loops_len; i++)
        set->loops[i].shard = metrics_shard(metrics, i);
    return metrics_collect(metrics, collect, set);
}

static result set_init(struct model_set *set, const struct model_set_options *options,
                       struct diag *diag)
{
    set->options = *options;
    set->process = options->process;
    set->loops_len = process_loop_count(set->process);
    set->loops = mem_zalloc((size_t)set->loops_len, sizeof(*set->loops));
    if (!set->loops)
        return diag_fail(diag, ERR_NO_MEMORY, "out of memory");
    for (int i = 0; i < set->loops_len; i++) {
        struct model_loop *loop = &set->loops[i];
        loop->set = set;
        loop->loop = process_loop(set->process, i);
        loop->index = i;
        list_init(&loop->turn_views);
        list_init(&loop->turn_done);
    }
    int slots = options->slots > 0 ? options->slots : process_cores(set->process);
    if (failed(slots_new(set->process, slots, &set->slots)))
        return diag_fail(diag, ERR_NO_MEMORY, "out of memory");
    TRY(backends_new(set->process, options->log, options->backends_path, options->engines_path,
                     &set->backends, diag));
    return metrics_init(set, diag);
}

result model_set_new(const struct model_set_options *options, struct model_set **ret_set,
                     struct diag *diag)
{
    struct model_set *set = MEM_NEW(struct model_set);
    if (!set)
        return diag_fail(diag, ERR_NO_MEMORY, "out of memory");
    result r = set_init(set, options, diag);
    if (failed(r)) {
        model_set_free(set);
        return r;
    }
    *ret_set = set;
    return OK;
}

void model_set_stop(struct model_set *set)
{
    slots_stop(set->slots);
}

void model_set_free(struct model_set *set)
{
    if (!set)
        return;
    bool owed = false;
    if (set->slots)
        slots_stop(set->slots);
    for (int i = 0; i < set->servables_len; i++)
        owed = !servable_free(set->servables[i]) || owed;
    /* An answer that comes now finds all it touches still in place. */
    if (owed)
        return;
    catalog_free(set);
    slots_free(set->slots);
    backends_free(set->backends);
    mem_free(set->servables);
    mem_free(set->loops);
    mem_free(set);
}

/* ---- scanning ---- */

static result found(void *arg, const struct found_model *found, struct diag *diag)
{
    struct model_set *set = arg;
    for (int i = 0; i < set->servables_len; i++)
        if (strcmp(set->servables[i]->name, found->name) == 0)
            return diag_fail(diag, ERR_EXISTS, "two models are named '%s': %s and %s", found->name,
                             set->servables[i]->path, found->path);
    if (set->servables_len == VERSIONS_MAX)
        return diag_fail(diag, ERR_EXHAUSTED, "more than %d models", VERSIONS_MAX);
    if (set->servables_len == set->servables_cap) {
        int cap = MAX(2 * set->servables_cap, 16);
        struct servable **grown = mem_realloc(set->servables, (size_t)cap * sizeof(*grown));
        if (!grown)
            return diag_fail(diag, ERR_NO_MEMORY, "out of memory");
        set->servables = grown;
        set->servables_cap = cap;
    }
    struct servable *servable =
        servable_new(set, found->name, found->number, found->path, found->backend);
    if (!servable)
        return diag_fail(diag, ERR_NO_MEMORY, "out of memory");
    set->servables[set->servables_len++] = servable;
    return OK;
}

result model_set_scan(struct model_set *set, const char *path, const char *name, struct diag *diag)
{
    return repository_scan(set->process, set->backends, path, name, found, set, diag);
}

/* ---- loading ---- */

static int compare(const void *a, const void *b)
{
    const struct servable *left = *(struct servable *const *)a;
    const struct servable *right = *(struct servable *const *)b;
    int names = strcmp(left->name, right->name);
    return names ? names : (left->number > right->number) - (left->number < right->number);
}

static void one_settled(struct servable *servable)
{
    struct model_set *set = servable->set;
    if (--set->unsettled == 0)
        set->settled(set->settled_arg);
}

static void load_ended(struct servable *servable)
{
    struct log *log = servable->set->options.log;
    bool good = !failed(servable->load_result);
    gauge_set_if(servable->gauge_load, (double)servable->load_time / IO_SEC);
    if (good)
        log_event(log, EVENT_MODEL_LOADED,
                  LOG_FIELDS(log_str("model", servable->name), log_int("version", servable->number),
                             log_time("took", servable->load_time)),
                  "loaded %s version %lld", servable->name, (long long)servable->number);
    else
        log_event(
            log, EVENT_MODEL_LOAD_FAILED,
            LOG_FIELDS(log_str("model", servable->name), log_int("version", servable->number)),
            "cannot serve %s: %s", servable->name, servable->load_diag.text);
    catalog_change(servable, good ? MODEL_AVAILABLE : MODEL_END,
                   (enum err)servable->load_result.code, one_settled);
}

static void load_run(struct io_work *work)
{
    servable_load(CONTAINER_OF(work, struct servable, load));
}

static void load_done(struct io_work *work)
{
    load_ended(CONTAINER_OF(work, struct servable, load));
}

static void load_start(struct servable *servable)
{
    struct model_set *set = servable->set;
    log_event(set->options.log, EVENT_MODEL_LOADING,
              LOG_FIELDS(log_str("model", servable->name), log_int("version", servable->number),
                         log_str("path", servable->path)),
              "loading %s", servable->path);
    servable->load =
        (struct io_work){.run = load_run, .done = load_done, .home = set->loops[0].loop};
    work_submit(set->process, WORK_FILE, &servable->load);
}

/* One job opens a backend; its models follow. */
static void open_run(struct io_work *work)
{
    struct backend *backend = CONTAINER_OF(work, struct backend, open);
    backend->open_result = backend_open(backend, &backend->open_diag);
}

static void open_done(struct io_work *work)
{
    struct backend *backend = CONTAINER_OF(work, struct backend, open);
    struct model_set *set = backend->owner;
    if (failed(backend->open_result))
        log_event(set->options.log, EVENT_BACKEND_FAILED,
                  LOG_FIELDS(log_str("backend", backend->name)), "%s", backend->open_diag.text);
    for (int i = 0; i < set->servables_len; i++) {
        struct servable *servable = set->servables[i];
        if (servable->backend != backend)
            continue;
        if (!failed(backend->open_result)) {
            load_start(servable);
            continue;
        }
        servable->load_result = backend->open_result;
        servable->load_diag = backend->open_diag;
        load_ended(servable);
    }
}

static void start(struct io_post *post)
{
    struct model_set *set = CONTAINER_OF(post, struct model_set, start);
    set->unsettled = set->servables_len * set->loops_len;
    if (set->unsettled == 0)
        set->settled(set->settled_arg);
    for (int i = 0; i < set->servables_len; i++) {
        struct servable *servable = set->servables[i];
        struct backend *backend = servable->backend;
        catalog_change(servable, MODEL_LOADING, ERR_NONE, NULL);
        if (backend->owner)
            continue;
        backend->owner = set;
        backend->open =
            (struct io_work){.run = open_run, .done = open_done, .home = set->loops[0].loop};
        work_submit(set->process, WORK_FILE, &backend->open);
    }
}

void model_set_load(struct model_set *set, void (*settled)(void *arg), void *arg)
{
    if (set->servables_len > 1)
        qsort(set->servables, (size_t)set->servables_len, sizeof(struct servable *), compare);
    for (int i = 0; set->options.metrics && i < set->servables_len; i++) {
        struct servable *servable = set->servables[i];
        struct metrics *metrics = set->options.metrics;
        servable->gauge_queue =
            version_gauge(metrics, servable->name, servable->number, GAUGE_QUEUE_ROWS);
        servable->gauge_state =
            version_gauge(metrics, servable->name, servable->number, GAUGE_STATE);
        servable->gauge_load =
            version_gauge(metrics, servable->name, servable->number, GAUGE_LOAD_TIME);
    }
    set->settled = settled;
    set->settled_arg = arg;
    if (failed(catalog_make(set)))
        mem_must(NULL, (size_t)set->servables_len * sizeof(struct model_version));
    set->start.run = start;
    loop_post(set->loops[0].loop, &set->start);
}
