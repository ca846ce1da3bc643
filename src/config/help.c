/* The help page of a command. Options stand in two columns:
 *
 *   --connections-max N     how many connections may be open (default: 10000)
 *
 * An option too wide for the first column has its help on the next line. */
#include "config/flags.h"

#include <stdio.h>

#define COLUMNS 80
#define INDENT 2
#define HELP_COLUMN 30

void flags_placeholder(const struct config_key *key, struct text *into)
{
    static const char *const words[] = {
        [CONFIG_BOOL] = "",      [CONFIG_INT] = "N",
        [CONFIG_REAL] = "N",     [CONFIG_SIZE] = "SIZE",
        [CONFIG_TIME] = "TIME",  [CONFIG_TEXT] = "TEXT",
        [CONFIG_PATH] = "PATH",  [CONFIG_NAME] = "NAME",
        [CONFIG_ENUM] = "",      [CONFIG_ADDRESS] = "ADDRESS",
        [CONFIG_TEXTS] = "TEXT", [CONFIG_LIST] = "",
        [CONFIG_MAP] = "",
    };
    text_str(into, words[key->type]);
    for (size_t i = 0; key->type == CONFIG_ENUM && key->choices[i]; i++)
        text_printf(into, "%s%s", i > 0 ? "|" : "", key->choices[i]);
}

/* Writes words from `column` on, breaking before COLUMNS and continuing at `indent`. */
static void wrap(struct span words, size_t column, size_t indent, struct text *into)
{
    bool first = true;
    while (words.len > 0) {
        struct span word = span_cut(&words, ' ');
        bool fits = column + !first + word.len <= COLUMNS;
        if (!first && !fits) {
            text_printf(into, "\n%*s", (int)indent, "");
            column = indent;
        } else if (!first) {
            text_byte(into, ' ');
            column++;
        }
        text_append(into, word);
        column += word.len;
        first = false;
    }
    text_byte(into, '\n');
}

static void option_row(const char *label, const char *help, struct text *into)
{
    size_t column = INDENT + strlen(label);
    text_printf(into, "%*s%s", INDENT, "", label);
    if (column + 2 > HELP_COLUMN) {
        text_byte(into, '\n');
        column = 0;
    }
    text_printf(into, "%*s", (int)(HELP_COLUMN - column), "");
    wrap(span_cstr(help), HELP_COLUMN, HELP_COLUMN, into);
}

static void key_row(const struct config_key *key, struct text *into)
{
    CLEANUP(text_release) struct text label, help;
    text_init(&label, 512);
    text_init(&help, 2048);
    text_printf(&label, "--%s%s", key->type == CONFIG_BOOL ? "[no-]" : "", key->flag + 2);
    if (key->type != CONFIG_BOOL)
        text_byte(&label, ' ');
    flags_placeholder(key, &label);
    text_str(&help, key->help);
    if (key->fallback && key->fallback[0] != '\0' && key->type != CONFIG_BOOL)
        text_printf(&help, " (default: %s)", key->fallback);
    else if (key->type == CONFIG_BOOL && key->fallback && strcmp(key->fallback, "true") == 0)
        text_str(&help, " (default: on)");
    option_row(text_cstr(&label), text_cstr(&help), into);
}

/* Which options a page has. */
struct choice {
    bool all;
    size_t left; /* how many are not on it */
};

static bool is_shown(const struct config_key *key, const struct choice *choice)
{
    return key->flag && (choice->all || key->common);
}

/* Counts the options that are shown, and adds the others to `left`. */
static size_t section_count(const struct config_section *section, struct choice *choice)
{
    size_t shown = 0;
    for (size_t i = 0; section && i < section->key_count; i++) {
        shown += is_shown(&section->keys[i], choice);
        choice->left += section->keys[i].flag && !is_shown(&section->keys[i], choice);
    }
    return shown;
}

static void section_rows(const struct config_section *section, const struct choice *choice,
                         struct text *into)
{
    for (size_t i = 0; section && i < section->key_count; i++)
        if (is_shown(&section->keys[i], choice))
            key_row(&section->keys[i], into);
}

static size_t count_all(const struct flags_command *command, struct choice *choice)
{
    size_t shown = section_count(command->own, choice);
    for (size_t m = 0; m < command->module_count; m++)
        shown += section_count(&command->modules[m]->section, choice);
    return shown;
}

void flags_help(const struct flags_command *command, bool all, struct text *into)
{
    struct choice choice = {.all = all};
    if (count_all(command, &choice) == 0)
        choice = (struct choice){.all = true};
    text_printf(into, "Usage: %s\n\n", command->usage);
    wrap(span_cstr(command->summary), 0, 0, into);
    text_str(into, "\nOptions:\n");
    section_rows(command->own, &choice, into);
    option_row("-h, --help", "show this help", into);
    char words[64] = "show all options";
    if (choice.left > 0)
        snprintf(words, sizeof(words), "show %zu options more", choice.left);
    option_row("--help-all", words, into);
    /* The short page has no headings, so that it fits a screen. */
    for (size_t m = 0; m < command->module_count; m++) {
        const struct config_section *section = &command->modules[m]->section;
        struct choice one = {.all = true};
        if (choice.all && section_count(section, &one) > 0)
            text_printf(into, "\n%s:\n", command->modules[m]->name);
        section_rows(section, &choice, into);
    }
}
