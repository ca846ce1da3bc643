/* Variables and secrets, in a simulated world. */
#include "config/config.h"

#include "base/alloc.h"
#include "config/inspect.h"
#include "config/test_sample.h"
#include "io/sim/sim.h"
#include "io/uv/uv.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct config_errors errors; /* too large for a stack frame */

struct fixture {
    struct world *world;
    struct process *process;
};

static struct fixture fx;

static int setup(void **state)
{
    fx.world = sim_world_new(1);
    fx.process = sim_process_new(fx.world, "server", 1);
    sim_env_put(fx.process, "PORT", "9000");
    sim_env_put(fx.process, "HOST", "10.0.0.1");
    sim_env_put(fx.process, "EMPTY", "");
    sim_env_put(fx.process, "FORMAT", "json");
    return 0;
}

static int teardown(void **state)
{
    process_free(fx.process);
    sim_world_free(fx.world);
    return 0;
}

static result load(const char *yaml, bool strict, struct config **ret_config)
{
    const struct config_source source = {
        .modules = sample_modules,
        .module_count = ARRAY_LEN(sample_modules),
        .file = "weir.yaml",
        .yaml = span_cstr(yaml),
        .process = fx.process,
        .strict = strict,
    };
    return config_load(&source, ret_config, &errors);
}

static struct config *load_good(const char *yaml)
{
    struct config *config = NULL;
    if (failed(load(yaml, false, &config))) {
        char line[2048];
        diag_format(&errors.items[0], line, sizeof(line));
        fail_msg("%s", line);
    }
    return config;
}

static const struct sample_server *server_of(const struct config *config)
{
    return config_of(config, &sample_server_module);
}

static void variables_become_values_of_every_type(void **state)
{
    struct config *config = load_good("version: 1\n"
                                      "server:\n"
                                      "  listen: ${HOST}:${PORT}\n"
                                      "  connections_max: ${PORT}\n"
                                      "  threads: ${NONE:-auto}\n"
                                      "  body_max: ${EMPTY:-2MiB}\n"
                                      "batching: {enabled: \"${NONE:-false}\"}\n"
                                      "log: {format: \"${FORMAT}\"}\n"
                                      "title: a ${EMPTY}$${b} costs $$5 ${NONE:-}\n"
                                      "labels: [\"${HOST}\", 'x${PORT}']\n");
    const struct sample_server *server = server_of(config);
    assert_int_equal(server->listen.address.port, 9000);
    assert_int_equal(server->listen.address.ip[0], 10);
    assert_int_equal(server->connections_max, 9000);
    assert_int_equal(server->body_max, 2 << 20);
    assert_false(server->batching);
    assert_int_equal(server->format, SAMPLE_JSON);
    assert_string_equal(server->title, "a ${b} costs $5 ");
    assert_string_equal(server->labels.items[0], "10.0.0.1");
    assert_string_equal(server->labels.items[1], "x9000");
    config_unref(config);
}

static void mistakes_with_variables_name_place_and_key(void **state)
{
    static const struct {
        const char *yaml, *expected;
    } rows[] = {
        {"version: 1\ntitle: ${NONE}\n",
         "weir.yaml:2:8: title: the environment variable NONE is not set; ${NONE:-default} gives a "
         "default"},
        {"version: 1\nserver:\n  threads: ${PORT}\n",
         "weir.yaml:3:12: server.threads: expected auto or a whole number from 1 to 64, got "
         "'9000'"},
        {"version: 1\ntitle: $HOST\n",
         "weir.yaml:2:8: title: expected ${NAME}, ${NAME:-default} or $$ for a dollar sign, got "
         "'$HOST'"},
        {"version: 1\ntitle: ${HOST\n",
         "weir.yaml:2:8: title: expected ${NAME}, ${NAME:-default} or $$ for a dollar sign, got "
         "'${HOST'"},
        {"version: 1\ntitle: ${}\n",
         "weir.yaml:2:8: title: expected ${NAME}, ${NAME:-default} or $$ for a dollar sign, got "
         "'${}'"},
        {"version: 1\ntitle: ${HOST-x}\n",
         "weir.yaml:2:8: title: expected ${NAME}, ${NAME:-default} or $$ for a dollar sign, got "
         "'${HOST-x}'"},
        {"version: 1\ntitle: ${A:-${HOST}}\n",
         "weir.yaml:2:8: title: expected ${NAME}, ${NAME:-default} or $$ for a dollar sign, got "
         "'${A:-${HOST}'"},
        {"version: 1\nlabels: [a, \"$\"]\n",
         "weir.yaml:2:13: labels[1]: expected ${NAME}, ${NAME:-default} or $$ for a dollar sign, "
         "got '$'"},
        {"version: 1\ntoken: {file: /none}\n",
         "weir.yaml:2:8: token: cannot open /none: No such file or directory"},
        {"version: 1\ntoken: {path: /none}\n",
         "weir.yaml:2:8: token: expected a text or {file: PATH}, got another mapping"},
        {"version: 1\ntitle: {file: /none}\n",
         "weir.yaml:2:8: title: expected a text, got a mapping"},
        /* never in keys or comments */
        {"version: 1\n${HOST}: 1 # ${NONE}\n",
         "weir.yaml:2:1: ${HOST}: unknown key '${HOST}'; expected one of: version, server, "
         "batching, log, title, root, token, labels, models, routes"},
        {"version: 1\nroutes:\n  ${HOST}:\n",
         "weir.yaml:3:3: routes.${HOST}: expected a name of letters, digits, '_', '-' and '.', got "
         "'${HOST}'"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct config *config = NULL;
        char line[2048];
        assert_true(failed(load(rows[i].yaml, false, &config)));
        diag_format(&errors.items[0], line, sizeof(line));
        assert_string_equal(line, rows[i].expected);
        assert_int_equal(errors.count, 1);
    }
}

static void a_secret_is_read_from_its_file_without_the_last_newline(void **state)
{
    static const char yaml[] = "version: 1\ntoken: {file: \"${DIR:-/run}/token\"}\n";
    sim_file_put(fx.process, "/run/token", SPAN("open\nsesame\r\n"));
    struct config *config = load_good(yaml);
    assert_string_equal(server_of(config)->token, "open\nsesame");
    config_unref(config);
    sim_file_put(fx.process, "/run/token", SPAN("changed"));
    config = load_good(yaml);
    assert_string_equal(server_of(config)->token, "changed");
    config_unref(config);
    sim_file_put(fx.process, "/run/token", SPAN("a\0b"));
    assert_true(is(load(yaml, false, &config), ERR_TYPE));
    char big[5000];
    memset(big, 'x', sizeof(big));
    sim_file_put(fx.process, "/run/token", span_of(big, sizeof(big)));
    assert_true(is(load(yaml, false, &config), ERR_TOO_LARGE));
    assert_null(strstr(errors.items[0].text, "xxx"));
}

static void a_secret_within_the_file_is_a_warning_when_strict(void **state)
{
    struct config *config = NULL;
    char line[2048];
    assert_false(failed(load("version: 1\ntoken: sesame\n", true, &config)));
    assert_int_equal(config_warning_count(config), 1);
    diag_format(config_warning(config, 0), line, sizeof(line));
    assert_string_equal(line, "weir.yaml:2:8: token: a secret within the file; {file: PATH} or "
                              "${NAME} keeps it apart");
    config_unref(config);
    assert_false(failed(load("version: 1\ntoken: sesame\n", false, &config)));
    assert_int_equal(config_warning_count(config), 0);
    config_unref(config);
    assert_false(failed(load("version: 1\ntoken: ${HOST}\n", true, &config)));
    assert_int_equal(config_warning_count(config), 0);
    config_unref(config);
}

static void the_environment_beats_the_file_and_a_flag_the_environment(void **state)
{
    const struct config_setting settings[] = {{&sample_server_keys[4], "4MiB"}};
    const struct config_source source = {
        .modules = sample_modules,
        .module_count = ARRAY_LEN(sample_modules),
        .file = "weir.yaml",
        .yaml = SPAN("version: 1\nserver: {threads: 3, body_max: 1MiB, connections_max: 5}\n"),
        .settings = settings,
        .setting_count = 1,
        .process = fx.process,
    };
    struct config *config = NULL;
    sim_env_put(fx.process, "WEIR_SERVER_THREADS", "7");
    sim_env_put(fx.process, "WEIR_SERVER_BODY_MAX", "2MiB");
    sim_env_put(fx.process, "WEIR_SERVER_CONNECTIONS_MAX", "");
    sim_env_put(fx.process, "WEIR_TOKEN", "from outside");
    assert_false(failed(config_load(&source, &config, &errors)));
    assert_int_equal(server_of(config)->threads, 7);
    assert_int_equal(server_of(config)->body_max, 4 << 20);
    assert_int_equal(server_of(config)->connections_max, 5);
    assert_string_equal(server_of(config)->token, "from outside");
    config_unref(config);
    sim_env_put(fx.process, "WEIR_SERVER_THREADS", "many");
    char line[2048];
    assert_true(is(config_load(&source, &config, &errors), ERR_TYPE));
    diag_format(&errors.items[0], line, sizeof(line));
    assert_string_equal(line, "WEIR_SERVER_THREADS: expected auto or a whole number from 1 to 64, "
                              "got 'many'");
}

static void a_secret_that_everybody_may_read_is_a_warning(void **state)
{
    char path[] = "/tmp/weir-secret-XXXXXX", yaml[128], line[2048];
    struct process *process;
    const struct io_uv_options options = {.loops = 1, .connections_max = 16};
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, "sesame\n", 7) == 7);
    close(fd);
    assert_false(failed(uv_process_new(&options, &process, NULL)));
    snprintf(yaml, sizeof(yaml), "version: 1\ntoken: {file: %s}\n", path);
    const struct config_source source = {
        .modules = sample_modules,
        .module_count = ARRAY_LEN(sample_modules),
        .file = "weir.yaml",
        .yaml = span_cstr(yaml),
        .process = process,
    };
    static const mode_t modes[] = {0600, 0640, 0644};
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        struct config *config = NULL;
        assert_int_equal(chmod(path, modes[i]), 0);
        assert_false(failed(config_load(&source, &config, &errors)));
        assert_string_equal(server_of(config)->token, "sesame");
        assert_int_equal(config_warning_count(config), modes[i] & 4 ? 1 : 0);
        if (config_warning_count(config) > 0) {
            diag_format(config_warning(config, 0), line, sizeof(line));
            assert_non_null(strstr(line, "weir.yaml:2:15: token: everybody may read /tmp/"));
        }
        config_unref(config);
    }
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    struct config *config = NULL;
    assert_true(is(config_load(&source, &config, &errors), ERR_TYPE));
    unlink(path);
    process_free(process);
}

/* Every allocation fails once: each load is whole or an error, and leaks nothing. */
static void running_out_of_memory_is_an_error_at_any_place(void **state)
{
    static const char yaml[] = "version: 1\n"
                               "title: ${HOST} $$ ${NONE:-x}\n"
                               "token: {file: \"${DIR:-/run}/token\"}\n"
                               "labels: [\"${HOST}\", \"${PORT}\"]\n";
    sim_file_put(fx.process, "/run/token", SPAN("sesame\n"));
    sim_env_put(fx.process, "WEIR_SERVER_THREADS", "3");
    bool loaded = false;
    uint64_t n = 1;
    for (; !loaded; n++) {
        struct config *config = NULL;
        mem_fail_after(n, false);
        result r = load(yaml, false, &config);
        mem_fail_after(0, false);
        loaded = !failed(r);
        assert_true(loaded || is(r, ERR_NO_MEMORY));
        assert_true(loaded == (config != NULL));
        if (loaded) {
            const struct sample_server *server = server_of(config);
            assert_string_equal(server->title, "10.0.0.1 $ x");
            assert_string_equal(server->token, "sesame");
            assert_string_equal(server->labels.items[1], "9000");
            assert_int_equal(server->threads, 3);
        }
        config_unref(config);
    }
    assert_in_range(n, 5, 1000);
}

/* ---- where values came from ---- */

static void collect(void *arg, const struct config_entry *entry)
{
    struct text *into = arg;
    if (entry->origin->kind == CONFIG_FROM_DEFAULT)
        return;
    text_printf(into, "%s = %s; ", entry->path, entry->value);
    config_origin_format(entry, into);
    text_byte(into, '\n');
}

static void each_value_knows_where_it_came_from(void **state)
{
    sim_env_put(fx.process, "WEIR_TITLE", "hello");
    sim_file_put(fx.process, "/run/token", SPAN("x"));
    struct config *config = load_good("version: 1\n"
                                      "server:\n"
                                      "  listen: ${HOST}:${PORT}\n"
                                      "token: {file: /run/token}\n"
                                      "labels: [\"${HOST}\", \"${PORT}\"]\n"
                                      "routes:\n"
                                      "  api: {deadline: 2s, targets: [{url: a}]}\n");
    struct text text;
    text_init(&text, 65536);
    assert_false(failed(config_walk(config, collect, &text)));
    assert_string_equal(text_cstr(&text),
                        "server.listen = 10.0.0.1:9000; environment HOST, PORT at weir.yaml:3\n"
                        "title = hello; environment WEIR_TITLE\n"
                        "token = (secret); file /run/token at weir.yaml:4\n"
                        "labels = [10.0.0.1, 9000]; environment HOST, PORT at weir.yaml:5\n"
                        "routes.api.name = api; weir.yaml:7\n"
                        "routes.api.deadline = 2s; weir.yaml:7\n"
                        "routes.api.targets[0].url = a; weir.yaml:7\n");
    text_release(&text);
    config_unref(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(variables_become_values_of_every_type, setup, teardown),
        cmocka_unit_test_setup_teardown(mistakes_with_variables_name_place_and_key, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_secret_is_read_from_its_file_without_the_last_newline,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_secret_that_everybody_may_read_is_a_warning, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_secret_within_the_file_is_a_warning_when_strict, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_environment_beats_the_file_and_a_flag_the_environment,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(running_out_of_memory_is_an_error_at_any_place, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(each_value_knows_where_it_came_from, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
