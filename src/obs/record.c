/* Recording into shards, and adding them up. */
#include "obs/registry.h"

#include "base/alloc.h"

static NOINLINE union metric_cell *page_new(struct metrics_shard *shard, uint32_t slot)
{
    struct cell_page *page = mem_aligned(64, sizeof(*page));
    if (!page)
        return NULL;
    memset(page, 0, sizeof(*page));
    /* Release: a scrape that finds the page finds it zeroed. */
    atomic_store_explicit(&shard->pages[slot / CELLS_PER_PAGE], page, memory_order_release);
    return &page->cells[slot % CELLS_PER_PAGE];
}

static inline union metric_cell *shard_cell(struct metrics_shard *shard, uint32_t slot)
{
    /* Relaxed: this thread made the page itself. */
    struct cell_page *page =
        atomic_load_explicit(&shard->pages[slot / CELLS_PER_PAGE], memory_order_relaxed);
    return LIKELY(page) ? &page->cells[slot % CELLS_PER_PAGE] : page_new(shard, slot);
}

void counter_add(struct metrics_shard *shard, struct series *series, uint64_t n)
{
    ASSERT(series->kind == METRIC_COUNTER);
    union metric_cell *cell = shard_cell(shard, series->slot);
    if (UNLIKELY(!cell))
        return;
    uint64_t now = atomic_load_explicit(&cell->count, memory_order_relaxed);
    atomic_store_explicit(&cell->count, now + n, memory_order_relaxed);
}

static NOINLINE struct histogram_cell *histogram_new(union metric_cell *cell)
{
    struct histogram_cell *histogram = mem_aligned(64, sizeof(*histogram));
    if (!histogram)
        return NULL;
    memset(histogram, 0, sizeof(*histogram));
    atomic_store_explicit(&cell->histogram, histogram, memory_order_release);
    return histogram;
}

void histogram_record(struct metrics_shard *shard, struct series *series, uint64_t value)
{
    ASSERT(series->kind == METRIC_HISTOGRAM);
    union metric_cell *cell = shard_cell(shard, series->slot);
    if (UNLIKELY(!cell))
        return;
    struct histogram_cell *histogram = atomic_load_explicit(&cell->histogram, memory_order_relaxed);
    if (UNLIKELY(!histogram))
        histogram = histogram_new(cell);
    /* Without memory the value is left out, as the header says. */
    if (histogram)
        (void)histogram_cell_record(histogram, series->family->scale, value);
}

void gauge_set(struct series *series, double value)
{
    ASSERT(series->kind != METRIC_HISTOGRAM);
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    atomic_store_explicit(&series->value, bits, memory_order_relaxed);
}

/* ---- reading and clearing: any thread ---- */

static union metric_cell *slot_cell(const struct metrics_shard *shard, uint32_t slot)
{
    struct cell_page *page =
        atomic_load_explicit(&shard->pages[slot / CELLS_PER_PAGE], memory_order_acquire);
    return page ? &page->cells[slot % CELLS_PER_PAGE] : NULL;
}

uint64_t series_total(const struct series *series)
{
    uint64_t total = 0;
    for (int i = 0; i < series->metrics->loops; i++) {
        union metric_cell *cell = slot_cell(series->metrics->shards[i], series->slot);
        if (cell)
            total += atomic_load_explicit(&cell->count, memory_order_relaxed);
    }
    return total;
}

void series_view(const struct series *series, struct histogram_view *ret_view)
{
    memset(ret_view, 0, sizeof(*ret_view));
    for (int i = 0; i < series->metrics->loops; i++) {
        union metric_cell *cell = slot_cell(series->metrics->shards[i], series->slot);
        struct histogram_cell *histogram =
            cell ? atomic_load_explicit(&cell->histogram, memory_order_acquire) : NULL;
        if (histogram)
            histogram_view_add(ret_view, histogram);
    }
}

double histogram_quantile(struct series *series, double q)
{
    ASSERT(series->kind == METRIC_HISTOGRAM);
    struct histogram_view view;
    series_view(series, &view);
    return histogram_view_quantile(&view, series->family->scale, q);
}

void cells_clear(struct metrics *metrics, const struct series *series)
{
    for (int i = 0; i < metrics->loops; i++) {
        union metric_cell *cell =
            metrics->shards[i] ? slot_cell(metrics->shards[i], series->slot) : NULL;
        if (!cell)
            continue;
        if (series->kind == METRIC_HISTOGRAM) {
            histogram_cell_free(atomic_load_explicit(&cell->histogram, memory_order_acquire));
            atomic_store_explicit(&cell->histogram, NULL, memory_order_relaxed);
        } else {
            atomic_store_explicit(&cell->count, 0, memory_order_relaxed);
        }
    }
}
