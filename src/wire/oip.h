/* The Open Inference Protocol's REST messages (kserve/open-inference-protocol
 * specification/protocol/inference_rest.md), without HTTP. Called V2 by KServe and
 * Triton.
 *
 * Reading a request takes two passes, as in wire/json_tensor.h:
 *   oip_infer_scan   names, types and shapes of all inputs; memory only for the plan
 *   oip_infer_fill   the elements, into memory that the caller took by that plan
 * Members may stand in any order (`data` in front of `datatype` and `shape`); of two with
 * one name the first counts; unknown ones are ignored, `parameters` among them. `data` is
 * nested as `shape` says, or flat. A shape is believed only when `data` has just as many
 * elements, so that no memory is taken for a claim.
 *
 * The text is strict RFC 8259: no NaN. An answer whose floats are not finite is refused
 * with ERR_UNSUPPORTED, as Triton refuses it: JSON has no number for them, and `null`
 * would be another value. FP16 and BF16 are read and written as numbers.
 *
 * Health and readiness have no body here: their status alone tells, as in KServe and
 * Triton.
 */
#pragma once

#include "base/arena.h"
#include "base/text.h"
#include "wire/tensor.h"

/* As many outputs as a request can name. */
#define OIP_PORTS_MAX 64

struct oip_infer {
    struct span id; /* in the arena; empty: none was given */
    bool has_id;
    uint64_t outputs_wanted;    /* a bit per output of the model; 0: all */
    struct tensor_plan *inputs; /* one per port, in the model's order; in the arena */
    /* private */
    struct span body;
    int inputs_len;
    struct oip_input *found;
};

/* What the model takes and gives. */
struct oip_ports {
    const struct weir_port *inputs, *outputs;
    int inputs_len, outputs_len;
};

/* The body stays until the request has been filled. Types and shapes are checked against
 * the model's. ERR_SYNTAX, ERR_TYPE, ERR_SHAPE, ERR_RANGE, ERR_ARGUMENT (an input that is
 * missing, unknown or there twice), ERR_UNSUPPORTED, ERR_NO_MEMORY. The message names the
 * input, what was expected and what came. */
result oip_infer_scan(struct span body, const struct oip_ports *ports, struct arena *arena,
                      struct oip_infer *ret_infer, struct diag *diag);
/* Fills all inputs; `spaces` has one per input, each for its plan. For any thread. */
result oip_infer_fill(const struct oip_infer *infer, const struct weir_port *inputs,
                      const struct tensor_space *spaces, struct diag *diag);

struct oip_answer {
    struct span model;
    int64_t version; /* below 0: left out */
    struct span id;
    bool has_id;
    const struct weir_port *ports;
    const struct weir_tensor *outputs; /* those whose `data` is NULL are left out */
    int outputs_len;
    uint64_t outputs_wanted; /* as in the request */
};

/* Appends an inference response, data flat. Failures of `text`: see text_result. */
result oip_infer_answer(struct text *text, const struct oip_answer *answer, struct diag *diag);

/* {"error":"..."} */
void oip_error(struct text *text, struct span message);
/* {"name":"weir","version":"...","extensions":[]} */
void oip_server(struct text *text, const char *version);
/* Model metadata. `versions`: those that can be asked for. */
void oip_model(struct text *text, struct span name, const int64_t *versions, size_t versions_len,
               const char *platform, const struct oip_ports *ports);
