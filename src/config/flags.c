#include "config/flags.h"

#include "base/lookup.h"
#include "config/snapshot.h"
#include "config/value.h"

struct parser {
    const struct flags_command *command;
    struct arena *arena;
    struct diag *diag;
    int argc, next;
    const char *const *argv;
    struct config_block own; /* section NULL for none */
    struct config_setting *settings;
    size_t setting_count;
    const char **arguments;
    size_t argument_count;
    enum flags_help help;
};

/* What a word of the form --name or --name=value says. */
struct option {
    const struct config_key *key;
    struct span name;  /* as written: "--no-color" */
    const char *value; /* behind the "=", or NULL */
    bool negated;
    size_t own_index; /* of the command's own table */
    bool own;
};

static result no_memory(struct parser *p)
{
    return diag_fail(p->diag, ERR_NO_MEMORY, "out of memory for the command line");
}

/* ---- which option -------------------------------------------------------------- */

static bool key_matches(const struct config_key *key, struct option *option)
{
    if (key->flag == NULL)
        return false;
    if (span_is(option->name, key->flag)) {
        option->key = key;
        return true;
    }
    bool no = key->type == CONFIG_BOOL && span_starts(option->name, SPAN("--no-"));
    if (!no || !span_is(span_from(option->name, 5), key->flag + 2))
        return false;
    option->key = key;
    option->negated = true;
    return true;
}

static bool find_option(const struct parser *p, struct option *option)
{
    const struct config_section *own = p->command->own;
    for (size_t i = 0; own && i < own->key_count; i++)
        if (key_matches(&own->keys[i], option)) {
            option->own = true;
            option->own_index = i;
            return true;
        }
    for (size_t m = 0; m < p->command->module_count; m++) {
        const struct config_section *section = &p->command->modules[m]->section;
        for (size_t i = 0; i < section->key_count; i++)
            if (key_matches(&section->keys[i], option))
                return true;
    }
    return false;
}

/* Adds a table's flags to `words`, which has room. */
static size_t collect_flags(const struct config_section *section, const char **words, size_t count)
{
    for (size_t i = 0; section && i < section->key_count; i++)
        if (section->keys[i].flag)
            words[count++] = section->keys[i].flag;
    return count;
}

static result unknown_option(struct parser *p, struct span name)
{
    const struct flags_command *command = p->command;
    char word[64];
    size_t max = 2 + (command->own ? command->own->key_count : 0), count = 0;
    for (size_t m = 0; m < command->module_count; m++)
        max += command->modules[m]->section.key_count;
    const char **words = arena_zalloc(p->arena, max, sizeof(*words));
    if (words == NULL)
        return no_memory(p);
    count = collect_flags(command->own, words, count);
    for (size_t m = 0; m < command->module_count; m++)
        count = collect_flags(&command->modules[m]->section, words, count);
    words[count++] = "--help";
    words[count++] = "--help-all";
    diag_quote(name, word, sizeof(word));
    const char *near = text_nearest(name, words, count);
    if (near)
        return diag_fail(p->diag, ERR_ARGUMENT, "unknown option '%s'; did you mean '%s'?", word,
                         near);
    return diag_fail(p->diag, ERR_ARGUMENT, "unknown option '%s'; --help lists the options", word);
}

/* ---- its value -------------------------------------------------------------------- */

/* Finds the text of the option's value, taking the next word where it is there. */
static result option_text(struct parser *p, const struct option *option, const char **ret_text)
{
    if (option->key->type == CONFIG_BOOL) {
        if (option->negated && option->value)
            return diag_fail(p->diag, ERR_ARGUMENT, "option '%.*s' takes no value",
                             SPAN_FMT(option->name));
        *ret_text = option->value ? option->value : option->negated ? "false" : "true";
        return OK;
    }
    const char *text = option->value;
    if (text == NULL && p->next < p->argc) {
        text = p->argv[p->next];
        if (strncmp(text, "--", 2) == 0)
            return diag_fail(p->diag, ERR_ARGUMENT,
                             "option '%.*s' needs a value, got '%s'; write %.*s=%s if it is one",
                             SPAN_FMT(option->name), text, SPAN_FMT(option->name), text);
        p->next++;
    }
    if (text == NULL)
        return diag_fail(p->diag, ERR_ARGUMENT, "option '%.*s' needs a value",
                         SPAN_FMT(option->name));
    *ret_text = text;
    return OK;
}

static result twice(struct parser *p, const struct option *option)
{
    return diag_fail(p->diag, ERR_ARGUMENT, "option '%s' is given twice", option->key->flag);
}

static result set_own(struct parser *p, const struct option *option, const char *text)
{
    ASSERT(p->own.origins);
    struct config_origin *origin = &p->own.origins[option->own_index];
    if (origin->kind == CONFIG_FROM_FLAG && option->key->type != CONFIG_TEXTS)
        return twice(p, option);
    void *field = block_field(&p->own, option->own_index);
    if (origin->kind != CONFIG_FROM_FLAG && option->key->type == CONFIG_TEXTS)
        *(struct config_texts *)field = (struct config_texts){0};
    origin->kind = CONFIG_FROM_FLAG;
    return config_value_parse(option->key, span_cstr(text), false, p->arena, field, p->diag);
}

static result add_setting(struct parser *p, const struct option *option, const char *text)
{
    for (size_t i = 0; i < p->setting_count; i++)
        if (p->settings[i].key == option->key && option->key->type != CONFIG_TEXTS)
            return twice(p, option);
    void *scratch = arena_zalloc(p->arena, 1, option->key->size);
    if (scratch == NULL)
        return no_memory(p);
    TRY(config_value_parse(option->key, span_cstr(text), false, p->arena, scratch, p->diag));
    p->settings[p->setting_count++] = (struct config_setting){.key = option->key, .text = text};
    return OK;
}

static result take_option(struct parser *p, const char *word)
{
    struct span rest = span_cstr(word);
    struct option option = {.name = span_cut(&rest, '=')};
    option.value = rest.ptr ? (const char *)rest.ptr : NULL;
    if (!find_option(p, &option))
        return unknown_option(p, option.name);
    const char *text = NULL;
    TRY(option_text(p, &option, &text));
    result r = option.own ? set_own(p, &option, text) : add_setting(p, &option, text);
    if (failed(r) && !is(r, ERR_ARGUMENT))
        diag_prefix(p->diag, "option '%s'", option.key->flag);
    return r;
}

static result take_argument(struct parser *p, const char *word)
{
    char quoted[64];
    if (p->argument_count >= p->command->arguments_max)
        return diag_fail(p->diag, ERR_ARGUMENT, "unexpected argument '%s'",
                         diag_quote(span_cstr(word), quoted, sizeof(quoted)));
    p->arguments[p->argument_count++] = word;
    return OK;
}

static enum flags_help help_of(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 ? FLAGS_HELP
           : strcmp(word, "--help-all") == 0                      ? FLAGS_HELP_ALL
                                                                  : FLAGS_NO_HELP;
}

static result take_words(struct parser *p)
{
    bool options = true;
    while (p->next < p->argc) {
        const char *word = p->argv[p->next++];
        p->help = options ? help_of(word) : FLAGS_NO_HELP;
        if (p->help != FLAGS_NO_HELP)
            return OK;
        if (options && strcmp(word, "--") == 0)
            options = false;
        else if (options && word[0] == '-' && word[1] == '-')
            TRY(take_option(p, word));
        else if (options && word[0] == '-' && word[1] != '\0')
            return unknown_option(p, span_cstr(word));
        else
            TRY(take_argument(p, word));
    }
    if (p->argument_count < p->command->arguments_min)
        return diag_fail(p->diag, ERR_ARGUMENT, "missing argument %s", p->command->argument);
    return OK;
}

/* Every key that is required and was not given. */
static result check_own(struct parser *p)
{
    for (size_t i = 0; p->own.section && i < p->own.section->key_count; i++)
        if (p->own.section->keys[i].required && p->own.origins[i].kind == CONFIG_FROM_DEFAULT)
            return diag_fail(p->diag, ERR_ARGUMENT, "missing option '%s' (%s)",
                             p->own.section->keys[i].flag, p->own.section->keys[i].help);
    return OK;
}

result flags_parse(const struct flags_command *command, int argc, const char *const *argv,
                   struct arena *arena, void *ret_own, struct flags *ret_flags, struct diag *diag)
{
    struct parser p = {
        .command = command, .arena = arena, .diag = diag, .argc = argc, .argv = argv};
    ASSERT(argc >= 0 && (command->arguments_max == 0 || command->argument));
    p.settings = arena_zalloc(arena, (size_t)argc + 1, sizeof(*p.settings));
    p.arguments = arena_zalloc(arena, (size_t)argc + 1, sizeof(*p.arguments));
    if (p.settings == NULL || p.arguments == NULL)
        return no_memory(&p);
    if (command->own) {
        section_check(command->own, false);
        p.own.section = command->own;
        p.own.values = arena_zalloc(arena, 1, command->own->size);
        p.own.origins = arena_zalloc(arena, command->own->key_count, sizeof(*p.own.origins));
        if (p.own.values == NULL || p.own.origins == NULL)
            return no_memory(&p);
        TRY(block_defaults(&p.own, arena, diag));
    }
    TRY(take_words(&p));
    if (!p.help)
        TRY(check_own(&p));
    *ret_flags = (struct flags){.help = p.help};
    if (p.help)
        return OK;
    if (command->own)
        memcpy(ret_own, p.own.values, command->own->size);
    ret_flags->settings = p.settings;
    ret_flags->setting_count = p.setting_count;
    ret_flags->arguments = p.arguments;
    ret_flags->argument_count = p.argument_count;
    return OK;
}
