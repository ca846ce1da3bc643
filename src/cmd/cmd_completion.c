/* Completion scripts from the tables. A script is whole: it asks the program nothing.
 *
 * A *context* is the words of commands that stand before what is completed: "serve",
 * "config dump". Each has its options and what its argument is; one that takes a role's
 * words has the role's options, too.
 */
#include "cmd/role.h"

#include <stdio.h>
#include <sysexits.h>

#define SCRIPT_BYTES_MAX ((size_t)1 << 20)

static const char *const shells[] = {"bash", "zsh", "fish"};

void describe_completion(struct command_page *ret_page)
{
    *ret_page =
        (struct command_page){.flags = {
                                  .usage = "weir completion bash|zsh|fish",
                                  .summary = "Writes the completion script of a shell. In bash: "
                                             "source <(weir completion bash)",
                                  .argument = "SHELL",
                                  .arguments_min = 1,
                                  .arguments_max = 1,
                              }};
}

/* ---- what all scripts are made of ---- */

typedef void (*key_fn)(void *arg, const struct config_key *key);

static void each_in(const struct config_section *section, key_fn fn, void *arg)
{
    for (size_t i = 0; section && i < section->key_count; i++)
        if (section->keys[i].flag)
            fn(arg, &section->keys[i]);
}

static void each_of(const struct flags_command *flags, key_fn fn, void *arg)
{
    each_in(flags->own, fn, arg);
    for (size_t m = 0; m < flags->module_count; m++)
        each_in(&flags->modules[m]->section, fn, arg);
}

/* Every option that the command's words may hold. */
static void each_key(const struct command *command, key_fn fn, void *arg)
{
    struct command_page page = {0};
    command->describe(&page);
    each_of(&page.flags, fn, arg);
    if (!command->takes_role)
        return;
    role_describe(&role_commands[0], &page);
    each_of(&page.flags, fn, arg);
}

struct context {
    const struct command *command;
    const char *above; /* "config", or NULL */
};

typedef void (*context_fn)(struct text *into, const struct context *context);

static void each_context(struct text *into, context_fn fn)
{
    for (size_t i = 0; commands[i].name; i++) {
        struct context context = {&commands[i], NULL};
        if (commands[i].describe)
            fn(into, &context);
        for (size_t s = 0; commands[i].sub && commands[i].sub[s].name; s++) {
            context = (struct context){&commands[i].sub[s], commands[i].name};
            fn(into, &context);
        }
    }
}

static void names(struct text *into, const struct command *list)
{
    for (size_t i = 0; list[i].name; i++)
        text_printf(into, "%s%s", i > 0 ? " " : "", list[i].name);
}

/* What an argument may be besides a file. */
static const char *argument_words(const struct command *command)
{
    struct span name = span_cstr(command->name);
    if (command->takes_role || span_is(name, "schema"))
        return "serve";
    if (span_is(name, "completion"))
        return "bash zsh fish";
    return "";
}

static bool argument_is_file(const struct command *command)
{
    struct span name = span_cstr(command->name);
    return !span_is(name, "completion") && !span_is(name, "man") && !span_is(name, "schema");
}

/* In single quotes, as all three shells take it where there is none within. */
static void quoted(struct text *into, const char *words, const char *escaped)
{
    for (const char *c = words; *c; c++) {
        if (*c == '\'')
            continue;
        if (strchr(escaped, *c))
            text_byte(into, '\\');
        text_byte(into, (uint8_t)*c);
    }
}

/* ---- bash ---- */

static void bash_flag(void *arg, const struct config_key *key)
{
    struct text *into = arg;
    text_printf(into, " %s", key->flag);
    if (key->type == CONFIG_BOOL)
        text_printf(into, " --no-%s", key->flag + 2);
}

static void bash_value(void *arg, const struct config_key *key)
{
    struct text *into = arg;
    if (key->type == CONFIG_BOOL)
        return;
    text_printf(into, "        %s) ", key->flag);
    if (key->type == CONFIG_PATH) {
        text_str(into, "files=1 words=;;\n");
        return;
    }
    text_str(into, "files= words='");
    for (size_t i = 0; key->type == CONFIG_ENUM && key->choices[i]; i++)
        text_printf(into, "%s%s", i > 0 ? " " : "", key->choices[i]);
    if (key->word)
        text_str(into, key->word);
    text_str(into, "';;\n");
}

static void bash_context(struct text *into, const struct context *context)
{
    const struct command *command = context->command;
    text_printf(into, "    '%s%s%s')\n        files=%s words='%s' flags='--help --help-all",
                context->above ? context->above : "", context->above ? " " : "", command->name,
                argument_is_file(command) ? "1" : "", argument_words(command));
    each_key(command, bash_flag, into);
    text_str(into, "'\n        case $prev in\n");
    each_key(command, bash_value, into);
    text_str(into, "        *) value=;;\n        esac;;\n");
}

static void bash(struct text *into)
{
    text_str(into, "# bash completion of weir; made by `weir completion bash`\n"
                   "_weir() {\n"
                   "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}\n"
                   "    local context=${COMP_WORDS[1]} first=2 value=1 files= words= flags=\n"
                   "    if [[ $cur == '=' ]]; then cur=\n"
                   "    elif [[ $prev == '=' ]]; then prev=${COMP_WORDS[COMP_CWORD - 2]}\n"
                   "    fi\n");
    for (size_t i = 0; commands[i].name; i++)
        if (commands[i].sub)
            text_printf(into,
                        "    if [[ $context == %s ]] && ((COMP_CWORD > 2)); then\n"
                        "        context+=\" ${COMP_WORDS[2]}\" first=3\n"
                        "    fi\n",
                        commands[i].name);
    text_str(into,
             "    if ((COMP_CWORD < 2)); then context=; fi\n"
             "    case $context in\n    '')\n        value= flags='--help --version' words='");
    names(into, commands);
    text_str(into, "';;\n");
    for (size_t i = 0; commands[i].name; i++)
        if (commands[i].sub) {
            text_printf(into, "    %s)\n        value= flags=--help words='", commands[i].name);
            names(into, commands[i].sub);
            text_str(into, "';;\n");
        }
    each_context(into, bash_context);
    text_str(into,
             "    esac\n"
             "    if [[ -z $value && $cur == -* ]]; then words=$flags files=; fi\n"
             "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
             "    if [[ $files ]]; then\n"
             "        compopt -o filenames 2>/dev/null\n"
             "        mapfile -t -O \"${#COMPREPLY[@]}\" COMPREPLY < <(compgen -f -- \"$cur\")\n"
             "    fi\n"
             "}\n"
             "complete -F _weir weir\n");
}

/* ---- zsh ---- */

static void zsh_flag(void *arg, const struct config_key *key)
{
    struct text *into = arg;
    text_printf(into, " \\\n        '%s%s[", key->flag, key->type == CONFIG_BOOL ? "" : "=");
    quoted(into, key->help, "[]:\\");
    text_byte(into, ']');
    if (key->type == CONFIG_PATH)
        text_str(into, ":path:_files");
    else if (key->type != CONFIG_BOOL)
        text_str(into, ":value:(");
    for (size_t i = 0; key->type == CONFIG_ENUM && key->choices[i]; i++)
        text_printf(into, "%s%s", i > 0 ? " " : "", key->choices[i]);
    if (key->word)
        text_str(into, key->word);
    if (key->type != CONFIG_PATH && key->type != CONFIG_BOOL)
        text_byte(into, ')');
    text_byte(into, '\'');
    if (key->type == CONFIG_BOOL) {
        text_printf(into, " \\\n        '--no-%s[not: ", key->flag + 2);
        quoted(into, key->help, "[]:\\");
        text_str(into, "]'");
    }
}

static void zsh_context(struct text *into, const struct context *context)
{
    const struct command *command = context->command;
    text_printf(into, "    '%s%s%s')\n        _arguments '--help[help]' '--help-all[all options]'",
                context->above ? context->above : "", context->above ? " " : "", command->name);
    each_key(command, zsh_flag, into);
    const char *words = argument_words(command);
    if (argument_is_file(command) && words[0])
        text_printf(into,
                    " \\\n        '*:argument:{_alternative \"c:command:(%s)\" "
                    "\"f:file:_files\"}'",
                    words);
    else if (argument_is_file(command))
        text_str(into, " \\\n        '*:file:_files'");
    else if (words[0])
        text_printf(into, " \\\n        '1:argument:(%s)'", words);
    text_str(into, ";;\n");
}

static void zsh_commands(struct text *into, const struct command *list)
{
    text_str(into, "(");
    for (size_t i = 0; list[i].name; i++) {
        text_printf(into, "%s'%s:", i > 0 ? " " : "", list[i].name);
        quoted(into, list[i].summary, "");
        text_byte(into, '\'');
    }
    text_str(into, ")\n");
}

static void zsh(struct text *into)
{
    text_str(into, "#compdef weir\n# made by `weir completion zsh`\n"
                   "_weir() {\n"
                   "    local context\n"
                   "    local -a list\n"
                   "    if ((CURRENT == 2)); then\n"
                   "        list=");
    zsh_commands(into, commands);
    text_str(into, "        _describe command list\n        return\n    fi\n"
                   "    context=$words[2]\n");
    for (size_t i = 0; commands[i].name; i++) {
        if (!commands[i].sub)
            continue;
        text_printf(into,
                    "    if [[ $context == %s ]]; then\n"
                    "        if ((CURRENT == 3)); then\n            list=",
                    commands[i].name);
        zsh_commands(into, commands[i].sub);
        text_str(into, "            _describe command list\n            return\n        fi\n"
                       "        context+=\" $words[3]\"\n"
                       "        shift words\n        ((CURRENT--))\n    fi\n");
    }
    text_str(into, "    shift words\n    ((CURRENT--))\n    case $context in\n");
    each_context(into, zsh_context);
    text_str(into,
             "    esac\n}\n"
             "if [[ $funcstack[1] == _weir ]]; then _weir \"$@\"; else compdef _weir weir; fi\n");
}

/* ---- fish ---- */

struct fish {
    struct text *into;
    const char *condition;
};

static void fish_flag(void *arg, const struct config_key *key)
{
    struct fish *fish = arg;
    struct text *into = fish->into;
    text_printf(into, "complete -c weir -n '%s' -l %s", fish->condition, key->flag + 2);
    if (key->type == CONFIG_PATH)
        text_str(into, " -r -F");
    else if (key->type != CONFIG_BOOL)
        text_str(into, " -x");
    if (key->type == CONFIG_ENUM || (key->word && key->type != CONFIG_BOOL))
        text_str(into, " -a '");
    for (size_t i = 0; key->type == CONFIG_ENUM && key->choices[i]; i++)
        text_printf(into, "%s%s", i > 0 ? " " : "", key->choices[i]);
    if (key->word && key->type != CONFIG_BOOL)
        text_str(into, key->word);
    if (key->type == CONFIG_ENUM || (key->word && key->type != CONFIG_BOOL))
        text_byte(into, '\'');
    text_str(into, " -d '");
    quoted(into, key->help, "");
    text_str(into, "'\n");
    if (key->type == CONFIG_BOOL)
        text_printf(into, "complete -c weir -n '%s' -l no-%s\n", fish->condition, key->flag + 2);
}

static void fish_context(struct text *into, const struct context *context)
{
    char condition[256];
    const struct command *command = context->command;
    snprintf(condition, sizeof(condition), "%s%s%s__fish_seen_subcommand_from %s",
             context->above ? "__fish_seen_subcommand_from " : "",
             context->above ? context->above : "", context->above ? "; and " : "", command->name);
    struct fish fish = {into, condition};
    text_printf(into, "complete -c weir -n '%s' -l help -s h -d 'show help'\n", condition);
    text_printf(into, "complete -c weir -n '%s' -l help-all -d 'show all options'\n", condition);
    each_key(command, fish_flag, &fish);
    if (argument_words(command)[0])
        text_printf(into, "complete -c weir -n '%s' -a '%s'\n", condition, argument_words(command));
    if (argument_is_file(command))
        text_printf(into, "complete -c weir -n '%s' -F\n", condition);
}

static void fish(struct text *into)
{
    text_str(into, "# fish completion of weir; made by `weir completion fish`\n"
                   "complete -c weir -f\n"
                   "complete -c weir -n __fish_use_subcommand -l version -d 'show the version'\n");
    for (size_t i = 0; commands[i].name; i++) {
        text_printf(into, "complete -c weir -n __fish_use_subcommand -a %s -d '", commands[i].name);
        quoted(into, commands[i].summary, "");
        text_str(into, "'\n");
        for (size_t s = 0; commands[i].sub && commands[i].sub[s].name; s++) {
            text_printf(into,
                        "complete -c weir -n '__fish_seen_subcommand_from %s; and not "
                        "__fish_seen_subcommand_from ",
                        commands[i].name);
            names(into, commands[i].sub);
            text_printf(into, "' -a %s -d '", commands[i].sub[s].name);
            quoted(into, commands[i].sub[s].summary, "");
            text_str(into, "'\n");
        }
    }
    each_context(into, fish_context);
}

/* ---- the command ---- */

static int print(const char *shell)
{
    static void (*const writers[])(struct text *into) = {bash, zsh, fish};
    CLEANUP(text_release) struct text text;
    text_init(&text, SCRIPT_BYTES_MAX);
    for (size_t i = 0; i < ARRAY_LEN(shells); i++)
        if (span_is(span_cstr(shell), shells[i])) {
            writers[i](&text);
            return command_print(&text);
        }
    fprintf(stderr, "weir completion: expected bash, zsh or fish, got '%.64s'\n", shell);
    return EX_USAGE;
}

int cmd_completion(int argc, const char *const *argv)
{
    struct command_page page;
    struct arena arena;
    struct flags flags;
    struct diag diag = {0};
    describe_completion(&page);
    arena_init(&arena, 4096, (size_t)1 << 20);
    int code;
    if (failed(flags_parse(&page.flags, argc, argv, &arena, NULL, &flags, &diag)))
        code = command_usage("weir completion", &diag);
    else if (flags.help != FLAGS_NO_HELP)
        code = command_help(&page.flags, true);
    else
        code = print(flags.arguments[0]);
    arena_release(&arena);
    return code;
}
