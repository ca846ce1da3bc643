/* Commands that run a role, and those that look at one without running it.
 *
 * `weir serve ARGS` starts it; `weir check serve ARGS` and `weir config dump serve ARGS`
 * take the same words and read the same configuration.
 */
#pragma once

#include "cmd/command.h"

struct role_command {
    const char *name; /* "serve" */
    const char *usage, *summary;
    const struct run_role *role;
    const struct config_key *const *argument_key; /* what its one argument sets */
    const char *argument;                         /* what that is called: "PATH" */
};

extern const struct role_command role_commands[];

/* The options of every role's command. */
struct role_own {
    const char *config;
    int64_t loops;
    bool allow_deprecated;
};

void role_describe(const struct role_command *command, struct command_page *ret_page);

/* A role's words, read, and a process to start it in. */
struct role_start {
    const struct role_command *command;
    struct arena arena;
    struct command_page page;
    struct role_own own;
    struct flags flags;
    struct run_options options;
};

/* EX_OK, or the code to end with: what was wrong has been said, or the help been shown
 * (`*ret_help`). `name` is for messages: "weir check". In any case `role_start_release` is
 * called at the end. */
int role_start_init(struct role_start *start, const struct role_command *command, const char *name,
                    int argc, const char *const *argv, bool *ret_help);
void role_start_release(struct role_start *start);

/* A command that looks at a role: `weir check [own options] [ROLE] [the role's words]`. Its
 * own options are booleans and may stand anywhere before "--"; without a role's name the
 * first of the table is meant. */
struct role_look {
    const char *name; /* "weir check" */
    void (*describe)(struct command_page *ret_page);
    /* `own`: the struct of the description's own options. Returns the exit code. */
    int (*look)(struct role_start *start, const void *own);
};
int role_look(const struct role_look *look, int argc, const char *const *argv);
/* The role of that name, or NULL. */
const struct role_command *role_named(const char *name);
