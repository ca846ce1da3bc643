/* Tensors as messages carry them: the ABI's own struct (include/weir/backend.h), its
 * types by the names that protocols give them, and the arithmetic on shapes that
 * must not overflow.
 */
#pragma once

#include "base/diag.h"
#include "base/result.h"
#include "base/span.h"

#include <weir/backend.h>

/* X(OIP name, TensorFlow name, type code, bits): the names of the Open Inference
 * Protocol (inference_rest.md, Tensor Data Types; BF16 is Triton's) and of
 * TensorFlow's DataType (tensorflow/core/framework/types.proto). */
#define TENSOR_TYPES(X) \
    X("BOOL", "DT_BOOL", WEIR_BOOL, 8) \
    X("UINT8", "DT_UINT8", WEIR_UINT, 8) \
    X("UINT16", "DT_UINT16", WEIR_UINT, 16) \
    X("UINT32", "DT_UINT32", WEIR_UINT, 32) \
    X("UINT64", "DT_UINT64", WEIR_UINT, 64) \
    X("INT8", "DT_INT8", WEIR_INT, 8) \
    X("INT16", "DT_INT16", WEIR_INT, 16) \
    X("INT32", "DT_INT32", WEIR_INT, 32) \
    X("INT64", "DT_INT64", WEIR_INT, 64) \
    X("FP16", "DT_HALF", WEIR_FLOAT, 16) \
    X("BF16", "DT_BFLOAT16", WEIR_BFLOAT, 16) \
    X("FP32", "DT_FLOAT", WEIR_FLOAT, 32) \
    X("FP64", "DT_DOUBLE", WEIR_FLOAT, 64) \
    X("BYTES", "DT_STRING", WEIR_STRING, 8)

static inline bool type_eq(weir_type a, weir_type b)
{
    return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes;
}
/* "FP32", "DT_FLOAT"; "UNKNOWN" for a type outside the table. */
const char *type_oip_name(weir_type type);
const char *type_tf_name(weir_type type);
/* ERR_NOT_FOUND for a name outside the table. */
result type_of_oip_name(struct span name, weir_type *ret_type);
/* Bytes of one element; 0 for strings. */
size_t type_size(weir_type type);

/* The product of the extents. ERR_RANGE for a negative one, ERR_TOO_LARGE when the
 * product is above `elements_max`. An extent of 0 gives 0. */
result shape_elements(const int64_t *shape, int rank, uint64_t elements_max,
                      uint64_t *ret_elements);
/* Whether `shape` fits `port`: the rank, and each extent where the port has one. */
bool shape_fits(const struct weir_port *port, const int64_t *shape, int rank);
/* "[-1,64]", cut at `size`, NUL-terminated. Returns `buffer`. */
const char *shape_format(const int64_t *shape, int rank, char *buffer, size_t size);

/* A tensor that a message announces: what it will need, known before any memory is
 * taken for it. */
struct tensor_plan {
    weir_type type;
    int rank;
    int64_t shape[WEIR_RANK_MAX];
    uint64_t elements;
    uint64_t bytes; /* of its data; for strings at most this much */
};

/* Memory for such a tensor, the caller's: `bytes` of data, 64-byte aligned when it goes
 * to a backend, and for strings elements + 1 offsets. */
struct tensor_space {
    void *data;
    uint64_t *offsets; /* NULL unless the type is WEIR_STRING */
};

/* The planned tensor in that memory, on the host. Its shape points into `plan`, its
 * bytes are those that strings really use once they have been filled in. */
struct weir_tensor tensor_of_plan(const struct tensor_plan *plan, const struct tensor_space *space);

/* Whether a request's inputs are what a model takes: one tensor per port, in order, of
 * its type and a shape that fits. With `batchable`, dimension 0 of all must agree;
 * `ret_rows` is its extent, else 1. ERR_TYPE, ERR_SHAPE; the message names the input,
 * what was expected and what came. */
result tensor_check_inputs(const struct weir_port *ports, int ports_len,
                           const struct weir_tensor *tensors, bool batchable, int64_t *ret_rows,
                           struct diag *diag);
