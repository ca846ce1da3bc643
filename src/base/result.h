/* What a function that can fail returns, and the one table of reasons.
 *
 * A `result` must be used: test it, pass it on with TRY, or `ignore` it with a
 * comment that says why. Outputs (`ret_…` parameters) are untouched on failure.
 * Text about a failure goes into a `struct diag` (base/diag.h), not here.
 *
 * The table fixes, per code: its name, its canonical gRPC status, whether the
 * same call may succeed later, and one line for people. HTTP, TensorFlow Serving
 * and Open Inference codes derive from the gRPC status and nowhere else.
 */
#pragma once

#include "base/macros.h"

/* Canonical status codes of gRPC (grpc/grpc doc/statuscodes.md). */
enum grpc_status {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16,
};

/* X(name, grpc status, retryable, text) */
#define ERR_TABLE(X) \
    X(NONE, OK, false, "no error") \
    X(CANCELLED, CANCELLED, false, "the caller has gone or cancelled the work") \
    X(SYNTAX, INVALID_ARGUMENT, false, "the input does not follow its grammar") \
    X(TYPE, INVALID_ARGUMENT, false, "a value has the wrong type") \
    X(SHAPE, INVALID_ARGUMENT, false, "a tensor has the wrong shape") \
    X(RANGE, INVALID_ARGUMENT, false, "a value is out of its range") \
    X(ARGUMENT, INVALID_ARGUMENT, false, "an argument is missing or wrong") \
    X(TOO_LARGE, INVALID_ARGUMENT, false, "the input is larger than its limit") \
    X(UNSUPPORTED, UNIMPLEMENTED, false, "valid, but not supported here") \
    X(NOT_FOUND, NOT_FOUND, false, "nothing of that name") \
    X(EXISTS, ALREADY_EXISTS, false, "something of that name is there already") \
    X(PRECONDITION, FAILED_PRECONDITION, false, "not possible in the present state") \
    X(PERMISSION, PERMISSION_DENIED, false, "not permitted") \
    X(EXHAUSTED, RESOURCE_EXHAUSTED, true, "a limit is reached; try again later") \
    X(NO_MEMORY, RESOURCE_EXHAUSTED, true, "out of memory") \
    X(NO_DESCRIPTORS, RESOURCE_EXHAUSTED, true, "out of file descriptors") \
    X(NO_SPACE, RESOURCE_EXHAUSTED, true, "no space left on the device") \
    X(DEADLINE, DEADLINE_EXCEEDED, false, "the deadline has passed") \
    X(UNAVAILABLE, UNAVAILABLE, true, "not available now; try again later") \
    X(DRAINING, UNAVAILABLE, true, "shutting down; try another replica") \
    X(ADDRESS_IN_USE, ALREADY_EXISTS, false, "the address is in use") \
    X(CLOSED, CANCELLED, true, "the peer closed the connection") \
    X(RESET, CANCELLED, true, "the peer reset the connection") \
    X(REFUSED, UNAVAILABLE, true, "the peer refused the connection") \
    X(CORRUPT, DATA_LOSS, false, "the data is damaged") \
    X(IO, INTERNAL, false, "the operating system reported an error") \
    X(BACKEND, INTERNAL, false, "the model's backend reported an error") \
    X(INTERNAL, INTERNAL, false, "a defect in Weir")

enum err {
#define X(name, grpc, retryable, text) ERR_##name,
    ERR_TABLE(X)
#undef X
        ERR_COUNT
};

/* On a type: whoever drops a value of it gets an error (-Werror=unused-result).
 * GCC knows this for types only in the standard spelling. */
#ifdef __clang__
#define MUST_USE __attribute__((warn_unused_result))
#else
#define MUST_USE [[nodiscard]]
#endif

typedef struct MUST_USE result {
    uint16_t code;
} result;

#define OK ((result){ERR_NONE})

static inline result fail(enum err code)
{
    return (result){(uint16_t)code};
}
static inline bool failed(result r)
{
    return r.code != ERR_NONE;
}
static inline bool is(result r, enum err code)
{
    return r.code == code;
}
/* Drops a result on purpose; say why beside the call. */
static inline void ignore(result r)
{
    (void)r;
}

/* Returns from the calling function with the failure of `expr`, if it failed. */
#define TRY(expr) \
    do { \
        result try_result_ = (expr); \
        if (UNLIKELY(failed(try_result_))) \
            return try_result_; \
    } while (0)

/* "EXHAUSTED" for ERR_EXHAUSTED; "UNKNOWN" for a code outside the table. */
const char *err_name(enum err code);
/* The one line for people. */
const char *err_text(enum err code);
/* Whether the same call may succeed later without being changed. */
bool err_retryable(enum err code);
enum grpc_status err_grpc(enum err code);
/* The HTTP status of a gRPC status, by the table of google.rpc.Code
 * (googleapis google/rpc/code.proto), which TensorFlow Serving follows. */
int grpc_http(enum grpc_status status);
static inline int err_http(enum err code)
{
    return grpc_http(err_grpc(code));
}
/* The code that an errno value of a system call means. */
enum err err_of_errno(int errnum);
