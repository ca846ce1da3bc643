/* Between the parts of wire/tfs. */
#pragma once

#include "wire/json_tensor.h"
#include "wire/tfs.h"

#define TFS_DIALECT (JSON_NONFINITE | JSON_ANY_BYTES | JSON_B64)

/* Whether the object at the place is {"b64": "..."}, with no other member. */
bool tfs_is_bytes(struct json_reader r);

/* Why a request was refused, found by a walk in upstream's order of checks: fills `diag`
 * with its text and returns the code. `failure` stands for what such a walk does not
 * find, limits of our own. */
result tfs_explain(struct span body, const struct weir_port *ports, int ports_len, result failure,
                   struct diag *diag);
