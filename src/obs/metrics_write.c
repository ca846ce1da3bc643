/* Prometheus' text format 0.0.4: one group a metric, HELP and TYPE first. */
#include "base/number.h"
#include "obs/registry.h"
#include "obs/seconds.h"

#include <math.h>

static void write_double(struct text *out, double value)
{
    if (isnan(value)) {
        text_str(out, "NaN");
        return;
    }
    if (isinf(value)) {
        text_str(out, value > 0 ? "+Inf" : "-Inf");
        return;
    }
    char digits[NUMBER_F64_MAX];
    text_append(out, span_of(digits, number_print_f64(value, digits)));
}

/* A recorded integer in the exposed unit: exact, whatever its size. */
static void write_integer(struct text *out, const struct metric_def *def, uint64_t value)
{
    char buffer[SECONDS_TEXT_MAX];
    if (def->unit == UNIT_SECONDS)
        text_str(out, seconds_print(false, value, buffer));
    else
        text_printf(out, "%llu", (unsigned long long)value);
}

static void write_name(struct text *out, const struct series *series, const char *suffix)
{
    text_str(out, series->family->def->name);
    text_str(out, suffix);
    if (series->labels_len > 0) {
        text_byte(out, '{');
        text_append(out, span_of(series->labels, series->labels_len));
        text_byte(out, '}');
    }
    text_byte(out, ' ');
}

static double series_value(const struct series *series)
{
    uint64_t bits = atomic_load_explicit(&series->value, memory_order_relaxed);
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static void write_number(struct text *out, const struct series *series)
{
    const struct metric_def *def = series->family->def;
    double value = series_value(series);
    uint64_t total = def->kind == METRIC_COUNTER ? series_total(series) : 0;
    write_name(out, series, "");
    if (def->kind == METRIC_COUNTER && value == 0)
        write_integer(out, def, total);
    else
        write_double(out, value + (double)total / (def->unit == UNIT_SECONDS ? 1e9 : 1));
    text_byte(out, '\n');
}

static void write_bucket(struct text *out, const struct series *series, double le, uint64_t count)
{
    text_str(out, series->family->def->name);
    text_str(out, "_bucket{");
    if (series->labels_len > 0) {
        text_append(out, span_of(series->labels, series->labels_len));
        text_byte(out, ',');
    }
    text_str(out, "le=\"");
    write_double(out, le);
    text_printf(out, "\"} %llu\n", (unsigned long long)count);
}

static void write_histogram(struct text *out, const struct series *series)
{
    const struct histogram_scale *scale = series->family->scale;
    struct histogram_view view;
    series_view(series, &view);
    for (int exponent = scale->le_first; exponent <= scale->le_last; exponent += scale->le_step)
        write_bucket(out, series, ldexp(1, exponent), histogram_view_upto(&view, scale, exponent));
    write_bucket(out, series, INFINITY, view.count);
    write_name(out, series, "_sum");
    write_integer(out, series->family->def, view.sum);
    text_byte(out, '\n');
    write_name(out, series, "_count");
    text_printf(out, "%llu\n", (unsigned long long)view.count);
}

static void write_help(struct text *out, const struct metric_def *def)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    text_printf(out, "# HELP %s ", def->name);
    for (const char *c = def->help; *c; c++) {
        if (*c == '\\' || *c == '\n')
            text_byte(out, '\\');
        text_byte(out, *c == '\n' ? 'n' : (uint8_t)*c);
    }
    text_printf(out, "\n# TYPE %s %s\n", def->name, kinds[def->kind]);
}

static void collect_all(struct metrics *metrics)
{
    /* Acquire and release: collectors' own state passes from scrape to scrape. */
    if (atomic_flag_test_and_set_explicit(&metrics->collecting, memory_order_acquire))
        return;
    for (size_t i = 0; i < metrics->collector_count; i++)
        metrics->collectors[i].collect(metrics->collectors[i].arg);
    atomic_flag_clear_explicit(&metrics->collecting, memory_order_release);
}

result metrics_write(struct metrics *metrics, struct text *out)
{
    collect_all(metrics);
    for (size_t i = 0; i < metrics->family_count; i++) {
        struct family *family = &metrics->families[i];
        struct series *at = family_walk(metrics, family, NULL);
        if (at)
            write_help(out, family->def);
        for (; at; at = family_walk(metrics, family, at)) {
            if (family->def->kind == METRIC_HISTOGRAM)
                write_histogram(out, at);
            else
                write_number(out, at);
        }
    }
    return text_result(out);
}
