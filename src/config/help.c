/* The help page of a command. Options stand in two columns:
 *
 *   --connections-max N     how many connections may be open (default: 10000)
 *
 * An option too wide for the first column has its help on the next line. */
#include "config/flags.h"

#define COLUMNS 80
#define INDENT 2
#define HELP_COLUMN 30

/* What stands for the value: "N"; empty for a boolean. */
static void placeholder_format(const struct config_key *key, struct text *into)
{
    static const char *const words[] = {
        [CONFIG_BOOL] = "",       [CONFIG_INT] = " N",
        [CONFIG_REAL] = " N",     [CONFIG_SIZE] = " SIZE",
        [CONFIG_TIME] = " TIME",  [CONFIG_TEXT] = " TEXT",
        [CONFIG_PATH] = " PATH",  [CONFIG_NAME] = " NAME",
        [CONFIG_ENUM] = " ",      [CONFIG_ADDRESS] = " ADDRESS",
        [CONFIG_TEXTS] = " TEXT", [CONFIG_LIST] = "",
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
    placeholder_format(key, &label);
    text_str(&help, key->help);
    if (key->fallback && key->fallback[0] != '\0' && key->type != CONFIG_BOOL)
        text_printf(&help, " (default: %s)", key->fallback);
    else if (key->type == CONFIG_BOOL && key->fallback && strcmp(key->fallback, "true") == 0)
        text_str(&help, " (default: on)");
    option_row(text_cstr(&label), text_cstr(&help), into);
}

static void section_rows(const struct config_section *section, struct text *into)
{
    for (size_t i = 0; i < section->key_count; i++)
        if (section->keys[i].flag)
            key_row(&section->keys[i], into);
}

static bool has_flags(const struct config_section *section)
{
    for (size_t i = 0; i < section->key_count; i++)
        if (section->keys[i].flag)
            return true;
    return false;
}

void flags_help(const struct flags_command *command, struct text *into)
{
    text_printf(into, "Usage: %s\n\n", command->usage);
    wrap(span_cstr(command->summary), 0, 0, into);
    text_str(into, "\nOptions:\n");
    if (command->own)
        section_rows(command->own, into);
    option_row("-h, --help", "show this help", into);
    for (size_t m = 0; m < command->module_count; m++) {
        const struct config_module *module = command->modules[m];
        if (!has_flags(&module->section))
            continue;
        text_printf(into, "\n%s:\n", module->name);
        section_rows(&module->section, into);
    }
}
