/* A registry from its making to its end: shards and definitions. */
#include "obs/registry.h"

#include "base/alloc.h"

#define SERIES_MAX_DEFAULT 10000
#define SERIES_MAX_LIMIT 1000000

/* ---- making and freeing ---- */

static struct metrics_shard *shard_new(uint32_t pages)
{
    /* A line of its own: two loops' shards never share one. */
    struct metrics_shard *shard = mem_aligned(64, 64);
    if (!shard)
        return NULL;
    shard->pages = mem_zalloc(pages, sizeof(shard->pages[0]));
    if (!shard->pages) {
        mem_free(shard);
        return NULL;
    }
    return shard;
}

static result metrics_allocate(struct metrics *metrics)
{
    uint64_t buckets = 64;
    while (buckets < metrics->series_max)
        buckets *= 2;
    metrics->bucket_mask = buckets - 1;
    metrics->buckets = mem_zalloc(buckets, sizeof(metrics->buckets[0]));
    metrics->free_slots = mem_zalloc(metrics->series_max, sizeof(metrics->free_slots[0]));
    metrics->shards = mem_zalloc((size_t)metrics->loops, sizeof(metrics->shards[0]));
    if (!metrics->buckets || !metrics->free_slots || !metrics->shards)
        return fail(ERR_NO_MEMORY);
    for (uint32_t i = 0; i < metrics->series_max; i++)
        metrics->free_slots[i] = metrics->series_max - 1 - i;
    metrics->free_count = metrics->series_max;
    for (int i = 0; i < metrics->loops; i++) {
        metrics->shards[i] = shard_new(metrics->pages);
        if (!metrics->shards[i])
            return fail(ERR_NO_MEMORY);
    }
    return OK;
}

result metrics_new(struct process *process, const struct metrics_options *options,
                   struct metrics **ret_metrics, struct diag *diag)
{
    if (options->loops < 1 || options->series_max > SERIES_MAX_LIMIT)
        return diag_fail(diag, ERR_RANGE,
                         "expected at least 1 loop and at most %d series, got %d and %u",
                         SERIES_MAX_LIMIT, options->loops, options->series_max);
    struct metrics *metrics = MEM_NEW(struct metrics);
    if (!metrics)
        return fail(ERR_NO_MEMORY);
    metrics->process = process;
    metrics->loops = options->loops;
    metrics->series_max = options->series_max ? options->series_max : SERIES_MAX_DEFAULT;
    uint32_t slots = metrics->series_max + METRIC_FAMILIES_MAX;
    metrics->pages = (slots + CELLS_PER_PAGE - 1) / CELLS_PER_PAGE;
    metrics->seed = process_random_u64(process);
    list_init(&metrics->gone);
    io_lock_init(&metrics->lock, process);
    atomic_flag_clear(&metrics->collecting);
    result r = metrics_allocate(metrics);
    if (failed(r)) {
        metrics_free(metrics);
        return r;
    }
    *ret_metrics = metrics;
    return OK;
}

static void family_release(struct metrics *metrics, struct family *family)
{
    struct list_node *node;
    while ((node = list_pop(&family->members)) != NULL) {
        struct series *series = CONTAINER_OF(node, struct series, member);
        cells_clear(metrics, series);
        if (series != family->permanent)
            mem_free(series);
    }
    mem_free(family->permanent);
}

void metrics_free(struct metrics *metrics)
{
    if (!metrics)
        return;
    for (size_t i = 0; i < metrics->family_count; i++)
        family_release(metrics, &metrics->families[i]);
    for (int i = 0; metrics->shards && i < metrics->loops; i++) {
        struct metrics_shard *shard = metrics->shards[i];
        for (uint32_t page = 0; shard && page < metrics->pages; page++)
            mem_free(atomic_load_explicit(&shard->pages[page], memory_order_relaxed));
        if (shard)
            mem_free(shard->pages);
        mem_free(shard);
    }
    mem_free(metrics->shards);
    mem_free(metrics->free_slots);
    mem_free(metrics->buckets);
    mem_free(metrics);
}

struct metrics_shard *metrics_shard(struct metrics *metrics, int loop_index)
{
    ASSERT(loop_index >= 0 && loop_index < metrics->loops);
    return metrics->shards[loop_index];
}

result metrics_collect(struct metrics *metrics, void (*collect)(void *arg), void *arg)
{
    if (metrics->collector_count == METRIC_COLLECTORS_MAX)
        return fail(ERR_EXHAUSTED);
    metrics->collectors[metrics->collector_count++] = (struct collector){collect, arg};
    return OK;
}

void metrics_collect_end(struct metrics *metrics, const void *arg)
{
    size_t kept = 0;
    for (size_t i = 0; i < metrics->collector_count; i++)
        if (metrics->collectors[i].arg != arg)
            metrics->collectors[kept++] = metrics->collectors[i];
    metrics->collector_count = kept;
}

/* ---- definitions ---- */

static bool word_valid(const char *word, size_t max)
{
    size_t len = strlen(word);
    if (len == 0 || len > max || !(word[0] == '_' || (word[0] >= 'a' && word[0] <= 'z')))
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = word[i];
        if (!(c == '_' || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')))
            return false;
    }
    return true;
}

/* The name without `_total`, and whether it had it. */
static bool name_stem(struct span name, struct span *ret_stem)
{
    bool total = span_ends(name, SPAN("_total"));
    *ret_stem = total ? span_first(name, name.len - strlen("_total")) : name;
    return total;
}

static result name_check(const struct metric_def *def, struct diag *diag)
{
    static const char *const units[] = {"", "_seconds", "_bytes", "_ratio"};
    static const char *const reserved[] = {"_bucket", "_count", "_sum", "_total"};
    if (!word_valid(def->name, 128))
        return diag_fail(diag, ERR_SYNTAX, "metric %s: expected a name of a-z, 0-9 and _",
                         def->name);
    struct span stem;
    bool total = name_stem(span_cstr(def->name), &stem);
    if (total != (def->kind == METRIC_COUNTER))
        return diag_fail(diag, ERR_SYNTAX, "metric %s: counters, and only they, end in _total",
                         def->name);
    for (size_t i = 0; i < ARRAY_LEN(reserved); i++) {
        if (span_ends(stem, span_cstr(reserved[i])))
            return diag_fail(diag, ERR_SYNTAX, "metric %s: %s is for histograms' own series",
                             def->name, reserved[i]);
    }
    for (size_t i = 1; i < ARRAY_LEN(units); i++) {
        if (span_ends(stem, span_cstr(units[i])) != (def->unit == i))
            return diag_fail(diag, ERR_SYNTAX, "metric %s: its unit and the suffix %s disagree",
                             def->name, units[i]);
    }
    if (def->unit == UNIT_RATIO && def->kind != METRIC_GAUGE)
        return diag_fail(diag, ERR_SYNTAX, "metric %s: a ratio must be a gauge", def->name);
    if (!def->help || !def->help[0])
        return diag_fail(diag, ERR_SYNTAX, "metric %s: expected a help text", def->name);
    return OK;
}

static result labels_check(const struct metric_def *def, size_t *ret_count, struct diag *diag)
{
    size_t count = 0;
    for (; def->labels && def->labels[count]; count++) {
        const char *label = def->labels[count];
        if (count == METRIC_LABELS_MAX)
            return diag_fail(diag, ERR_EXHAUSTED, "metric %s: expected at most %d labels",
                             def->name, METRIC_LABELS_MAX);
        if (!word_valid(label, LABEL_NAME_MAX) || span_starts(span_cstr(label), SPAN("__")) ||
            strcmp(label, "le") == 0 || strcmp(label, "quantile") == 0)
            return diag_fail(diag, ERR_SYNTAX, "metric %s: the label name %s is not allowed",
                             def->name, label);
    }
    *ret_count = count;
    return OK;
}

static const struct histogram_scale *scale_of(const struct metric_def *def)
{
    if (def->kind != METRIC_HISTOGRAM)
        return NULL;
    return def->unit == UNIT_SECONDS ? &histogram_scale_seconds
           : def->unit == UNIT_BYTES ? &histogram_scale_bytes
                                     : &histogram_scale_plain;
}

static result family_add(struct metrics *metrics, const struct metric_def *def, struct diag *diag)
{
    if (metrics->family_count == METRIC_FAMILIES_MAX)
        return diag_fail(diag, ERR_EXHAUSTED, "metric %s: expected at most %d metrics", def->name,
                         METRIC_FAMILIES_MAX);
    for (size_t i = 0; i < metrics->family_count; i++) {
        if (strcmp(metrics->families[i].def->name, def->name) == 0)
            return diag_fail(diag, ERR_EXISTS, "metric %s is defined already", def->name);
    }
    struct family family = {.def = def, .scale = scale_of(def)};
    TRY(name_check(def, diag));
    TRY(labels_check(def, &family.label_count, diag));

    struct span others[METRIC_LABELS_MAX];
    for (size_t i = 0; i < METRIC_LABELS_MAX; i++)
        others[i] = SPAN("other");
    uint8_t buffer[LABELS_TEXT_MAX];
    size_t len = labels_render(def, others, family.label_count, buffer);
    struct family *place = &metrics->families[metrics->family_count];
    *place = family;
    struct series *permanent = series_new(metrics, place, span_of(buffer, len), 0);
    if (!permanent)
        return diag_fail(diag, ERR_NO_MEMORY, "metric %s: out of memory", def->name);
    permanent->slot = metrics->series_max + (uint32_t)metrics->family_count;
    permanent->permanent = true;
    place->permanent = permanent;
    list_init(&place->members);
    if (family.label_count == 0)
        list_push(&place->members, &permanent->member);
    metrics->family_count++;
    return OK;
}

result metrics_define(struct metrics *metrics, const struct metric_def *defs, size_t count,
                      struct diag *diag)
{
    for (size_t i = 0; i < count; i++)
        TRY(family_add(metrics, &defs[i], diag));
    return OK;
}
