#include "cmd/role.h"

#include "base/alloc.h"
#include "io/uv/uv.h"
#include "serve/serve.h"

#include <stdio.h>
#include <sysexits.h>

#define WORDS_BYTES_MAX ((size_t)1 << 20)
#define CONNECTIONS_MAX 65536

/* What no file can say: it is needed before a file is read. */
static const struct config_key own_keys[] = {
    {.flag = "--config",
     .help = "a weir.yaml",
     .type = CONFIG_PATH,
     .common = true,
     CONFIG_FIELD(struct role_own, config)},
    {.flag = "--loops",
     .help = "event loops; \"auto\" is one a core",
     .fallback = "auto",
     .word = "auto",
     .min = 1,
     .max = 64,
     .type = CONFIG_INT,
     CONFIG_FIELD(struct role_own, loops)},
    {.flag = "--allow-deprecated",
     .help = "take keys whose time is over, with a warning",
     .type = CONFIG_BOOL,
     CONFIG_FIELD(struct role_own, allow_deprecated)},
};
static const struct config_section own_section = CONFIG_SECTION(struct role_own, own_keys);

const struct role_command role_commands[] = {
    {.name = "serve",
     .usage = "weir serve [options] [PATH]",
     .summary = "Serves models over TensorFlow Serving's REST API and the Open Inference "
                "Protocol v2. PATH is a model file, a folder of NAME.onnx, or a folder of "
                "MODEL/VERSION/model.onnx.",
     .role = &serve_role,
     .argument_key = &serve_path_key,
     .argument = "PATH"},
};

void role_describe(const struct role_command *command, struct command_page *ret_page)
{
    run_modules_of(command->role, &ret_page->modules);
    ret_page->flags = (struct flags_command){
        .usage = command->usage,
        .summary = command->summary,
        .own = &own_section,
        .modules = ret_page->modules.items,
        .module_count = ret_page->modules.len,
        .argument = command->argument,
        .arguments_max = 1,
    };
}

/* Flags, then the one argument, which is a setting too. */
static void take_settings(struct role_start *start)
{
    size_t len = start->flags.setting_count;
    struct config_setting *settings = arena_zalloc(&start->arena, len + 1, sizeof(*settings));
    mem_must(settings, (len + 1) * sizeof(*settings));
    if (len)
        memcpy(settings, start->flags.settings, len * sizeof(*settings));
    if (start->flags.argument_count)
        settings[len++] =
            (struct config_setting){*start->command->argument_key, start->flags.arguments[0]};
    start->options.settings = settings;
    start->options.settings_len = len;
}

int role_start_init(struct role_start *start, const struct role_command *command, const char *name,
                    int argc, const char *const *argv, bool *ret_help)
{
    struct diag diag = {0};
    *start = (struct role_start){.command = command};
    arena_init(&start->arena, 4096, WORDS_BYTES_MAX);
    role_describe(command, &start->page);
    if (failed(flags_parse(&start->page.flags, argc, argv, &start->arena, &start->own,
                           &start->flags, &diag)))
        return command_usage(name, &diag);
    *ret_help = start->flags.help != FLAGS_NO_HELP;
    if (*ret_help)
        return command_help(&start->page.flags, start->flags.help == FLAGS_HELP_ALL);
    struct io_uv_options io = {.loops = (int)start->own.loops, .connections_max = CONNECTIONS_MAX};
    start->options = (struct run_options){
        .role = command->role,
        .config_path = start->own.config,
        .allow_deprecated = start->own.allow_deprecated,
    };
    take_settings(start);
    if (!failed(uv_process_new(&io, &start->options.process, &diag)))
        return EX_OK;
    fprintf(stderr, "%s: %s\n", name, diag.text);
    return EX_OSERR;
}

void role_start_release(struct role_start *start)
{
    if (start->options.process)
        process_free(start->options.process);
    arena_release(&start->arena);
}

/* Whether `word` is one of the booleans: --name, --no-name, --name=true. */
static bool is_own(const struct config_section *own, const char *word)
{
    struct span name = span_cstr(word);
    if (span_is(name, "-h") || span_is(name, "--help") || span_is(name, "--help-all"))
        return true;
    name = span_first(name, span_find(name, '='));
    for (size_t i = 0; i < own->key_count; i++) {
        struct span flag = span_cstr(own->keys[i].flag);
        bool negated =
            span_starts(name, SPAN("--no-")) && span_eq(span_from(name, 5), span_from(flag, 2));
        if (span_eq(name, flag) || negated)
            return true;
    }
    return false;
}

const struct role_command *role_named(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(role_commands); i++)
        if (span_is(span_cstr(name), role_commands[i].name))
            return &role_commands[i];
    return NULL;
}

/* The words of both, apart. */
struct words {
    const char **own, **rest;
    int own_len, rest_len;
    const struct role_command *role;
};

static void split(const struct config_section *own, int argc, const char *const *argv,
                  struct arena *arena, struct words *ret_words)
{
    struct words words = {.role = &role_commands[0]};
    size_t size = ((size_t)argc + 1) * sizeof(*words.own);
    words.own = mem_must(arena_zalloc(arena, 1, size), size);
    words.rest = mem_must(arena_zalloc(arena, 1, size), size);
    bool options = true;
    for (int i = 0; i < argc; i++) {
        options = options && !span_is(span_cstr(argv[i]), "--");
        if (options && is_own(own, argv[i]))
            words.own[words.own_len++] = argv[i];
        else
            words.rest[words.rest_len++] = argv[i];
    }
    const struct role_command *named = words.rest_len > 0 ? role_named(words.rest[0]) : NULL;
    if (named) {
        words.role = named;
        words.rest++;
        words.rest_len--;
    }
    *ret_words = words;
}

static int look_at(const struct role_look *look, const struct words *words, const void *own)
{
    struct role_start start;
    bool help = false;
    int code =
        role_start_init(&start, words->role, look->name, words->rest_len, words->rest, &help);
    if (code == EX_OK && !help)
        code = look->look(&start, own);
    role_start_release(&start);
    return code;
}

int role_look(const struct role_look *look, int argc, const char *const *argv)
{
    struct command_page page;
    struct arena arena;
    struct words words;
    struct flags flags;
    struct diag diag = {0};
    look->describe(&page);
    arena_init(&arena, 4096, WORDS_BYTES_MAX);
    split(page.flags.own, argc, argv, &arena, &words);
    void *own = mem_must(arena_zalloc(&arena, 1, page.flags.own->size), page.flags.own->size);
    int code;
    page.flags.arguments_max = 0;
    if (failed(flags_parse(&page.flags, words.own_len, words.own, &arena, own, &flags, &diag)))
        code = command_usage(look->name, &diag);
    else if (flags.help != FLAGS_NO_HELP)
        code = command_help(&page.flags, flags.help == FLAGS_HELP_ALL);
    else
        code = look_at(look, &words, own);
    arena_release(&arena);
    return code;
}
