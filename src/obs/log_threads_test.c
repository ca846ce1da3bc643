/* A log whose pipe nobody reads, under several loops. */
#include "obs/log.h"

#include "base/test_cmocka.h"
#include "obs/test_process.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <yyjson.h>

enum { LOOPS = 3, LINES = 3000 };

struct world {
    struct process *process;
    struct log *log;
    int pipe;
    atomic_int logging;
    bool more; /* the line after the stall was logged */
    struct text text;
    struct io_post watch;
};

struct part {
    struct io_post post;
    struct world *world;
    struct loop *loop;
    int lines;
};

static void pipe_read(struct world *world)
{
    uint8_t bytes[65536];
    ssize_t n;
    while ((n = read(world->pipe, bytes, sizeof(bytes))) > 0)
        text_append(&world->text, span_of(bytes, (size_t)n));
}

/* Reads nothing before all have logged, so a loop that waited for the pipe would never
 * let the test end. Then: reads the pipe until every line is accounted for, then logs
 * one more and reads that. */
static void watch(struct io_post *post)
{
    struct world *world = CONTAINER_OF(post, struct world, watch);
    struct log_stats stats;
    log_stats(world->log, &stats);
    bool settled = stats.lines + stats.dropped >= LOOPS * LINES + (world->more ? 1 : 0);
    if (atomic_load(&world->logging) == 0) {
        pipe_read(world);
        if (settled && world->more) {
            process_stop(world->process);
            return;
        }
        if (settled) {
            world->more = true;
            log_event(world->log, EVENT_SERVER_STOPPED, LOG_NO_FIELDS, "after the stall");
        }
    }
    loop_post(process_loop(world->process, 0), post);
}

static void turn(struct io_post *post)
{
    struct part *part = CONTAINER_OF(post, struct part, post);
    struct world *world = part->world;
    for (int i = 0; i < 50; i++)
        log_event(world->log, EVENT_REQUEST,
                  LOG_FIELDS(log_int("number", part->lines++), log_str("path", "/v1/models/a")),
                  "a line of some length, so that the pipe is full soon");
    if (part->lines < LINES)
        loop_post(part->loop, post);
    else
        atomic_fetch_sub(&world->logging, 1);
}

struct tally {
    uint64_t requests, dropped, after;
};

static void tally(struct span rest, struct tally *tally)
{
    while (rest.len > 0) {
        struct span line = span_cut(&rest, '\n');
        yyjson_doc *doc = yyjson_read((const char *)line.ptr, line.len, 0);
        if (!doc)
            fail_msg("not JSON: %.*s", SPAN_FMT(line));
        yyjson_val *root = yyjson_doc_get_root(doc);
        const char *event = yyjson_get_str(yyjson_obj_get(root, "event"));
        tally->requests += strcmp(event, event_name(EVENT_REQUEST)) == 0;
        tally->after += strcmp(event, event_name(EVENT_SERVER_STOPPED)) == 0;
        if (strcmp(event, event_name(EVENT_LOG_DROPPED)) == 0)
            tally->dropped += yyjson_get_uint(yyjson_obj_get(root, "lines"));
        yyjson_doc_free(doc);
    }
}

static void a_pipe_that_nobody_reads_blocks_no_loop_and_every_loss_is_counted(void **state)
{
    char folder[] = "/tmp/weir-log-test-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/pipe", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    struct world world = {.process = test_process_new(LOOPS), .watch = {.run = watch}};
    world.pipe = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(world.pipe >= 0);
    text_init(&world.text, 16 << 20);
    atomic_init(&world.logging, LOOPS);
    struct log_options options = {
        .role = "test", .path = path, .level = LOG_INFO, .ring_lines = 64};
    assert_false(failed(log_new(world.process, &options, &world.log, NULL)));
    log_start(world.log);
    struct part parts[LOOPS] = {0};
    for (int i = 0; i < LOOPS; i++) {
        parts[i] = (struct part){
            .post = {.run = turn}, .world = &world, .loop = process_loop(world.process, i)};
        loop_post(parts[i].loop, &parts[i].post);
    }
    loop_post(process_loop(world.process, 0), &world.watch);
    process_run(world.process);
    log_stop(world.log);
    pipe_read(&world);

    struct log_stats stats;
    struct tally seen = {0};
    log_stats(world.log, &stats);
    tally(text_span(&world.text), &seen);
    assert_true(stats.dropped > 0);
    assert_int_equal(stats.failed, 0);
    assert_int_equal(seen.dropped, stats.dropped);
    assert_int_equal(seen.requests + seen.after + stats.dropped, LOOPS * LINES + 1);
    assert_int_equal(seen.requests + seen.after, stats.lines);
    assert_int_equal(seen.after, 1);

    log_free(world.log);
    process_free(world.process);
    text_release(&world.text);
    close(world.pipe);
    unlink(path);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pipe_that_nobody_reads_blocks_no_loop_and_every_loss_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
