/* TensorFlow Serving's REST API, without HTTP: which call a path means, the JSON of a
 * predict request and of all answers.
 *
 * Facts from tensorflow/serving: model_servers/http_rest_api_util.cc (paths, status,
 * metadata), util/json_tensor.cc (requests, answers, texts of errors), and rapidjson,
 * which they are built on. Every text of an error that a client may have learnt to read
 * is upstream's, in the diag; codes map to its HTTP statuses through the error table.
 *
 * Reading a request:
 *   tfs_predict_scan   shapes and sizes of all inputs; memory only for the plan
 *   tfs_predict_fill   the elements, into memory that the caller took by that plan
 * A request that either refuses is walked once more, in upstream's order of checks, for
 * upstream's text.
 *
 * As upstream: NaN and infinities are read; bytes behind the document are ignored; the
 * first of two equal keys counts; unknown keys are ignored, except in an element of
 * `instances`, whose keys must be the inputs' names; integers that a float type does not
 * count exactly, and doubles for integer types, are refused.
 * Not as upstream: 16-bit floats and uint16 are taken and given too; integers out of the
 * range of their type are refused, not cut; numbers are correctly rounded; an instance
 * that names an input twice is refused; strings that are no UTF-8 are repaired with
 * U+FFFD in answers, and arrays may be JSON_DEPTH_MAX deep and tensors WEIR_RANK_MAX.
 */
#pragma once

#include "base/arena.h"
#include "base/text.h"
#include "wire/tensor.h"

enum tfs_kind {
    TFS_CLASSIFY,
    TFS_REGRESS,
    TFS_PREDICT,
    TFS_STATUS,
    TFS_METADATA,
};

struct tfs_route {
    enum tfs_kind kind;
    struct span model; /* percent-decoded, in the arena */
    int64_t version;   /* -1: none was given */
    struct span label; /* empty: none was given */
};

/* Whether the path belongs to this API at all: /v1/..., in any case. */
bool tfs_claims(struct span path);
/* `method` is the token ("GET"), `path` has no query. ERR_ARGUMENT with upstream's text,
 * ERR_NO_MEMORY. */
result tfs_route(struct span method, struct span path, struct arena *arena,
                 struct tfs_route *ret_route, struct diag *diag);

/* ---- predict ---- */

/* The one signature of a model here. */
#define TFS_SIGNATURE "serving_default"

struct tfs_predict {
    bool rows;                  /* `instances`; else `inputs`. The answer takes the same form */
    struct tensor_plan *inputs; /* one per port, in order; in the arena */
    /* private */
    struct span body;
    const struct weir_port *ports;
    int ports_len;
    bool objects;   /* inputs by name; else the one input bare */
    size_t data_at; /* the value of `instances` or `inputs` */
};

/* Body and ports stay until the request has been filled. Nothing is compared with the
 * ports' shapes: see tensor_check_inputs. ERR_SYNTAX, ERR_TYPE, ERR_SHAPE, ERR_RANGE,
 * ERR_ARGUMENT, ERR_NO_MEMORY. */
result tfs_predict_scan(struct span body, const struct weir_port *ports, int ports_len,
                        struct arena *arena, struct tfs_predict *ret_predict, struct diag *diag);
/* Fills all inputs; `spaces` has one per port, each for its plan. For any thread. */
result tfs_predict_fill(const struct tfs_predict *predict, const struct tensor_space *spaces,
                        struct diag *diag);

/* Appends {"predictions": ...} or {"outputs": ...}. One output stands without its name;
 * strings of outputs named ..._bytes are base64. ERR_SHAPE when rows are asked for and
 * the outputs do not agree on their number. Failures of `text`: see text_result. */
result tfs_predict_answer(struct text *text, bool rows, const struct weir_port *ports,
                          const struct weir_tensor *outputs, int outputs_len, struct diag *diag);

/* ---- other answers ---- */

/* {"error": "..."} */
void tfs_error(struct text *text, struct span message);

struct tfs_version {
    int64_t version;
    int state; /* of tensorflow.serving.ModelVersionStatus: 0, 10, 20, ... 50 */
    enum err error;
    const char *error_text;
};

/* GetModelStatusResponse as protobuf prints it. */
void tfs_status(struct text *text, const struct tfs_version *versions, size_t n);
/* GetModelMetadataResponse with the one signature. */
void tfs_metadata(struct text *text, struct span model, int64_t version,
                  const struct weir_port *inputs, int inputs_len, const struct weir_port *outputs,
                  int outputs_len);
