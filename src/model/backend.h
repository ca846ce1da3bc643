/* The plug-ins that run models: found by the endings of model files, opened once.
 *
 * Weir's own are known by name and opened when a model first needs them. Others in the
 * folder are opened at boot, to ask them what they load; one that cannot be opened is
 * logged and left out.
 *
 * Also the one place where the ABI's statuses become codes.
 *
 * Owner:   the model set; freed after all models.
 * Threads: new, find and free at boot and after the loops; `backend_open` from any, for
 *          one backend never two at a time.
 */
#pragma once

#include "base/diag.h"
#include "base/span.h"
#include "io/io.h"
#include "obs/log.h"

#include <weir/backend.h>

struct backends;
struct model_set;

struct backend {
    char *name; /* of its file, without ".so" */
    char *path;
    char *suffixes;    /* as in weir_backend */
    weir_backend *abi; /* NULL until opened */
    struct backends *backends;
    /* The set's, for opening it in a job. */
    struct model_set *owner;
    struct io_work open;
    result open_result;
    struct diag open_diag;
};

/* `path` may be NULL or missing: then there are none. */
result backends_new(struct process *process, struct log *log, const char *path,
                    const char *engines_path, struct backends **ret_backends, struct diag *diag);
/* NULL is allowed. */
void backends_free(struct backends *backends);
/* The backend that loads files of that name, or NULL. */
struct backend *backends_find(struct backends *backends, struct span file_name);
/* The backend `place` (from 0) and the ending `ending` of its list; false when there is
 * none. For looking for "model" with any ending. */
bool backends_suffix(const struct backends *backends, size_t place, struct span *ret_suffixes);

/* Does nothing when it is open. ERR_NOT_FOUND, ERR_UNSUPPORTED (its ABI or kind), or
 * what it answers. */
result backend_open(struct backend *backend, struct diag *diag);

/* The code for a status of the ABI. */
enum err backend_err(int32_t status);
