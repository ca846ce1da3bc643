/* A snapshot written out as a file, and read again. */
#include "config/inspect.h"

#include "base/test_random.h"
#include "config/reload.h"
#include "config/test_sample.h"

static struct config_errors errors; /* too large for a stack frame */

static struct config *load_good(const char *yaml)
{
    struct config *config = NULL;
    if (failed(sample_load(yaml, &config, &errors))) {
        char line[2048];
        diag_format(&errors.items[0], line, sizeof(line));
        fail_msg("%s\n%s", line, yaml);
    }
    return config;
}

static void count(void *arg, const struct config_change *change)
{
    (*(size_t *)arg)++;
}

/* Without what a dump masks. */
static void a_dump_is_a_file_of_the_same_values_in_every_line(void **state)
{
    struct config *config = load_good(SAMPLE_FILE);
    struct text dump;
    text_init(&dump, 65536);
    assert_false(failed(config_dump(config, &dump)));
    assert_string_equal(text_cstr(&dump), "version: 1\n"
                                          "server:\n"
                                          "  listen: 127.0.0.1:9000  # weir.yaml:4\n"
                                          "  admin: 127.0.0.1:9001  # weir.yaml:5\n"
                                          "  connections_max: 16  # weir.yaml:6\n"
                                          "  threads: 2  # weir.yaml:7\n"
                                          "  body_max: 1MiB  # weir.yaml:8\n"
                                          "  idle_max: 1500ms  # weir.yaml:9\n"
                                          "batching:\n"
                                          "  enabled: false  # weir.yaml:10\n"
                                          "  tolerance: 0.25  # weir.yaml:10\n"
                                          "log:\n"
                                          "  format: json  # weir.yaml:12\n"
                                          "title: \"caf\xc3\xa9: open\"  # weir.yaml:13\n"
                                          "root: /srv/weir  # weir.yaml:14\n"
                                          "# token: (secret)  # weir.yaml:15\n"
                                          "labels: [a, \"b c\"]  # weir.yaml:17\n"
                                          "models:  # weir.yaml:18\n"
                                          "  -\n"
                                          "    name: cats  # weir.yaml:19\n"
                                          "    path: /m/cats  # weir.yaml:20\n"
                                          "    batch:\n"
                                          "      rows: 32  # weir.yaml:22\n"
                                          "  -\n"
                                          "    name: dogs  # weir.yaml:23\n"
                                          "    path: /m/dogs  # weir.yaml:23\n"
                                          "    batch:\n"
                                          "      rows: 1  # default\n"
                                          "routes:  # weir.yaml:24\n"
                                          "  api:\n"
                                          "    deadline: 2s  # weir.yaml:26\n"
                                          "    targets:  # weir.yaml:27\n"
                                          "      -\n"
                                          "        url: http://a  # weir.yaml:28\n"
                                          "        weight: 9  # weir.yaml:29\n"
                                          "      -\n"
                                          "        url: http://b  # weir.yaml:30\n"
                                          "        weight: 1  # default\n"
                                          "  web:\n"
                                          "    deadline: 30s  # default\n"
                                          "    targets: []  # default\n");
    text_release(&dump);
    config_unref(config);
}

/* Values and the text of their comments, without these. */
static void without_comments(const struct text *dump, struct text *into)
{
    struct span rest = text_span(dump);
    while (rest.len > 0) {
        struct span line = span_cut(&rest, '\n');
        text_append(into, span_first(line, span_search(line, SPAN("  # "))));
        text_byte(into, '\n');
    }
}

static void texts_that_are_no_plain_words_come_back_from_a_dump(void **state)
{
    static const char *const titles[] = {"a$b",    "${HOME}", "a: b", "- x",     "#no", "'q'",
                                         "\\n \"", "null",    "true", "1e5",     "~",   "[a",
                                         "{a",     "%x",      "@x",   "tab\\t.", " a ", ""};
    for (size_t i = 0; i < ARRAY_LEN(titles); i++) {
        struct text yaml, dump;
        text_init(&yaml, 4096);
        text_init(&dump, 65536);
        text_str(&yaml, "version: 1\ntitle: '");
        for (const char *c = titles[i]; *c; c++)
            text_printf(&yaml, *c == '\'' || *c == '$' ? "%c%c" : "%c", *c, *c);
        text_str(&yaml, "'\n");
        struct config *config = load_good(text_cstr(&yaml));
        const struct sample_server *server = config_of(config, &sample_server_module);
        assert_string_equal(server->title, titles[i]);
        assert_false(failed(config_dump(config, &dump)));
        struct config *again = load_good(text_cstr(&dump));
        size_t changes = 0;
        assert_false(failed(config_diff(config, again, count, &changes)));
        assert_int_equal(changes, 0);
        config_unref(config);
        config_unref(again);
        text_release(&yaml);
        text_release(&dump);
    }
}

static void a_dump_of_a_dump_is_the_same(void **state)
{
    static const char *const files[] = {SAMPLE_FILE, "version: 1\n",
                                        ("version: 1\nserver: {idle_max: never, threads: auto}\n"
                                         "models: [{name: a, path: \"a b\"}]\n")};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        struct text first, second, first_plain, second_plain;
        text_init(&first, 65536);
        text_init(&second, 65536);
        text_init(&first_plain, 65536);
        text_init(&second_plain, 65536);
        struct config *config = load_good(files[i]);
        assert_false(failed(config_dump(config, &first)));
        struct config *again = load_good(text_cstr(&first));
        assert_false(failed(config_dump(again, &second)));
        without_comments(&first, &first_plain);
        without_comments(&second, &second_plain);
        if (i > 0) /* the secret of the first is masked, so not in the second */
            assert_string_equal(text_cstr(&first_plain), text_cstr(&second_plain));
        size_t changes = 0;
        assert_false(failed(config_diff(config, again, count, &changes)));
        assert_int_equal(changes, i == 0 ? 1 : 0);
        config_unref(config);
        config_unref(again);
        text_release(&first);
        text_release(&second);
        text_release(&first_plain);
        text_release(&second_plain);
    }
}

static void addresses_of_every_kind_come_back_from_a_dump(void **state)
{
    static const char *const addresses[] = {"127.0.0.1:80", "[::1]:80", "unix:/run/a b.sock",
                                            "unix:/run/$$x", ":80"};
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
        struct text yaml, dump;
        text_init(&yaml, 4096);
        text_init(&dump, 65536);
        text_printf(&yaml, "version: 1\nserver: {listen: \"%s\"}\n", addresses[i]);
        struct config *config = load_good(text_cstr(&yaml));
        assert_false(failed(config_dump(config, &dump)));
        struct config *again = load_good(text_cstr(&dump));
        size_t changes = 0;
        assert_false(failed(config_diff(config, again, count, &changes)));
        assert_int_equal(changes, 0);
        config_unref(config);
        config_unref(again);
        text_release(&yaml);
        text_release(&dump);
    }
}

static void a_dump_that_does_not_fit_is_an_error(void **state)
{
    struct config *config = load_good(SAMPLE_FILE);
    struct text dump;
    text_init(&dump, 100);
    assert_true(is(config_dump(config, &dump), ERR_TOO_LARGE));
    text_release(&dump);
    config_unref(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dump_is_a_file_of_the_same_values_in_every_line),
        cmocka_unit_test(texts_that_are_no_plain_words_come_back_from_a_dump),
        cmocka_unit_test(a_dump_of_a_dump_is_the_same),
        cmocka_unit_test(addresses_of_every_kind_come_back_from_a_dump),
        cmocka_unit_test(a_dump_that_does_not_fit_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
