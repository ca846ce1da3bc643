#include "base/result.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct err_info {
    const char *name;
    const char *text;
    enum grpc_status grpc;
    bool retryable;
};

static const struct err_info err_infos[ERR_COUNT] = {
#define X(name, grpc, retryable, text) [ERR_##name] = {#name, text, GRPC_##grpc, retryable},
    ERR_TABLE(X)
#undef X
};

static const struct err_info unknown = {"UNKNOWN", "an unknown error", GRPC_UNKNOWN, false};

static const struct err_info *info_of(enum err code)
{
    return (unsigned)code < ERR_COUNT ? &err_infos[code] : &unknown;
}

const char *err_name(enum err code)
{
    return info_of(code)->name;
}

const char *err_text(enum err code)
{
    return info_of(code)->text;
}

bool err_retryable(enum err code)
{
    return info_of(code)->retryable;
}

enum grpc_status err_grpc(enum err code)
{
    return info_of(code)->grpc;
}

int grpc_http(enum grpc_status status)
{
    switch (status) {
    case GRPC_OK:
        return 200;
    case GRPC_INVALID_ARGUMENT:
    case GRPC_FAILED_PRECONDITION:
    case GRPC_OUT_OF_RANGE:
        return 400;
    case GRPC_UNAUTHENTICATED:
        return 401;
    case GRPC_PERMISSION_DENIED:
        return 403;
    case GRPC_NOT_FOUND:
        return 404;
    case GRPC_ALREADY_EXISTS:
    case GRPC_ABORTED:
        return 409;
    case GRPC_RESOURCE_EXHAUSTED:
        return 429;
    case GRPC_CANCELLED:
        return 499;
    case GRPC_UNIMPLEMENTED:
        return 501;
    case GRPC_UNAVAILABLE:
        return 503;
    case GRPC_DEADLINE_EXCEEDED:
        return 504;
    case GRPC_UNKNOWN:
    case GRPC_INTERNAL:
    case GRPC_DATA_LOSS:
        return 500;
    }
    return 500;
}

enum err err_of_errno(int errnum)
{
    switch (errnum) {
    case 0:
        return ERR_NONE;
    case ENOENT:
    case ENOTDIR:
        return ERR_NOT_FOUND;
    case EEXIST:
        return ERR_EXISTS;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERR_PERMISSION;
    case ENOMEM:
    case ENOBUFS:
        return ERR_NO_MEMORY;
    case EMFILE:
    case ENFILE:
        return ERR_NO_DESCRIPTORS;
    case ENOSPC:
    case EDQUOT:
        return ERR_NO_SPACE;
    case EADDRINUSE:
        return ERR_ADDRESS_IN_USE;
    case EPIPE:
        return ERR_CLOSED;
    case ECONNRESET:
    case ECONNABORTED:
        return ERR_RESET;
    case ECONNREFUSED:
        return ERR_REFUSED;
    case ETIMEDOUT:
        return ERR_DEADLINE;
    case ECANCELED:
        return ERR_CANCELLED;
    case EINVAL:
    case ENAMETOOLONG:
    case EADDRNOTAVAIL:
        return ERR_ARGUMENT;
    default:
        return ERR_IO;
    }
}

static char assert_text[256];

void weir_assert_failed(const char *expression, const char *file, int line)
{
    snprintf(assert_text, sizeof(assert_text), "%s (%s:%d)", expression, file, line);
    fprintf(stderr, "weir: assertion failed: %s\n", assert_text);
    abort();
}

const char *weir_assert_text(void)
{
    return assert_text[0] ? assert_text : NULL;
}
