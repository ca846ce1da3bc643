#include "base/alloc.h"
#include "cmd/config_schema.h"
#include "cmd/report.h"
#include "cmd/role.h"
#include "config/inspect.h"
#include "config/reload.h"
#include "config/upgrade.h"
#include "config/value.h"
#include "io/uv/uv.h"
#include "wire/json.h"

#include <stdio.h>
#include <sysexits.h>

#define OUTPUT_BYTES_MAX ((size_t)16 << 20)
/* As diff(1): 0 for the same, 1 for different. */
#define EXIT_DIFFERENT 1

struct own {
    bool json;
};

static const struct config_key own_keys[] = {
    {.flag = "--json", .help = "JSON", .type = CONFIG_BOOL, CONFIG_FIELD(struct own, json)},
};
static const struct config_section own_section = CONFIG_SECTION(struct own, own_keys);

static const char *const reloads[] = {
    [CONFIG_RESTART] = "restart", [CONFIG_DRAIN] = "drain", [CONFIG_LIVE] = "live"};

static int load(const struct run_options *options, const struct run_modules *modules,
                struct config **ret_config)
{
    CLEANUP(mem_cleanup) struct config_errors *errors = MEM_NEW(struct config_errors);
    mem_must(errors, sizeof(*errors));
    if (!failed(run_config_load(options, modules, ret_config, errors)))
        return EX_OK;
    run_say("", errors);
    return EX_CONFIG;
}

/* The words of a command that looks at files, not at a role's words. */
struct file_words {
    struct arena arena;
    struct own own;
    struct flags flags;
    struct process *process;
};

static int file_words_init(struct file_words *words, void (*describe)(struct command_page *),
                           const char *name, int argc, const char *const *argv, bool *ret_help)
{
    struct command_page page;
    struct diag diag = {0};
    *words = (struct file_words){0};
    describe(&page);
    arena_init(&words->arena, 4096, (size_t)1 << 20);
    if (failed(
            flags_parse(&page.flags, argc, argv, &words->arena, &words->own, &words->flags, &diag)))
        return command_usage(name, &diag);
    *ret_help = words->flags.help != FLAGS_NO_HELP;
    if (*ret_help)
        return command_help(&page.flags, words->flags.help == FLAGS_HELP_ALL);
    struct io_uv_options io = {.loops = 1, .connections_max = 16};
    if (!failed(uv_process_new(&io, &words->process, &diag)))
        return EX_OK;
    fprintf(stderr, "%s: %s\n", name, diag.text);
    return EX_OSERR;
}

static void file_words_release(struct file_words *words)
{
    if (words->process)
        process_free(words->process);
    arena_release(&words->arena);
}

/* ---- dump ---- */

static void describe_dump(struct command_page *ret_page)
{
    *ret_page = (struct command_page){
        .flags = {
            .usage = "weir config dump [--json] [COMMAND] [its options]",
            .summary = "Prints the configuration that COMMAND (serve) would start with, as a file "
                       "that gives the same, each value with its origin. Secrets are masked.",
            .own = &own_section,
            .argument = "COMMAND",
            .arguments_max = 1,
        }};
}

static void dump_texts(const struct config_texts *texts, struct text *into)
{
    text_byte(into, '[');
    for (size_t i = 0; i < texts->count; i++) {
        text_str(into, i > 0 ? "," : "");
        json_append_string(into, span_cstr(texts->items[i]));
    }
    text_byte(into, ']');
}

static void dump_text(const char *value, struct text *into)
{
    if (value)
        json_append_string(into, span_cstr(value));
    else
        text_str(into, "null");
}

/* A number, a boolean, a list or null as such, all else as the text of the file. */
static void dump_value(const struct config_entry *entry, struct text *into)
{
    const struct config_key *key = entry->key;
    bool word = key->word && span_is(span_cstr(entry->value), key->word);
    bool bare = key->type == CONFIG_BOOL || key->type == CONFIG_INT || key->type == CONFIG_REAL ||
                key->type == CONFIG_LIST || key->type == CONFIG_MAP;
    bool text = key->type == CONFIG_TEXT || key->type == CONFIG_PATH || key->type == CONFIG_NAME;
    if (key->type == CONFIG_TEXTS)
        dump_texts(entry->field, into);
    else if (text && !key->secret)
        dump_text(*(const char *const *)entry->field, into);
    else if ((bare && !word) || span_is(span_cstr(entry->value), "null"))
        text_str(into, entry->value);
    else
        json_append_string(into, span_cstr(entry->value));
}

static void dump_origin(const struct config_entry *entry, struct text *into)
{
    static const char *const kinds[] = {[CONFIG_FROM_DEFAULT] = "default",
                                        [CONFIG_FROM_FILE] = "file",
                                        [CONFIG_FROM_ENVIRONMENT] = "environment",
                                        [CONFIG_FROM_FLAG] = "flag"};
    const struct config_origin *origin = entry->origin;
    report_name(into, "origin");
    text_byte(into, '{');
    report_string(into, "kind", kinds[origin->kind]);
    if (origin->kind == CONFIG_FROM_FILE) {
        report_string(into, "file", entry->file);
        report_int(into, "line", origin->line);
        report_int(into, "column", origin->column);
    }
    if (origin->variables)
        report_string(into, "environment", origin->variables);
    if (origin->secret)
        report_string(into, "secret_file", origin->secret);
    if (origin->kind == CONFIG_FROM_FLAG)
        report_string(into, "flag", entry->key->flag);
    text_byte(into, '}');
}

static void dump_entry(void *arg, const struct config_entry *entry)
{
    struct text *into = arg;
    text_str(into, into->len > 1 ? ",\n{" : "{");
    report_string(into, "key", entry->path);
    report_name(into, "value");
    dump_value(entry, into);
    dump_origin(entry, into);
    report_string(into, "reload", reloads[entry->key->reload]);
    text_byte(into, '}');
}

static int dump(struct role_start *start, const void *arg)
{
    const struct own *own = arg;
    struct config *config = NULL;
    CLEANUP(text_release) struct text text;
    text_init(&text, OUTPUT_BYTES_MAX);
    int code = load(&start->options, &start->page.modules, &config);
    if (code != EX_OK)
        return code;
    result r;
    if (own->json) {
        text_byte(&text, '[');
        r = config_walk(config, dump_entry, &text);
        text_str(&text, "]\n");
    } else {
        r = config_dump(config, &text);
    }
    config_unref(config);
    if (!failed(r))
        return command_print(&text);
    fprintf(stderr, "weir config dump: %s\n", err_text((enum err)r.code));
    return EX_SOFTWARE;
}

static int cmd_dump(int argc, const char *const *argv)
{
    static const struct role_look look = {"weir config dump", describe_dump, dump};
    return role_look(&look, argc, argv);
}

/* ---- diff ---- */

static void describe_diff(struct command_page *ret_page)
{
    *ret_page = (struct command_page){
        .flags = {
            .usage = "weir config diff [--json] OLD NEW",
            .summary = "Prints what changes from the file OLD to the file NEW, and for each key "
                       "whether a reload takes it live, for what is opened after it (drain) or "
                       "not before a restart. Secrets are masked. Ends with 0 when nothing "
                       "changes, with 1 otherwise.",
            .own = &own_section,
            .argument = "OLD NEW",
            .arguments_min = 2,
            .arguments_max = 2,
        }};
}

struct differences {
    struct text text;
    bool json;
    size_t count;
};

static void diff_change(void *arg, const struct config_change *change)
{
    struct differences *differences = arg;
    struct text *into = &differences->text;
    const char *old = change->old_value, *new_ = change->new_value;
    const char *how = reloads[change->key->reload];
    bool json = differences->json;
    if (json)
        text_str(into, differences->count > 0 ? ",\n{" : "{");
    differences->count++;
    if (json) {
        report_string(into, "key", change->path);
        report_string(into, "old", old);
        report_string(into, "new", new_);
        report_string(into, "reload", how);
        text_byte(into, '}');
    } else if (old && new_) {
        text_printf(into, "%s: %s -> %s (%s)\n", change->path, old, new_, how);
    } else {
        text_printf(into, "%s: %s (%s)\n", change->path, old ? "removed" : "added", how);
    }
}

static int diff(const struct file_words *words)
{
    struct run_modules modules;
    struct config *configs[2] = {NULL, NULL};
    struct differences differences = {.json = words->own.json};
    int code = EX_OK;
    run_modules_of(role_commands[0].role, &modules);
    for (size_t i = 0; i < 2 && code == EX_OK; i++) {
        const struct run_options options = {.process = words->process,
                                            .role = role_commands[0].role,
                                            .config_path = words->flags.arguments[i]};
        code = load(&options, &modules, &configs[i]);
    }
    text_init(&differences.text, OUTPUT_BYTES_MAX);
    if (code == EX_OK) {
        text_str(&differences.text, words->own.json ? "[" : "");
        result r = config_diff(configs[0], configs[1], diff_change, &differences);
        text_str(&differences.text, words->own.json ? "]\n" : "");
        code = failed(r) ? EX_SOFTWARE : command_print(&differences.text);
    }
    if (code == EX_OK && differences.count > 0)
        code = EXIT_DIFFERENT;
    text_release(&differences.text);
    config_unref(configs[0]);
    config_unref(configs[1]);
    return code;
}

static int cmd_diff(int argc, const char *const *argv)
{
    struct file_words words;
    bool help = false;
    int code = file_words_init(&words, describe_diff, "weir config diff", argc, argv, &help);
    if (code == EX_OK && !help)
        code = diff(&words);
    file_words_release(&words);
    return code;
}

/* ---- schema ---- */

static void describe_schema(struct command_page *ret_page)
{
    *ret_page = (struct command_page){
        .flags = {
            .usage = "weir config schema [COMMAND]",
            .summary = "Prints the JSON Schema (draft 2020-12) of the weir.yaml of COMMAND "
                       "(serve), for editors and other tools.",
            .argument = "COMMAND",
            .arguments_max = 1,
        }};
}

static int schema(const char *name)
{
    const struct role_command *command = name ? role_named(name) : &role_commands[0];
    struct run_modules modules;
    CLEANUP(text_release) struct text text;
    text_init(&text, OUTPUT_BYTES_MAX);
    if (command == NULL) {
        fprintf(stderr, "weir config schema: '%.64s' has no configuration\n", name);
        return EX_USAGE;
    }
    run_modules_of(command->role, &modules);
    config_schema(modules.items, modules.len, &text);
    return command_print(&text);
}

static int cmd_schema(int argc, const char *const *argv)
{
    struct file_words words;
    bool help = false;
    int code = file_words_init(&words, describe_schema, "weir config schema", argc, argv, &help);
    if (code == EX_OK && !help)
        code = schema(words.flags.argument_count ? words.flags.arguments[0] : NULL);
    file_words_release(&words);
    return code;
}

/* ---- upgrade ---- */

static void describe_upgrade(struct command_page *ret_page)
{
    *ret_page = (struct command_page){
        .flags = {
            .usage = "weir config upgrade FILE",
            .summary = "Prints FILE with the newest names of its keys; comments stay. What has to "
                       "be changed by hand is told on standard error, and the end is then 1.",
            .argument = "FILE",
            .arguments_min = 1,
            .arguments_max = 1,
        }};
}

struct upgrade {
    const char *file;
    size_t by_hand;
};

static void tell_edit(void *arg, const struct config_edit *edit)
{
    struct upgrade *upgrade = arg;
    if (edit->done)
        return;
    upgrade->by_hand++;
    if (edit->replacement)
        fprintf(stderr, "%s:%d:%d: %s: move it to %s\n", upgrade->file, edit->line, edit->column,
                edit->path, edit->replacement);
    else
        fprintf(stderr, "%s:%d:%d: %s: remove it; nothing replaces it\n", upgrade->file, edit->line,
                edit->column, edit->path);
}

static int upgrade(const struct file_words *words)
{
    struct upgrade state = {.file = words->flags.arguments[0]};
    struct diag diag = {0};
    struct run_modules modules;
    CLEANUP(text_release) struct text yaml, text;
    run_modules_of(role_commands[0].role, &modules);
    text_init(&yaml, CONFIG_FILE_BYTES_MAX);
    text_init(&text, 2 * CONFIG_FILE_BYTES_MAX);
    result r = file_read(words->process, state.file, &yaml, &diag);
    const struct config_source source = {.modules = modules.items,
                                         .module_count = modules.len,
                                         .file = state.file,
                                         .yaml = text_span(&yaml)};
    if (!failed(r))
        r = config_upgrade(&source, &text, tell_edit, &state, &diag);
    if (failed(r)) {
        char line[DIAG_TEXT_MAX + 512];
        diag_format(&diag, line, sizeof(line));
        fprintf(stderr, "weir: %s\n", line);
        return EX_CONFIG;
    }
    int code = command_print(&text);
    return code == EX_OK && state.by_hand > 0 ? EXIT_DIFFERENT : code;
}

static int cmd_upgrade(int argc, const char *const *argv)
{
    struct file_words words;
    bool help = false;
    int code = file_words_init(&words, describe_upgrade, "weir config upgrade", argc, argv, &help);
    if (code == EX_OK && !help)
        code = upgrade(&words);
    file_words_release(&words);
    return code;
}

/* ---- the table ---- */

const struct command config_commands[] = {
    {.name = "dump",
     .summary = "what a command would start with, and where each value is from",
     .main = cmd_dump,
     .describe = describe_dump,
     .takes_role = true},
    {.name = "diff",
     .summary = "what changes between two files, and how it takes effect",
     .main = cmd_diff,
     .describe = describe_diff},
    {.name = "schema",
     .summary = "the JSON Schema of weir.yaml",
     .main = cmd_schema,
     .describe = describe_schema},
    {.name = "upgrade",
     .summary = "an older file with the newest names",
     .main = cmd_upgrade,
     .describe = describe_upgrade},
    {.name = NULL},
};

int cmd_config(int argc, const char *const *argv)
{
    return commands_run(config_commands, "weir config", argc, argv);
}
