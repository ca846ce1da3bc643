#include "obs/metrics.h"

#include "base/alloc.h"
#include "base/test_cmocka.h"
#include "obs/test_process.h"
#include "obs/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const model_labels[] = {"model", "code", NULL};

enum { REQUESTS, BUSY, DURATION, SIZE, ROWS, QUEUED, DEF_COUNT };

static const struct metric_def defs[DEF_COUNT] = {
    [REQUESTS] = {"weir_requests_total", "Requests answered.", METRIC_COUNTER, UNIT_NONE,
                  model_labels},
    [BUSY] = {"weir_busy_seconds_total", "Time spent \\ in\nruns.", METRIC_COUNTER, UNIT_SECONDS,
              NULL},
    [DURATION] = {"weir_request_duration_seconds", "How long.", METRIC_HISTOGRAM, UNIT_SECONDS,
                  model_labels},
    [SIZE] = {"weir_body_size_bytes", "How large.", METRIC_HISTOGRAM, UNIT_BYTES, NULL},
    [ROWS] = {"weir_batch_rows", "How many.", METRIC_HISTOGRAM, UNIT_NONE, NULL},
    [QUEUED] = {"weir_queued", "Waiting now.", METRIC_GAUGE, UNIT_NONE, NULL},
};

struct fixture {
    struct process *process;
    struct metrics *metrics;
    struct text text;
};

static int set_up(void **state)
{
    struct fixture *f = mem_must(MEM_NEW(struct fixture), sizeof(*f));
    struct metrics_options options = {.loops = 2, .series_max = 4};
    struct diag diag = {.code = ERR_NONE};
    f->process = test_process_new(2);
    text_init(&f->text, 1 << 20);
    assert_false(failed(metrics_new(f->process, &options, &f->metrics, &diag)));
    assert_false(failed(metrics_define(f->metrics, defs, DEF_COUNT, &diag)));
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    metrics_free(f->metrics);
    text_release(&f->text);
    process_free(f->process);
    mem_free(f);
    return 0;
}

static struct series *take(struct fixture *f, int def, const char *model, const char *code)
{
    struct span values[] = {span_cstr(model), span_cstr(code)};
    return metrics_series(f->metrics, &defs[def], values, 2);
}

static const char *scrape(struct fixture *f)
{
    text_clear(&f->text);
    assert_false(failed(metrics_write(f->metrics, &f->text)));
    return text_cstr(&f->text);
}

static bool shows(struct fixture *f, const char *line)
{
    struct text wanted;
    text_init(&wanted, 4096);
    text_printf(&wanted, "\n%s\n", line);
    bool there = span_search(text_span(&f->text), text_span(&wanted)) < f->text.len;
    text_release(&wanted);
    return there;
}

#define assert_shows(f, line) \
    do { \
        if (!shows((f), (line))) \
            fail_msg("no line %s in:\n%s", (line), text_cstr(&(f)->text)); \
    } while (0)

/* ---- a reader of the text format, as strict as Prometheus' own ---- */

struct reader {
    char group[128], kind[16], labels[2048]; /* of the present histogram series */
    int groups, samples;
    double last_le, last_count;
    bool helped;
};

static struct span take_word(struct span *line)
{
    size_t len = 0;
    while (len < line->len && line->ptr[len] != ' ' && line->ptr[len] != '{')
        len++;
    struct span word = span_first(*line, len);
    *line = span_from(*line, len);
    return word;
}

/* Behind '{': name="value" pairs. Copies all but `le`, and `le` itself. */
static void read_labels(struct span *line, struct text *labels, char le[64])
{
    while (line->len > 0 && line->ptr[0] != '}') {
        struct span name = span_cut(line, '=');
        assert_true(name.len > 0 && line->len > 0 && line->ptr[0] == '"');
        *line = span_from(*line, 1);
        size_t len = 0;
        while (len < line->len && line->ptr[len] != '"') {
            struct span rest = span_from(*line, len);
            size_t sequence = utf8_sequence(rest);
            assert_true(sequence > 0 && rest.ptr[0] >= 0x20);
            if (rest.ptr[0] == '\\') {
                assert_true(rest.len > 1 && strchr("\\\"n", rest.ptr[1]));
                sequence = 2;
            }
            len += sequence;
        }
        assert_true(len < line->len);
        if (span_is(name, "le")) {
            snprintf(le, 64, "%.*s", SPAN_FMT(span_first(*line, len)));
        } else {
            text_append(labels, name);
            text_append(labels, span_first(*line, len));
        }
        *line = span_from(*line, len + 1);
        if (line->len > 0 && line->ptr[0] == ',')
            *line = span_from(*line, 1);
    }
    assert_true(line->len > 0);
    *line = span_from(*line, 1);
}

static double read_value(struct span text)
{
    char copy[64], *end;
    snprintf(copy, sizeof(copy), "%.*s", SPAN_FMT(text));
    double value = strtod(copy, &end);
    assert_true(end != copy && *end == '\0');
    return value;
}

static void read_bucket(struct reader *reader, struct span suffix, const struct text *labels,
                        const char *le, double value)
{
    if (span_is(suffix, "_bucket")) {
        double bound = read_value(span_cstr(le));
        if (strcmp(reader->labels, text_cstr(labels)) != 0 || reader->last_le == INFINITY) {
            snprintf(reader->labels, sizeof(reader->labels), "%s", text_cstr(labels));
            reader->last_le = -INFINITY;
            reader->last_count = 0;
        }
        assert_true(bound > reader->last_le);
        assert_true(value >= reader->last_count);
        reader->last_le = bound;
        reader->last_count = value;
    } else if (span_is(suffix, "_count")) {
        assert_true(reader->last_le == INFINITY);
        assert_true(value == reader->last_count);
    } else {
        assert_true(span_is(suffix, "_sum"));
    }
}

static void read_sample(struct reader *reader, struct span line)
{
    struct text labels;
    char le[64] = "";
    text_init(&labels, 4096);
    struct span name = take_word(&line);
    assert_true(span_starts(name, span_cstr(reader->group)));
    if (line.ptr[0] == '{') {
        line = span_from(line, 1);
        read_labels(&line, &labels, le);
    }
    assert_true(line.len > 1 && line.ptr[0] == ' ');
    double value = read_value(span_from(line, 1));
    struct span suffix = span_from(name, strlen(reader->group));
    if (strcmp(reader->kind, "histogram") == 0)
        read_bucket(reader, suffix, &labels, le, value);
    else
        assert_int_equal(suffix.len, 0);
    reader->samples++;
    text_release(&labels);
}

static void read_comment(struct reader *reader, struct span line)
{
    struct span hash = span_cut(&line, ' '), what = span_cut(&line, ' ');
    struct span name = span_cut(&line, ' ');
    assert_true(span_is(hash, "#"));
    if (span_is(what, "HELP")) {
        assert_false(reader->helped);
        snprintf(reader->group, sizeof(reader->group), "%.*s", SPAN_FMT(name));
        reader->helped = true;
        reader->labels[0] = '\0';
        reader->last_le = INFINITY;
    } else {
        assert_true(span_is(what, "TYPE") && reader->helped && span_is(name, reader->group));
        snprintf(reader->kind, sizeof(reader->kind), "%.*s", SPAN_FMT(line));
        reader->helped = false;
        reader->groups++;
    }
}

/* Fails the test unless `text` follows the format; returns how many groups it has. */
static int read_all(struct span text)
{
    struct reader reader = {.groups = 0};
    assert_true(text.len > 0 && text.ptr[text.len - 1] == '\n');
    text.len--;
    while (text.ptr) {
        struct span line = span_cut(&text, '\n');
        assert_true(line.len > 0);
        if (line.ptr[0] == '#')
            read_comment(&reader, line);
        else
            read_sample(&reader, line);
    }
    return reader.groups;
}

/* ---- */

static void the_same_labels_give_the_same_series(void **state)
{
    struct fixture *f = *state;
    struct series *a = take(f, REQUESTS, "a", "200"), *b = take(f, REQUESTS, "a", "500");
    assert_ptr_equal(take(f, REQUESTS, "a", "200"), a);
    assert_ptr_not_equal(a, b);
    /* Two values are not one that looks like both. */
    assert_ptr_not_equal(take(f, REQUESTS, "a\",code=\"500", ""), b);
    assert_ptr_equal(metrics_series(f->metrics, &defs[BUSY], NULL, 0),
                     metrics_series(f->metrics, &defs[BUSY], NULL, 0));
}

static void the_shards_of_all_loops_are_added_up(void **state)
{
    struct fixture *f = *state;
    struct series *series = take(f, REQUESTS, "a", "200");
    struct series *busy = metrics_series(f->metrics, &defs[BUSY], NULL, 0);
    counter_add(metrics_shard(f->metrics, 0), series, 3);
    counter_add(metrics_shard(f->metrics, 1), series, 4);
    counter_add(metrics_shard(f->metrics, 1), busy, 1500000000);
    counter_add(metrics_shard(f->metrics, 0), busy, 1);
    scrape(f);
    assert_shows(f, "weir_requests_total{model=\"a\",code=\"200\"} 7");
    assert_shows(f, "weir_busy_seconds_total 1.500000001");
    assert_shows(f, "# HELP weir_busy_seconds_total Time spent \\\\ in\\nruns.");
}

static void the_text_follows_the_format_whatever_the_labels_hold(void **state)
{
    struct fixture *f = *state;
    struct metrics_shard *shard = metrics_shard(f->metrics, 0);
    char all[256];
    for (int i = 0; i < 256; i++)
        all[i] = (char)i;
    struct span values[2] = {span_of(all, 128), span_of(all + 128, 128)};
    counter_add(shard, metrics_series(f->metrics, &defs[REQUESTS], values, 2), 1);
    counter_add(shard, take(f, REQUESTS, "quote\"back\\slash\nline", "\xF0\x9F\x98\x80"), 2);
    for (uint64_t i = 0; i < 1000; i++) {
        histogram_record(shard, take(f, DURATION, "a", "200"), i * 100000);
        histogram_record(shard, metrics_series(f->metrics, &defs[SIZE], NULL, 0), i * i);
    }
    gauge_set(metrics_series(f->metrics, &defs[QUEUED], NULL, 0), -0.125);
    scrape(f);
    assert_int_equal(read_all(text_span(&f->text)), DEF_COUNT);
    assert_shows(
        f,
        "weir_requests_total{model=\"quote\\\"back\\\\slash\\nline\",code=\"\xF0\x9F\x98\x80\"} 2");
    assert_shows(f, "weir_queued -0.125");
    assert_shows(f, "weir_request_duration_seconds_count{model=\"a\",code=\"200\"} 1000");
    assert_shows(f, "weir_request_duration_seconds_sum{model=\"a\",code=\"200\"} 49.95");
}

static void a_long_label_value_is_cut_between_characters(void **state)
{
    struct fixture *f = *state;
    char value[METRIC_VALUE_MAX + 8], line[512];
    memset(value, 'x', sizeof(value));
    memcpy(value + METRIC_VALUE_MAX - 1, "\xC3\xA4", 2);
    struct span values[2] = {span_of(value, sizeof(value)), SPAN("200")};
    counter_add(metrics_shard(f->metrics, 0),
                metrics_series(f->metrics, &defs[REQUESTS], values, 2), 1);
    scrape(f);
    snprintf(line, sizeof(line), "weir_requests_total{model=\"%.*s\",code=\"200\"} 1",
             METRIC_VALUE_MAX - 1, value);
    assert_shows(f, line);
}

static void a_series_stays_for_two_scrapes_after_its_owner(void **state)
{
    struct fixture *f = *state;
    static const char line[] = "weir_requests_total{model=\"a\",code=\"200\"} 5";
    struct series *series = take(f, REQUESTS, "a", "200");
    struct series *second = take(f, REQUESTS, "a", "200");
    counter_add(metrics_shard(f->metrics, 0), series, 5);
    series_put(series);
    for (int i = 0; i < 3; i++) {
        scrape(f);
        assert_shows(f, line);
    }
    series_put(second);
    for (int i = 0; i < 2; i++) {
        scrape(f);
        assert_shows(f, line);
    }
    scrape(f);
    assert_false(shows(f, line));
    assert_int_equal(read_all(text_span(&f->text)), DEF_COUNT - 2);
}

static void a_series_taken_again_in_time_goes_on_counting(void **state)
{
    struct fixture *f = *state;
    struct series *series = take(f, REQUESTS, "a", "200");
    counter_add(metrics_shard(f->metrics, 0), series, 5);
    series_put(series);
    scrape(f);
    assert_ptr_equal(take(f, REQUESTS, "a", "200"), series);
    counter_add(metrics_shard(f->metrics, 0), series, 1);
    for (int i = 0; i < 4; i++) {
        scrape(f);
        assert_shows(f, "weir_requests_total{model=\"a\",code=\"200\"} 6");
    }
}

static void a_series_that_came_back_from_the_dead_starts_at_zero(void **state)
{
    struct fixture *f = *state;
    struct series *counter = take(f, REQUESTS, "a", "200");
    struct series *histogram = take(f, DURATION, "a", "200");
    counter_add(metrics_shard(f->metrics, 0), counter, 5);
    histogram_record(metrics_shard(f->metrics, 1), histogram, 5);
    series_put(counter);
    series_put(histogram);
    for (int i = 0; i < 3; i++)
        scrape(f);
    /* The slots are dealt out again, to the other kind of metric. */
    histogram = take(f, DURATION, "b", "200");
    counter = take(f, REQUESTS, "b", "200");
    assert_true(isnan(histogram_quantile(histogram, 0.5)));
    counter_add(metrics_shard(f->metrics, 1), counter, 1);
    histogram_record(metrics_shard(f->metrics, 0), histogram, 1000000000);
    scrape(f);
    assert_shows(f, "weir_requests_total{model=\"b\",code=\"200\"} 1");
    assert_shows(f, "weir_request_duration_seconds_count{model=\"b\",code=\"200\"} 1");
    assert_int_equal(read_all(text_span(&f->text)), DEF_COUNT);
}

static void beyond_series_max_one_overflow_series_takes_all(void **state)
{
    struct fixture *f = *state;
    struct series *held[4];
    char name[16];
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof(name), "m%d", i);
        struct series *series = take(f, REQUESTS, name, "200");
        counter_add(metrics_shard(f->metrics, 0), series, 1);
        if (i < 4)
            held[i] = series;
    }
    histogram_record(metrics_shard(f->metrics, 0), take(f, DURATION, "x", "200"), 1);
    scrape(f);
    assert_shows(f, "weir_requests_total{model=\"m3\",code=\"200\"} 1");
    assert_shows(f, "weir_requests_total{model=\"other\",code=\"other\"} 6");
    assert_shows(f, "weir_request_duration_seconds_count{model=\"other\",code=\"other\"} 1");
    /* The oldest series without an owner makes room. */
    series_put(held[2]);
    series_put(held[1]);
    counter_add(metrics_shard(f->metrics, 0), take(f, REQUESTS, "m9", "200"), 1);
    scrape(f);
    assert_shows(f, "weir_requests_total{model=\"m9\",code=\"200\"} 1");
    assert_shows(f, "weir_requests_total{model=\"m1\",code=\"200\"} 1");
    assert_false(shows(f, "weir_requests_total{model=\"m2\",code=\"200\"} 1"));
}

static void without_memory_the_overflow_series_is_handed_out(void **state)
{
    struct fixture *f = *state;
    mem_fail_after(1, true);
    struct series *series = take(f, REQUESTS, "a", "200");
    counter_add(metrics_shard(f->metrics, 0), series, 1);
    mem_fail_after(0, false);
    counter_add(metrics_shard(f->metrics, 0), series, 10);
    scrape(f);
    assert_shows(f, "weir_requests_total{model=\"other\",code=\"other\"} 10");
}

static void collect_depth(void *arg)
{
    int *calls = arg;
    (*calls)++;
}

static void collectors_run_once_a_scrape(void **state)
{
    struct fixture *f = *state;
    int calls = 0;
    assert_false(failed(metrics_collect(f->metrics, collect_depth, &calls)));
    scrape(f);
    scrape(f);
    assert_int_equal(calls, 2);
    for (int i = 1; i < METRIC_COLLECTORS_MAX; i++)
        assert_false(failed(metrics_collect(f->metrics, collect_depth, &calls)));
    assert_true(is(metrics_collect(f->metrics, collect_depth, &calls), ERR_EXHAUSTED));
}

static void a_collector_that_was_ended_is_called_no_more(void **state)
{
    struct fixture *f = *state;
    int first = 0, second = 0;
    assert_false(failed(metrics_collect(f->metrics, collect_depth, &first)));
    assert_false(failed(metrics_collect(f->metrics, collect_depth, &second)));
    metrics_collect_end(f->metrics, &first);
    scrape(f);
    assert_int_equal(first, 0);
    assert_int_equal(second, 1);
}

static void a_counter_kept_elsewhere_is_shown_with_what_was_added(void **state)
{
    struct fixture *f = *state;
    struct series *busy = metrics_series(f->metrics, &defs[BUSY], NULL, 0);
    gauge_set(busy, 2.25);
    counter_add(metrics_shard(f->metrics, 0), busy, 500000000);
    scrape(f);
    assert_shows(f, "weir_busy_seconds_total 2.75");
}

static void a_quantile_is_in_the_exposed_unit(void **state)
{
    struct fixture *f = *state;
    struct series *series = take(f, DURATION, "a", "200");
    assert_true(isnan(histogram_quantile(series, 0.99)));
    for (uint64_t ms = 1; ms <= 1000; ms++)
        histogram_record(metrics_shard(f->metrics, ms % 2), series, ms * 1000000);
    double p99 = histogram_quantile(series, 0.99);
    assert_true(p99 > 0.99 / exp2(1 / 8.0) && p99 < 0.99 * exp2(1 / 8.0));
}

static void a_full_text_fails_and_the_next_scrape_is_whole(void **state)
{
    struct fixture *f = *state;
    struct text small;
    text_init(&small, 100);
    assert_true(is(metrics_write(f->metrics, &small), ERR_TOO_LARGE));
    text_release(&small);
    scrape(f);
    assert_int_equal(read_all(text_span(&f->text)), DEF_COUNT - 2);
}

static void badly_named_metrics_are_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const le[] = {"le", NULL}, *const dunder[] = {"__name", NULL};
    static const char *const upper[] = {"Model", NULL};
    static const char *const many[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", NULL};
    static const struct {
        struct metric_def def;
        enum err code;
    } bad[] = {
        {{"weir_x", "Help.", METRIC_COUNTER, UNIT_NONE, NULL}, ERR_SYNTAX},
        {{"weir_x_total", "Help.", METRIC_GAUGE, UNIT_NONE, NULL}, ERR_SYNTAX},
        {{"weir_x_seconds", "Help.", METRIC_GAUGE, UNIT_NONE, NULL}, ERR_SYNTAX},
        {{"weir_x", "Help.", METRIC_HISTOGRAM, UNIT_SECONDS, NULL}, ERR_SYNTAX},
        {{"weir_x_bytes_seconds", "Help.", METRIC_GAUGE, UNIT_BYTES, NULL}, ERR_SYNTAX},
        {{"weir_x_total_seconds", "Help.", METRIC_COUNTER, UNIT_SECONDS, NULL}, ERR_SYNTAX},
        {{"weir_x_count", "Help.", METRIC_GAUGE, UNIT_NONE, NULL}, ERR_SYNTAX},
        {{"weir_x_ratio", "Help.", METRIC_HISTOGRAM, UNIT_RATIO, NULL}, ERR_SYNTAX},
        {{"weir:x", "Help.", METRIC_GAUGE, UNIT_NONE, NULL}, ERR_SYNTAX},
        {{"weirX", "Help.", METRIC_GAUGE, UNIT_NONE, NULL}, ERR_SYNTAX},
        {{"9x", "Help.", METRIC_GAUGE, UNIT_NONE, NULL}, ERR_SYNTAX},
        {{"", "Help.", METRIC_GAUGE, UNIT_NONE, NULL}, ERR_SYNTAX},
        {{"weir_x", "", METRIC_GAUGE, UNIT_NONE, NULL}, ERR_SYNTAX},
        {{"weir_x", "Help.", METRIC_GAUGE, UNIT_NONE, le}, ERR_SYNTAX},
        {{"weir_x", "Help.", METRIC_GAUGE, UNIT_NONE, dunder}, ERR_SYNTAX},
        {{"weir_x", "Help.", METRIC_GAUGE, UNIT_NONE, upper}, ERR_SYNTAX},
        {{"weir_x", "Help.", METRIC_GAUGE, UNIT_NONE, many}, ERR_EXHAUSTED},
        {{"weir_queued", "Help.", METRIC_GAUGE, UNIT_NONE, NULL}, ERR_EXISTS},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct diag diag = {.code = ERR_NONE};
        result r = metrics_define(f->metrics, &bad[i].def, 1, &diag);
        if (!is(r, bad[i].code) || !diag.text[0])
            fail_msg("%s: %s", bad[i].def.name, err_name((enum err)r.code));
    }
}

static void impossible_options_are_refused(void **state)
{
    struct fixture *f = *state;
    struct metrics *untouched = NULL;
    struct diag diag = {.code = ERR_NONE};
    struct metrics_options none = {.loops = 0}, many = {.loops = 1, .series_max = 2000000000};
    assert_true(is(metrics_new(f->process, &none, &untouched, &diag), ERR_RANGE));
    assert_true(is(metrics_new(f->process, &many, &untouched, NULL), ERR_RANGE));
    assert_null(untouched);
}

static void a_registry_that_cannot_be_made_leaks_nothing(void **state)
{
    struct fixture *f = *state;
    struct metrics_options options = {.loops = 3, .series_max = 10};
    for (uint64_t n = 1;; n++) {
        struct metrics *metrics = NULL;
        mem_fail_after(n, true);
        result r = metrics_new(f->process, &options, &metrics, NULL);
        mem_fail_after(0, false);
        if (!failed(r)) {
            metrics_free(metrics);
            assert_true(n > 5);
            return;
        }
        assert_true(is(r, ERR_NO_MEMORY));
        assert_null(metrics);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_same_labels_give_the_same_series),
        TEST(the_shards_of_all_loops_are_added_up),
        TEST(the_text_follows_the_format_whatever_the_labels_hold),
        TEST(a_long_label_value_is_cut_between_characters),
        TEST(a_series_stays_for_two_scrapes_after_its_owner),
        TEST(a_series_taken_again_in_time_goes_on_counting),
        TEST(a_series_that_came_back_from_the_dead_starts_at_zero),
        TEST(beyond_series_max_one_overflow_series_takes_all),
        TEST(without_memory_the_overflow_series_is_handed_out),
        TEST(collectors_run_once_a_scrape),
        TEST(a_collector_that_was_ended_is_called_no_more),
        TEST(a_counter_kept_elsewhere_is_shown_with_what_was_added),
        TEST(a_quantile_is_in_the_exposed_unit),
        TEST(a_full_text_fails_and_the_next_scrape_is_whole),
        TEST(badly_named_metrics_are_refused),
        TEST(impossible_options_are_refused),
        TEST(a_registry_that_cannot_be_made_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
