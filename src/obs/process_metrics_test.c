#include "obs/process_metrics.h"

#include "base/test_cmocka.h"
#include "obs/test_process.h"

#include <stdlib.h>

static double value_of(const struct text *text, const char *name)
{
    struct text wanted;
    text_init(&wanted, 256);
    text_printf(&wanted, "\n%s ", name);
    size_t at = span_search(text_span(text), text_span(&wanted));
    if (at == text->len)
        fail_msg("no %s in:\n%s", name, text_cstr(text));
    double value = strtod(text_cstr(text) + at + wanted.len, NULL);
    text_release(&wanted);
    return value;
}

static void the_process_shows_itself(void **state)
{
    struct process *process = test_process_new(2);
    struct metrics_options options = {.loops = 2};
    struct log_options quiet = {.role = "test", .path = "/dev/full"};
    struct metrics *metrics;
    struct process_metrics *shown;
    struct log *log;
    struct text text;
    text_init(&text, 1 << 16);
    assert_false(failed(log_new(process, &quiet, &log, NULL)));
    assert_false(failed(metrics_new(process, &options, &metrics, NULL)));
    assert_false(failed(process_metrics_new(metrics, process, log, "1.2.3", &shown, NULL)));
    assert_true(is(process_metrics_new(metrics, process, log, "1.2.3", &shown, NULL), ERR_EXISTS));
    log_event(log, EVENT_CONFIG_REFUSED, LOG_NO_FIELDS, "refused by the disk");
    assert_false(failed(metrics_write(metrics, &text)));
    assert_true(value_of(&text, "weir_build_info{version=\"1.2.3\"}") == 1);
    assert_true(value_of(&text, "process_resident_memory_bytes") > 0);
    assert_true(value_of(&text, "process_cpu_seconds_total") >= 0);
    assert_true(value_of(&text, "process_start_time_seconds") > 0);
    assert_true(value_of(&text, "process_max_fds") >= value_of(&text, "process_open_fds"));
    assert_true(value_of(&text, "weir_loop_turns_total{loop=\"1\"}") >= 0);
    assert_true(value_of(&text, "weir_log_lines_total") == 0);
    assert_true(value_of(&text, "weir_log_lines_lost_total{reason=\"write_failed\"}") == 1);
    assert_true(value_of(&text, "weir_log_lines_lost_total{reason=\"ring_full\"}") == 0);
    text_release(&text);
    process_metrics_free(shown);
    metrics_free(metrics);
    log_free(log);
    process_free(process);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_process_shows_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
