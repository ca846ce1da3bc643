/* The life of a series, from its labels to its last scrape. */
#include "obs/registry.h"

#include "base/alloc.h"
#include "base/map.h"
#include "obs/utf8.h"

#define SCRAPES_AFTER_OWNER 2

/* ---- labels ---- */

static size_t put(uint8_t *buffer, size_t at, const char *text)
{
    size_t len = strlen(text);
    memcpy(buffer + at, text, len);
    return at + len;
}

/* Escaped as the text format asks. Control bytes other than a newline have no escape in
 * it and some of them end the reader's input: they are replaced like broken UTF-8. */
static size_t value_render(struct span value, uint8_t *buffer, size_t at)
{
    size_t taken = 0;
    while (value.len > 0) {
        size_t len = utf8_sequence(value);
        if (taken + MAX(len, (size_t)1) > METRIC_VALUE_MAX)
            break;
        uint8_t c = value.ptr[0];
        if (c == '\\' || c == '"' || c == '\n') {
            buffer[at++] = '\\';
            buffer[at++] = c == '\n' ? 'n' : c;
        } else if (len == 0 || c < 0x20 || c == 0x7F) {
            at = put(buffer, at, UTF8_REPLACEMENT);
        } else {
            memcpy(buffer + at, value.ptr, len);
            at += len;
        }
        taken += MAX(len, (size_t)1);
        value = span_from(value, MAX(len, (size_t)1));
    }
    return at;
}

size_t labels_render(const struct metric_def *def, const struct span *values, size_t count,
                     uint8_t buffer[LABELS_TEXT_MAX])
{
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buffer[at++] = ',';
        at = put(buffer, at, def->labels[i]);
        at = put(buffer, at, "=\"");
        at = value_render(values[i], buffer, at);
        buffer[at++] = '"';
    }
    return at;
}

/* ---- life ---- */

struct series *series_new(struct metrics *metrics, struct family *family, struct span labels,
                          uint64_t hash)
{
    struct series *series = mem_zalloc(1, sizeof(*series) + labels.len);
    if (!series)
        return NULL;
    series->metrics = metrics;
    series->family = family;
    series->kind = family->def->kind;
    series->hash = hash;
    series->labels_len = labels.len;
    if (labels.len)
        memcpy(series->labels, labels.ptr, labels.len);
    return series;
}

static struct family *family_of(struct metrics *metrics, const struct metric_def *def)
{
    for (size_t i = 0; i < metrics->family_count; i++) {
        if (metrics->families[i].def == def)
            return &metrics->families[i];
    }
    return NULL;
}

/* Locked. */
static struct series *series_find(struct metrics *metrics, const struct family *family,
                                  struct span labels, uint64_t hash)
{
    struct series *at = metrics->buckets[hash & metrics->bucket_mask];
    while (at && !(at->hash == hash && at->family == family &&
                   span_eq(span_of(at->labels, at->labels_len), labels)))
        at = at->hash_next;
    if (at && at->refs++ == 0)
        list_remove(&at->gone);
    return at;
}

/* Locked: R2. Afterwards only the caller knows the series. */
static void series_die(struct metrics *metrics, struct series *series)
{
    struct series **link = &metrics->buckets[series->hash & metrics->bucket_mask];
    while (*link != series)
        link = &(*link)->hash_next;
    *link = series->hash_next;
    list_remove(&series->member);
    list_remove(&series->gone);
}

/* Unlocked: R3. NULL is allowed. */
static void series_bury(struct metrics *metrics, struct series *dead)
{
    if (!dead)
        return;
    cells_clear(metrics, dead);
    io_lock_take(&metrics->lock);
    metrics->free_slots[metrics->free_count++] = dead->slot;
    io_lock_give(&metrics->lock);
    mem_free(dead);
}

/* Locked. Hands out the series of these labels, or puts `fresh` in its place when there
 * is none and a slot is free; NULL otherwise. */
static struct series *series_enter(struct metrics *metrics, struct series *fresh)
{
    struct series *found =
        series_find(metrics, fresh->family, span_of(fresh->labels, fresh->labels_len), fresh->hash);
    if (found || metrics->free_count == 0)
        return found;
    fresh->slot = metrics->free_slots[--metrics->free_count];
    fresh->refs = 1;
    struct series **bucket = &metrics->buckets[fresh->hash & metrics->bucket_mask];
    fresh->hash_next = *bucket;
    *bucket = fresh;
    list_push(&fresh->family->members, &fresh->member);
    return fresh;
}

/* Frees the slot of a series without a holder, if there is one. */
static bool slot_reclaim(struct metrics *metrics)
{
    io_lock_take(&metrics->lock);
    bool enough = metrics->free_count > 0;
    struct list_node *oldest = enough ? NULL : list_first(&metrics->gone);
    struct series *dead = oldest ? CONTAINER_OF(oldest, struct series, gone) : NULL;
    if (dead && dead->pins > 0)
        dead = NULL;
    if (dead)
        series_die(metrics, dead);
    io_lock_give(&metrics->lock);
    series_bury(metrics, dead);
    return enough || dead;
}

static struct series *overflow_of(struct metrics *metrics, struct family *family)
{
    io_lock_take(&metrics->lock);
    if (!list_node_linked(&family->permanent->member))
        list_push(&family->members, &family->permanent->member);
    io_lock_give(&metrics->lock);
    return family->permanent;
}

struct series *metrics_series(struct metrics *metrics, const struct metric_def *def,
                              const struct span *values, size_t count)
{
    struct family *family = family_of(metrics, def);
    ASSERT(family && count == family->label_count);
    if (count == 0)
        return family->permanent;
    uint8_t buffer[LABELS_TEXT_MAX];
    struct span labels = span_of(buffer, labels_render(def, values, count, buffer));
    uint64_t hash = hash_bytes(metrics->seed + (uint64_t)(family - metrics->families), labels);
    io_lock_take(&metrics->lock);
    struct series *found = series_find(metrics, family, labels, hash);
    io_lock_give(&metrics->lock);
    if (found)
        return found;

    struct series *fresh = series_new(metrics, family, labels, hash);
    if (!fresh || !slot_reclaim(metrics)) {
        mem_free(fresh);
        return overflow_of(metrics, family);
    }
    io_lock_take(&metrics->lock);
    found = series_enter(metrics, fresh);
    io_lock_give(&metrics->lock);
    if (found != fresh)
        mem_free(fresh);
    return found ? found : overflow_of(metrics, family);
}

void series_put(struct series *series)
{
    if (!series || series->permanent)
        return;
    struct metrics *metrics = series->metrics;
    io_lock_take(&metrics->lock);
    ASSERT(series->refs > 0);
    if (--series->refs == 0) {
        series->scrapes_left = SCRAPES_AFTER_OWNER;
        list_push(&metrics->gone, &series->gone);
    }
    io_lock_give(&metrics->lock);
}

/* Locked. A scrape has shown `series`: returns it when that was the last one. */
static struct series *series_unpin(struct metrics *metrics, struct series *series)
{
    series->pins--;
    if (series->refs > 0 || series->permanent)
        return NULL;
    if (series->scrapes_left > 0)
        series->scrapes_left--;
    if (series->scrapes_left > 0 || series->pins > 0)
        return NULL;
    series_die(metrics, series);
    return series;
}

struct series *family_walk(struct metrics *metrics, struct family *family, struct series *at)
{
    io_lock_take(&metrics->lock);
    struct list_node *node =
        at ? list_next(&family->members, &at->member) : list_first(&family->members);
    struct series *next = node ? CONTAINER_OF(node, struct series, member) : NULL;
    if (next)
        next->pins++;
    struct series *dead = at ? series_unpin(metrics, at) : NULL;
    io_lock_give(&metrics->lock);
    series_bury(metrics, dead);
    return next;
}
