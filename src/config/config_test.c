#include "config/config.h"

#include "base/alloc.h"
#include "base/test_random.h"
#include "base/text.h"
#include "config/test_sample.h"

static struct config_errors errors; /* too large for a stack frame */

static struct config *load_good(const char *yaml)
{
    struct config *config = NULL;
    result r = sample_load(yaml, &config, &errors);
    if (failed(r)) {
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

static const struct sample_models *models_of(const struct config *config)
{
    return config_of(config, &sample_models_module);
}

/* ---- good files -------------------------------------------------------------- */

static void without_a_file_every_value_is_its_default(void **state)
{
    struct config *config = load_good(NULL);
    const struct sample_server *server = server_of(config);
    assert_true(server->listen.set);
    assert_int_equal(server->listen.address.port, 8501);
    assert_false(server->admin.set);
    assert_int_equal(server->connections_max, 10000);
    assert_int_equal(server->threads, 0);
    assert_int_equal(server->body_max, 64 << 20);
    assert_int_equal(server->idle_max, 60 * IO_SEC);
    assert_true(server->batching);
    assert_true(server->tolerance == 1e-5);
    assert_int_equal(server->format, SAMPLE_AUTO);
    assert_null(server->title);
    assert_null(server->token);
    assert_int_equal(server->labels.count, 0);
    assert_int_equal(models_of(config)->models.count, 0);
    config_unref(config);
}

static void a_file_sets_every_type_of_value(void **state)
{
    struct config *config = load_good(SAMPLE_FILE);
    const struct sample_server *server = server_of(config);
    assert_int_equal(server->listen.address.port, 9000);
    assert_true(server->admin.set);
    assert_int_equal(server->admin.address.port, 9001);
    assert_int_equal(server->connections_max, 16);
    assert_int_equal(server->threads, 2);
    assert_int_equal(server->body_max, 1 << 20);
    assert_int_equal(server->idle_max, 1500 * IO_MS);
    assert_false(server->batching);
    assert_true(server->tolerance == 0.25);
    assert_int_equal(server->format, SAMPLE_JSON);
    assert_string_equal(server->title, "caf\xc3\xa9: open");
    assert_string_equal(server->root, "/srv/weir");
    assert_string_equal(server->token, "open sesame\n");
    assert_int_equal(server->labels.count, 2);
    assert_string_equal(server->labels.items[0], "a");
    assert_string_equal(server->labels.items[1], "b c");
    config_unref(config);
}

static void lists_and_maps_become_arrays_of_structs(void **state)
{
    struct config *config = load_good(SAMPLE_FILE);
    const struct sample_models *all = models_of(config);
    const struct sample_model *models = all->models.items;
    assert_int_equal(all->models.count, 2);
    assert_string_equal(models[0].name, "cats");
    assert_string_equal(models[0].path, "/m/cats");
    assert_int_equal(models[0].rows, 32);
    assert_string_equal(models[1].name, "dogs");
    assert_int_equal(models[1].rows, 1);
    const struct sample_route *routes = all->routes.items;
    assert_int_equal(all->routes.count, 2);
    assert_string_equal(routes[0].name, "api");
    assert_int_equal(routes[0].deadline, 2 * IO_SEC);
    assert_int_equal(routes[0].targets.count, 2);
    const struct sample_target *targets = routes[0].targets.items;
    assert_string_equal(targets[0].url, "http://a");
    assert_int_equal(targets[0].weight, 9);
    assert_int_equal(targets[1].weight, 1);
    assert_string_equal(routes[1].name, "web");
    assert_int_equal(routes[1].deadline, 30 * IO_SEC);
    assert_int_equal(routes[1].targets.count, 0);
    config_unref(config);
}

static void words_stand_for_their_values(void **state)
{
    struct config *config =
        load_good("version: 1\nserver: {threads: auto, idle_max: never, admin: off}\n");
    assert_int_equal(server_of(config)->threads, 0);
    assert_true(server_of(config)->idle_max == TIME_NEVER);
    assert_false(server_of(config)->admin.set);
    config_unref(config);
}

static void a_section_whose_keys_are_all_commented_out_is_empty(void **state)
{
    struct config *config =
        load_good("version: 1\nserver:\n  # threads: 3\nmodels:\nroutes: ~\nlabels:\n");
    assert_int_equal(server_of(config)->connections_max, 10000);
    assert_int_equal(models_of(config)->models.count, 0);
    config_unref(config);
}

static void a_flag_beats_the_file_and_texts_of_flags_add_up(void **state)
{
    const struct config_setting settings[] = {{&sample_server_keys[2], "7"},
                                              {&sample_server_keys[12], "x"},
                                              {&sample_server_keys[12], "y,z"}};
    const struct config_source source = {
        .modules = sample_modules,
        .module_count = ARRAY_LEN(sample_modules),
        .file = "weir.yaml",
        .yaml = SPAN(SAMPLE_FILE),
        .settings = settings,
        .setting_count = ARRAY_LEN(settings),
    };
    struct config *config = NULL;
    assert_false(failed(config_load(&source, &config, &errors)));
    const struct sample_server *server = server_of(config);
    assert_int_equal(server->connections_max, 7);
    assert_int_equal(server->threads, 2);
    assert_int_equal(server->labels.count, 2);
    assert_string_equal(server->labels.items[0], "x");
    assert_string_equal(server->labels.items[1], "y,z");
    config_unref(config);
}

static void a_wrong_flag_is_an_error_that_names_it(void **state)
{
    const struct config_setting settings[] = {{&sample_server_keys[2], "many"}};
    const struct config_source source = {
        .modules = sample_modules,
        .module_count = ARRAY_LEN(sample_modules),
        .settings = settings,
        .setting_count = ARRAY_LEN(settings),
    };
    struct config *config = NULL;
    assert_true(is(config_load(&source, &config, &errors), ERR_TYPE));
    char line[2048];
    diag_format(&errors.items[0], line, sizeof(line));
    assert_string_equal(line,
                        "--connections-max: expected a whole number from 1 to 1000000, got 'many'");
    assert_null(config);
}

static void a_snapshot_lives_until_its_last_reference_goes(void **state)
{
    struct config *config = load_good(SAMPLE_FILE);
    assert_ptr_equal(config_ref(config), config);
    config_unref(config);
    assert_string_equal(server_of(config)->root, "/srv/weir");
    config_unref(config);
    config_unref(NULL);
}

/* ---- bad files ------------------------------------------------------------------- */

struct bad_file {
    const char *yaml;
    const char *expected; /* the messages, a line each; a last "*" stands for the parser's words */
};

static const struct bad_file bad_files[] = {
    {"", "weir.yaml:1:1: expected the version of the file's language, got none; add the line "
         "\"version: 1\"\n"},
    {"server:\n  threads: 1\n",
     "weir.yaml:1:1: expected the version of the file's language, got none; add the line "
     "\"version: 1\"\n"},
    {"version: 2\nnew_key: 1\n",
     "weir.yaml:1:10: version: this program knows version 1 of the language, got 2\n"},
    {"version: 0\n",
     "weir.yaml:1:10: version: this program knows version 1 of the language, got 0\n"},
    {"version: one\n", "weir.yaml:1:10: version: expected the line \"version: 1\"\n"},
    {"version: \"1\"\n", "weir.yaml:1:10: version: expected the line \"version: 1\"\n"},
    {"version:\n", "weir.yaml:1:1: version: expected the line \"version: 1\"\n"},
    {"- a\n", "weir.yaml:1:1: expected a mapping of keys, got a list\n"},
    {"hello\n", "weir.yaml:1:1: expected a mapping of keys, got a single value\n"},
    {"version: 1\nversion: 1\n", "weir.yaml:2:1: version: given twice, first in line 1\n"},
    /* unknown keys */
    {"version: 1\nserver:\n  thraeds: 1\n",
     "weir.yaml:3:3: server.thraeds: unknown key 'thraeds'; did you mean 'threads'?\n"},
    {"version: 1\nthreads: 1\n",
     "weir.yaml:2:1: threads: unknown key 'threads' here; did you mean 'server.threads'?\n"},
    {"version: 1\nlog:\n  colour: red\n",
     "weir.yaml:3:3: log.colour: unknown key 'colour'; expected one of: format\n"},
    {"version: 1\nserver.threads: 1\n",
     "weir.yaml:2:1: server.threads: unknown key 'server.threads'; expected one of: version, "
     "server, batching, log, title, root, token, labels, models, routes\n"},
    {"version: 1\nmodels:\n  - name: a\n    path: b\n    batch: {row: 1}\n",
     "weir.yaml:5:13: models[0].batch.row: unknown key 'row'; did you mean 'rows'?\n"},
    {"version: 1\nmodels:\n  - name: a\n    path: b\n    version: 1\n",
     "weir.yaml:5:5: models[0].version: unknown key 'version'; expected one of: name, path, "
     "batch\n"},
    {"version: 1\nroutes:\n  a:\n    dedline: 1s\n",
     "weir.yaml:4:5: routes.a.dedline: unknown key 'dedline'; did you mean 'deadline'?\n"},
    /* given twice */
    {"version: 1\ntitle: a\ntitle: b\n", "weir.yaml:3:1: title: given twice, first in line 2\n"},
    {"version: 1\nlog: {format: text}\nserver:\nlog: {format: json}\n",
     "weir.yaml:4:1: log: given twice, first in line 2\n"},
    {"version: 1\nmodels:\n  - {name: a, path: b}\n  - name: a\n    path: c\n",
     "weir.yaml:4: models: the name 'a' is given twice, first in line 3\n"},
    {"version: 1\nroutes:\n  a:\n  b:\n  a:\n",
     "weir.yaml:5:3: routes.a: given twice, first in line 3\n"},
    {"version: 1\nroutes:\n  a: {name: b}\n",
     "weir.yaml:3:7: routes.a.name: given already: the mapping's key is the name\n"},
    /* values */
    {"version: 1\nbatching:\n  enabled: yes\n",
     "weir.yaml:3:12: batching.enabled: expected true or false, got 'yes'\n"},
    {"version: 1\nbatching:\n  enabled: \"true\"\n",
     "weir.yaml:3:12: batching.enabled: expected true or false, got the text \"true\" (remove the "
     "quotes)\n"},
    {"version: 1\nserver:\n  threads: 65\n",
     "weir.yaml:3:12: server.threads: expected auto or a whole number from 1 to 64, got '65'\n"},
    {"version: 1\nserver:\n  threads: 1.5\n",
     "weir.yaml:3:12: server.threads: expected auto or a whole number from 1 to 64, got '1.5'\n"},
    {"version: 1\nserver:\n  threads:\n",
     "weir.yaml:3:3: server.threads: expected auto or a whole number from 1 to 64, got nothing\n"},
    {"version: 1\nserver:\n  threads: [1]\n",
     "weir.yaml:3:12: server.threads: expected auto or a whole number from 1 to 64, got a list\n"},
    {"version: 1\nserver:\n  body_max: 12 bytes\n",
     "weir.yaml:3:13: server.body_max: expected a size such as 64MiB or 512kB, from 1KiB to 1GiB, "
     "got '12 bytes'\n"},
    {"version: 1\nserver:\n  body_max: 1000\n",
     "weir.yaml:3:13: server.body_max: expected a size such as 64MiB or 512kB, from 1KiB to 1GiB, "
     "got '1000'\n"},
    {"version: 1\nserver:\n  idle_max: 10\n",
     "weir.yaml:3:13: server.idle_max: expected never or a time such as 10s or 250ms, got '10'\n"},
    {"version: 1\nlog: {format: xml}\n",
     "weir.yaml:2:15: log.format: expected one of auto, text, json, got 'xml'\n"},
    {"version: 1\ntitle: this title is rather longer than it may be\n",
     "weir.yaml:2:8: title: expected at most 40 bytes, got 42\n"},
    {"version: 1\nroot: \"\"\n", "weir.yaml:2:7: root: expected a path, got ''\n"},
    {"version: 1\nserver: 3\n",
     "weir.yaml:2:9: server: expected a mapping of keys, got a single value\n"},
    {"version: 1\nlabels: a\n",
     "weir.yaml:2:9: labels: expected a list of texts such as [a, b], got a single value\n"},
    {"version: 1\nlabels: [a, [b]]\n", "weir.yaml:2:13: labels[1]: expected a text, got a list\n"},
    {"version: 1\nlabels: [a, b, c, d]\n",
     "weir.yaml:2:19: labels[3]: expected at most 3 texts, got more\n"},
    {"version: 1\nmodels: {a: 1}\n", "weir.yaml:2:9: models: expected a list, got a mapping\n"},
    {"version: 1\nmodels: [1]\n",
     "weir.yaml:2:10: models[0]: expected a mapping of keys, got a single value\n"
     "weir.yaml:2:10: models[0].name: expected a value (its name in requests), got none\n"
     "weir.yaml:2:10: models[0].path: expected a value (where its files lie), got none\n"},
    {"version: 1\nmodels:\n  - name: a\n",
     "weir.yaml:3:5: models[0].path: expected a value (where its files lie), got none\n"},
    {"version: 1\nmodels: [{name: a b, path: c}]\n",
     "weir.yaml:2:17: models[0].name: expected a name of letters, digits, '_', '-' and '.', got "
     "'a b'\n"},
    {"version: 1\nmodels: [{}, {}, {}, {}]\n",
     "weir.yaml:2:9: models: expected at most 3 elements, got 4\n"},
    {"version: 1\nroutes: [a]\n",
     "weir.yaml:2:9: routes: expected a mapping from names, got a list\n"},
    {"version: 1\nroutes:\n  a/b:\n",
     "weir.yaml:3:3: routes.a/b: expected a name of letters, digits, '_', '-' and '.', got "
     "'a/b'\n"},
    /* all mistakes of a file at once */
    {"version: 1\nserver:\n  threads: none\n  prot: 1\nlog:\n  format: xml\n",
     "weir.yaml:3:12: server.threads: expected auto or a whole number from 1 to 64, got 'none'\n"
     "weir.yaml:4:3: server.prot: unknown key 'prot'; expected one of: listen, admin, "
     "connections_max, threads, body_max, idle_max\n"
     "weir.yaml:6:11: log.format: expected one of auto, text, json, got 'xml'\n"},
    /* what is YAML, but not taken */
    {"version: 1\ntitle: &a x\nroot: *a\n",
     "weir.yaml:2:8: anchors (&name) are not supported; write the value out where it is "
     "needed\n"},
    {"version: 1\nroot: *a\n",
     "weir.yaml:2:7: aliases (*name) are not supported; write the value out where it is "
     "needed\n"},
    {"version: 1\ntitle: !!int 3\n",
     "weir.yaml:2:8: tags (!name) are not supported; the key says what type its value has\n"},
    {"version: 1\n--- \ntitle: a\n",
     "weir.yaml:2:1: a second document ('---') is not supported; expected one document in a "
     "file\n"},
    {"version: 1\n? [a]\n: b\n",
     "weir.yaml:2:3: a list or mapping cannot be a key; expected a word\n"},
    {"version: 1\n\"\": b\n", "weir.yaml:2:1: expected a key, got nothing; write \"key: value\"\n"},
    {"version: 1\ntitle: \"a\\0b\"\n",
     "weir.yaml:2:8: expected text, got a zero byte; remove the escape\n"},
    /* what is no YAML */
    {"version: 1\nserver:\n\tthreads: 1\n",
     "weir.yaml:3:1: expected spaces as indentation, got a tab\n"},
    {"version: 1\ntitle: caf\xe9\n", "weir.yaml:2: expected UTF-8 text, got other bytes\n"},
    {"version: 1\ntitle: a\x01\n", "weir.yaml:2:9: expected printable text, got the byte 0x01\n"},
    {"version: 1\nlabels: [a, b\n", "weir.yaml:3:1: not valid YAML: *"},
    {"version: 1\ntitle: \"a\n", "weir.yaml:2:9: not valid YAML: *"},
    {"version: 1\ntitle: a: b\n", "weir.yaml:2:9: not valid YAML: *"},
    {"version: 1\ntitle: \"\\q\"\n", "weir.yaml:2:9: not valid YAML: *"},
    {"version: 1\n  title: a\n", "weir.yaml:1:10: not valid YAML: *"},
};

/* All messages, a line each. */
static void all_messages(struct text *into)
{
    char line[2048];
    for (size_t i = 0; i < errors.count; i++) {
        diag_format(&errors.items[i], line, sizeof(line));
        text_printf(into, "%s\n", line);
    }
}

static void every_mistake_is_told_with_its_place(void **state)
{
    int wrong = 0;
    for (size_t i = 0; i < ARRAY_LEN(bad_files); i++) {
        struct text got;
        text_init(&got, 65536);
        struct config *config = NULL;
        result r = sample_load(bad_files[i].yaml, &config, &errors);
        all_messages(&got);
        struct span expected = span_cstr(bad_files[i].expected);
        bool open = span_ends(expected, SPAN("*"));
        bool same = open ? span_starts(text_span(&got), span_first(expected, expected.len - 1))
                         : span_eq(text_span(&got), expected);
        if (!failed(r) || config || !same || errors.more) {
            print_error("file:\n%s\nexpected:\n%s\ngot:\n%s\n", bad_files[i].yaml,
                        bad_files[i].expected, text_cstr(&got));
            wrong++;
        }
        config_unref(config);
        text_release(&got);
    }
    assert_int_equal(wrong, 0);
}

static void errors_beyond_twenty_are_only_counted_as_more(void **state)
{
    struct text yaml;
    text_init(&yaml, 65536);
    text_str(&yaml, "version: 1\n");
    for (int i = 0; i < 20; i++)
        text_printf(&yaml, "zzzzz%02d: 1\n", i);
    struct config *config = NULL;
    assert_true(is(sample_load(text_cstr(&yaml), &config, &errors), ERR_NOT_FOUND));
    assert_int_equal(errors.count, CONFIG_ERRORS_MAX);
    assert_false(errors.more);
    text_str(&yaml, "zzzzz20: 1\n");
    assert_true(is(sample_load(text_cstr(&yaml), &config, &errors), ERR_NOT_FOUND));
    assert_int_equal(errors.count, CONFIG_ERRORS_MAX);
    assert_true(errors.more);
    assert_int_equal(errors.items[19].line, 21);
    text_release(&yaml);
}

struct must {
    const char *root;
};

static void a_required_key_may_come_from_the_file_or_a_flag(void **state)
{
    static const struct config_key keys[] = {{.path = "root",
                                              .flag = "--root",
                                              .help = "the folder of all files",
                                              .type = CONFIG_PATH,
                                              .required = true,
                                              CONFIG_FIELD(struct must, root)}};
    static const struct config_module module = {.name = "must",
                                                .section = CONFIG_SECTION(struct must, keys)};
    static const struct config_module *const modules[] = {&module};
    const struct config_setting setting = {&keys[0], "/a"};
    struct config_source source = {.modules = modules, .module_count = 1};
    struct config *config = NULL;
    char line[2048];
    assert_true(is(config_load(&source, &config, &errors), ERR_ARGUMENT));
    diag_format(&errors.items[0], line, sizeof(line));
    assert_string_equal(line, "root: expected a value (the folder of all files), got none; the "
                              "option is --root");
    source.file = "weir.yaml";
    source.yaml = SPAN("version: 1\nrot: /a\n");
    assert_true(is(config_load(&source, &config, &errors), ERR_NOT_FOUND));
    assert_int_equal(errors.count, 2);
    diag_format(&errors.items[1], line, sizeof(line));
    assert_string_equal(line, "weir.yaml:1: root: expected a value (the folder of all files), got "
                              "none; the option is --root");
    source.yaml = SPAN("version: 1\nroot: /a\n");
    assert_false(failed(config_load(&source, &config, &errors)));
    config_unref(config);
    source.yaml = SPAN("version: 1\n");
    source.settings = &setting;
    source.setting_count = 1;
    assert_false(failed(config_load(&source, &config, &errors)));
    assert_string_equal(((const struct must *)config_of(config, &module))->root, "/a");
    config_unref(config);
}

/* ---- limits ----------------------------------------------------------------------- */

static void expect_too_large(struct text *yaml, const char *words)
{
    struct config *config = NULL;
    assert_false(failed(text_result(yaml)));
    assert_true(is(sample_load(text_cstr(yaml), &config, &errors), ERR_TOO_LARGE));
    assert_non_null(strstr(errors.items[0].text, words));
    text_release(yaml);
}

static void size_depth_and_number_of_values_are_bounded(void **state)
{
    struct text yaml;
    text_init(&yaml, (size_t)2 << 20);
    text_str(&yaml, "version: 1\n#");
    while (yaml.len <= CONFIG_FILE_BYTES_MAX)
        text_str(&yaml, "................................................................");
    expect_too_large(&yaml, "at most 1048576 bytes");
    text_str(&yaml, "version: 1\nlabels: ");
    for (int i = 0; i < 16; i++)
        text_str(&yaml, "[");
    expect_too_large(&yaml, "at most 16 levels");
    text_str(&yaml, "version: 1\nlabels:\n");
    for (int i = 0; i < 20000; i++)
        text_str(&yaml, "- a\n");
    expect_too_large(&yaml, "at most 20000 values");
    text_str(&yaml, "version: 1\n");
    for (int i = 0; i < 129; i++)
        text_str(&yaml, "k");
    text_str(&yaml, ": 1\n");
    expect_too_large(&yaml, "a key of at most 128 bytes");
}

/* Fails the `n`-th allocation, and all after it when `persistent`, for every n. */
static void load_without_memory(bool persistent)
{
    bool loaded = false;
    for (uint64_t n = 1; !loaded; n++) {
        struct config *config = NULL;
        mem_fail_after(n, persistent);
        result r = sample_load(SAMPLE_FILE, &config, &errors);
        mem_fail_after(0, false);
        loaded = !failed(r);
        assert_true(loaded || is(r, ERR_NO_MEMORY));
        assert_true(loaded == (config != NULL));
        config_unref(config);
        assert_true(n < 1000);
    }
}

static void running_out_of_memory_is_an_error_and_leaks_nothing(void **state)
{
    load_without_memory(true);
    load_without_memory(false);
}

static void the_longest_keys_at_every_level_are_told_whole_or_cut(void **state)
{
    struct text yaml;
    char key[129];
    text_init(&yaml, 65536);
    memset(key, 'k', 128);
    key[128] = '\0';
    text_printf(&yaml, "version: 1\nroutes: {%s: {targets: [{%s: {%s: 1}}]}}\n", key, key, key);
    struct config *config = NULL;
    assert_true(is(sample_load(text_cstr(&yaml), &config, &errors), ERR_NOT_FOUND));
    assert_int_equal(errors.count, 2); /* the key, and the url that is missing */
    assert_int_equal(strlen(errors.items[0].key), sizeof(errors.items[0].key) - 1);
    text_release(&yaml);
}

/* ---- mutations ----------------------------------------------------------------------- */

/* Changes `text` (of `size` bytes of room) in one to four places; returns its length. */
static size_t mutate(char *text, size_t len, uint64_t *seed)
{
    static const char spice[] = ":-{}$[]&*!|>'\"#%@`,? \t\n\\0123456789abcmsMiB~\x80\xff";
    for (uint64_t i = test_random(seed) % 4 + 1; i > 0 && len > 1; i--) {
        size_t at = test_random(seed) % len;
        char byte = spice[test_random(seed) % (sizeof(spice) - 1)];
        switch (test_random(seed) % 4) {
        case 0:
            text[at] = byte;
            break;
        case 1:
            memmove(text + at + 1, text + at, len++ - at);
            text[at] = byte;
            break;
        case 2:
            memmove(text + at, text + at + 1, --len - at);
            break;
        default:
            len = at + 1;
            break;
        }
    }
    return len;
}

static void a_mutated_file_loads_or_is_refused_with_a_line(void **state)
{
    static char text[sizeof(SAMPLE_FILE) + 16];
    const long rounds = 300;
    uint64_t seed = 0x5eed;
    long loaded = 0;
    for (long i = 0; i < rounds; i++) {
        memcpy(text, SAMPLE_FILE, sizeof(SAMPLE_FILE));
        size_t len = mutate(text, sizeof(SAMPLE_FILE) - 1, &seed);
        const struct config_source source = {
            .modules = sample_modules,
            .module_count = ARRAY_LEN(sample_modules),
            .file = "weir.yaml",
            .yaml = span_of(text, len),
        };
        struct config *config = NULL;
        result r = config_load(&source, &config, &errors);
        assert_true(failed(r) == (config == NULL));
        loaded += config != NULL;
        for (size_t e = 0; failed(r) && e < errors.count; e++) {
            assert_true(errors.items[e].line > 0);
            assert_string_equal(errors.items[e].file, "weir.yaml");
            assert_int_not_equal(errors.items[e].text[0], '\0');
        }
        assert_true(!failed(r) || errors.count > 0);
        config_unref(config);
    }
    assert_in_range(loaded, rounds / 20, rounds - rounds / 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_file_every_value_is_its_default),
        cmocka_unit_test(a_file_sets_every_type_of_value),
        cmocka_unit_test(lists_and_maps_become_arrays_of_structs),
        cmocka_unit_test(words_stand_for_their_values),
        cmocka_unit_test(a_section_whose_keys_are_all_commented_out_is_empty),
        cmocka_unit_test(a_flag_beats_the_file_and_texts_of_flags_add_up),
        cmocka_unit_test(a_wrong_flag_is_an_error_that_names_it),
        cmocka_unit_test(a_snapshot_lives_until_its_last_reference_goes),
        cmocka_unit_test(every_mistake_is_told_with_its_place),
        cmocka_unit_test(a_required_key_may_come_from_the_file_or_a_flag),
        cmocka_unit_test(errors_beyond_twenty_are_only_counted_as_more),
        cmocka_unit_test(size_depth_and_number_of_values_are_bounded),
        cmocka_unit_test(the_longest_keys_at_every_level_are_told_whole_or_cut),
        cmocka_unit_test(running_out_of_memory_is_an_error_and_leaks_nothing),
        cmocka_unit_test(a_mutated_file_loads_or_is_refused_with_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
