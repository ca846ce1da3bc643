/* What each loop knows of the versions: lookups, and the posts that keep them current. */
#include "model/catalog.h"

#include "base/alloc.h"

static struct model_loop *loop_of(struct model_set *set, struct loop *loop)
{
    return &set->loops[loop_index(loop)];
}

int catalog_count(struct model_set *set, struct loop *loop)
{
    (void)loop;
    return set->published ? set->servables_len : 0;
}

struct model_version *catalog_at(struct model_set *set, struct loop *loop, int index)
{
    ASSERT(index >= 0 && index < catalog_count(set, loop));
    return &loop_of(set, loop)->views[index];
}

/* The first entry of that name, or where it would be. */
static int lower_bound(struct model_set *set, struct span name)
{
    int low = 0, high = set->published ? set->servables_len : 0;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (span_cmp(span_cstr(set->servables[middle]->name), name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct model_version *catalog_find(struct model_set *set, struct loop *loop, struct span name,
                                   int64_t number)
{
    struct model_version *newest = NULL, *newest_available = NULL;
    struct model_loop *here = loop_of(set, loop);
    for (int i = lower_bound(set, name), n = catalog_count(set, loop);
         i < n && span_is(name, set->servables[i]->name); i++) {
        newest = &here->views[i];
        if (set->servables[i]->number == number)
            return newest;
        if (newest->state == MODEL_AVAILABLE)
            newest_available = newest;
    }
    if (number != -1)
        return NULL;
    return newest_available ? newest_available : newest;
}

const char *version_model(const struct model_version *version)
{
    return version->servable->name;
}

int64_t version_number(const struct model_version *version)
{
    return version->servable->number;
}

enum model_state version_state(const struct model_version *version)
{
    return version->state;
}

enum err version_error(const struct model_version *version)
{
    return version->error;
}

const char *version_error_text(const struct model_version *version)
{
    return version->error ? version->servable->load_diag.text : "";
}

const char *version_platform(const struct model_version *version)
{
    return version->state == MODEL_AVAILABLE ? version->servable->info.platform : "";
}

const struct weir_model_info *version_info(const struct model_version *version)
{
    return &version->servable->info;
}

/* ---- publishing ---- */

result catalog_make(struct model_set *set)
{
    int loops = set->loops_len, versions = set->servables_len;
    for (int l = 0; l < loops; l++) {
        set->loops[l].views = mem_zalloc((size_t)versions + 1, sizeof(struct model_version));
        if (!set->loops[l].views)
            return fail(ERR_NO_MEMORY);
    }
    for (int v = 0; v < versions; v++) {
        struct servable *servable = set->servables[v];
        servable->views = mem_zalloc((size_t)loops, sizeof(*servable->views));
        if (!servable->views)
            return fail(ERR_NO_MEMORY);
        for (int l = 0; l < loops; l++) {
            struct model_version *view = &set->loops[l].views[v];
            view->servable = servable;
            view->loop = &set->loops[l];
            view->state = MODEL_START;
            servable->views[l] = view;
            if (set->options.metrics)
                version_series_init(&view->series, set->options.metrics, servable->name,
                                    servable->number);
        }
    }
    set->published = true;
    return OK;
}

void catalog_free(struct model_set *set)
{
    for (int l = 0; set->loops && l < set->loops_len; l++)
        mem_free(set->loops[l].views);
}

static void change_acknowledged(struct io_post *post)
{
    struct view_change *change = CONTAINER_OF(post, struct view_change, post);
    change->known(change->view->servable);
}

static void change_arrived(struct io_post *post)
{
    struct view_change *change = CONTAINER_OF(post, struct view_change, post);
    struct model_version *view = change->view;
    struct servable *servable = view->servable;
    view->error = change->error;
    if (change->state == MODEL_AVAILABLE) {
        batcher_init(&view->turn, &servable->limits, request_stacks);
        inline_rule_init(&view->rule, servable->warm_runs, servable->warm_slow);
    }
    view->state = change->state;
    if (!change->known)
        return;
    change->post.run = change_acknowledged;
    loop_post(view->loop->set->loops[0].loop, &change->post);
}

void catalog_change(struct servable *servable, enum model_state state, enum err error,
                    void (*known)(struct servable *servable))
{
    struct model_set *set = servable->set;
    gauge_set_if(servable->gauge_state, (double)state);
    for (int l = 0; l < set->loops_len; l++) {
        struct model_version *view = servable->views[l];
        struct view_change *change = &view->changes[state == MODEL_LOADING ? 0 : 1];
        *change = (struct view_change){.post = {.run = change_arrived},
                                       .view = view,
                                       .state = state,
                                       .error = error,
                                       .known = known};
        loop_post(set->loops[l].loop, &change->post);
    }
}
