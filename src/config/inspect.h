/* A snapshot as people and tools look at it: each value, and where it came from.
 *
 * Secrets are masked throughout. Nothing here changes anything; any thread.
 */
#pragma once

#include "base/text.h"
#include "config/config.h"

enum config_origin_kind {
    CONFIG_FROM_DEFAULT,
    CONFIG_FROM_FILE,
    CONFIG_FROM_ENVIRONMENT, /* a variable named after the key */
    CONFIG_FROM_FLAG,
};

struct config_origin {
    enum config_origin_kind kind;
    int line, column;      /* FROM_FILE */
    const char *variables; /* that the value was made of: "HOST, PORT"; else NULL */
    const char *secret;    /* the file that the secret was read from; else NULL */
};

struct config_entry {
    const char *path; /* as in a file: "server.port", "models.cats.path", "models[0].path" */
    const struct config_key *key;
    const char *value; /* as it would stand in a file; a secret's as "(secret)" */
    const void *field; /* the value itself; of a secret, too */
    const struct config_origin *origin;
    const char *file; /* of the snapshot */
};

typedef void (*config_entry_fn)(void *arg, const struct config_entry *entry);

/* Calls `fn` for every value, in the tables' order, elements of lists one by one; a list
 * without any is an entry of its own. What it is given is valid during the call.
 * ERR_NO_MEMORY, ERR_TOO_LARGE (a value of more than 1 MiB of text). */
result config_walk(const struct config *config, config_entry_fn fn, void *arg);

/* Appends the file that gives this snapshot: every key with its value, its origin as a
 * comment. What no file can say is a comment: flags without a key, and a secret
 * that is set but in no file of its own, since it is masked. Started with this file and the
 * secrets, a process has the same values. ERR_NO_MEMORY, ERR_TOO_LARGE by `into`. */
result config_dump(const struct config *config, struct text *into);

/* "default", "weir.yaml:3", "environment HOST at weir.yaml:3", "file /run/secrets/x at
 * weir.yaml:3", "environment WEIR_LISTEN", "flag --listen", "argument". */
void config_origin_format(const struct config_entry *entry, struct text *into);
/* The variable that overrides a key: WEIR_SERVER_PORT; "" where none can (flags without a
 * path, lists). */
#define CONFIG_VARIABLE_BYTES 128
void config_variable_name(const struct config_key *key, char ret_name[CONFIG_VARIABLE_BYTES]);
