/* Making a socket that listens. */
#include "io/uv/uv_private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKLOG 4096
#define UNIX_MODE 0600

static const int on = 1, off = 0;

/* Whether nobody listens on a socket file any more: only then is connecting refused.
 * Anything else at that path is not ours to remove. */
static bool is_stale(const char *path, const struct sockaddr_storage *to, socklen_t len)
{
    struct stat info;
    if (lstat(path, &info) != 0 || !S_ISSOCK(info.st_mode))
        return false;
    int fd = iouv_socket(AF_UNIX, SOCK_STREAM);
    if (fd < 0)
        return false;
    bool refused = connect(fd, (const struct sockaddr *)to, len) != 0 && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

static int bind_unix(int fd, const struct io_address *address, const struct listen_options *options)
{
    struct sockaddr_storage to;
    socklen_t len = iouv_sockaddr_of(address, &to);
    mode_t mode = options->unix_mode ? (mode_t)options->unix_mode : UNIX_MODE;
    /* Before bind, so that the file is at no time more open than wanted (Linux gives it
     * the socket's mode, less the umask); after, so that the umask takes nothing. */
    fchmod(fd, mode);
    int r = bind(fd, (struct sockaddr *)&to, len);
    if (r != 0 && errno == EADDRINUSE && is_stale(address->path, &to, len)) {
        unlink(address->path);
        r = bind(fd, (struct sockaddr *)&to, len);
    }
    if (r == 0 && address->path[0] != '@')
        r = chmod(address->path, mode);
    return r == 0 ? 0 : -errno;
}

static int bind_inet(int fd, const struct io_address *address, const struct listen_options *options)
{
    static const uint8_t any[16];
    struct sockaddr_storage to;
    socklen_t len = iouv_sockaddr_of(address, &to);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (options->shard && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0)
        return -errno;
    if (address->family == IO_INET6) {
        bool dual = memcmp(address->ip, any, sizeof(any)) == 0;
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, dual ? &off : &on, sizeof(on));
    }
    return bind(fd, (struct sockaddr *)&to, len) == 0 ? 0 : -errno;
}

static int bind_and_listen(const struct io_address *address, const struct listen_options *options)
{
    static const int families[] = {[IO_INET] = AF_INET, [IO_INET6] = AF_INET6, [IO_UNIX] = AF_UNIX};
    int fd = iouv_socket(families[address->family], SOCK_STREAM);
    if (fd < 0)
        return fd;
    int r = address->family == IO_UNIX ? bind_unix(fd, address, options)
                                       : bind_inet(fd, address, options);
    if (r == 0 && listen(fd, options->backlog > 0 ? options->backlog : BACKLOG) != 0)
        r = -errno;
    if (r == 0)
        return fd;
    close(fd);
    return r;
}

static bool is_any6(const struct io_address *address)
{
    static const uint8_t any[16];
    return address->family == IO_INET6 && memcmp(address->ip, any, sizeof(any)) == 0;
}

result iouv_bind(const struct io_address *address, const struct listen_options *options,
                 int *ret_fd, struct diag *diag)
{
    int fd = bind_and_listen(address, options);
    if ((fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL) && is_any6(address)) {
        /* A machine without IPv6: any IPv4 address is what is left of "any". */
        struct io_address any4 = {.family = IO_INET, .port = address->port};
        fd = bind_and_listen(&any4, options);
    }
    if (fd >= 0) {
        *ret_fd = fd;
        return OK;
    }
    char name[160];
    io_address_format(address, name, sizeof(name));
    return diag_fail_errno(diag, -fd, "listen on %s", name);
}
