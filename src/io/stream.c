/* The state of a stream that both implementations share: what is armed, what has
 * completed, and the order in which completions are delivered (ops.h, O1 and O2). */
#include "io/ops.h"

static void stream_ready(struct stream *stream)
{
    if (stream->ready_listed)
        return;
    struct stream_list *list = &stream->loop->ready;
    stream->ready_listed = true;
    stream->ready_next = NULL;
    if (list->last)
        list->last->ready_next = stream;
    else
        list->first = stream;
    list->last = stream;
}

/* ---- completions, called by the implementations ------------------------------ */

static void read_complete(struct stream *stream, enum err code, struct span bytes)
{
    stream->read_armed = stream->read_done = false;
    stream->read_fn(stream->read_arg, stream, fail(code), bytes);
}

void stream_read_deliver(struct stream *stream, struct span bytes)
{
    stream->turn_room = (uint32_t)(stream_room(stream) - bytes.len);
    stream->read_turn = atomic_load_explicit(&stream->loop->turns, memory_order_relaxed);
    read_complete(stream, ERR_NONE, bytes);
}

void stream_read_end(struct stream *stream, enum err code)
{
    stream->read_ended = true;
    stream->read_end = (uint16_t)code;
    if (stream_wants(stream))
        read_complete(stream, code, SPAN_NONE);
}

void stream_read_refused(struct stream *stream, enum err code)
{
    stream->read_ended = stream->read_done = true;
    stream->read_end = stream->read_code = (uint16_t)code;
    stream_ready(stream);
}

void stream_write_done(struct stream *stream, enum err code)
{
    if (stream->closing)
        return;
    stream->write_done = true;
    stream->write_code = (uint16_t)code;
    stream_ready(stream);
}

void stream_connect_done(struct stream *stream, enum err code)
{
    if (stream->closing)
        return;
    stream->connect_done = true;
    stream->connect_code = (uint16_t)code;
    stream_ready(stream);
}

void stream_gone(struct stream *stream)
{
    stream->gone = true;
    stream_ready(stream);
}

bool stream_advance(struct stream *stream, size_t len)
{
    while (stream->part < stream->part_count) {
        struct span *part = &stream->parts[stream->part];
        if (len < part->len) {
            *part = span_from(*part, len);
            return false;
        }
        len -= part->len;
        stream->part++;
    }
    return true;
}

static void complete_write(struct stream *stream)
{
    stream->write_armed = stream->write_done = false;
    if (stream->shutdown_wanted) {
        stream->shutdown_wanted = false;
        stream->loop->process->ops->shutdown(stream);
    }
    stream->write_fn(stream->write_arg, stream, fail((enum err)stream->write_code));
}

static void complete_open(struct stream *stream)
{
    if (stream->connect_done) {
        stream->connecting = stream->connect_done = false;
        stream->connect_fn(stream->connect_arg, stream, fail((enum err)stream->connect_code));
    }
    if (stream->write_done && !stream->closing)
        complete_write(stream);
    if (stream->read_done && !stream->closing)
        read_complete(stream, (enum err)stream->read_code, SPAN_NONE);
}

/* Nothing of it is armed again meanwhile: `stream_read` and the others refuse a stream
 * that is being closed. */
static void complete_closed(struct stream *stream)
{
    if (stream->connecting)
        stream->connect_fn(stream->connect_arg, stream, fail(ERR_CANCELLED));
    if (stream->read_armed)
        read_complete(stream, ERR_CANCELLED, SPAN_NONE);
    if (stream->write_armed)
        stream->write_fn(stream->write_arg, stream, fail(ERR_CANCELLED));
    stream_close_fn fn = stream->close_fn;
    void *arg = stream->close_arg;
    stream->loop->process->ops->stream_free(stream);
    if (fn)
        fn(arg);
}

void streams_complete(struct loop *loop)
{
    struct stream *stream = loop->ready.first;
    loop->ready = (struct stream_list){NULL, NULL};
    while (stream) {
        struct stream *next = stream->ready_next;
        stream->ready_listed = false;
        if (stream->gone)
            complete_closed(stream);
        else if (!stream->closing)
            complete_open(stream);
        stream = next;
    }
}

/* ---- io.h -------------------------------------------------------------------- */

result stream_adopt(struct loop *loop, struct io_detached detached, struct stream **ret_stream)
{
    return loop->process->ops->adopt(loop, detached, ret_stream);
}

void detached_close(struct process *process, struct io_detached detached)
{
    process->ops->detached_close(process, detached);
}

void stream_read(struct stream *stream, struct span_mut into, stream_read_fn fn, void *arg)
{
    ASSERT(!stream->read_armed && !stream->closing && !stream->connecting);
    stream->read_armed = true;
    stream->read_into = into;
    stream->read_fn = fn;
    stream->read_arg = arg;
    if (LIKELY(!stream->read_ended))
        stream->loop->process->ops->read(stream);
    else
        stream_read_refused(stream, (enum err)stream->read_end);
}

void stream_read_cancel(struct stream *stream)
{
    if (!stream->read_armed || stream->closing)
        return;
    stream->read_done = true;
    stream->read_code = ERR_CANCELLED;
    stream_ready(stream);
}

size_t stream_try_write(struct stream *stream, const struct span *parts, int count)
{
    ASSERT(!stream->write_armed && !stream->closing && !stream->connecting);
    ASSERT(count >= 0 && count <= STREAM_PARTS_MAX);
    struct span filled[STREAM_PARTS_MAX] UNINITIALIZED;
    int filled_count = 0;
    size_t room = STREAM_TURN_BYTES; /* I7 */
    for (int i = 0; i < count && room > 0; i++) {
        struct span part = span_first(parts[i], room);
        if (part.len > 0)
            filled[filled_count++] = part;
        room -= part.len;
    }
    if (filled_count == 0)
        return 0;
    return stream->loop->process->ops->try_write(stream, filled, filled_count);
}

void stream_write(struct stream *stream, const struct span *parts, int count, stream_write_fn fn,
                  void *arg)
{
    ASSERT(!stream->write_armed && !stream->closing && !stream->connecting);
    ASSERT(count >= 0 && count <= STREAM_PARTS_MAX);
    stream->write_armed = true;
    stream->write_fn = fn;
    stream->write_arg = arg;
    stream->part = stream->part_count = 0;
    for (int i = 0; i < count; i++) {
        if (parts[i].len > 0)
            stream->parts[stream->part_count++] = parts[i];
    }
    if (stream->part_count == 0)
        stream_write_done(stream, ERR_NONE);
    else
        stream->loop->process->ops->write(stream);
}

void stream_shutdown(struct stream *stream)
{
    ASSERT(!stream->closing && !stream->connecting);
    if (stream->write_armed)
        stream->shutdown_wanted = true;
    else
        stream->loop->process->ops->shutdown(stream);
}

void stream_close(struct stream *stream, enum stream_close_how how, stream_close_fn fn, void *arg)
{
    ASSERT(!stream->closing);
    stream->closing = true;
    stream->close_fn = fn;
    stream->close_arg = arg;
    stream->loop->process->ops->close(stream, how);
}

result stream_detach(struct stream *stream, struct io_detached *ret_detached)
{
    ASSERT(!stream->read_armed && !stream->write_armed && !stream->connecting);
    ASSERT(!stream->closing);
    struct io_detached detached;
    TRY(stream->loop->process->ops->detach(stream, &detached));
    stream->closing = true;
    stream->close_fn = NULL;
    stream->loop->process->ops->close(stream, STREAM_CLOSE);
    *ret_detached = detached;
    return OK;
}

result stream_connect(struct loop *loop, const struct io_address *address, stream_connect_fn fn,
                      void *arg, struct stream **ret_stream)
{
    struct stream *stream;
    TRY(loop->process->ops->connect(loop, address, &stream));
    stream->connecting = true;
    stream->connect_fn = fn;
    stream->connect_arg = arg;
    *ret_stream = stream;
    return OK;
}

struct loop *stream_loop(struct stream *stream)
{
    return stream->loop;
}

void stream_peer(struct stream *stream, struct io_address *ret_address)
{
    stream->loop->process->ops->peer(stream, ret_address);
}
