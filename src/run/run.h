/* What every role's process does alike: start, be watched, reload, drain, end.
 *
 *     configuration -> log, metrics, slab -> role's start -> listeners (readyz 503)
 *     -> loops run -> role's load -> ready (readyz 200, READY=1)
 *     -> TERM: readyz 503, still accepting for lame_duck -> drain -> exit
 *
 * Signals: HUP reloads, USR1 reopens the log, TERM drains, INT is TERM without lame
 * duck, the second of either ends at once. Exit codes follow sysexits.h; 3 says that
 * work was cut.
 *
 * Threads: everything here belongs to loop 0 (or boot), except the getters.
 */
#pragma once

#include "config/config.h"
#include "net/server.h"
#include "obs/log.h"
#include "obs/metrics.h"

struct run;

#define RUN_MODULES_MAX 8

/* A role, as run sees it. */
struct run_role {
    const char *name;                           /* "serve": the command */
    const struct config_module *const *modules; /* its own, beside run's */
    size_t modules_len;
    /* Boot: makes the role's state and its routes. Says why in `diag` on failure. */
    result (*start)(struct run *run, void **ret_role, struct route_table *ret_routes,
                    struct diag *diag);
    /* On loop 0, once the listeners accept: begins what makes the role ready, and calls
     * run_ready or run_fail once. */
    void (*load)(void *role);
    /* On loop 0, before the loops end with work that is cut: begins nothing new. May be
     * NULL. */
    void (*stop)(void *role);
    /* After all loops have ended. NULL is allowed. */
    void (*free)(void *role);
};

struct run_options {
    struct process *process;
    const struct run_role *role;
    const char *config_path;               /* NULL: no file */
    const struct config_setting *settings; /* flags */
    size_t settings_len;
    bool allow_deprecated, strict; /* config_source's */
};

/* Runs the role until it ends. Returns the exit code; what went wrong has been said on
 * standard error or in the log. After RUN_EXIT_CUT the caller ends the program at once
 * and frees nothing: a backend may still be at work on what was cut. */
#define RUN_EXIT_CUT 3
int run_role(const struct run_options *options);

/* What a start found wrong, or odd. */
struct run_findings {
    struct config_errors errors, warnings;
};

/* The start of the role up to, and without, its listeners and the loading of models, then
 * its end. Returns the exit code that the start would have ended with, EX_OK if it would
 * have gone on, and says nothing itself: `ret_findings` has it all. */
int run_check(const struct run_options *options, struct run_findings *ret_findings);

/* Each mistake, or "warning: " each warning, as a line on standard error. */
void run_say(const char *severity, const struct config_errors *list);

/* All modules of a role's process, in the order of its configuration. */
struct run_modules {
    const struct config_module *items[RUN_MODULES_MAX + 4];
    size_t len;
};
void run_modules_of(const struct run_role *role, struct run_modules *ret_modules);
/* The snapshot that a start with these options has. `modules` has to outlive it. Boot, or
 * inside a work job. On failure `errors` holds what was wrong. */
result run_config_load(const struct run_options *options, const struct run_modules *modules,
                       struct config **ret_config, struct config_errors *errors);

/* ---- for roles ---- */

struct process *run_process(const struct run *run);
struct metrics *run_metrics(const struct run *run);
struct log *run_log(const struct run *run);
struct slab *run_slab(const struct run *run);
/* The part of the configuration that this module declared, as it holds now. */
const void *run_config(const struct run *run, const struct config_module *module);
/* The first address that callers reach, as text ("127.0.0.1:8080"). */
const char *run_address(const struct run *run);
/* The role answers from now on. */
void run_ready(struct run *run);
/* It never will: ends the process with the exit code of `code` and this text. */
void run_fail(struct run *run, enum err code, const char *text);
/* A line of `/readyz?verbose`: whether the check passes and, in `text`, a few words.
 * Called on any loop. At most RUN_CHECKS_MAX. */
#define RUN_CHECKS_MAX 8
typedef bool (*run_check_fn)(void *arg, struct loop *loop, struct text *text);
void run_add_check(struct run *run, const char *name, run_check_fn check, void *arg);

/* sysexits.h by our own codes; for cmd too. */
int exit_code_of(enum err code);
