#include "cmd/command.h"

#include "base/alloc.h"
#include "base/arena.h"
#include "config/flags.h"
#include "io/uv/uv.h"
#include "serve/serve.h"

#include <stdio.h>
#include <sysexits.h>
#include <unistd.h>

/* What no file can say: it is needed before a file is read. */
struct own {
    const char *config;
    int64_t loops;
};

static const struct config_key own_keys[] = {
    {.flag = "--config",
     .help = "a weir.yaml",
     .type = CONFIG_PATH,
     CONFIG_FIELD(struct own, config)},
    {.flag = "--loops",
     .help = "event loops; \"auto\" is one a core",
     .fallback = "auto",
     .word = "auto",
     .min = 1,
     .max = 64,
     .type = CONFIG_INT,
     CONFIG_FIELD(struct own, loops)},
};
static const struct config_section own_section = CONFIG_SECTION(struct own, own_keys);

#define MODULES_MAX 8

static size_t modules_of(const struct config_module **modules)
{
    size_t len = 0;
    for (size_t i = 0; i < serve_role.modules_len; i++)
        modules[len++] = serve_role.modules[i];
    for (size_t i = 0; i < run_modules_len; i++)
        modules[len++] = run_modules[i];
    return len;
}

static int print_help(const struct flags_command *command)
{
    struct text text;
    text_init(&text, 65536);
    flags_help(command, &text);
    bool whole = !failed(text_result(&text));
    if (whole)
        fputs(text_cstr(&text), stdout);
    text_release(&text);
    return whole ? EX_OK : EX_OSERR;
}

/* Flags, then the one argument, which is a setting too. */
static struct config_setting *settings_of(const struct flags *flags, struct arena *arena,
                                          size_t *ret_len)
{
    size_t len = flags->setting_count;
    struct config_setting *settings = arena_zalloc(arena, len + 1, sizeof(*settings));
    mem_must(settings, (len + 1) * sizeof(*settings));
    if (len)
        memcpy(settings, flags->settings, len * sizeof(*settings));
    if (flags->argument_count)
        settings[len++] = (struct config_setting){serve_path_key, flags->arguments[0]};
    *ret_len = len;
    return settings;
}

static int serve(const struct own *own, const struct flags *flags, struct arena *arena)
{
    struct diag diag = {0};
    struct process *process;
    struct io_uv_options io = {.loops = (int)own->loops, .connections_max = 65536};
    if (failed(uv_process_new(&io, &process, &diag))) {
        fprintf(stderr, "weir serve: %s\n", diag.text);
        return EX_OSERR;
    }
    struct run_options options = {
        .process = process,
        .role = &serve_role,
        .config_path = own->config,
    };
    options.settings = settings_of(flags, arena, &options.settings_len);
    int code = run_role(&options);
    if (code == RUN_EXIT_CUT)
        _exit(code);
    process_free(process);
    return code;
}

int cmd_serve(int argc, const char *const *argv)
{
    const struct config_module *modules[MODULES_MAX];
    struct flags_command command = {
        .usage = "weir serve [options] [PATH]",
        .summary = "Serves models over TensorFlow Serving's REST API and the Open Inference "
                   "Protocol v2. PATH is a model file, a folder of NAME.onnx, or a folder of "
                   "MODEL/VERSION/model.onnx.",
        .own = &own_section,
        .modules = modules,
        .module_count = modules_of(modules),
        .argument = "PATH",
        .arguments_max = 1,
    };
    struct arena arena;
    struct own own;
    struct flags flags;
    struct diag diag = {0};
    arena_init(&arena, 4096, 1 << 20);
    int code;
    if (failed(flags_parse(&command, argc, argv, &arena, &own, &flags, &diag))) {
        fprintf(stderr, "weir serve: %s\nSee 'weir serve --help'.\n", diag.text);
        code = EX_USAGE;
    } else if (flags.help) {
        code = print_help(&command);
    } else {
        code = serve(&own, &flags, &arena);
    }
    arena_release(&arena);
    return code;
}
