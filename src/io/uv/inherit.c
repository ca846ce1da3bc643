/* Listening sockets handed down by who started this process (sd_listen_fds(3)):
 * LISTEN_FDS of them from descriptor 3 on, meant for LISTEN_PID, named by
 * LISTEN_FDNAMES with ':' between. */
#include "base/number.h"
#include "io/uv/uv_private.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define FIRST 3

static bool read_number(const char *name, uint64_t max, uint64_t *ret_value)
{
    return !failed(number_parse_u64(span_cstr(getenv(name)), ret_value)) && *ret_value <= max;
}

static bool is_listening(int fd)
{
    int listening = 0;
    socklen_t len = sizeof(listening);
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 && listening;
}

void iouv_inherit(struct iouv_process *process)
{
    uint64_t pid = 0, count = 0;
    if (read_number("LISTEN_PID", INT32_MAX, &pid) && pid == (uint64_t)getpid() &&
        read_number("LISTEN_FDS", IOUV_INHERITED_MAX, &count)) {
        struct span names = span_cstr(getenv("LISTEN_FDNAMES"));
        for (int i = 0; i < (int)count; i++) {
            struct iouv_inherited *in = &process->inherited[process->inherited_count];
            struct span name = span_cut(&names, ':');
            int fd = FIRST + i;
            if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || !is_listening(fd) ||
                name.len >= sizeof(in->name))
                continue;
            fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
            in->fd = fd;
            if (name.len > 0)
                memcpy(in->name, name.ptr, name.len);
            process->inherited_count++;
        }
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
}

static bool is_bound_to(int fd, const struct io_address *address)
{
    struct sockaddr_storage bound = {0};
    socklen_t len = sizeof(bound);
    struct io_address a;
    if (getsockname(fd, (struct sockaddr *)&bound, &len) != 0)
        return false;
    iouv_address_of(&bound, len, &a);
    return a.family == address->family && a.port == address->port &&
           memcmp(a.ip, address->ip, sizeof(a.ip)) == 0 && strcmp(a.path, address->path) == 0;
}

int iouv_inherited_take(struct iouv_process *process, const char *name,
                        const struct io_address *address)
{
    struct iouv_inherited *best = NULL;
    for (int i = 0; i < process->inherited_count; i++) {
        struct iouv_inherited *in = &process->inherited[i];
        if (in->fd < 0 || strcmp(in->name, name) != 0)
            continue;
        bool exact = is_bound_to(in->fd, address);
        if (!best || exact)
            best = in;
        if (exact)
            break;
    }
    if (!best)
        return -1;
    int fd = best->fd;
    best->fd = -1;
    return fd;
}
