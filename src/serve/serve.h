/* `weir serve`: models answer over TensorFlow Serving's REST API and the Open Inference
 * Protocol's.
 *
 * The role owns a model set (model/model.h) and the routes over it. Both protocols
 * share one path from a body to an answer (serve/infer.h); what differs is how a
 * message becomes tensors and how tensors become a message.
 */
#pragma once

#include "run/run.h"

extern const struct run_role serve_role;
/* The key of the path that `weir serve PATH` sets. */
extern const struct config_key *const serve_path_key;
