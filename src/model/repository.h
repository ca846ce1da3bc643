/* What models a path holds. Reads names only, no model.
 *
 *   FILE                      one model, named after the file, version 1; a file
 *                             "model" in a folder bears the folder's name, and in
 *                             MODEL/VERSION the version, too
 *   DIR/NAME.onnx             one model a file, version 1
 *   DIR/MODEL/VERSION/model.onnx
 *                             the newest version of each, where VERSION is a number;
 *                             other folders are left alone. DIR may be a MODEL itself
 *
 * The last two may stand side by side. ".onnx" stands for any ending that a backend
 * loads. Names that begin with a dot are passed over.
 */
#pragma once

#include "model/backend.h"

#define MODEL_NAME_MAX 255

/* One model found; all is valid during the call only. */
struct found_model {
    const char *name;
    int64_t number; /* of the version */
    const char *path;
    struct backend *backend;
};
typedef result (*repository_fn)(void *arg, const struct found_model *found, struct diag *diag);

/* Boot. Calls `fn` with each model; its failure ends the scan. `name` overrides the
 * name of a single model, NULL otherwise; it is an error with several. ERR_NOT_FOUND
 * when there is none, with what was looked for. */
result repository_scan(struct process *process, struct backends *backends, const char *path,
                       const char *name, repository_fn fn, void *arg, struct diag *diag);
