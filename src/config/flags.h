/* The command line of one command, and its help, from the same tables as the file.
 *
 *   --name VALUE, --name=VALUE   a value; one that begins with "--" needs the "="
 *   --name, --no-name            a boolean; also --name=true and --name=false
 *   -h, --help, --help-all       ends the reading
 *   --                           what follows are arguments, whatever it looks like
 *   anything else                an argument; "-" is one too
 *
 * Two tables of keys meet here: those of modules, whose flags become settings for
 * `config_load`, and the command's own (`--config`, `--strict`), which no file has
 * and whose values land in the command's struct at once. Every value is checked, so
 * that a wrong one is a mistake of usage and found before any file is read.
 */
#pragma once

#include "base/arena.h"
#include "base/text.h"
#include "config/config.h"

struct flags_command {
    const char *usage;                /* "weir serve [options] [MODEL]" */
    const char *summary;              /* what it does, a sentence or a few */
    const struct config_section *own; /* keys with a flag and no path; NULL for none */
    const struct config_module *const *modules;
    size_t module_count;
    const char *argument; /* what an argument is called: "MODEL"; NULL if none is taken */
    size_t arguments_min, arguments_max;
};

enum flags_help { FLAGS_NO_HELP, FLAGS_HELP, FLAGS_HELP_ALL };

struct flags {
    enum flags_help help; /* asked for; then nothing else is set */
    const struct config_setting *settings;
    size_t setting_count;
    const char *const *arguments;
    size_t argument_count;
};

/* Reads `argv` from 0 on: the words behind the command's name, which have to stay.
 * `ret_own` is the struct of `own`, filled with defaults and flags; may be NULL when
 * `own` is. What the outputs point to lies in `arena`. ERR_ARGUMENT with a message
 * that names the word, or the code of a value's check. */
result flags_parse(const struct flags_command *command, int argc, const char *const *argv,
                   struct arena *arena, void *ret_own, struct flags *ret_flags, struct diag *diag);

/* The help page: usage, summary, the command's own options, then those of each module
 * with their defaults; 80 columns. Not `all`: those that are common, or all where none is. */
void flags_help(const struct flags_command *command, bool all, struct text *into);
/* What stands for a value: "N", "text|json"; empty for a boolean. */
void flags_placeholder(const struct config_key *key, struct text *into);
