/* The registry of counters, gauges and histograms, and their Prometheus text.
 *
 * A metric is defined once, in a static table of the module that records it. A
 * series is one metric with one set of label values: a counted handle, taken in
 * control code and kept. Recording is by handle into a shard.
 *
 * Shards. Each loop has one, and only the loop's own thread records into it: a
 * plain load and a plain store, no locked instruction, no cache line shared with
 * another loop. What a worker measures is recorded by the loop that the work goes
 * home to. A scrape reads all shards from whichever thread it runs on and adds them.
 *
 * What a scrape may see. Every single number is whole and never goes back. The
 * count of a histogram is the sum of its buckets as read in the same pass, so the
 * two always agree; its sum is read after them and written before them, so that it
 * holds at least the values that were counted. Different series are not read at one
 * instant.
 *
 * Histograms have the fixed schema 3 of Prometheus' native histograms
 * (prometheus/docs docs/specs/native_histograms.md): eight buckets an octave, bucket
 * i holds (2^((i-1)/8), 2^(i/8)] in the exposed unit. They are never rescaled; memory
 * is taken octave by octave. Values are recorded as integers: nanoseconds for
 * UNIT_SECONDS, bytes or plain numbers otherwise. The text shows some powers of two
 * as `le`; as these are bounds of the schema, its cumulated counts are exact.
 *
 * Limits. `series_max` bounds the series of labelled metrics; beyond it, and when
 * memory is short, a metric hands out its overflow series, all of whose label values
 * are "other". A label value is cut at METRIC_VALUE_MAX bytes, and its invalid UTF-8
 * replaced, so that one bad name does not fail the whole scrape. A series whose owner
 * has gone stays for two scrapes; taken again before, it goes on counting.
 *
 * Owner:   whoever called `metrics_new`; freed after `process_run` has returned.
 * Threads: new, define, collect and free at boot (or after the loops have ended).
 *          Taking, giving back and scraping from any loop. Recording: see Shards.
 */
#pragma once

#include "base/diag.h"
#include "base/result.h"
#include "base/span.h"
#include "base/text.h"
#include "io/io.h"

struct metrics;
struct metrics_shard;
struct series;

#define METRIC_LABELS_MAX 8
#define METRIC_VALUE_MAX 128
/* Metrics in one registry, and collectors. */
#define METRIC_FAMILIES_MAX 256
#define METRIC_COLLECTORS_MAX 32

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* What is exposed; the name says it too: `_seconds`, `_bytes`, `_ratio` (before
 * `_total`, where there is one). Counters and histograms of UNIT_SECONDS are recorded
 * in nanoseconds; gauges are set in the exposed unit. */
enum metric_unit { UNIT_NONE, UNIT_SECONDS, UNIT_BYTES, UNIT_RATIO };

struct metric_def {
    const char *name;
    const char *help; /* one sentence; must not be empty */
    enum metric_kind kind;
    enum metric_unit unit;
    const char *const *labels; /* names, NULL at the end; NULL for none */
};

struct metrics_options {
    int loops;           /* shards */
    uint32_t series_max; /* 0: 10,000 */
};

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

result metrics_new(struct process *process, const struct metrics_options *options,
                   struct metrics **ret_metrics, struct diag *diag);
/* All handles become invalid. NULL is allowed. */
void metrics_free(struct metrics *metrics);

/* Adds a module's table, which must outlive the registry. Checks each entry: the
 * name is lower-case Prometheus style without a colon, ends as its kind and unit
 * demand and as no other kind would; labels are not reserved. ERR_SYNTAX,
 * ERR_EXISTS, ERR_EXHAUSTED; entries before the failed one stay. */
result metrics_define(struct metrics *metrics, const struct metric_def *defs, size_t count,
                      struct diag *diag);

/* The series of `def` with these label values, in the order of its labels. The same
 * values give the same series, with one holder more. Never NULL: see Limits. `count` is the number
 * of the metric's labels; 0 with NULL values for a metric without. */
struct series *metrics_series(struct metrics *metrics, const struct metric_def *def,
                              const struct span *values, size_t count);
/* Nobody records by this handle any more. NULL is allowed. */
void series_put(struct series *series);

/* The shard of one loop; valid as long as the registry. */
struct metrics_shard *metrics_shard(struct metrics *metrics, int loop_index);

/* On the shard's own loop. Takes memory only at the first touch of a page of cells
 * or of an octave; what cannot be recorded for want of memory is left out. */
void counter_add(struct metrics_shard *shard, struct series *series, uint64_t n);
void histogram_record(struct metrics_shard *shard, struct series *series, uint64_t value);

/* Any thread; the last one wins. In the exposed unit. On a counter, whose total
 * somebody else keeps, it sets that total; counter_add comes on top. */
void gauge_set(struct series *series, double value);

/* Calls `collect` at each scrape, on the scraping thread, to set gauges from what
 * others count. It reads only what may be read from any thread. A scrape that
 * overlaps another does not call it again. ERR_EXHAUSTED beyond the limit. */
result metrics_collect(struct metrics *metrics, void (*collect)(void *arg), void *arg);
/* `arg` is about to go: its collectors are called no more. */
void metrics_collect_end(struct metrics *metrics, const void *arg);

/* Appends all metrics in Prometheus' text format 0.0.4
 * (prometheus/docs docs/instrumenting/exposition_formats.md). Fails as `out` does. */
result metrics_write(struct metrics *metrics, struct text *out);

/* The value below which a share `q` (0 to 1) of the records lies, in the exposed
 * unit, interpolated exponentially within its bucket: off by less than 2^(1/8), or
 * 9 percent. NaN without records. Any thread. */
double histogram_quantile(struct series *series, double q);
