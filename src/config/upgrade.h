/* An older file made a newest one, in place: deprecated keys get the names that replaced
 * them and the version is raised; comments, order and layout stay, since only the words
 * themselves are replaced.
 *
 * A key that moved to another mapping, or that nothing replaces, is left as it is and
 * told, for a person to change.
 */
#pragma once

#include "base/text.h"
#include "config/config.h"

struct config_edit {
    int line, column;
    const char *path;        /* of the key in the file: "models[0].rows" */
    const char *replacement; /* its new path, from the mapping of the table on; or NULL */
    bool done;               /* the new text has it */
};

typedef void (*config_edit_fn)(void *arg, const struct config_edit *edit);

/* Appends the new file to `into` and calls `edited` for each deprecated key, in the order
 * of the file. The file need not be right otherwise. Of `source` the modules, the file, its
 * text and `versions_back` count. ERR_SYNTAX and others of yaml_parse, ERR_UNSUPPORTED for
 * a version that is not known. */
result config_upgrade(const struct config_source *source, struct text *into, config_edit_fn edited,
                      void *arg, struct diag *diag);
