/* A client that follows a script of bytes. */
#include "base/alloc.h"
#include "net/test_fixture.h"

#include <stdio.h>

#define IN_MAX (64u << 20)
#define HEADERS_MAX 64

struct script {
    struct fx *fx;
    struct loop *loop;
    int number;
    struct step *steps;
    size_t len, at;
    struct stream *stream; /* NULL once it is being closed */
    struct io_post post;
    struct io_timer timer;
    size_t sent; /* times or bytes of the present step */
    bool waited; /* its time is over */
    bool armed;  /* its timer runs */
    bool writing;
    bool ended; /* nothing more will come */
    result end;
    struct text in, body;
    struct span parts[16];
    struct h1 h1;
    struct h1_limits limits;
    bool in_message;
    struct h1_header headers[HEADERS_MAX];
    struct h1_out out;
    char head[4096]; /* of the response, for messages and for its fields */
    int status;
};

static void go_on(struct script *s);

static const struct step *step_now(const struct script *s)
{
    return &s->steps[s->at];
}

static void wrong(struct script *s, const char *format, ...) PRINTF_LIKE(2, 3);
static void wrong(struct script *s, const char *format, ...)
{
    char text[768];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    fx_fail(s->fx, "client %d, step %zu: %s", s->number, s->at + 1, text);
    s->at = s->len;
}

static void gone(void *arg)
{
    struct script *s = arg;
    text_release(&s->in);
    text_release(&s->body);
    struct fx *fx = s->fx;
    mem_free(s->steps);
    mem_free(s);
    fx_client_done(fx);
}

static void close_now(struct script *s, enum stream_close_how how)
{
    timer_stop(s->loop, &s->timer);
    s->at = s->len;
    stream_close(steal(&s->stream), how, gone, s);
}

/* ---- responses ---- */

static void note_head(struct script *s, const struct h1_head *head)
{
    size_t at = 0;
    s->head[0] = '\0';
    for (size_t i = 0; i < head->headers_len; i++)
        at += (size_t)snprintf(s->head + at, sizeof(s->head) - at, "%.*s: %.*s\n",
                               SPAN_FMT(head->headers[i].name), SPAN_FMT(head->headers[i].value));
    s->status = head->status;
}

static bool line_fits(struct span line, const char *wanted)
{
    struct span want = span_cstr(wanted);
    if (want.ptr[want.len - 1] == ':')
        return line.len >= want.len && span_eq_nocase(span_first(line, want.len), want);
    return span_eq_nocase(line, want);
}

static bool header_fits(const struct script *s, const char *wanted)
{
    bool absent = wanted[0] == '!';
    struct span rest = span_cstr(s->head);
    bool found = false;
    char name[128];
    if (absent)
        snprintf(name, sizeof(name), "%s:", wanted + 1);
    while (rest.len)
        found |= line_fits(span_cut(&rest, '\n'), absent ? name : wanted);
    return found != absent;
}

static void check_response(struct script *s, const struct step *step)
{
    struct span body = text_span(&s->body);
    if (s->status != step->status)
        wrong(s, "expected status %d, got %d with \"%.*s\"", step->status, s->status,
              (int)MIN(body.len, (size_t)200), (const char *)body.ptr);
    else if (step->body && !span_is(body, step->body))
        wrong(s, "expected the body \"%.200s\", got %zu bytes, \"%.*s\"", step->body, body.len,
              (int)MIN(body.len, (size_t)200), (const char *)body.ptr);
    else if (step->header && !header_fits(s, step->header))
        wrong(s, "expected \"%s\" in\n%s", step->header, s->head);
    else
        s->at++;
}

static enum h1_event next_event(struct script *s, struct span *rest)
{
    size_t used = 0;
    s->out.headers = s->headers;
    s->out.headers_max = HEADERS_MAX;
    enum h1_event event = h1_read(&s->h1, *rest, &used, &s->out);
    *rest = span_from(*rest, used);
    if (event == H1_MORE && s->ended && !failed(s->end))
        event = h1_eof(&s->h1, &s->out);
    return event;
}

/* Reads events until the response is complete or the bytes end; false for a bad one. */
static bool read_response(struct script *s, struct span *rest, bool *ret_complete)
{
    bool complete = false;
    while (!complete) {
        enum h1_event event = next_event(s, rest);
        if (event == H1_ERROR || (event == H1_MORE && s->ended))
            return false;
        if (event == H1_MORE)
            break;
        if (event == H1_HEAD)
            note_head(s, &s->out.head);
        if (event == H1_BODY)
            text_append(&s->body, s->out.body);
        complete = event == H1_END || (event == H1_HEAD && s->status < 200);
        if (event == H1_END)
            h1_next(&s->h1);
    }
    *ret_complete = complete;
    return true;
}

/* Reads one response; false when more has to come. */
static bool expect(struct script *s, const struct step *step)
{
    struct span rest = text_span(&s->in);
    bool complete;
    if (!s->in_message) {
        text_clear(&s->body);
        h1_expect(&s->h1, step->method);
        s->in_message = true;
    }
    if (!read_response(s, &rest, &complete)) {
        wrong(s, "expected a response of %d, got the end or a bad one (%s) after \"%.300s\"",
              step->status, err_name((enum err)s->end.code), text_cstr(&s->in));
        return true;
    }
    size_t left = rest.len;
    if (left)
        memmove(s->in.ptr, rest.ptr, left);
    s->in.len = left;
    if (!complete)
        return false;
    s->in_message = false;
    check_response(s, step);
    return true;
}

/* ---- the steps ---- */

static void on_timer(struct io_timer *timer)
{
    struct script *s = CONTAINER_OF(timer, struct script, timer);
    s->waited = true;
    go_on(s);
}

/* True when the step's time is over. */
static bool wait_for(struct script *s, io_time wait)
{
    if (s->waited) {
        s->waited = s->armed = false;
        return true;
    }
    if (!s->armed) {
        s->armed = true;
        timer_start(s->loop, &s->timer, loop_now(s->loop) + wait);
    }
    return false;
}

static void on_written(void *arg, struct stream *stream, result r)
{
    struct script *s = arg;
    s->writing = false;
    if (s->stream)
        go_on(s);
}

/* A write that fails is passed over: what is read tells. */
static bool send_step(struct script *s, const struct step *step)
{
    size_t times = MAX(step->repeat, (size_t)1);
    if (s->sent == times || failed(s->end)) {
        s->sent = 0;
        s->at++;
        return true;
    }
    int count = 0;
    while (count < 16 && s->sent < times) {
        s->parts[count++] = span_cstr(step->text);
        s->sent++;
    }
    s->writing = true;
    stream_write(s->stream, s->parts, count, on_written, s);
    return false;
}

static bool slow_step(struct script *s, const struct step *step)
{
    if (step->text[s->sent] == '\0' || s->ended) {
        s->sent = 0;
        s->at++;
        return true;
    }
    if (!wait_for(s, step->wait))
        return false;
    s->parts[0] = span_of(step->text + s->sent++, 1);
    s->writing = true;
    stream_write(s->stream, s->parts, 1, on_written, s);
    return false;
}

static bool end_step(struct script *s, bool reset_will_do)
{
    if (s->in.len)
        wrong(s, "expected the end, got \"%.300s\"", text_cstr(&s->in));
    else if (!s->ended)
        return false;
    else if (failed(s->end) && !reset_will_do)
        wrong(s, "expected the end of file, got %s", err_name((enum err)s->end.code));
    else
        s->at++;
    return true;
}

static bool silence_step(struct script *s, const struct step *step)
{
    if (s->in.len || s->ended) {
        wrong(s, "expected silence, got %s\"%.300s\"", s->ended ? "the end and " : "",
              text_cstr(&s->in));
        return true;
    }
    if (!wait_for(s, step->wait))
        return false;
    s->at++;
    return true;
}

/* One step as far as it goes; false: wait. */
static bool step_run(struct script *s)
{
    const struct step *step = step_now(s);
    if (s->writing)
        return false;
    switch (step->kind) {
    case STEP_SEND:
        return send_step(s, step);
    case STEP_SLOWLY:
        return slow_step(s, step);
    case STEP_EXPECT:
        return expect(s, step);
    case STEP_EOF:
        return end_step(s, false);
    case STEP_ENDED:
        return end_step(s, true);
    case STEP_SILENCE:
        return silence_step(s, step);
    case STEP_WAIT:
        if (!wait_for(s, step->wait))
            return false;
        s->at++;
        return true;
    case STEP_FIN:
        stream_shutdown(s->stream);
        s->at++;
        return true;
    case STEP_CALL:
        s->at++;
        step->call(s->fx);
        return true;
    case STEP_CLOSE:
        close_now(s, STREAM_CLOSE);
        return true;
    case STEP_RESET:
        close_now(s, STREAM_RESET);
        return true;
    }
    return false;
}

static void go_on(struct script *s)
{
    while (s->at < s->len)
        if (!step_run(s))
            return;
    if (s->stream)
        close_now(s, STREAM_CLOSE);
}

static void on_read(void *arg, struct stream *stream, result r, struct span bytes)
{
    struct script *s = arg;
    if (!s->stream)
        return;
    if (failed(r) || !bytes.len) {
        s->ended = true;
        s->end = r;
    } else {
        text_append(&s->in, bytes);
        stream_read(stream, (struct span_mut){NULL, 0}, on_read, s);
    }
    go_on(s);
}

static void on_ready(void *arg, struct stream *stream, result r)
{
    struct script *s = arg;
    if (!s->stream)
        return;
    if (failed(r)) {
        s->ended = true;
        s->end = r;
    } else {
        stream_read(stream, (struct span_mut){NULL, 0}, on_read, s);
    }
    go_on(s);
}

static void secure(struct script *s, struct stream *stream)
{
    s->stream = NULL;
    result r =
        tls_connect(s->fx->client_tls, stream, "server.test", TIME_NEVER, on_ready, s, &s->stream);
    if (failed(r)) {
        fx_fail(s->fx, "cannot connect");
        gone(s);
    }
}

static void on_connected(void *arg, struct stream *stream, result r)
{
    struct script *s = arg;
    if (!failed(r) && s->fx->client_tls) {
        secure(s, stream);
        return;
    }
    if (failed(r)) {
        s->ended = true;
        s->end = r;
        if (s->fx->options.reset_permille == 0)
            wrong(s, "cannot connect: %s", err_name((enum err)r.code));
        s->at = s->len;
    } else {
        stream_read(stream, (struct span_mut){NULL, 0}, on_read, s);
    }
    go_on(s);
}

static void begin(struct io_post *post)
{
    struct script *s = CONTAINER_OF(post, struct script, post);
    result r = stream_connect(s->loop, &s->fx->address, on_connected, s, &s->stream);
    if (failed(r)) {
        fx_fail(s->fx, "cannot connect");
        gone(s);
    }
}

void fx_script_steps(struct fx *fx, const struct step *steps, size_t len)
{
    struct script *s = mem_must(MEM_NEW(struct script), sizeof(*s));
    s->fx = fx;
    s->loop = process_loop(fx->process, 0);
    s->number = ++fx->running;
    s->steps = mem_must(mem_alloc(len * sizeof(*steps)), len * sizeof(*steps));
    memcpy(s->steps, steps, len * sizeof(*steps));
    s->len = len;
    s->limits = h1_limits_default;
    s->limits.body_bytes_max = UINT64_MAX;
    h1_init(&s->h1, H1_CLIENT, &s->limits);
    text_init(&s->in, IN_MAX);
    text_init(&s->body, IN_MAX);
    s->timer.fired = on_timer;
    s->post.run = begin;
    loop_post(s->loop, &s->post);
}
