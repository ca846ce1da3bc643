/* Streams are uv_tcp_t and uv_pipe_t.
 *
 *   S1  Reading is started when a read is armed and not stopped when it completes: most
 *       often the next one is armed before the next bytes come, so the kernel's interest
 *       need not be changed. When bytes come and no read is armed, the library is
 *       offered no room, which costs no read, and is stopped then. Only not in the turn
 *       of the last read, which may just have filled its buffer, or used up what may be
 *       read in a turn (I7): the library reads on for as long as buffers are filled, up
 *       to 32 of them, and no room is what ends that. The kernel tells of the rest again
 *       in the next turn.
 *   S2  A write goes out in pieces. Each is first offered to the kernel; what that did
 *       not take, and the next piece, become a uv_write, of at most 4 parts, since for
 *       more the library allocates. So a turn copies three pieces at the most (I7).
 *   S3  The memory returns to the pool by `iouv_stream_free`, after the library's close
 *       callback, which also follows a detach.
 */
#include "io/uv/uv_private.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define WRITE_PARTS_MAX 4
#define WRITE_PIECE (STREAM_TURN_BYTES / 2)

struct iouv_stream {
    struct stream base;
    bool reading, is_unix;
    size_t write_len; /* of the present uv_write */
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    union {
        uv_write_t write;
        uv_connect_t connect;
    } request;
};

const size_t iouv_stream_size = sizeof(struct iouv_stream);

/* The library takes parts as it is; so spans are handed to it without a copy. */
_Static_assert(sizeof(struct span) == sizeof(uv_buf_t) &&
                   offsetof(struct span, ptr) == offsetof(uv_buf_t, base) &&
                   offsetof(struct span, len) == offsetof(uv_buf_t, len),
               "a span is a uv_buf_t");

static struct iouv_stream *iouv_stream(struct stream *stream)
{
    return (struct iouv_stream *)stream;
}

static enum err err_of_uv(int r)
{
    return r < 0 ? err_of_errno(-r) : ERR_NONE;
}

static int descriptor(struct iouv_stream *s)
{
    uv_os_fd_t fd = -1;
    uv_fileno(&s->uv.handle, &fd);
    return fd;
}

static const struct stream_ops iouv_stream_ops;

static struct iouv_stream *new_stream(struct loop *loop, bool is_unix)
{
    struct iouv_stream *s = pool_get(&iouv_loop(loop)->streams);
    if (!s)
        return NULL;
    s->base.loop = loop;
    s->base.ops = &iouv_stream_ops;
    s->is_unix = is_unix;
    if (is_unix)
        uv_pipe_init(&iouv_loop(loop)->uv, &s->uv.pipe, 0);
    else
        uv_tcp_init(&iouv_loop(loop)->uv, &s->uv.tcp);
    s->uv.handle.data = s;
    return s;
}

/* Before the library begins to watch its descriptor; while that is read, it does already.
 * When nobody wants an event that came, the library takes the descriptor out of the set. */
static int watch(struct iouv_stream *s)
{
    return s->reading ? 0 : iouv_watch(iouv_loop(s->base.loop), descriptor(s));
}

static void iouv_close(struct stream *stream, enum stream_close_how how);

/* Of one that nobody has seen yet. */
static void discard(struct iouv_stream *s)
{
    s->base.closing = true;
    iouv_close(&s->base, STREAM_CLOSE);
}

static int open_descriptor(struct iouv_stream *s, int fd)
{
    return s->is_unix ? uv_pipe_open(&s->uv.pipe, fd) : uv_tcp_open(&s->uv.tcp, fd);
}

result iouv_adopt(struct loop *loop, struct io_detached detached, struct stream **ret_stream)
{
    struct iouv_stream *s = new_stream(loop, iouv_detached_unix(detached));
    if (!s)
        return fail(ERR_NO_MEMORY);
    int r = open_descriptor(s, iouv_detached_fd(detached));
    if (r < 0) {
        discard(s);
        return fail(err_of_uv(r));
    }
    *ret_stream = &s->base;
    return OK;
}

/* ---- connect ---------------------------------------------------------------------- */

static void connected(uv_connect_t *request, int status)
{
    struct iouv_stream *s = request->data;
    stream_connect_done(&s->base, err_of_uv(status));
}

static result connect_tcp(struct loop *loop, const struct sockaddr_storage *to,
                          struct stream **ret_stream)
{
    struct iouv_stream *s = new_stream(loop, false);
    if (!s)
        return fail(ERR_NO_MEMORY);
    uv_tcp_nodelay(&s->uv.tcp, 1);
    s->request.connect.data = s;
    int r = uv_tcp_connect(&s->request.connect, &s->uv.tcp, (const struct sockaddr *)to, connected);
    if (r == 0)
        r = -watch(s);
    if (r < 0) {
        discard(s);
        return fail(err_of_uv(r));
    }
    *ret_stream = &s->base;
    return OK;
}

/* The kernel answers at once; that answer is completed from the loop like any other.
 * EAGAIN: the listener's backlog is full. */
static result connect_unix(struct loop *loop, const struct sockaddr_storage *to, socklen_t len,
                           struct stream **ret_stream)
{
    int fd = iouv_socket(AF_UNIX, SOCK_STREAM);
    if (fd < 0)
        return fail(err_of_errno(-fd));
    struct iouv_stream *s = new_stream(loop, true);
    if (!s) {
        close(fd);
        return fail(ERR_NO_MEMORY);
    }
    int r;
    do
        r = connect(fd, (const struct sockaddr *)to, len);
    while (r != 0 && errno == EINTR);
    int errnum = r != 0 ? errno : 0;
    r = open_descriptor(s, fd);
    if (r < 0) {
        close(fd);
        discard(s);
        return fail(err_of_uv(r));
    }
    stream_connect_done(&s->base, errnum == EAGAIN ? ERR_UNAVAILABLE : err_of_errno(errnum));
    *ret_stream = &s->base;
    return OK;
}

result iouv_connect(struct loop *loop, const struct io_address *address, struct stream **ret_stream)
{
    struct sockaddr_storage to;
    socklen_t len = iouv_sockaddr_of(address, &to);
    return address->family == IO_UNIX ? connect_unix(loop, &to, len, ret_stream)
                                      : connect_tcp(loop, &to, ret_stream);
}

/* ---- read (S1) ---------------------------------------------------------------------- */

static void offer_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct iouv_stream *s = handle->data;
    size_t room = stream_room(&s->base);
    *buf = (uv_buf_t){NULL, 0};
    if (!stream_wants(&s->base) || room == 0)
        return;
    struct span_mut into = s->base.read_into;
    if (into.len == 0)
        into = (struct span_mut){iouv_loop(s->base.loop)->scratch, IOUV_SCRATCH};
    *buf = (uv_buf_t){(char *)into.ptr, MIN(into.len, room)};
}

static void has_read(uv_stream_t *handle, ssize_t n, const uv_buf_t *buf)
{
    struct iouv_stream *s = handle->data;
    if (n > 0) {
        stream_read_deliver(&s->base, span_of(buf->base, (size_t)n));
    } else if (n == UV_ENOBUFS && s->reading) {
        if (!stream_read_now(&s->base)) {
            uv_read_stop(handle);
            s->reading = false;
        }
    } else if (n < 0) {
        s->reading = false; /* the library has stopped */
        stream_read_end(&s->base, n == UV_EOF ? ERR_NONE : err_of_uv((int)n));
    }
}

static void iouv_read(struct stream *stream)
{
    struct iouv_stream *s = iouv_stream(stream);
    if (s->reading)
        return;
    int r = descriptor(s) >= 0 ? -watch(s) : 0;
    if (r == 0)
        r = uv_read_start(&s->uv.stream, offer_room, has_read);
    s->reading = r == 0;
    if (r < 0) /* a connection that was never made */
        stream_read_refused(stream, err_of_uv(r));
}

/* ---- write (S2) ----------------------------------------------------------------------- */

static void iouv_write(struct stream *stream);

static size_t iouv_try_write(struct stream *stream, const struct span *parts, int count)
{
    struct iouv_stream *s = iouv_stream(stream);
    int n = uv_try_write(&s->uv.stream, (const uv_buf_t *)parts, (unsigned)count);
    return n > 0 ? (size_t)n : 0;
}

static void has_written(uv_write_t *request, int status)
{
    struct iouv_stream *s = request->data;
    if (s->base.closing)
        return;
    if (status < 0) {
        stream_write_done(&s->base, err_of_uv(status));
        return;
    }
    stream_advance(&s->base, s->write_len);
    iouv_write(&s->base);
}

/* The next bytes of the write, in at most `max` parts. */
static int next_piece(const struct stream *stream, struct span *ret_parts, int max)
{
    size_t room = WRITE_PIECE;
    int count = 0;
    for (int i = stream->part; i < stream->part_count && count < max && room > 0; i++) {
        ret_parts[count] = span_first(stream->parts[i], room);
        room -= ret_parts[count++].len;
    }
    return count;
}

static void iouv_write(struct stream *stream)
{
    struct iouv_stream *s = iouv_stream(stream);
    struct span parts[STREAM_PARTS_MAX] UNINITIALIZED;
    int count = next_piece(stream, parts, STREAM_PARTS_MAX), n = 0;
    if (count > 0)
        n = uv_try_write(&s->uv.stream, (const uv_buf_t *)parts, (unsigned)count);
    if (n == UV_EAGAIN)
        n = 0;
    if (n < 0 || stream_advance(stream, (size_t)n)) {
        stream_write_done(stream, err_of_uv(n));
        return;
    }
    count = next_piece(stream, parts, WRITE_PARTS_MAX);
    s->write_len = 0;
    for (int i = 0; i < count; i++)
        s->write_len += parts[i].len;
    s->request.write.data = s;
    int r = -watch(s);
    if (r == 0)
        r = uv_write(&s->request.write, &s->uv.stream, (const uv_buf_t *)parts, (unsigned)count,
                     has_written);
    if (r < 0)
        stream_write_done(stream, err_of_uv(r));
}

static void iouv_shutdown(struct stream *stream)
{
    /* Nothing is queued in the library, so its own shutdown has nothing to wait for. A
     * failure means that the connection is gone, which the next read tells. */
    shutdown(descriptor(iouv_stream(stream)), SHUT_WR);
}

/* ---- end (S3) -------------------------------------------------------------------------- */

static void closed(uv_handle_t *handle)
{
    struct iouv_stream *s = handle->data;
    stream_gone(&s->base);
}

static void iouv_close(struct stream *stream, enum stream_close_how how)
{
    struct iouv_stream *s = iouv_stream(stream);
    int fd = descriptor(s);
    if (how == STREAM_RESET && !s->is_unix && fd >= 0) {
        struct linger none = {.l_onoff = 1, .l_linger = 0};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
    }
    uv_close(&s->uv.handle, closed);
}

void iouv_stream_abandon(uv_handle_t *handle)
{
    struct iouv_stream *s = handle->data;
    s->base.closing = true;
    uv_close(handle, NULL);
}

static void iouv_stream_free(struct stream *stream)
{
    pool_put(&iouv_loop(stream->loop)->streams, stream);
}

static result iouv_detach(struct stream *stream, struct io_detached *ret_detached)
{
    struct iouv_stream *s = iouv_stream(stream);
    int fd = fcntl(descriptor(s), F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return fail(err_of_errno(errno));
    *ret_detached = iouv_detached(fd, s->is_unix);
    return OK;
}

static void iouv_peer(struct stream *stream, struct io_address *ret_address)
{
    struct iouv_stream *s = iouv_stream(stream);
    struct sockaddr_storage peer = {.ss_family = s->is_unix ? AF_UNIX : AF_INET};
    socklen_t len = sizeof(peer);
    if (getpeername(descriptor(s), (struct sockaddr *)&peer, &len) != 0)
        len = 0; /* gone: the zero address of its kind */
    iouv_address_of(&peer, len, ret_address);
}

static const struct stream_ops iouv_stream_ops = {
    .read = iouv_read,
    .try_write = iouv_try_write,
    .write = iouv_write,
    .shutdown = iouv_shutdown,
    .close = iouv_close,
    .detach = iouv_detach,
    .peer = iouv_peer,
    .free = iouv_stream_free,
};
