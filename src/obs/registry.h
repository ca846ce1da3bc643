/* The insides of a metrics registry, shared by metrics.c, series.c, record.c and
 * metrics_write.c. The manual is obs/metrics.h.
 *
 * Invariants
 *   R1  Families are added at boot only and never move, so they are read without the
 *       lock. Everything else of a series but `value` changes under `lock`.
 *   R2  A series is in its family's list and in the hash table until it is dead. It
 *       dies, under the lock, when it has no holder (`refs`), no scrape stands on it
 *       (`pins`) and it was shown twice since, or its slot is needed.
 *   R3  The cells of a slot are cleared by whoever made its series dead, before the
 *       slot is free again. Its last records happened before: their loops gave their
 *       handle up, directly or not, before `series_put` took the lock.
 *   R4  Each family has one series that never dies: the only one of a metric without
 *       labels, the overflow of one with labels. The latter is listed once it was
 *       handed out.
 */
#pragma once

#include "base/list.h"
#include "obs/histogram.h"
#include "obs/metrics.h"

#include <stdatomic.h>

#define CELLS_PER_PAGE 64
#define LABEL_NAME_MAX 64
/* Names, quotes and values whose every byte became U+FFFD. */
#define LABELS_TEXT_MAX (METRIC_LABELS_MAX * (LABEL_NAME_MAX + 4 + 3 * METRIC_VALUE_MAX))

union metric_cell {
    _Atomic uint64_t count;
    _Atomic(struct histogram_cell *) histogram;
};

struct cell_page {
    union metric_cell cells[CELLS_PER_PAGE];
};

struct metrics_shard {
    _Atomic(struct cell_page *) *pages;
};

struct family {
    const struct metric_def *def;
    size_t label_count;
    const struct histogram_scale *scale; /* NULL but for histograms */
    struct series *permanent;            /* R4 */
    struct list members;                 /* in order of creation */
};

struct series {
    struct metrics *metrics;
    struct family *family;
    uint32_t slot;
    enum metric_kind kind;  /* the family's, near the slot */
    _Atomic uint64_t value; /* a double's bits: see gauge_set */
    uint32_t refs, pins, scrapes_left;
    bool permanent;
    uint64_t hash;
    struct series *hash_next;
    struct list_node member; /* of the family */
    struct list_node gone;   /* without a holder, oldest first */
    size_t labels_len;
    char labels[]; /* `model="a",version="1"`, escaped: also the key */
};

struct collector {
    void (*collect)(void *arg);
    void *arg;
};

struct metrics {
    struct process *process;
    struct io_lock lock;
    int loops;
    struct metrics_shard **shards;
    uint32_t series_max, pages;
    uint32_t *free_slots;
    uint32_t free_count;
    struct series **buckets; /* a power of two */
    uint64_t bucket_mask, seed;
    struct list gone;
    size_t family_count, collector_count;
    atomic_flag collecting;
    struct family families[METRIC_FAMILIES_MAX];
    struct collector collectors[METRIC_COLLECTORS_MAX];
};

/* The labels as they are shown; returns their length. */
size_t labels_render(const struct metric_def *def, const struct span *values, size_t count,
                     uint8_t buffer[LABELS_TEXT_MAX]);
/* Without a slot, in no list; NULL when out of memory. */
struct series *series_new(struct metrics *metrics, struct family *family, struct span labels,
                          uint64_t hash);
/* Zeroes the slot in all shards (R3). */
void cells_clear(struct metrics *metrics, const struct series *series);
/* The next series of the family after `at` (NULL: the first), pinned, and `at` is
 * unpinned; NULL at the end. */
struct series *family_walk(struct metrics *metrics, struct family *family, struct series *at);
uint64_t series_total(const struct series *series);
void series_view(const struct series *series, struct histogram_view *ret_view);
