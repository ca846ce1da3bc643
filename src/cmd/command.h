/* The commands of the one binary: a thin file each, listed by hand in one table.
 *
 * A command says twice what it takes: to the parser when it runs, and as a page for help,
 * manual and completion. Both are the same `struct flags_command`, which `describe` fills.
 */
#pragma once

#include "config/flags.h"
#include "run/run.h"

/* A description and what it points to. */
struct command_page {
    struct flags_command flags;
    struct run_modules modules;
};

struct command {
    const char *name;
    const char *summary; /* for `weir --help`: lower case, no period */
    /* `argv` begins behind the command's name. Returns the exit code. */
    int (*main)(int argc, const char *const *argv);
    void (*describe)(struct command_page *ret_page); /* NULL where only `sub` has options */
    const struct command *sub;                       /* commands of its own; NULL for none */
    bool takes_role; /* its arguments are a role's words: `weir check serve --port 0` */
};

/* Each list ends with a row without a name. */
extern const struct command commands[];

int cmd_serve(int argc, const char *const *argv);
void describe_serve(struct command_page *ret_page);
int cmd_check(int argc, const char *const *argv);
void describe_check(struct command_page *ret_page);
int cmd_config(int argc, const char *const *argv);
extern const struct command config_commands[];
int cmd_man(int argc, const char *const *argv);
void describe_man(struct command_page *ret_page);
int cmd_completion(int argc, const char *const *argv);
void describe_completion(struct command_page *ret_page);

/* Runs the one of `list` that argv names; NULL argv[0] and unknown ones are usage errors.
 * `above`: "weir", "weir config". */
int commands_run(const struct command *list, const char *above, int argc, const char *const *argv);
/* The help page; EX_OK. */
int command_help(const struct flags_command *command, bool all);
/* Says what was wrong with the words of a command; EX_USAGE. */
int command_usage(const char *name, const struct diag *diag);
/* Writes what a command prints: the whole of it or an error. */
int command_print(const struct text *text);
