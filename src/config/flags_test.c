#include "config/flags.h"

#include "base/text.h"
#include "config/test_sample.h"
#include "config/test_words.h"

static const struct flags_command command = {
    .usage = "weir serve [options] [MODEL]",
    .summary = "Serves models over HTTP. One model file is enough to start; a folder of models, "
               "or a configuration file, serves many.",
    .own = &own_section,
    .modules = sample_modules,
    .module_count = ARRAY_LEN(sample_modules),
    .argument = "MODEL",
    .arguments_max = 2,
};

struct parsed {
    struct arena arena;
    struct own own;
    struct flags flags;
    struct diag diag;
    result r;
};

/* Up to seven words. */
static void parse(struct parsed *p, const struct flags_command *of, const char *const words[8])
{
    int argc = 0;
    while (words[argc])
        argc++;
    *p = (struct parsed){0};
    arena_init(&p->arena, 1024, 65536);
    p->r = flags_parse(of, argc, words, &p->arena, &p->own, &p->flags, &p->diag);
}

static void flags_and_arguments_may_come_in_any_order(void **state)
{
    struct parsed p;
    parse(&p, &command,
          (const char *const[8]){"one.onnx", "--threads", "3", "--config=w.yaml", "--", "--two"});
    assert_false(failed(p.r));
    assert_false(p.flags.help);
    assert_string_equal(p.own.config, "w.yaml");
    assert_false(p.own.strict);
    assert_int_equal(p.own.level, 1);
    assert_int_equal(p.flags.setting_count, 1);
    assert_ptr_equal(p.flags.settings[0].key, &sample_server_keys[3]);
    assert_string_equal(p.flags.settings[0].text, "3");
    assert_int_equal(p.flags.argument_count, 2);
    assert_string_equal(p.flags.arguments[0], "one.onnx");
    assert_string_equal(p.flags.arguments[1], "--two");
    arena_release(&p.arena);
}

static void booleans_need_no_value(void **state)
{
    struct parsed p;
    parse(&p, &command, (const char *const[8]){"--strict", "--no-batching", "-"});
    assert_false(failed(p.r));
    assert_true(p.own.strict);
    assert_string_equal(p.flags.settings[0].text, "false");
    assert_string_equal(p.flags.arguments[0], "-");
    arena_release(&p.arena);
    parse(&p, &command, (const char *const[8]){"--strict=false", "--batching=true"});
    assert_false(failed(p.r));
    assert_false(p.own.strict);
    assert_string_equal(p.flags.settings[0].text, "true");
    arena_release(&p.arena);
    parse(&p, &command, (const char *const[8]){"--no-strict"});
    assert_false(failed(p.r));
    assert_false(p.own.strict);
    arena_release(&p.arena);
}

static void lists_of_texts_may_be_repeated(void **state)
{
    struct parsed p;
    parse(&p, &command,
          (const char *const[8]){"--set=a=b", "--label", "x", "--set", "c", "--label=y"});
    assert_false(failed(p.r));
    assert_int_equal(p.own.sets.count, 2);
    assert_string_equal(p.own.sets.items[0], "a=b");
    assert_string_equal(p.own.sets.items[1], "c");
    assert_int_equal(p.flags.setting_count, 2);
    assert_string_equal(p.flags.settings[1].text, "y");
    arena_release(&p.arena);
}

static void a_value_may_begin_with_a_dash_or_be_empty(void **state)
{
    struct parsed p;
    parse(&p, &command, (const char *const[8]){"--label", "-x", "--set=--y", "--set="});
    assert_false(failed(p.r));
    assert_string_equal(p.flags.settings[0].text, "-x");
    assert_string_equal(p.own.sets.items[0], "--y");
    assert_string_equal(p.own.sets.items[1], "");
    arena_release(&p.arena);
}

static void help_ends_the_reading(void **state)
{
    struct parsed p;
    parse(&p, &command, (const char *const[8]){"--strict", "-h", "--nonsense"});
    assert_false(failed(p.r));
    assert_true(p.flags.help);
    arena_release(&p.arena);
    parse(&p, &command, (const char *const[8]){"a", "--help"});
    assert_true(p.flags.help);
    arena_release(&p.arena);
    parse(&p, &command, (const char *const[8]){"--", "--help"});
    assert_false(p.flags.help);
    assert_string_equal(p.flags.arguments[0], "--help");
    arena_release(&p.arena);
}

static void a_wrong_command_line_is_refused_with_the_word_that_is_wrong(void **state)
{
    static const struct {
        const char *words[8];
        const char *message;
    } cases[] = {
        {{"--thread", "1"}, "unknown option '--thread'; did you mean '--threads'?"},
        {{"--thraeds=1"}, "unknown option '--thraeds'; did you mean '--threads'?"},
        {{"--quite-different"}, "unknown option '--quite-different'; --help lists the options"},
        {{"-x"}, "unknown option '-x'; --help lists the options"},
        {{"--no-threads"}, "unknown option '--no-threads'; did you mean '--threads'?"},
        {{"--threads"}, "option '--threads' needs a value"},
        {{"--threads", "--strict"},
         "option '--threads' needs a value, got '--strict'; write --threads=--strict if it is "
         "one"},
        {{"--threads", "many"},
         "option '--threads': expected auto or a whole number from 1 to 64, got 'many'"},
        {{"--level=10"}, "option '--level': expected a whole number from 0 to 9, got '10'"},
        {{"--strict=yes"}, "option '--strict': expected true or false, got 'yes'"},
        {{"--no-strict=true"}, "option '--no-strict' takes no value"},
        {{"--threads=1", "--threads=1"}, "option '--threads' is given twice"},
        {{"--batching", "--no-batching"}, "option '--batching' is given twice"},
        {{"--strict", "--strict"}, "option '--strict' is given twice"},
        {{"--config", ""}, "option '--config': expected a path, got ''"},
        {{"a", "b", "c"}, "unexpected argument 'c'"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct parsed p;
        parse(&p, &command, cases[i].words);
        assert_true(failed(p.r));
        assert_string_equal(p.diag.text, cases[i].message);
        assert_null(p.flags.settings);
        assert_null(p.own.config);
        assert_int_equal(p.own.level, 0);
        arena_release(&p.arena);
    }
}

static void what_is_required_and_missing_is_named(void **state)
{
    static const struct config_key keys[] = {{.flag = "--out",
                                              .help = "where it goes",
                                              .type = CONFIG_PATH,
                                              .required = true,
                                              CONFIG_FIELD(struct own, config)}};
    static const struct config_section section = CONFIG_SECTION(struct own, keys);
    static const struct flags_command strict = {.usage = "weir x FILE",
                                                .summary = "Does x.",
                                                .own = &section,
                                                .argument = "FILE",
                                                .arguments_min = 1,
                                                .arguments_max = 1};
    struct parsed p;
    parse(&p, &strict, (const char *const[8]){"--out=a"});
    assert_true(is(p.r, ERR_ARGUMENT));
    assert_string_equal(p.diag.text, "missing argument FILE");
    arena_release(&p.arena);
    parse(&p, &strict, (const char *const[8]){"a"});
    assert_true(is(p.r, ERR_ARGUMENT));
    assert_string_equal(p.diag.text, "missing option '--out' (where it goes)");
    arena_release(&p.arena);
    parse(&p, &strict, (const char *const[8]){"a", "--help"});
    assert_false(failed(p.r));
    arena_release(&p.arena);
}

static const char help_expected[] =
    "Usage: weir serve [options] [MODEL]\n"
    "\n"
    "Serves models over HTTP. One model file is enough to start; a folder of models,\n"
    "or a configuration file, serves many.\n"
    "\n"
    "Options:\n"
    "  --config PATH               the configuration file\n"
    "  --[no-]strict               take warnings for errors\n"
    "  --level N                   how much is told (default: 1)\n"
    "  --set TEXT                  a setting; may be repeated\n"
    "  -h, --help                  show this help\n"
    "  --help-all                  show all options\n"
    "\n"
    "Server:\n"
    "  --listen ADDRESS            where requests are taken (default: 127.0.0.1:8501)\n"
    "  --connections-max N         how many connections may be open at the same time\n"
    "                              before further ones wait (default: 10000)\n"
    "  --threads N                 event loops (default: auto)\n"
    "  --body-max SIZE             the largest body that is read (default: 64MiB)\n"
    "  --[no-]batching             whether requests are batched (default: on)\n"
    "  --log-format auto|text|json\n"
    "                              the form of log lines (default: auto)\n"
    "  --a-flag-that-is-long PATH  the folder of all files\n"
    "  --label TEXT                a label of this process; may be repeated\n";

static void help_lists_every_option_in_eighty_columns(void **state)
{
    struct text help;
    text_init(&help, 65536);
    flags_help(&command, true, &help);
    assert_false(failed(text_result(&help)));
    assert_string_equal(text_cstr(&help), help_expected);
    struct span rest = text_span(&help);
    while (rest.len > 0)
        assert_in_range(span_cut(&rest, '\n').len, 0, 80);
    text_release(&help);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_and_arguments_may_come_in_any_order),
        cmocka_unit_test(booleans_need_no_value),
        cmocka_unit_test(lists_of_texts_may_be_repeated),
        cmocka_unit_test(a_value_may_begin_with_a_dash_or_be_empty),
        cmocka_unit_test(help_ends_the_reading),
        cmocka_unit_test(a_wrong_command_line_is_refused_with_the_word_that_is_wrong),
        cmocka_unit_test(what_is_required_and_missing_is_named),
        cmocka_unit_test(help_lists_every_option_in_eighty_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
