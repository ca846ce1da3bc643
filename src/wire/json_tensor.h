/* Tensors as JSON text: nested arrays, or one flat array.
 *
 * Reading takes two passes, so that a shape is known before memory is taken:
 *
 *   json_tensor_scan   finds the extents, the kinds of elements, the bytes of strings and
 *                      where the value ends. Runs of numbers are only counted: which
 *                      bytes may belong to one is checked, its grammar is not.
 *   json_tensor_fill   reads the elements into memory and checks all that is left.
 *
 * A text that passed the first pass may fail the second; it never writes beyond the
 * planned elements and bytes, whatever the text.
 *
 * Elements by type:
 *   integers   an integer in range. A point or an exponent is refused even where the
 *              value is whole, as TensorFlow Serving and Triton do.
 *   floats     any number, correctly rounded; NaN and infinities where the reader's
 *              dialect has them. ERR_RANGE where it would round to infinity.
 *   bool       true or false
 *   strings    a string, or {"b64": ...} where the dialect has it
 * 64-bit integers are exact over their whole range.
 */
#pragma once

#include "wire/json.h"
#include "wire/tensor.h"

enum {
    JSON_KIND_NUMBER = 1 << 0,
    JSON_KIND_BOOL = 1 << 1,
    JSON_KIND_STRING = 1 << 2,
};

/* What the first pass found. An array of nothing ends its shape: [[], []] is [2,0]. */
struct json_tensor {
    size_t at; /* where the value begins */
    int rank;
    int64_t shape[WEIR_RANK_MAX];
    uint64_t elements;
    uint64_t string_bytes; /* at most this much after decoding */
    uint8_t kinds;
};

/* Reads one value. On success the reader stands behind it; on failure it stays
 * somewhere within. ERR_SYNTAX: the reader's fault. ERR_SHAPE: arrays of unequal length
 * or depth, or more than WEIR_RANK_MAX deep. ERR_TYPE: null, or an object that is no
 * bytes. `diag` is filled but for ERR_SYNTAX, which json_report tells. */
result json_tensor_scan(struct json_reader *r, struct json_tensor *ret_tensor, struct diag *diag);

/* Whether such elements can be of `type`: ERR_TYPE. */
result json_tensor_type(const struct json_tensor *tensor, weir_type type, struct diag *diag);

/* Bytes of data for that many elements of `type`: the plan's `bytes`. ERR_TOO_LARGE when
 * they cannot be counted. */
result json_tensor_bytes(const struct json_tensor *tensor, weir_type type, uint64_t *ret_bytes);

/* Where elements go, one after another: one value or, row by row, several. */
struct json_sink {
    const struct tensor_plan *plan;
    struct tensor_space space;
    /* Refuse integers beyond what the float type counts exactly (2^24 - 1, 2^53 - 1), as
     * TensorFlow Serving does. */
    bool lossless;
    uint64_t elements; /* filled so far */
    uint64_t bytes;    /* of strings */
};

struct json_sink json_sink_of(const struct tensor_plan *plan, const struct tensor_space *space,
                              bool lossless);

/* Reads one value of just this shape onto the end of the sink. ERR_SYNTAX, ERR_SHAPE,
 * ERR_TYPE and ERR_RANGE as above. */
result json_tensor_fill(struct json_reader *r, int rank, const int64_t *shape,
                        struct json_sink *sink, struct diag *diag);

/* ---- writing ---- */

enum json_layout {
    JSON_COMPACT, /* [[1,2],[3,4]] */
    JSON_LINE,    /* [[1, 2], [3, 4]] */
    JSON_PRETTY,  /* an element a line, four spaces a level */
};

struct json_style {
    enum json_layout layout;
    int level;      /* arrays and objects open around the value */
    bool flat;      /* one array, whatever the shape */
    bool bare;      /* without the outermost brackets */
    bool b64;       /* strings as {"b64": ...}, which is pretty in every layout */
    bool nonfinite; /* write NaN, Infinity and -Infinity; else they are refused */
};

/* Appends a dense tensor in host memory. Floats have the shortest digits that read back
 * as the same value, and ".0" when whole. ERR_UNSUPPORTED: a value that is not finite, or
 * a type outside the table; what was appended before stays. Failures of `text` are told
 * by text_result, not here. */
result json_tensor_write(struct text *text, const struct weir_tensor *tensor,
                         const struct json_style *style, struct diag *diag);

/* About how many bytes json_tensor_write appends, for choosing where it runs: a guess from
 * the type's usual width, not a bound. */
uint64_t json_tensor_estimate(const struct weir_tensor *tensor);
