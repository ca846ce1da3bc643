/* The configuration of one process at one moment: an immutable snapshot.
 *
 * Made in one step from what the modules declare (config/schema.h), a file, the
 * environment and flags; a flag beats the environment, that the file, the file the
 * default. A snapshot that loads is right as a whole: every value is there, of its
 * type and within its limits. Whoever uses one holds a reference; a reload makes a new
 * one beside it.
 *
 * The file is YAML (config/yaml.h) and begins with `version: 1`. All its mistakes
 * are reported together, each with its place, what was expected and what came.
 * Only a file that is no YAML, or of another version, has a single error. A scalar may
 * hold ${NAME} and ${NAME:-default}, which stand for environment variables, and $$ for
 * a dollar sign; it is then checked like any other. A secret may be `{file: PATH}`.
 *
 * Threads: `config_load` anywhere, one thread; a snapshot is read from any thread,
 *          and `config_ref` and `config_unref` may be called from any thread.
 */
#pragma once

#include "config/schema.h"

/* The version of the file's language: bumped when a key changes its meaning. */
#define CONFIG_VERSION 1
/* What a reader of the file gives `text_init` as the maximum. */
#define CONFIG_FILE_BYTES_MAX ((size_t)1 << 20)
#define CONFIG_ERRORS_MAX 20

struct config;

struct config_errors {
    struct diag items[CONFIG_ERRORS_MAX]; /* in the order found: the file's, top down */
    size_t count;
    bool more; /* there were others */
};

/* A value from elsewhere than the file: a flag that was given. */
struct config_setting {
    const struct config_key *key; /* of one of the modules */
    const char *text;
};

struct config_source {
    const struct config_module *const *modules; /* static; kept by the snapshot */
    size_t module_count;
    const char *file;                      /* its name, for messages; NULL without a file */
    struct span yaml;                      /* what it holds */
    const struct config_setting *settings; /* in their order; texts add up */
    size_t setting_count;
    struct process *process; /* its environment and files; NULL: there are none */
    const char *release;     /* of the program, for deprecated keys; NULL: none is refused */
    int versions_back;       /* how many older versions of the language are taken */
    bool allow_deprecated;   /* warn of a deprecated key even where its time is over */
    bool strict;             /* warn of what is unwise, too: a secret within the file */
};

/* On failure the code is that of the first error, and `errors` (overwritten in any
 * case) holds at least one. On success the caller holds the one reference. */
result config_load(const struct config_source *source, struct config **ret_config,
                   struct config_errors *errors);
struct config *config_ref(struct config *config);
/* The last one frees. NULL is allowed. */
void config_unref(struct config *config);

/* What is odd, but valid, in the order found; at most CONFIG_ERRORS_MAX are kept. */
size_t config_warning_count(const struct config *config);
const struct diag *config_warning(const struct config *config, size_t index);
/* Keeps a copy of one more; one for which there is no room is lost. For whoever reads the
 * files that a snapshot names, before it is shared. */
void config_warn(struct config *config, const struct diag *diag);
/* How many different deprecated keys the file has. */
size_t config_deprecated_count(const struct config *config);

/* The struct of a module, which was among those loaded. */
const void *config_of(const struct config *config, const struct config_module *module);
