/* Manual pages from the tables, in the man(7) language.
 *
 *   weir            the commands
 *   weir-COMMAND    one command, with those below it
 *   weir.yaml       every key
 */
#include "cmd/role.h"
#include "config/inspect.h"

#include <stdio.h>
#include <sysexits.h>

#define PAGE_BYTES_MAX ((size_t)1 << 20)

void describe_man(struct command_page *ret_page)
{
    *ret_page = (struct command_page){
        .flags = {
            .usage = "weir man [PAGE]",
            .summary = "Writes a manual page: weir, weir-COMMAND or weir.yaml. To read one: "
                       "weir man weir-serve | man -l -",
            .argument = "PAGE",
            .arguments_max = 1,
        }};
}

/* ---- the language ---- */

/* Text with what roff would take for its own escaped. */
static void roff(struct text *into, const char *words)
{
    bool start = into->len == 0 || into->ptr[into->len - 1] == '\n';
    for (const char *c = words; *c; c++) {
        if (start && (*c == '.' || *c == '\''))
            text_str(into, "\\&");
        if (*c == '\\')
            text_str(into, "\\e");
        else if (*c == '-')
            text_str(into, "\\-");
        else if (*c == '"')
            text_str(into, "\\(dq");
        else
            text_byte(into, (uint8_t)*c);
        start = *c == '\n';
    }
}

/* A sentence of help: with a capital and a full stop. */
static void sentence(struct text *into, const char *help)
{
    char first[2] = {(char)(help[0] >= 'a' && help[0] <= 'z' ? help[0] - 'a' + 'A' : help[0]), 0};
    roff(into, first);
    roff(into, help + 1);
    text_str(into, ".\n");
}

static void heading(struct text *into, const char *macro, const char *words)
{
    text_printf(into, ".%s ", macro);
    for (const char *c = words; *c; c++)
        text_byte(into, *c >= 'a' && *c <= 'z' && macro[1] == 'H' ? (uint8_t)(*c - 'a' + 'A')
                                                                  : (uint8_t)*c);
    text_byte(into, '\n');
}

static void title(struct text *into, const char *name, const char *section, const char *summary)
{
    text_printf(into, ".TH %s %s %s \"weir %s\"\n.SH NAME\n", name, section, WEIR_DATE,
                WEIR_VERSION);
    roff(into, name);
    text_str(into, " \\- ");
    roff(into, summary);
    text_byte(into, '\n');
}

/* ---- options ---- */

static void label(struct text *into, const struct config_key *key)
{
    CLEANUP(text_release) struct text place;
    text_init(&place, 512);
    flags_placeholder(key, &place);
    text_str(into, ".TP\n\\fB");
    if (key->type == CONFIG_BOOL) {
        roff(into, "--[no-]");
        roff(into, key->flag + 2);
    } else {
        roff(into, key->flag);
    }
    text_str(into, "\\fR");
    if (place.len > 0) {
        text_str(into, " \\fI");
        roff(into, text_cstr(&place));
        text_str(into, "\\fR");
    }
    text_byte(into, '\n');
}

static void default_of(struct text *into, const struct config_key *key)
{
    if (!key->fallback || key->fallback[0] == '\0')
        return;
    text_str(into, "The default is ");
    roff(into, key->fallback);
    text_str(into, ".\n");
}

static void options(struct text *into, const struct config_section *section)
{
    for (size_t i = 0; section && i < section->key_count; i++) {
        const struct config_key *key = &section->keys[i];
        if (!key->flag)
            continue;
        label(into, key);
        sentence(into, key->help);
        default_of(into, key);
        if (key->path) {
            text_str(into, "In the file: ");
            roff(into, key->path);
            text_str(into, ".\n");
        }
    }
}

static void all_options(struct text *into, const struct flags_command *flags)
{
    options(into, flags->own);
    for (size_t m = 0; m < flags->module_count; m++)
        options(into, &flags->modules[m]->section);
    text_str(into, ".TP\n\\fB\\-h\\fR, \\fB\\-\\-help\\fR, \\fB\\-\\-help\\-all\\fR\n"
                   "Shows the common options, or all.\n");
}

/* ---- a command ---- */

static void synopsis(struct text *into, const char *usage)
{
    text_str(into, "\\fB");
    roff(into, usage);
    text_str(into, "\\fR\n");
}

static void exits(struct text *into)
{
    static const struct {
        const char *code, *meaning;
    } rows[] = {
        {"0", "it ended as it should"},
        {"1", "warnings under --strict; files that differ; what is left to do by hand"},
        {"3", "it was stopped and work was cut"},
        {"64", "the command line is wrong"},
        {"65", "a model cannot be loaded"},
        {"66", "a path is not there"},
        {"69", "an address is taken"},
        {"70", "weir itself is at fault"},
        {"71", "the operating system refused memory or descriptors"},
        {"74", "reading or writing failed"},
        {"77", "not permitted"},
        {"78", "the configuration is wrong"},
    };
    heading(into, "SH", "exit status");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        text_printf(into, ".TP\n%s\n", rows[i].code);
        sentence(into, rows[i].meaning);
    }
}

static void command_body(struct text *into, const struct command *command, const char *macro)
{
    struct command_page page = {0};
    command->describe(&page);
    heading(into, macro, macro[1] == 'H' ? "description" : command->name);
    if (macro[1] != 'H') {
        synopsis(into, page.flags.usage);
        text_str(into, ".PP\n");
    }
    roff(into, page.flags.summary);
    text_byte(into, '\n');
    if (command->takes_role)
        text_str(into, "Besides its own options it takes those of COMMAND.\n");
    if (macro[1] == 'H')
        heading(into, macro, "options");
    all_options(into, &page.flags);
}

static void command_page(struct text *into, const struct command *command)
{
    char name[64];
    snprintf(name, sizeof(name), "weir-%s", command->name);
    title(into, name, "1", command->summary);
    heading(into, "SH", "synopsis");
    if (command->describe) {
        struct command_page page = {0};
        command->describe(&page);
        synopsis(into, page.flags.usage);
        command_body(into, command, "SH");
    } else {
        text_printf(into, "\\fBweir %s\\fR COMMAND\n", command->name);
    }
    if (command->sub)
        heading(into, "SH", "commands");
    for (size_t i = 0; command->sub && command->sub[i].name; i++)
        command_body(into, &command->sub[i], "SS");
    exits(into);
    text_str(into, ".SH SEE ALSO\n.BR weir (1),\n.BR weir.yaml (5)\n");
}

static void main_page(struct text *into)
{
    title(into, "weir", "1", "AI applications from a model file to a fleet");
    text_str(into, ".SH SYNOPSIS\n\\fBweir\\fR COMMAND [options]\n.SH COMMANDS\n");
    for (size_t i = 0; commands[i].name; i++) {
        text_printf(into, ".TP\n.BR weir\\-%s (1)\n", commands[i].name);
        sentence(into, commands[i].summary);
    }
    text_str(into, ".SH ENVIRONMENT\nEach key of the file that holds one value can be set by a "
                   "variable: WEIR_ and the key's path in capitals, with underscores for dots.\n"
                   ".SH SEE ALSO\n.BR weir.yaml (5)\n");
}

/* ---- the file ---- */

static const char *const kinds[] = {
    [CONFIG_BOOL] = "true or false",
    [CONFIG_INT] = "a whole number",
    [CONFIG_REAL] = "a number",
    [CONFIG_SIZE] = "a size",
    [CONFIG_TIME] = "a time",
    [CONFIG_TEXT] = "a text",
    [CONFIG_PATH] = "a path",
    [CONFIG_NAME] = "a name",
    [CONFIG_ENUM] = "",
    [CONFIG_ADDRESS] = "an address",
    [CONFIG_TEXTS] = "a list of texts",
    [CONFIG_LIST] = "a list",
    [CONFIG_MAP] = "a mapping from names",
};

static const char *const reloads[] = {
    [CONFIG_RESTART] = "A change needs a restart.",
    [CONFIG_DRAIN] = "A reload applies it to what is opened afterwards.",
    [CONFIG_LIVE] = "A reload applies it at once.",
};

static void keys(struct text *into, const struct config_section *section, const char *above)
{
    for (size_t i = 0; i < section->key_count; i++) {
        const struct config_key *key = &section->keys[i];
        char path[256];
        if (!key->path || config_key_is_alias(key))
            continue;
        snprintf(path, sizeof(path), "%s%s", above, key->path);
        text_str(into, ".TP\n\\fB");
        roff(into, path);
        text_str(into, "\\fR: \\fI");
        roff(into, kinds[key->type]);
        for (size_t c = 0; key->type == CONFIG_ENUM && key->choices[c]; c++) {
            text_str(into, c > 0 ? "|" : "");
            roff(into, key->choices[c]);
        }
        text_str(into, "\\fR\n");
        sentence(into, key->help);
        default_of(into, key);
        text_printf(into, "%s\n", reloads[key->reload]);
        if (key->section) {
            snprintf(path, sizeof(path), "%s%s.NAME.", above, key->path);
            keys(into, key->section, path);
        }
    }
}

static void file_page(struct text *into)
{
    struct run_modules modules;
    run_modules_of(role_commands[0].role, &modules);
    title(into, "weir.yaml", "5", "the configuration of a weir process");
    text_str(
        into,
        ".SH DESCRIPTION\nA YAML file that begins with the line \\(dqversion: 1\\(dq. A dot in a "
        "key below stands for a nested mapping.\nA flag beats the environment, the environment the "
        "file, the file the default.\n.PP\nSizes are written 64MiB or 512kB, times 250ms or 10s.\n"
        "In a value ${NAME} is an environment variable, ${NAME:\\-default} one with a default, and "
        "$$ a dollar sign.\nA secret may be {file: PATH}.\n"
        "The signal HUP reloads the file; a wrong one changes nothing.\n.SH KEYS\n");
    for (size_t m = 0; m < modules.len; m++) {
        heading(into, "SS", modules.items[m]->name);
        keys(into, &modules.items[m]->section, "");
    }
    text_str(into, ".SH SEE ALSO\n.BR weir (1),\n.BR weir\\-config (1)\n");
}

static bool write_page(struct text *into, const char *name)
{
    struct span word = span_cstr(name);
    if (span_is(word, "weir")) {
        main_page(into);
        return true;
    }
    if (span_is(word, "weir.yaml")) {
        file_page(into);
        return true;
    }
    struct span rest = span_from(word, span_starts(word, SPAN("weir-")) ? 5 : 0);
    for (size_t i = 0; commands[i].name; i++)
        if (span_is(rest, commands[i].name)) {
            command_page(into, &commands[i]);
            return true;
        }
    return false;
}

int cmd_man(int argc, const char *const *argv)
{
    struct command_page page;
    struct arena arena;
    struct flags flags;
    struct diag diag = {0};
    CLEANUP(text_release) struct text text;
    describe_man(&page);
    arena_init(&arena, 4096, (size_t)1 << 20);
    text_init(&text, PAGE_BYTES_MAX);
    int code;
    if (failed(flags_parse(&page.flags, argc, argv, &arena, NULL, &flags, &diag)))
        code = command_usage("weir man", &diag);
    else if (flags.help != FLAGS_NO_HELP)
        code = command_help(&page.flags, true);
    else if (write_page(&text, flags.argument_count ? flags.arguments[0] : "weir"))
        code = command_print(&text);
    else {
        fprintf(stderr, "weir man: no page '%.64s'; expected weir, weir-COMMAND or weir.yaml\n",
                flags.arguments[0]);
        code = EX_USAGE;
    }
    arena_release(&arena);
    return code;
}
