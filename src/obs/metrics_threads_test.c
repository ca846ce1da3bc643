/* Several loops recording while others scrape. */
#include "obs/metrics.h"

#include "base/alloc.h"
#include "base/test_cmocka.h"
#include "obs/test_process.h"

#include <stdio.h>
#include <stdlib.h>

enum { LOOPS = 4, RECORDERS = 3, ROUNDS = 300, BATCH = 200, VALUE = 12345 };

static const char *const name_labels[] = {"name", NULL};
static const struct metric_def events_def = {"weir_events_total", "Events.", METRIC_COUNTER,
                                             UNIT_NONE, NULL};
static const struct metric_def size_def = {"weir_size_bytes", "Sizes.", METRIC_HISTOGRAM,
                                           UNIT_BYTES, NULL};
static const struct metric_def named_def = {"weir_named_total", "Short-lived.", METRIC_COUNTER,
                                            UNIT_NONE, name_labels};
static const struct metric_def timed_def = {"weir_timed_seconds", "Short-lived.", METRIC_HISTOGRAM,
                                            UNIT_SECONDS, name_labels};

struct world {
    struct process *process;
    struct metrics *metrics;
    struct series *events, *sizes;
    atomic_int running;
};

/* One loop's part. */
struct part {
    struct io_post post;
    struct world *world;
    struct loop *loop;
    int index, rounds;
    uint64_t last_events, last_count, scrapes;
    struct text text;
};

static uint64_t number_behind(const struct text *text, const char *what)
{
    size_t at = span_search(text_span(text), span_cstr(what));
    assert_true(at < text->len);
    return strtoull(text_cstr(text) + at + strlen(what), NULL, 10);
}

static void scrape(struct part *part)
{
    text_clear(&part->text);
    if (failed(metrics_write(part->world->metrics, &part->text)))
        abort();
    uint64_t events = number_behind(&part->text, "\nweir_events_total ");
    uint64_t count = number_behind(&part->text, "\nweir_size_bytes_count ");
    uint64_t sum = number_behind(&part->text, "\nweir_size_bytes_sum ");
    /* Never back, and never a count without its values. */
    ASSERT(events >= part->last_events && count >= part->last_count && sum >= count * VALUE);
    part->last_events = events;
    part->last_count = count;
    part->scrapes++;
}

static void short_life(struct part *part)
{
    char name[16];
    struct metrics_shard *shard = metrics_shard(part->world->metrics, part->index);
    struct span value =
        span_of(name, (size_t)snprintf(name, sizeof(name), "n%d", part->rounds * 7 % 11));
    struct series *named = metrics_series(part->world->metrics, &named_def, &value, 1);
    struct series *timed = metrics_series(part->world->metrics, &timed_def, &value, 1);
    counter_add(shard, named, 1);
    histogram_record(shard, timed, (uint64_t)part->rounds);
    series_put(named);
    series_put(timed);
}

static void turn(struct io_post *post)
{
    struct part *part = CONTAINER_OF(post, struct part, post);
    struct world *world = part->world;
    struct metrics_shard *shard = metrics_shard(world->metrics, part->index);
    if (part->index < RECORDERS) {
        for (int i = 0; i < BATCH; i++) {
            counter_add(shard, world->events, 1);
            histogram_record(shard, world->sizes, VALUE);
        }
        short_life(part);
        part->rounds++;
    }
    /* The last loop only scrapes; the first does both. */
    if (part->index == RECORDERS || (part->index == 0 && part->rounds % 8 == 0))
        scrape(part);
    bool over =
        part->index < RECORDERS ? part->rounds == ROUNDS : atomic_load(&world->running) == 1;
    if (!over)
        loop_post(part->loop, post);
    else if (atomic_fetch_sub(&world->running, 1) == 1)
        process_stop(world->process);
}

static void all_that_was_recorded_is_in_the_last_scrape(void **state)
{
    struct world world = {.process = test_process_new(LOOPS)};
    struct metrics_options options = {.loops = LOOPS, .series_max = 16};
    struct part parts[LOOPS] = {0};
    assert_false(failed(metrics_new(world.process, &options, &world.metrics, NULL)));
    assert_false(failed(metrics_define(world.metrics, &events_def, 1, NULL)));
    assert_false(failed(metrics_define(world.metrics, &size_def, 1, NULL)));
    assert_false(failed(metrics_define(world.metrics, &named_def, 1, NULL)));
    assert_false(failed(metrics_define(world.metrics, &timed_def, 1, NULL)));
    world.events = metrics_series(world.metrics, &events_def, NULL, 0);
    world.sizes = metrics_series(world.metrics, &size_def, NULL, 0);
    atomic_init(&world.running, LOOPS);
    for (int i = 0; i < LOOPS; i++) {
        parts[i] = (struct part){.post = {.run = turn},
                                 .world = &world,
                                 .index = i,
                                 .loop = process_loop(world.process, i)};
        text_init(&parts[i].text, 1 << 20);
        loop_post(parts[i].loop, &parts[i].post);
    }
    process_run(world.process);

    struct part *last = &parts[RECORDERS];
    assert_true(last->scrapes > 0);
    for (int i = 0; i < 3; i++)
        scrape(last);
    assert_int_equal(last->last_events, (uint64_t)RECORDERS * ROUNDS * BATCH);
    assert_int_equal(last->last_count, (uint64_t)RECORDERS * ROUNDS * BATCH);
    assert_int_equal(number_behind(&last->text, "\nweir_size_bytes_sum "),
                     (uint64_t)RECORDERS * ROUNDS * BATCH * VALUE);
    /* Nobody holds the short-lived ones any more; none may have been the overflow's. */
    assert_true(span_search(text_span(&last->text), SPAN("{name=\"n")) == last->text.len);
    for (int i = 0; i < LOOPS; i++)
        text_release(&parts[i].text);
    metrics_free(world.metrics);
    process_free(world.process);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_was_recorded_is_in_the_last_scrape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
