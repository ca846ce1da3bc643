/* Keys that are on their way out, in tables of an invented version 0. */
#include "config/upgrade.h"

#include "base/test_cmocka.h"

#include <stdio.h>

struct server {
    int64_t connections_max, rows;
    const char *banner;
};

struct model {
    const char *name;
    int64_t rows;
};

struct all {
    struct server server;
    struct config_list models;
};

static const struct config_key model_keys[] = {
    {.path = "name", .help = "its name", .type = CONFIG_NAME, CONFIG_FIELD(struct model, name)},
    {.path = "batch.rows",
     .help = "rows",
     .fallback = "1",
     .type = CONFIG_INT,
     CONFIG_FIELD(struct model, rows)},
    {.path = "batch.size",
     .help = "older",
     .deprecated = {.since = "0.2", .replacement = "batch.rows", .removed = "0.3"}},
};
static const struct config_section model_section = CONFIG_SECTION(struct model, model_keys);

static const struct config_key keys[] = {
    {.path = "server.connections_max",
     .help = "connections",
     .fallback = "10",
     .min = 1,
     .max = 100,
     .type = CONFIG_INT,
     CONFIG_FIELD(struct all, server.connections_max)},
    {.path = "server.max_connections",
     .help = "older",
     .deprecated = {.since = "0.2", .replacement = "server.connections_max", .removed = "0.3"}},
    {.path = "rows",
     .help = "older, in another mapping",
     .deprecated = {.since = "0.2", .replacement = "server.rows", .removed = "0.10"}},
    {.path = "server.rows",
     .help = "rows",
     .type = CONFIG_INT,
     CONFIG_FIELD(struct all, server.rows)},
    {.path = "server.banner",
     .help = "a greeting",
     .type = CONFIG_TEXT,
     .deprecated = {.since = "0.2"},
     CONFIG_FIELD(struct all, server.banner)},
    {.path = "models",
     .help = "models",
     .type = CONFIG_LIST,
     .section = &model_section,
     CONFIG_FIELD(struct all, models)},
};
static const struct config_module module = {.name = "all",
                                            .section = CONFIG_SECTION(struct all, keys)};
static const struct config_module *const modules[] = {&module};

static struct config_errors errors; /* too large for a stack frame */

static struct config_source source_of(const char *yaml, const char *release)
{
    return (struct config_source){
        .modules = modules,
        .module_count = 1,
        .file = "weir.yaml",
        .yaml = span_cstr(yaml),
        .release = release,
        .versions_back = 1,
    };
}

static const char old_file[] = "version: 0 # the first\n"
                               "# how many\n"
                               "server:\n"
                               "  max_connections: 7   # not more\n"
                               "  \"banner\": hello\n"
                               "rows: 3\n"
                               "models:\n"
                               "  - {name: a, batch: {'size': 4}}  # small\n"
                               "  - name: b\n"
                               "    batch:\n"
                               "      size: 5\n";

static const struct all *all_of(const struct config *config)
{
    return config_of(config, &module);
}

static void check_values(const struct config *config)
{
    const struct all *all = all_of(config);
    const struct model *models = all->models.items;
    assert_int_equal(all->server.connections_max, 7);
    assert_int_equal(all->server.rows, 3);
    assert_string_equal(all->server.banner, "hello");
    assert_int_equal(models[0].rows, 4);
    assert_int_equal(models[1].rows, 5);
}

static void an_older_key_sets_what_replaced_it_and_warns_once(void **state)
{
    static const char *const expected[] = {
        ("weir.yaml:4:3: server.max_connections: deprecated since 0.2; write "
         "server.connections_max instead"),
        "weir.yaml:5:3: server.banner: deprecated since 0.2",
        "weir.yaml:6:1: rows: deprecated since 0.2; write server.rows instead",
        "weir.yaml:8:23: models[0].batch.size: deprecated since 0.2; write batch.rows instead",
    };
    const struct config_source source = source_of(old_file, "0.2.9");
    struct config *config = NULL;
    assert_false(failed(config_load(&source, &config, &errors)));
    check_values(config);
    assert_int_equal(config_deprecated_count(config), ARRAY_LEN(expected));
    assert_int_equal(config_warning_count(config), ARRAY_LEN(expected));
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        char line[2048];
        diag_format(config_warning(config, i), line, sizeof(line));
        assert_string_equal(line, expected[i]);
    }
    config_unref(config);
}

static void a_release_later_it_is_an_error_unless_allowed(void **state)
{
    struct config_source source = source_of(old_file, "0.3.0");
    struct config *config = NULL;
    char line[2048];
    assert_true(is(config_load(&source, &config, &errors), ERR_UNSUPPORTED));
    /* `rows` has until 0.10, which is later than 0.3. */
    assert_int_equal(errors.count, 3);
    diag_format(&errors.items[0], line, sizeof(line));
    assert_string_equal(line, "weir.yaml:4:3: server.max_connections: deprecated since 0.2 and not "
                              "taken any more; write server.connections_max instead; "
                              "--allow-deprecated takes it still");
    source.allow_deprecated = true;
    assert_false(failed(config_load(&source, &config, &errors)));
    check_values(config);
    config_unref(config);
    source.allow_deprecated = false;
    source.release = "0.10.0-dev";
    assert_true(failed(config_load(&source, &config, &errors)));
    assert_int_equal(errors.count, 4);
}

static void the_older_and_the_newer_name_at_once_are_an_error(void **state)
{
    const struct config_source source =
        source_of("version: 1\nserver:\n  connections_max: 3\n  max_connections: 4\n", "0.2.0");
    struct config *config = NULL;
    char line[2048];
    assert_true(is(config_load(&source, &config, &errors), ERR_EXISTS));
    diag_format(&errors.items[0], line, sizeof(line));
    assert_string_equal(line, "weir.yaml:4:3: server.max_connections: given already: "
                              "server.connections_max in line 3");
}

static void a_wrong_value_names_the_key_as_it_was_written(void **state)
{
    const struct config_source source =
        source_of("version: 1\nserver: {max_connections: many}\n", "0.2.0");
    struct config *config = NULL;
    char line[2048];
    assert_true(failed(config_load(&source, &config, &errors)));
    diag_format(&errors.items[0], line, sizeof(line));
    assert_string_equal(line, "weir.yaml:2:27: server.max_connections: expected a whole number "
                              "from 1 to 100, got 'many'");
}

/* ---- upgrade ---- */

struct told {
    char text[1024];
};

static void tell(void *arg, const struct config_edit *edit)
{
    struct told *told = arg;
    size_t len = strlen(told->text);
    snprintf(told->text + len, sizeof(told->text) - len, "%d:%d %s %s%s\n", edit->line,
             edit->column, edit->path, edit->replacement ? edit->replacement : "-",
             edit->done ? "" : " by hand");
}

static void an_upgraded_file_keeps_its_comments_and_means_the_same(void **state)
{
    const struct config_source source = source_of(old_file, "0.2.0");
    struct told told = {0};
    struct text text;
    text_init(&text, 65536);
    assert_false(failed(config_upgrade(&source, &text, tell, &told, NULL)));
    assert_string_equal(text_cstr(&text), "version: 1 # the first\n"
                                          "# how many\n"
                                          "server:\n"
                                          "  connections_max: 7   # not more\n"
                                          "  \"banner\": hello\n"
                                          "rows: 3\n"
                                          "models:\n"
                                          "  - {name: a, batch: {'rows': 4}}  # small\n"
                                          "  - name: b\n"
                                          "    batch:\n"
                                          "      rows: 5\n");
    assert_string_equal(told.text, "4:3 server.max_connections server.connections_max\n"
                                   "5:3 server.banner - by hand\n"
                                   "6:1 rows server.rows by hand\n"
                                   "8:23 models[0].batch.size batch.rows\n"
                                   "11:7 models[1].batch.size batch.rows\n");
    struct config *config = NULL;
    const struct config_source again = source_of(text_cstr(&text), "0.2.0");
    assert_false(failed(config_load(&again, &config, &errors)));
    check_values(config);
    assert_int_equal(config_deprecated_count(config), 2);
    config_unref(config);
    text_release(&text);
}

static void a_newest_file_is_left_as_it_is(void **state)
{
    static const char file[] = "version: 1\nserver: {connections_max: 3} # caf\xc3\xa9\n\n";
    const struct config_source source = source_of(file, "0.2.0");
    struct told told = {0};
    struct text text;
    text_init(&text, 65536);
    assert_false(failed(config_upgrade(&source, &text, tell, &told, NULL)));
    assert_string_equal(text_cstr(&text), file);
    assert_string_equal(told.text, "");
    text_release(&text);
}

static void a_word_that_cannot_be_found_again_is_left_to_a_person(void **state)
{
    const struct config_source source =
        source_of("version: 1\nserver: {banner: \xc3\xa9, \"max_conn\\x65ctions\": 3}\n", "0.2.0");
    struct told told = {0};
    struct text text;
    text_init(&text, 65536);
    assert_false(failed(config_upgrade(&source, &text, tell, &told, NULL)));
    assert_string_equal(text_cstr(&text), (const char *)source.yaml.ptr);
    assert_non_null(strstr(told.text, "server.max_connections server.connections_max by hand"));
    text_release(&text);
}

#define EURO "\xe2\x82\xac"
#define NINE_EUROS EURO EURO EURO EURO EURO EURO EURO EURO EURO

/* Whatever takes more bytes than columns, or ends a line another way. */
static void only_the_keys_own_word_is_replaced(void **state)
{
    static const struct {
        const char *file, *expected;
    } rows[] = {
        {"version: 1\nserver: {banner: '" NINE_EUROS "max_connections', max_connections: 3}\n",
         "version: 1\nserver: {banner: '" NINE_EUROS "max_connections', connections_max: 3}\n"},
        {"version: 0x0\n", "version: 1\n"},
        {"version: 0\nversion:\n  x: 1\n", "version: 1\nversion:\n  x: 1\n"},
        {"version: 0\r\nserver:\r\n  max_connections: 3\r\n",
         "version: 1\r\nserver:\r\n  connections_max: 3\r\n"},
        {"version: 0\rserver: {'max_connections':\t3}\r",
         "version: 1\rserver: {'connections_max':\t3}\r"},
        {"\xef\xbb\xbfversion: 0\nserver: {max_connections: 3}\n",
         "\xef\xbb\xbfversion: 1\nserver: {connections_max: 3}\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct config_source source = source_of(rows[i].file, "0.2.0");
        struct told told = {0};
        struct text text;
        text_init(&text, 65536);
        assert_false(failed(config_upgrade(&source, &text, tell, &told, NULL)));
        assert_string_equal(text_cstr(&text), rows[i].expected);
        text_release(&text);
    }
}

static void only_versions_that_are_known_are_upgraded(void **state)
{
    struct text text;
    struct told told = {0};
    text_init(&text, 65536);
    struct config_source source = source_of("version: 2\n", "0.2.0");
    assert_true(is(config_upgrade(&source, &text, tell, &told, NULL), ERR_UNSUPPORTED));
    source = source_of("version: 0\n", "0.2.0");
    source.versions_back = 0;
    assert_true(is(config_upgrade(&source, &text, tell, &told, NULL), ERR_UNSUPPORTED));
    source = source_of("a: [\n", "0.2.0");
    assert_true(is(config_upgrade(&source, &text, tell, &told, NULL), ERR_SYNTAX));
    text_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_older_key_sets_what_replaced_it_and_warns_once),
        cmocka_unit_test(a_release_later_it_is_an_error_unless_allowed),
        cmocka_unit_test(the_older_and_the_newer_name_at_once_are_an_error),
        cmocka_unit_test(a_wrong_value_names_the_key_as_it_was_written),
        cmocka_unit_test(an_upgraded_file_keeps_its_comments_and_means_the_same),
        cmocka_unit_test(a_newest_file_is_left_as_it_is),
        cmocka_unit_test(a_word_that_cannot_be_found_again_is_left_to_a_person),
        cmocka_unit_test(only_the_keys_own_word_is_replaced),
        cmocka_unit_test(only_versions_that_are_known_are_upgraded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
