#include "obs/log.h"

#include "base/alloc.h"
#include "base/test_cmocka.h"
#include "obs/test_process.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <yyjson.h>

struct fixture {
    struct process *process;
    struct log *log;
    char folder[64], path[80], other[80];
    struct text text;
};

static int set_up(void **state)
{
    struct fixture *f = mem_must(MEM_NEW(struct fixture), sizeof(*f));
    f->process = test_process_new(1);
    snprintf(f->folder, sizeof(f->folder), "/tmp/weir-log-test-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof(f->path), "%s/log", f->folder);
    snprintf(f->other, sizeof(f->other), "%s/other", f->folder);
    text_init(&f->text, 1 << 20);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    log_free(f->log);
    process_free(f->process);
    text_release(&f->text);
    unlink(f->path);
    unlink(f->other);
    rmdir(f->folder);
    mem_free(f);
    return 0;
}

static struct log *make(struct fixture *f, struct log_options options)
{
    struct diag diag = {.code = ERR_NONE};
    options.role = "test";
    if (!options.path)
        options.path = f->path;
    if (failed(log_new(f->process, &options, &f->log, &diag)))
        fail_msg("%s", diag.text);
    return f->log;
}

/* The lines of a file so far: each must be JSON of that role. Returns how many have
 * that event, and adds up their numbers at `key`. */
static int count_lines(struct fixture *f, const char *path, enum event event, const char *key,
                       uint64_t *ret_sum)
{
    int count = 0;
    text_clear(&f->text);
    assert_false(failed(file_read(f->process, path, &f->text, NULL)));
    struct span rest = text_span(&f->text);
    while (rest.len > 0) {
        struct span line = span_cut(&rest, '\n');
        if (line.len == 0)
            continue;
        yyjson_doc *doc = yyjson_read((const char *)line.ptr, line.len, 0);
        if (!doc)
            fail_msg("not JSON: %.*s", SPAN_FMT(line));
        yyjson_val *root = yyjson_doc_get_root(doc);
        assert_string_equal(yyjson_get_str(yyjson_obj_get(root, "role")), "test");
        if (strcmp(yyjson_get_str(yyjson_obj_get(root, "event")), event_name(event)) == 0) {
            count++;
            if (ret_sum)
                *ret_sum += yyjson_get_uint(yyjson_obj_get(root, key));
        }
        yyjson_doc_free(doc);
    }
    return count;
}

static void before_the_loops_run_a_line_is_written_at_once(void **state)
{
    struct fixture *f = *state;
    struct log *log = make(f, (struct log_options){.level = LOG_INFO});
    uint64_t version = 0;
    log_event(log, EVENT_MODEL_LOADED, LOG_FIELDS(log_str("model", "a"), log_int("version", 3)),
              "loaded %s", "a");
    assert_int_equal(count_lines(f, f->path, EVENT_MODEL_LOADED, "version", &version), 1);
    assert_int_equal(version, 3);
    log_event(NULL, EVENT_MODEL_LOADED, LOG_NO_FIELDS, "nobody listens");
}

static void events_below_the_level_are_not_logged(void **state)
{
    struct fixture *f = *state;
    struct log *log = make(f, (struct log_options){.level = LOG_WARN});
    log_event(log, EVENT_MODEL_LOADED, LOG_NO_FIELDS, "info");
    log_event(log, EVENT_CONFIG_WARNING, LOG_NO_FIELDS, "warn");
    assert_false(log_wants(log, LOG_INFO));
    assert_true(log_wants(log, LOG_WARN));
    assert_false(log_wants(NULL, LOG_ERROR));
    log_set_level(log, LOG_DEBUG);
    log_event(log, EVENT_BACKEND_MESSAGE, LOG_NO_FIELDS, "debug");
    assert_int_equal(count_lines(f, f->path, EVENT_MODEL_LOADED, NULL, NULL), 0);
    assert_int_equal(count_lines(f, f->path, EVENT_CONFIG_WARNING, NULL, NULL), 1);
    assert_int_equal(count_lines(f, f->path, EVENT_BACKEND_MESSAGE, NULL, NULL), 1);
}

/* The second may change meanwhile: up to three windows. */
static void an_event_that_comes_too_often_is_suppressed_and_counted(void **state)
{
    struct fixture *f = *state;
    struct log *log = make(f, (struct log_options){.rate_max = 3});
    struct log_stats stats;
    uint64_t told = 0;
    for (int i = 0; i < 1000; i++)
        log_event(log, EVENT_REQUEST_FAILED, LOG_NO_FIELDS, "failed");
    log_event(log, EVENT_CONFIG_WARNING, LOG_NO_FIELDS, "another event is not held back");
    log_stop(log);
    int lines = count_lines(f, f->path, EVENT_REQUEST_FAILED, "suppressed", &told);
    assert_in_range(lines, 3, 9);
    assert_int_equal(count_lines(f, f->path, EVENT_CONFIG_WARNING, NULL, NULL), 1);
    assert_int_equal(count_lines(f, f->path, EVENT_LOG_SUPPRESSED, "suppressed", &told), 1);
    log_stats(log, &stats);
    assert_int_equal((uint64_t)lines + told, 1000);
    assert_int_equal(stats.suppressed, told);
}

static void the_access_log_is_not_rate_limited(void **state)
{
    struct fixture *f = *state;
    struct log *log = make(f, (struct log_options){.rate_max = 1});
    for (int i = 0; i < 50; i++)
        log_event(log, EVENT_REQUEST, LOG_NO_FIELDS, "GET / 200");
    assert_int_equal(count_lines(f, f->path, EVENT_REQUEST, NULL, NULL), 50);
}

static void what_a_full_disk_refused_is_counted(void **state)
{
    struct fixture *f = *state;
    struct log *log = make(f, (struct log_options){.path = "/dev/full"});
    struct log_stats stats;
    for (int i = 0; i < 5; i++)
        log_event(log, EVENT_MODEL_LOADED, LOG_NO_FIELDS, "loaded");
    log_stop(log);
    log_stats(log, &stats);
    assert_int_equal(stats.failed, 5);
    assert_int_equal(stats.lines, 0);
}

static void how_many_lines_are_missing_is_told_once_writing_works_again(void **state)
{
    struct fixture *f = *state;
    struct log_stats stats;
    uint64_t missing = 0;
    assert_int_equal(symlink("/dev/full", f->path), 0);
    struct log *log = make(f, (struct log_options){.level = LOG_INFO});
    for (int i = 0; i < 3; i++)
        log_event(log, EVENT_MODEL_LOADED, LOG_NO_FIELDS, "lost");
    assert_int_equal(unlink(f->path), 0);
    log_reopen(log);
    for (int i = 0; i < 2; i++)
        log_event(log, EVENT_SERVER_STOPPED, LOG_NO_FIELDS, "kept");
    assert_int_equal(count_lines(f, f->path, EVENT_SERVER_STOPPED, NULL, NULL), 2);
    assert_int_equal(count_lines(f, f->path, EVENT_LOG_DROPPED, "lines", &missing), 1);
    log_stats(log, &stats);
    assert_int_equal(missing, 3);
    assert_int_equal(stats.failed, 3);
    assert_int_equal(stats.lines, 2);
}

static void a_moved_file_is_opened_anew(void **state)
{
    struct fixture *f = *state;
    struct log *log = make(f, (struct log_options){.level = LOG_INFO});
    log_event(log, EVENT_MODEL_LOADED, LOG_NO_FIELDS, "before");
    assert_int_equal(rename(f->path, f->other), 0);
    log_event(log, EVENT_MODEL_LOADED, LOG_NO_FIELDS, "still the old file");
    log_reopen(log);
    log_event(log, EVENT_MODEL_LOADED, LOG_NO_FIELDS, "after");
    assert_int_equal(count_lines(f, f->other, EVENT_MODEL_LOADED, NULL, NULL), 2);
    assert_int_equal(count_lines(f, f->path, EVENT_MODEL_LOADED, NULL, NULL), 1);
    assert_int_equal(count_lines(f, f->path, EVENT_LOG_REOPENED, NULL, NULL), 1);
}

static void a_file_that_cannot_be_opened_anew_leaves_the_old_one(void **state)
{
    struct fixture *f = *state;
    struct log *log = make(f, (struct log_options){.level = LOG_INFO});
    assert_int_equal(rename(f->path, f->other), 0);
    assert_int_equal(mkdir(f->path, 0700), 0);
    log_reopen(log);
    log_event(log, EVENT_MODEL_LOADED, LOG_NO_FIELDS, "after");
    assert_int_equal(count_lines(f, f->other, EVENT_MODEL_LOADED, NULL, NULL), 1);
    assert_int_equal(count_lines(f, f->other, EVENT_LOG_REOPEN_FAILED, NULL, NULL), 1);
    assert_int_equal(rmdir(f->path), 0);
}

static void a_message_that_is_too_long_is_marked(void **state)
{
    struct fixture *f = *state;
    struct log *log = make(f, (struct log_options){.level = LOG_INFO});
    char words[3000];
    memset(words, 'w', sizeof(words));
    log_event(log, EVENT_MODEL_LOADED, LOG_NO_FIELDS, "%.*s", (int)sizeof(words), words);
    assert_int_equal(count_lines(f, f->path, EVENT_MODEL_LOADED, NULL, NULL), 1);
    assert_true(span_search(text_span(&f->text), SPAN("\"cut\":true")) < f->text.len);
}

static void impossible_options_are_refused(void **state)
{
    struct fixture *f = *state;
    struct log *log = NULL;
    struct diag diag = {.code = ERR_NONE};
    struct log_options ring = {.path = f->path, .ring_lines = 100};
    struct log_options rate = {.path = f->path, .rate_max = 1u << 30};
    struct log_options path = {.path = "/nowhere/at/all"};
    assert_true(is(log_new(f->process, &ring, &log, &diag), ERR_RANGE));
    assert_true(is(log_new(f->process, &rate, &log, NULL), ERR_RANGE));
    diag.code = ERR_NONE;
    diag.text[0] = '\0';
    assert_true(failed(log_new(f->process, &path, &log, &diag)));
    assert_true(diag.text[0] != '\0');
    assert_null(log);
}

static void a_log_that_cannot_be_made_leaks_nothing(void **state)
{
    struct fixture *f = *state;
    struct log_options options = {.path = f->path, .ring_lines = 2};
    for (uint64_t n = 1; !f->log; n++) {
        mem_fail_after(n, true);
        result r = log_new(f->process, &options, &f->log, NULL);
        mem_fail_after(0, false);
        assert_int_equal(failed(r), !f->log);
        assert_true(n < 20);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(before_the_loops_run_a_line_is_written_at_once),
        TEST(events_below_the_level_are_not_logged),
        TEST(an_event_that_comes_too_often_is_suppressed_and_counted),
        TEST(the_access_log_is_not_rate_limited),
        TEST(what_a_full_disk_refused_is_counted),
        TEST(how_many_lines_are_missing_is_told_once_writing_works_again),
        TEST(a_moved_file_is_opened_anew),
        TEST(a_file_that_cannot_be_opened_anew_leaves_the_old_one),
        TEST(a_message_that_is_too_long_is_marked),
        TEST(impossible_options_are_refused),
        TEST(a_log_that_cannot_be_made_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
