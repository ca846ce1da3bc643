/* Addresses of the kernel, detached connections, datagrams. */
#include "io/uv/uv_private.h"

#include <errno.h>
#include <unistd.h>

#define UNIX_PATH_AT offsetof(struct sockaddr_un, sun_path)
#define HANDLE_UNIX ((int64_t)1 << 32)

/* A path that begins with '@' is a name in the abstract namespace (unix(7)). */
static socklen_t unix_sockaddr(const char *path, struct sockaddr_storage *ret_sockaddr)
{
    struct sockaddr_un *un = (struct sockaddr_un *)ret_sockaddr;
    un->sun_family = AF_UNIX;
    size_t len = strnlen(path, sizeof(un->sun_path) - 1);
    memcpy(un->sun_path, path, len);
    if (path[0] == '@') {
        un->sun_path[0] = '\0';
        return (socklen_t)(UNIX_PATH_AT + len);
    }
    return (socklen_t)(UNIX_PATH_AT + len + 1);
}

socklen_t iouv_sockaddr_of(const struct io_address *address, struct sockaddr_storage *ret_sockaddr)
{
    *ret_sockaddr = (struct sockaddr_storage){0};
    if (address->family == IO_UNIX)
        return unix_sockaddr(address->path, ret_sockaddr);
    if (address->family == IO_INET) {
        struct sockaddr_in *in = (struct sockaddr_in *)ret_sockaddr;
        in->sin_family = AF_INET;
        in->sin_port = htons(address->port);
        memcpy(&in->sin_addr, address->ip, 4);
        return sizeof(*in);
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret_sockaddr;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(address->port);
    memcpy(&in6->sin6_addr, address->ip, 16);
    return sizeof(*in6);
}

void iouv_address_of(const struct sockaddr_storage *sockaddr, socklen_t len,
                     struct io_address *ret_address)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct io_address address = {.family = IO_UNIX};
    if (sockaddr->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)sockaddr;
        address.family = IO_INET;
        address.port = ntohs(in->sin_port);
        memcpy(address.ip, &in->sin_addr, 4);
    } else if (sockaddr->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sockaddr;
        const uint8_t *ip = in6->sin6_addr.s6_addr;
        bool is_mapped = memcmp(ip, mapped, sizeof(mapped)) == 0; /* of a dual listener */
        address.family = is_mapped ? IO_INET : IO_INET6;
        address.port = ntohs(in6->sin6_port);
        memcpy(address.ip, is_mapped ? ip + 12 : ip, is_mapped ? 4 : 16);
    } else if (len > UNIX_PATH_AT) {
        const struct sockaddr_un *un = (const struct sockaddr_un *)sockaddr;
        size_t path_len = MIN((size_t)len - UNIX_PATH_AT, sizeof(address.path) - 1);
        memcpy(address.path, un->sun_path, path_len);
        if (path_len > 0 && address.path[0] == '\0')
            address.path[0] = '@';
    }
    *ret_address = address;
}

int iouv_socket(int family, int type)
{
    int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd >= 0 ? fd : -errno;
}

struct io_detached iouv_detached(int fd, bool is_unix)
{
    return (struct io_detached){fd | (is_unix ? HANDLE_UNIX : 0)};
}

int iouv_detached_fd(struct io_detached detached)
{
    return (int)(detached.handle & ~HANDLE_UNIX);
}

bool iouv_detached_unix(struct io_detached detached)
{
    return (detached.handle & HANDLE_UNIX) != 0;
}

void iouv_detached_close(struct process *process, struct io_detached detached)
{
    close(iouv_detached_fd(detached));
}

result iouv_datagram(struct process *process, const char *path, struct span bytes)
{
    struct sockaddr_storage to = {0};
    if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path) || !*path)
        return fail(ERR_ARGUMENT);
    socklen_t len = unix_sockaddr(path, &to);
    int fd = iouv_socket(AF_UNIX, SOCK_DGRAM);
    if (fd < 0)
        return fail(err_of_errno(-fd));
    ssize_t n = sendto(fd, bytes.ptr, bytes.len, MSG_NOSIGNAL, (struct sockaddr *)&to, len);
    int errnum = n < 0 ? errno : 0;
    close(fd);
    return errnum ? fail(errnum == EAGAIN ? ERR_UNAVAILABLE : err_of_errno(errnum)) : OK;
}
