#include "faults/talk.h"

#include "base/alloc.h"
#include "base/number.h"

/* In virtual time: longer than any answer takes, shorter than any of the server's limits. */
#define PATIENCE (5 * IO_SEC)

void talk_init(struct talk *talk, struct loop *loop)
{
    *talk = (struct talk){.loop = loop};
    talk->bytes = mem_must(mem_alloc(TALK_BYTES_MAX), TALK_BYTES_MAX);
}

void talk_release(struct talk *talk)
{
    mem_free(steal(&talk->bytes));
}

static void gone(void *arg)
{
    struct talk *talk = arg;
    bool held = mem_fail_hold(true);
    talk->stream = NULL;
    timer_stop(talk->loop, &talk->patience);
    talk->over(talk);
    mem_fail_hold(held);
}

static void leave(struct talk *talk)
{
    if (talk->closing)
        return;
    talk->closing = true;
    stream_close(talk->stream, STREAM_CLOSE, gone, talk);
}

static void lost_patience(struct io_timer *timer)
{
    struct talk *talk = CONTAINER_OF(timer, struct talk, patience);
    bool held = mem_fail_hold(true);
    talk->hung = true;
    leave(talk);
    mem_fail_hold(held);
}

/* ---- answers ---- */

static struct span value_of(struct span head, struct span name)
{
    while (head.len > 0) {
        struct span line = span_cut(&head, '\n');
        if (line.len > name.len && span_eq_nocase(span_first(line, name.len), name))
            return span_trim(
                span_cut(&(struct span){line.ptr + name.len, line.len - name.len}, '\r'));
    }
    return SPAN_NONE;
}

/* Fields that an answer has once or not at all. */
static bool has_twice(struct span head, struct span name)
{
    struct span rest = span_from(head, span_search(head, name));
    return rest.len > name.len &&
           span_search(span_from(rest, name.len), name) < rest.len - name.len;
}

/* One whole answer at the front of what came; false when there is none yet. */
static bool take_answer(struct talk *talk)
{
    struct span rest = span_of(talk->bytes + talk->taken, talk->len - talk->taken);
    size_t head_len = span_search(rest, SPAN("\r\n\r\n"));
    if (head_len == rest.len)
        return false;
    struct span head = span_first(rest, head_len);
    uint64_t status, length;
    if (span_is(span_first(head, 12), "HTTP/1.1 100")) {
        talk->taken += head_len + 4;
        return take_answer(talk);
    }
    if (head.len < 12 || memcmp(head.ptr, "HTTP/1.1 ", 9) != 0 ||
        failed(number_parse_u64(span_of(head.ptr + 9, 3), &status)) ||
        failed(number_parse_u64(value_of(head, SPAN("Content-Length:")), &length)) ||
        has_twice(head, SPAN("\r\nContent-Type:")) || has_twice(head, SPAN("\r\nRetry-After:")) ||
        has_twice(head, SPAN("\r\nWeir-Reason:"))) {
        talk->broken = true;
        return false;
    }
    rest = span_from(rest, head_len + 4);
    if (rest.len < length)
        return false;
    talk->answers[talk->answers_len++] = (struct talk_answer){
        .status = (int)status,
        .type = value_of(head, SPAN("Content-Type:")),
        .body = span_first(rest, (size_t)length),
    };
    talk->taken += head_len + 4 + (size_t)length;
    return true;
}

static void read_more(struct talk *talk);

static void has_read(void *arg, struct stream *stream, result r, struct span bytes)
{
    struct talk *talk = arg;
    bool held = mem_fail_hold(true);
    talk->len += failed(r) ? 0 : bytes.len;
    while (talk->answers_len < talk->wanted && !talk->broken && take_answer(talk))
        ;
    if (failed(r) || bytes.len == 0 || talk->broken || talk->answers_len == talk->wanted)
        leave(talk);
    else
        read_more(talk);
    mem_fail_hold(held);
}

static void read_more(struct talk *talk)
{
    struct span_mut into = {talk->bytes + talk->len, TALK_BYTES_MAX - talk->len};
    ASSERT(into.len > 0);
    if (!talk->closing)
        stream_read(talk->stream, into, has_read, talk);
}

/* ---- the request ---- */

static void has_written(void *arg, struct stream *stream, result r)
{
    struct talk *talk = arg;
    bool held = mem_fail_hold(true);
    /* Of a plain stream, a failure shows at the read; behind TLS the other end still waits. */
    if (failed(r) ? talk->tls != NULL : talk->leaves)
        leave(talk);
    mem_fail_hold(held);
}

static void ready(void *arg, struct stream *stream, result r)
{
    struct talk *talk = arg;
    bool held = mem_fail_hold(true);
    talk->connected = !failed(r);
    if (failed(r)) {
        leave(talk);
    } else {
        stream_write(stream, &talk->request, 1, has_written, talk);
        read_more(talk);
    }
    mem_fail_hold(held);
}

static void connected(void *arg, struct stream *stream, result r)
{
    struct talk *talk = arg;
    if (failed(r) || !talk->tls) {
        ready(arg, stream, r);
        return;
    }
    bool held = mem_fail_hold(true);
    r = tls_connect(talk->tls, stream, "server.test", loop_now(talk->loop) + PATIENCE, ready, talk,
                    &talk->stream);
    ASSERT(!failed(r)); /* the hook is held */
    mem_fail_hold(held);
}

void talk_start(struct talk *talk, const struct io_address *address, struct span request,
                int wanted, void (*over)(struct talk *talk), void *arg)
{
    bool held = mem_fail_hold(true);
    struct loop *loop = talk->loop;
    uint8_t *bytes = talk->bytes;
    struct tls_context *tls = talk->tls;
    bool leaves = talk->leaves;
    *talk = (struct talk){
        .loop = loop,
        .bytes = bytes,
        .tls = tls,
        .leaves = leaves,
        .request = request,
        .wanted = wanted,
        .over = over,
        .arg = arg,
        .patience.fired = lost_patience,
    };
    result r = stream_connect(loop, address, connected, talk, &talk->stream);
    ASSERT(!failed(r)); /* the hook is held, and the simulator has no other reason */
    timer_start(loop, &talk->patience, loop_now(loop) + PATIENCE);
    mem_fail_hold(held);
}
