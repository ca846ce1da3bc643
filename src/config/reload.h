/* From one snapshot to the next: what changed, and the step that is all or nothing.
 *
 * A reload loads a new snapshot, lists what it changes (`config_diff`), and lets
 * every module go over in one transaction (`config_transaction`). Keys of the class
 * CONFIG_LIVE apply then; the others are named to the operator by whoever calls
 * `config_diff`. Nothing here logs.
 */
#pragma once

#include "config/config.h"

struct config_change {
    const char *path; /* "server.port", "models.cats.path"; an element by its name */
    const struct config_key *key;
    /* As in a file, secrets masked; NULL where it is not there: an element that
     * comes or goes is one change, of the list's key, with its name as its value. */
    const char *old_value, *new_value;
    int new_line; /* where the new value stands in the file; 0: not there */
};

typedef void (*config_change_fn)(void *arg, const struct config_change *change);

/* Calls `changed` for each value that differs, in the tables' order; what it is given
 * is valid during the call. Elements are matched by name where they have one, else by
 * position; a mere change of order is none. Both snapshots are of the same modules.
 * ERR_NO_MEMORY, ERR_TOO_LARGE (a value of more than 1 MiB of text). */
result config_diff(const struct config *old, const struct config *new_, config_change_fn changed,
                   void *arg);

/* Prepares each module of the snapshots in order, then commits each; when one cannot
 * prepare, aborts those before it in reverse order and returns its failure: then
 * nothing has changed. `contexts` holds what each module's functions get as `module`,
 * one a module; `old` is NULL at the start of the process. */
result config_transaction(const struct config *old, const struct config *new_,
                          void *const *contexts, struct diag *diag);
