/* A listener is a descriptor of our own, watched by uv_poll. Connections are accepted
 * without being made library handles, since most are handed to another loop. */
#include "base/alloc.h"
#include "io/uv/uv_private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define ACCEPTS_A_TURN 64
/* How long a listener rests when the kernel lacks memory, or a descriptor even for the
 * spare one. */
#define REST (100 * IO_MS)

struct iouv_listener {
    struct listener base;
    uv_poll_t poll;
    struct io_timer rest;
    int fd, spare;
    bool is_unix, inherited, paused, closed;
    dev_t unix_device; /* the socket file that this listener made */
    ino_t unix_inode;
};

static struct iouv_listener *iouv_listener(struct listener *listener)
{
    return (struct iouv_listener *)listener;
}

static int open_spare(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static int accept_one(int fd)
{
    int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return client >= 0 ? client : -errno;
}

static void accepts(uv_poll_t *poll, int status, int events);

static void rest(struct iouv_listener *l)
{
    uv_poll_stop(&l->poll);
    timer_start(l->base.loop, &l->rest, iouv_clock(l->base.loop->process) + REST);
}

static void start(struct iouv_listener *l)
{
    uv_poll_start(&l->poll, UV_READABLE, accepts);
    if (iouv_watch(iouv_loop(l->base.loop), l->fd) != 0)
        rest(l);
}

static void rested(struct io_timer *timer)
{
    struct iouv_listener *l = CONTAINER_OF(timer, struct iouv_listener, rest);
    if (!l->paused)
        start(l);
}

/* Out of descriptors, which the kernel tells before it looks whether anybody waits: the
 * first in the backlog is taken on the spare one and closed, so that it knows, and the
 * listener is not reported readable for ever. An errno, negative, if there was none. */
static int drop_one(struct iouv_listener *l)
{
    if (l->spare < 0)
        l->spare = open_spare();
    if (l->spare < 0)
        return -EMFILE;
    close(l->spare);
    int client = accept_one(l->fd);
    if (client >= 0) {
        close(client);
        l->base.dropped++;
    }
    l->spare = open_spare();
    return MIN(client, 0);
}

/* False: stop for this turn. */
static bool accept_next(struct iouv_listener *l)
{
    int client = accept_one(l->fd);
    if (client >= 0) {
        l->base.fn(l->base.arg, &l->base, iouv_detached(client, l->is_unix));
        return true;
    }
    if (client == -EMFILE || client == -ENFILE)
        client = drop_one(l);
    switch (-client) {
    case EAGAIN:
        return false;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
        rest(l);
        return false;
    default: /* of that one connection, which was gone before it was taken: accept(2) */
        return true;
    }
}

static void accepts(uv_poll_t *poll, int status, int events)
{
    struct iouv_listener *l = poll->data;
    for (int i = 0; i < ACCEPTS_A_TURN && !l->closed && !l->paused; i++) {
        if (!accept_next(l))
            break;
    }
}

/* ---- open and close ------------------------------------------------------------------ */

static void bound_address(int fd, struct io_address *ret_address)
{
    struct sockaddr_storage bound = {0};
    socklen_t len = sizeof(bound);
    getsockname(fd, (struct sockaddr *)&bound, &len);
    /* Not as a peer: a dual socket stays "[::]". */
    iouv_address_of(&bound, len, ret_address);
}

static void set_options(struct iouv_listener *l)
{
    struct io_address bound;
    bound_address(l->fd, &bound);
    l->is_unix = bound.family == IO_UNIX;
    int on = 1;
    if (!l->is_unix) /* inherited by what is accepted */
        setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    struct stat info;
    if (l->is_unix && !l->inherited && stat(bound.path, &info) == 0) {
        l->unix_device = info.st_dev;
        l->unix_inode = info.st_ino;
    }
}

static result open_fd(struct iouv_process *process, const struct io_address *address,
                      const struct listen_options *options, int *ret_fd, bool *ret_inherited,
                      struct diag *diag)
{
    int fd = options->name ? iouv_inherited_take(process, options->name, address) : -1;
    *ret_inherited = fd >= 0;
    if (fd >= 0) {
        *ret_fd = fd;
        return OK;
    }
    return iouv_bind(address, options, ret_fd, diag);
}

result iouv_listen(struct loop *loop, const struct io_address *address,
                   const struct listen_options *options, listener_fn fn, void *arg,
                   struct listener **ret_listener, struct diag *diag)
{
    struct iouv_listener *l = MEM_NEW(struct iouv_listener);
    if (!l)
        return diag_fail(diag, ERR_NO_MEMORY, "no memory for a listener");
    l->base = (struct listener){.loop = loop, .fn = fn, .arg = arg};
    l->poll.data = l;
    l->rest.fired = rested;
    result r = open_fd(iouv_process(loop->process), address, options, &l->fd, &l->inherited, diag);
    if (failed(r)) {
        mem_free(l);
        return r;
    }
    set_options(l);
    int uv = uv_poll_init(&iouv_loop(loop)->uv, &l->poll, l->fd);
    if (uv < 0) {
        close(l->fd);
        mem_free(l);
        return diag_fail_errno(diag, -uv, "watch a listening socket");
    }
    l->spare = open_spare();
    start(l);
    *ret_listener = &l->base;
    return OK;
}

void iouv_listener_address(struct listener *listener, struct io_address *ret_address)
{
    bound_address(iouv_listener(listener)->fd, ret_address);
}

void iouv_listener_pause(struct listener *listener)
{
    struct iouv_listener *l = iouv_listener(listener);
    l->paused = true;
    uv_poll_stop(&l->poll);
}

void iouv_listener_resume(struct listener *listener)
{
    struct iouv_listener *l = iouv_listener(listener);
    if (!l->paused)
        return;
    l->paused = false;
    if (!timer_running(&l->rest))
        start(l);
}

static void closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

/* A path that another has bound meanwhile is his. */
static void remove_path(const struct iouv_listener *l)
{
    struct io_address bound;
    struct stat info;
    if (!l->is_unix || l->inherited)
        return;
    bound_address(l->fd, &bound);
    if (bound.path[0] != '@' && stat(bound.path, &info) == 0 && info.st_dev == l->unix_device &&
        info.st_ino == l->unix_inode)
        unlink(bound.path);
}

static void close_now(struct iouv_listener *l)
{
    l->closed = true;
    remove_path(l);
    uv_poll_stop(&l->poll);
    uv_close((uv_handle_t *)&l->poll, closed);
    close(l->fd);
    if (l->spare >= 0)
        close(l->spare);
}

void iouv_listener_close(struct listener *listener)
{
    struct iouv_listener *l = iouv_listener(listener);
    timer_stop(listener->loop, &l->rest);
    close_now(l);
}

void iouv_listener_abandon(uv_handle_t *handle)
{
    close_now(handle->data);
}
