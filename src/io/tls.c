/* TLS streams: the machine over an engine and an inner stream (tls.h, tls_engine.h).
 *
 *   M1  The inner stream is read only while `wire->in` is empty. What the engine leaves
 *       of a delivery moves to `stash` before the delivery ends, as the bytes lie in the
 *       loop's scratch.
 *   M2  The engine is called only from completions of the inner stream, from the end of
 *       the turn, and from calls that complete nothing by themselves; so I1 holds.
 *   M3  Ciphertext goes out in order: directly while nothing waits, else through
 *       `wire->out`, which becomes `flying` while the inner stream writes it. No plain
 *       text is taken while anything waits.
 *   M4  While `in_job`, a worker has the session and the wire to itself.
 */
#include "io/tls.h"

#include "base/alloc.h"
#include "base/list.h"
#include "io/ops.h"
#include "io/tls_engine.h"

#include <stdio.h>

#define PLAIN_SCRATCH 65536

/* A loop's: made with its first TLS stream, given back with the loop. */
struct tls_loop {
    struct list streams;
    uint8_t plain[PLAIN_SCRATCH];   /* on its way in */
    uint8_t record[TLS_RECORD_MAX]; /* small parts of a write, joined (T6) */
};

struct tls_stream {
    struct stream base;
    struct list_node node;
    struct stream *inner; /* NULL once it is being closed */
    struct tls_session *session;
    uint8_t *stash, *flying;
    struct io_timer timer; /* of the handshake, then of the flush of a close */
    struct io_work job;
    size_t handshake_bytes;
    enum tls_step job_step;
    enum tls_step read_step; /* TLS_END and TLS_FAILED stay */
    uint16_t end_code;       /* enum err: of the inner stream's end */
    uint16_t write_error;    /* enum err: nothing can be written any more */
    bool open, failed;       /* the handshake's outcome */
    bool in_job;
    bool reading, writing; /* the inner stream */
    bool pumping;          /* inside pump_read */
    bool ended;            /* nothing comes from the inner stream any more */
    bool end_sent;         /* close_notify */
    bool fin_wanted;       /* behind it, as soon as nothing waits */
    bool inner_gone;
};

static void on_inner_read(void *arg, struct stream *inner, result r, struct span bytes);
static void on_inner_written(void *arg, struct stream *inner, result r);
static const struct stream_ops tls_stream_ops;

static struct tls_stream *tls_stream(struct stream *stream)
{
    return (struct tls_stream *)stream;
}

static const struct tls_engine *engine(const struct tls_stream *t)
{
    return t->session->context->engine;
}

/* ---- ciphertext out (M3) ---------------------------------------------------------- */

static bool out_grow(struct tls_wire *wire, size_t len)
{
    if (wire->out_cap - wire->out_len >= len)
        return true;
    size_t cap = MAX(wire->out_len + len, wire->out_cap * 2);
    uint8_t *grown = mem_realloc(wire->out, cap);
    if (!grown)
        return false;
    wire->out = grown;
    wire->out_cap = cap;
    return true;
}

void tls_wire_send(struct tls_wire *wire, struct span bytes)
{
    if (wire->broken)
        return;
    if (wire->direct && wire->out_len == 0)
        bytes = span_from(bytes, stream_try_write(wire->direct, &bytes, 1));
    if (bytes.len == 0)
        return;
    if (!out_grow(wire, bytes.len)) {
        wire->broken = true;
        return;
    }
    memcpy(wire->out + wire->out_len, bytes.ptr, bytes.len);
    wire->out_len += bytes.len;
}

static bool waits(const struct tls_stream *t)
{
    return t->writing || t->session->wire.out_len > 0;
}

/* What the engine has put out moves on. */
static void flush(struct tls_stream *t)
{
    struct tls_wire *wire = &t->session->wire;
    if (wire->broken && !t->write_error)
        t->write_error = ERR_NO_MEMORY;
    if (t->writing || wire->out_len == 0 || !t->inner)
        return;
    struct span part = span_of(wire->out, wire->out_len);
    t->flying = steal(&wire->out);
    wire->out_len = wire->out_cap = 0;
    wire->direct = NULL;
    t->writing = true;
    stream_write(t->inner, &part, 1, on_inner_written, t);
}

/* ---- the end ---------------------------------------------------------------------- */

static void on_inner_closed(void *arg)
{
    struct tls_stream *t = arg;
    t->inner_gone = true;
    if (!t->in_job)
        stream_gone(&t->base);
}

static void close_inner(struct tls_stream *t, enum stream_close_how how)
{
    if (!t->inner)
        return;
    if (!t->in_job)
        t->session->wire.direct = NULL;
    timer_stop(t->base.loop, &t->timer);
    stream_close(steal(&t->inner), how, on_inner_closed, t);
}

static void end_send(struct tls_stream *t)
{
    if (t->end_sent || !t->open || t->write_error)
        return;
    t->end_sent = true;
    engine(t)->end(t->session);
    flush(t);
}

/* The inner stream's own shutdown waits for what it is writing, not for what comes next. */
static void fin_send(struct tls_stream *t)
{
    t->fin_wanted = waits(t);
    if (!t->fin_wanted)
        stream_shutdown(t->inner);
}

static void tls_close(struct stream *stream, enum stream_close_how how)
{
    struct tls_stream *t = tls_stream(stream);
    bool cut = stream->write_armed && !stream->write_done;
    timer_stop(stream->loop, &t->timer);
    if (how == STREAM_CLOSE && (t->open || t->failed) && !cut && !t->in_job) {
        end_send(t);
        if (waits(t) && !t->write_error) {
            timer_start(stream->loop, &t->timer, loop_now(stream->loop) + TLS_FLUSH_TIME);
            return; /* T4: goes on in on_inner_written */
        }
    }
    close_inner(t, how);
}

static void tls_free(struct stream *stream)
{
    struct tls_stream *t = tls_stream(stream);
    struct tls_context *context = t->session->context;
    list_remove(&t->node);
    mem_free(t->session->wire.out);
    mem_free(t->session->why);
    context->engine->session_free(t->session);
    tls_context_unref(context);
    mem_free(t->flying);
    mem_free(t->stash);
    mem_free(t);
}

/* ---- ciphertext in (M1) ------------------------------------------------------------- */

static void arm_inner(struct tls_stream *t)
{
    if (t->reading || t->ended || !t->inner)
        return;
    t->reading = true;
    stream_read(t->inner, (struct span_mut){NULL, 0}, on_inner_read, t);
}

/* What the engine has left of the scratch is kept. False without memory. */
static bool keep_rest(struct tls_stream *t)
{
    struct span *in = &t->session->wire.in;
    if (in->len == 0) {
        if (UNLIKELY(t->stash != NULL))
            mem_free(steal(&t->stash));
        return true;
    }
    if (t->stash)
        return true; /* it lies there already */
    t->stash = mem_alloc(in->len);
    if (!t->stash)
        return false;
    memcpy(t->stash, in->ptr, in->len);
    in->ptr = t->stash;
    return true;
}

/* ---- handshake ---------------------------------------------------------------------- */

void tls_session_fail(struct tls_session *session, enum tls_failure failure, const char *why)
{
    if (session->failure)
        return;
    session->failure = (uint8_t)failure;
    session->why = why ? mem_strdup(why) : NULL;
}

static enum err failure_code(const struct tls_session *session)
{
    static const uint16_t codes[] = {
#define X(name, label, code, text) ERR_##code,
        TLS_FAILURE_TABLE(X)
#undef X
    };
    return (enum err)codes[session->failure];
}

static void handshake_failed(struct tls_stream *t, enum tls_failure failure)
{
    if (!t->in_job) { /* else the job's own end is not looked at any more */
        tls_session_fail(t->session, failure, NULL);
        flush(t);
    }
    t->failed = true;
    timer_stop(t->base.loop, &t->timer);
    enum err code = t->in_job ? ERR_DEADLINE : failure_code(t->session);
    stream_connect_done(&t->base, code);
}

static void on_timer(struct io_timer *timer)
{
    struct tls_stream *t = CONTAINER_OF(timer, struct tls_stream, timer);
    if (t->base.closing)
        close_inner(t, STREAM_RESET);
    else
        handshake_failed(t, TLS_FAILURE_TIMEOUT);
}

static void handshake_step(struct tls_stream *t, enum tls_step step)
{
    flush(t);
    if (step == TLS_DONE) {
        t->open = true;
        timer_stop(t->base.loop, &t->timer);
        stream_connect_done(&t->base, ERR_NONE);
    } else if (step == TLS_MORE) {
        if (t->ended)
            handshake_failed(t, TLS_FAILURE_CLOSED);
        else if (t->session->wire.broken)
            handshake_failed(t, TLS_FAILURE_MEMORY);
        else
            arm_inner(t);
    } else {
        handshake_failed(t, TLS_FAILURE_CLOSED);
    }
}

static void job_run(struct io_work *work)
{
    struct tls_stream *t = CONTAINER_OF(work, struct tls_stream, job);
    t->job_step = engine(t)->handshake(t->session);
}

static void job_done(struct io_work *work)
{
    struct tls_stream *t = CONTAINER_OF(work, struct tls_stream, job);
    t->in_job = false;
    if (t->base.closing) {
        if (t->inner_gone)
            stream_gone(&t->base);
        return;
    }
    t->session->wire.direct = t->writing ? NULL : t->inner;
    if (t->failed) { /* its time was over meanwhile */
        tls_session_fail(t->session, TLS_FAILURE_TIMEOUT, NULL);
        return;
    }
    handshake_step(t, t->job_step);
    if (!keep_rest(t))
        handshake_failed(t, TLS_FAILURE_MEMORY);
}

static void handshake_run(struct tls_stream *t)
{
    if (!t->session->context->slow) {
        handshake_step(t, engine(t)->handshake(t->session));
        return;
    }
    if (!keep_rest(t)) {
        handshake_failed(t, TLS_FAILURE_MEMORY);
        return;
    }
    t->in_job = true;
    t->session->wire.direct = NULL;
    t->job = (struct io_work){.run = job_run, .done = job_done, .home = t->base.loop};
    work_submit(t->base.loop->process, WORK_COMPUTE, &t->job);
}

/* What a client begins with that took the port for another's. */
static enum tls_failure first_bytes(struct span bytes)
{
    static const char *const methods[] = {"GET", "HEA", "POS", "PUT", "DEL", "OPT", "PAT", "PRI"};
    if (bytes.ptr[0] == 0x16) /* a handshake record, RFC 8446 §5.1 */
        return TLS_FAILURE_NONE;
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (bytes.len >= 3 && memcmp(bytes.ptr, methods[i], 3) == 0)
            return TLS_FAILURE_PLAIN_HTTP;
    return TLS_FAILURE_NOT_TLS;
}

static void handshake_got(struct tls_stream *t, struct span bytes)
{
    bool first = t->handshake_bytes == 0;
    t->handshake_bytes += bytes.len;
    enum tls_failure failure = TLS_FAILURE_NONE;
    if (first && !t->session->context->is_client)
        failure = first_bytes(bytes);
    if (!failure && t->handshake_bytes > TLS_HANDSHAKE_BYTES_MAX)
        failure = TLS_FAILURE_TOO_LARGE;
    if (failure)
        handshake_failed(t, failure);
    else
        handshake_run(t);
}

/* ---- plain text in ------------------------------------------------------------------- */

static bool buffered(const struct tls_stream *t)
{
    return t->session->wire.in.len > 0 || engine(t)->holds(t->session);
}

/* No more bytes are to be had: the read that waits is told why. */
static void read_ends(struct tls_stream *t)
{
    if (t->read_step == TLS_END)
        stream_read_end(&t->base, ERR_NONE);
    else if (t->read_step == TLS_FAILED)
        stream_read_end(&t->base, failure_code(t->session));
    else if (t->ended)
        stream_read_end(&t->base, t->end_code ? (enum err)t->end_code : ERR_RESET); /* T3 */
}

/* Delivers once; false when nothing can be delivered now. */
static bool read_some(struct tls_stream *t)
{
    size_t room = stream_room(&t->base), len = 0;
    struct span_mut into = t->base.read_into;
    if (into.len == 0)
        into = (struct span_mut){t->base.loop->tls->plain, PLAIN_SCRATCH};
    into.len = MIN(into.len, room);
    if (room == 0) { /* I7 */
        stream_ready(&t->base);
        return false;
    }
    while (t->read_step < TLS_END && len < into.len && (len == 0 || buffered(t))) {
        size_t got = 0;
        t->read_step =
            engine(t)->read(t->session, (struct span_mut){into.ptr + len, into.len - len}, &got);
        len += got;
        if (t->read_step == TLS_MORE)
            break;
    }
    if (len == 0) {
        read_ends(t);
        return false;
    }
    stream_read_deliver(&t->base, span_of(into.ptr, len));
    return true;
}

static void pump_read(struct tls_stream *t)
{
    if (t->pumping)
        return;
    t->pumping = true;
    while (!t->base.closing && stream_wants(&t->base) && !t->base.read_ended && read_some(t))
        ;
    t->pumping = false;
    if (t->base.closing)
        return;
    flush(t); /* the engine may have answered: an alert, new keys */
    if (stream_wants(&t->base) && !t->base.read_ended && !buffered(t))
        arm_inner(t);
}

static void tls_read(struct stream *stream)
{
    struct tls_stream *t = tls_stream(stream);
    if (t->pumping)
        return; /* it looks again */
    if (buffered(t) || t->ended || t->read_step >= TLS_END)
        stream_ready(stream);
    else
        arm_inner(t);
}

static void on_inner_read(void *arg, struct stream *inner, result r, struct span bytes)
{
    struct tls_stream *t = arg;
    t->reading = false;
    if (t->base.closing)
        return;
    if (failed(r) || bytes.len == 0) {
        t->ended = true;
        t->end_code = r.code;
        if (!t->open && !t->failed)
            handshake_failed(t, TLS_FAILURE_CLOSED);
        else if (t->open)
            pump_read(t);
        return;
    }
    t->session->wire.in = bytes;
    if (t->open)
        pump_read(t);
    else if (!t->failed)
        handshake_got(t, bytes);
    if (!t->in_job && !keep_rest(t)) {
        t->session->wire.in = SPAN_NONE;
        t->ended = true;
        t->end_code = ERR_NO_MEMORY;
    }
}

/* ---- plain text out ------------------------------------------------------------------- */

/* The plain text of the next record, of at most TLS_RECORD_MAX bytes. A single part stays
 * where it is. */
static struct span next_record(struct tls_stream *t, const struct span *parts, int count)
{
    if (count == 1 || parts[0].len >= TLS_RECORD_MAX)
        return span_first(parts[0], TLS_RECORD_MAX);
    uint8_t *record = t->base.loop->tls->record;
    size_t len = 0;
    for (int i = 0; i < count && len < TLS_RECORD_MAX; i++) {
        struct span part = span_first(parts[i], TLS_RECORD_MAX - len);
        memcpy(record + len, part.ptr, part.len);
        len += part.len;
    }
    return span_of(record, len);
}

/* False when nothing can be written any more. */
static bool write_record(struct tls_stream *t, struct span plain)
{
    if (!t->write_error && engine(t)->write(t->session, plain) != TLS_DONE)
        t->write_error = ERR_IO;
    if (t->session->wire.broken && !t->write_error)
        t->write_error = ERR_NO_MEMORY;
    return !t->write_error;
}

static size_t tls_try_write(struct stream *stream, const struct span *parts, int count)
{
    struct tls_stream *t = tls_stream(stream);
    struct span left[STREAM_PARTS_MAX] UNINITIALIZED;
    size_t total = 0;
    if (!t->open || t->end_sent)
        return 0;
    memcpy(left, parts, (size_t)count * sizeof(*parts));
    for (int first = 0; first < count && !waits(t);) {
        struct span plain = next_record(t, left + first, count - first);
        if (!write_record(t, plain))
            break;
        total += plain.len;
        size_t len = plain.len;
        while (first < count && len >= left[first].len)
            len -= left[first++].len;
        if (first < count)
            left[first] = span_from(left[first], len);
    }
    flush(t);
    return total;
}

static void pump_write(struct tls_stream *t)
{
    struct stream *base = &t->base;
    size_t room = STREAM_TURN_BYTES / 2; /* I7 */
    if (!base->write_armed || base->write_done)
        return;
    while (!waits(t) && base->part < base->part_count && room > 0) {
        struct span plain = next_record(t, base->parts + base->part, base->part_count - base->part);
        plain = span_first(plain, room);
        if (!write_record(t, plain))
            break;
        stream_advance(base, plain.len);
        room -= plain.len;
    }
    flush(t);
    if (t->write_error)
        stream_write_done(base, (enum err)t->write_error);
    else if (waits(t))
        return; /* goes on in on_inner_written */
    else if (base->part == base->part_count)
        stream_write_done(base, ERR_NONE);
    else
        stream_ready(base);
}

static void tls_write(struct stream *stream)
{
    struct tls_stream *t = tls_stream(stream);
    if (!t->open || t->end_sent)
        stream_write_done(stream, ERR_CLOSED);
    else
        pump_write(t);
}

static void on_inner_written(void *arg, struct stream *inner, result r)
{
    struct tls_stream *t = arg;
    t->writing = false;
    mem_free(steal(&t->flying));
    if (failed(r) && !t->write_error)
        t->write_error = r.code;
    if (!t->inner || t->in_job)
        return; /* by its close; M4 */
    t->session->wire.direct = t->inner;
    if (!failed(r))
        flush(t);
    if (t->fin_wanted)
        fin_send(t);
    if (!t->base.closing)
        pump_write(t);
    else if (!waits(t) || t->write_error)
        close_inner(t, STREAM_CLOSE);
}

static void tls_shutdown(struct stream *stream)
{
    struct tls_stream *t = tls_stream(stream);
    end_send(t);
    fin_send(t);
}

static void tls_turn(struct stream *stream)
{
    struct tls_stream *t = tls_stream(stream);
    if (!t->open)
        return;
    if (stream_wants(stream) && !stream->read_ended)
        pump_read(t);
    if (!stream->closing)
        pump_write(t);
    if (!stream->closing)
        keep_rest(t); /* what is there lies in the stash, which may be empty now */
}

static result tls_detach(struct stream *stream, struct io_detached *ret_detached)
{
    return fail(ERR_UNSUPPORTED);
}

static void tls_peer(struct stream *stream, struct io_address *ret_address)
{
    stream_peer(tls_stream(stream)->inner, ret_address);
}

static const struct stream_ops tls_stream_ops = {
    .read = tls_read,
    .try_write = tls_try_write,
    .write = tls_write,
    .shutdown = tls_shutdown,
    .close = tls_close,
    .detach = tls_detach,
    .peer = tls_peer,
    .free = tls_free,
    .turn = tls_turn,
};

/* ---- begin ------------------------------------------------------------------------------ */

static result loop_prepare(struct loop *loop)
{
    if (loop->tls)
        return OK;
    loop->tls = mem_alloc(sizeof(*loop->tls));
    if (!loop->tls)
        return fail(ERR_NO_MEMORY);
    list_init(&loop->tls->streams);
    return OK;
}

void tls_loop_release(struct loop *loop)
{
    struct list_node *node;
    while (loop->tls && (node = list_first(&loop->tls->streams)))
        tls_free(&CONTAINER_OF(node, struct tls_stream, node)->base);
    mem_free(steal(&loop->tls));
}

static struct tls_stream *new_stream(struct tls_context *context, struct loop *loop,
                                     const char *name)
{
    struct tls_stream *t = MEM_NEW(struct tls_stream);
    if (!t || failed(loop_prepare(loop))) {
        mem_free(t);
        return NULL;
    }
    t->session = context->engine->session_new(context, name);
    if (!t->session) {
        mem_free(t);
        return NULL;
    }
    t->session->context = tls_context_ref(context);
    t->base.ops = &tls_stream_ops;
    t->base.loop = loop;
    t->timer.fired = on_timer;
    list_push(&loop->tls->streams, &t->node);
    return t;
}

static result begin(struct tls_context *context, struct stream *inner, const char *name,
                    io_time deadline, stream_connect_fn fn, void *arg, struct stream **ret_stream)
{
    struct tls_stream *t = new_stream(context, inner->loop, name);
    if (!t) {
        stream_close(inner, STREAM_RESET, NULL, NULL);
        return fail(ERR_NO_MEMORY);
    }
    t->inner = inner;
    t->session->wire.direct = inner;
    t->base.connecting = true;
    t->base.connect_fn = fn;
    t->base.connect_arg = arg;
    if (deadline != TIME_NEVER)
        timer_start(inner->loop, &t->timer, deadline);
    if (context->is_client)
        handshake_run(t);
    else
        arm_inner(t);
    *ret_stream = &t->base;
    return OK;
}

result tls_accept(struct tls_context *context, struct stream *inner, io_time deadline,
                  stream_connect_fn fn, void *arg, struct stream **ret_stream)
{
    ASSERT(!context->is_client);
    return begin(context, inner, NULL, deadline, fn, arg, ret_stream);
}

result tls_connect(struct tls_context *context, struct stream *inner, const char *name,
                   io_time deadline, stream_connect_fn fn, void *arg, struct stream **ret_stream)
{
    ASSERT(context->is_client && name);
    return begin(context, inner, name, deadline, fn, arg, ret_stream);
}

bool tls_info(struct stream *stream, struct tls_info *ret_info)
{
    if (stream->ops != &tls_stream_ops)
        return false;
    struct tls_stream *t = tls_stream(stream);
    *ret_info = (struct tls_info){.version = "", .cipher = ""};
    if (t->in_job) { /* M4 */
        ret_info->failure = t->failed ? TLS_FAILURE_TIMEOUT : TLS_FAILURE_NONE;
        return true;
    }
    ret_info->failure = (enum tls_failure)t->session->failure;
    if (t->session->why)
        snprintf(ret_info->why, sizeof(ret_info->why), "%s", t->session->why);
    engine(t)->info(t->session, ret_info);
    return true;
}
