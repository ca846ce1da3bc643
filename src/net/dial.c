#include "net/dial.h"

#include <stdio.h>

struct attempt {
    struct dial *dial;
    struct stream *stream; /* NULL: not started, failed, or the one that stands */
};

struct dial {
    struct dialer *dialer;
    const struct io_endpoint *endpoint;
    dial_fn fn; /* NULL: has called back, or was cancelled */
    void *arg;
    struct io_post begin;
    struct io_timer next, limit;
    struct resolver_wait wait;
    struct io_address addresses[DIAL_ADDRESSES_MAX];
    struct attempt attempts[DIAL_ADDRESSES_MAX];
    size_t addresses_len, tried, running;
    int holds; /* callbacks to come that need this memory */
    char why[512];
    enum err code; /* of the last attempt that failed */
};

static void try_next(struct dial *dial);

/* ---- its end ---- */

static void let_go(struct dial *dial)
{
    if (--dial->holds == 0 && !dial->fn)
        pool_put(&dial->dialer->dials, dial);
}

static void attempt_closed(void *arg)
{
    let_go(arg);
}

static void attempt_close(struct attempt *attempt)
{
    if (attempt->stream) {
        attempt->dial->running--;
        attempt->dial->holds++;
        stream_close(steal(&attempt->stream), STREAM_CLOSE, attempt_closed, attempt->dial);
    }
}

/* No more is tried. The caller holds. */
static void wind_up(struct dial *dial)
{
    timer_stop(dial->dialer->loop, &dial->next);
    timer_stop(dial->dialer->loop, &dial->limit);
    resolver_cancel(&dial->wait);
    for (size_t i = 0; i < dial->tried; i++)
        attempt_close(&dial->attempts[i]);
}

static void finish(struct dial *dial, result r, struct stream *stream)
{
    dial->holds++;
    wind_up(dial);
    dial_fn fn = steal(&dial->fn);
    fn(dial->arg, r, stream, dial->why);
    let_go(dial);
}

static void limit_passed(struct io_timer *timer)
{
    struct dial *dial = CONTAINER_OF(timer, struct dial, limit);
    char name[320];
    io_endpoint_format(dial->endpoint, name, sizeof(name));
    snprintf(dial->why, sizeof(dial->why), "cannot connect to %s: no answer in time", name);
    finish(dial, fail(ERR_UNAVAILABLE), NULL);
}

void dial_cancel(struct dial *dial)
{
    dial->holds++;
    wind_up(dial);
    dial->fn = NULL;
    let_go(dial);
}

/* ---- attempts ---- */

static void attempt_failed(struct dial *dial, size_t index, enum err code)
{
    char address[160];
    io_address_format(&dial->addresses[index], address, sizeof(address));
    dial->code = code;
    snprintf(dial->why, sizeof(dial->why), "cannot connect to %s: %s", address, err_text(code));
}

static void attempt_connected(void *arg, struct stream *stream, result r)
{
    struct attempt *attempt = arg;
    struct dial *dial = attempt->dial;
    if (!attempt->stream)
        return; /* being closed */
    if (!failed(r)) {
        dial->running--;
        attempt->stream = NULL;
        finish(dial, OK, stream);
        return;
    }
    attempt_close(attempt);
    attempt_failed(dial, (size_t)(attempt - dial->attempts), (enum err)r.code);
    try_next(dial);
}

static void next_is_due(struct io_timer *timer)
{
    try_next(CONTAINER_OF(timer, struct dial, next));
}

static void try_next(struct dial *dial)
{
    struct loop *loop = dial->dialer->loop;
    while (dial->tried < dial->addresses_len) {
        size_t index = dial->tried++;
        struct attempt *attempt = &dial->attempts[index];
        attempt->dial = dial;
        result r = stream_connect(loop, &dial->addresses[index], attempt_connected, attempt,
                                  &attempt->stream);
        if (!failed(r)) {
            dial->running++;
            break;
        }
        attempt_failed(dial, index, (enum err)r.code);
    }
    if (dial->running == 0)
        finish(dial, fail(dial->code), NULL);
    else if (dial->tried < dial->addresses_len)
        timer_start(loop, &dial->next, loop_now(loop) + DIAL_NEXT_AFTER);
    else
        timer_stop(loop, &dial->next);
}

/* RFC 8305 §4: families in turns, beginning with that of the best address. */
static void take_addresses(struct dial *dial, const struct lookup_answer *answer)
{
    bool taken[LOOKUP_ANSWERS_MAX] = {false};
    enum io_family want = answer->addresses[0].family;
    size_t left = MIN(answer->count, (size_t)LOOKUP_ANSWERS_MAX);
    while (left > 0 && dial->addresses_len < DIAL_ADDRESSES_MAX) {
        size_t found = answer->count;
        for (size_t i = 0; i < answer->count && found == answer->count; i++) {
            if (!taken[i] && answer->addresses[i].family == want)
                found = i;
        }
        if (found < answer->count) {
            struct io_address *address = &dial->addresses[dial->addresses_len++];
            *address = answer->addresses[found];
            address->port = dial->endpoint->address.port;
            taken[found] = true;
            left--;
        }
        want = want == IO_INET ? IO_INET6 : IO_INET;
    }
}

static void resolved(struct resolver_wait *wait, result r, const struct lookup_answer *answer,
                     const char *why)
{
    struct dial *dial = CONTAINER_OF(wait, struct dial, wait);
    if (dial->fn && failed(r)) {
        snprintf(dial->why, sizeof(dial->why), "%s", why);
        finish(dial, r, NULL);
    } else if (dial->fn) {
        take_addresses(dial, answer);
        try_next(dial);
    }
    let_go(dial);
}

static void begin(struct io_post *post)
{
    struct dial *dial = CONTAINER_OF(post, struct dial, begin);
    struct dialer *dialer = dial->dialer;
    if (dial->fn && dial->endpoint->named) {
        dial->holds++;
        resolver_ask(dialer->resolver, &dial->wait, LOOKUP_ADDRESSES,
                     span_cstr(dial->endpoint->name), TIME_NEVER, resolved);
    } else if (dial->fn) {
        dial->addresses[dial->addresses_len++] = dial->endpoint->address;
        try_next(dial);
    }
    let_go(dial);
}

struct dial *dial_start(struct dialer *dialer, const struct io_endpoint *endpoint, dial_fn fn,
                        void *arg)
{
    struct dial *dial = pool_get(&dialer->dials);
    if (!dial)
        return NULL;
    dial->dialer = dialer;
    dial->endpoint = endpoint;
    dial->fn = fn;
    dial->arg = arg;
    dial->next.fired = next_is_due;
    dial->limit.fired = limit_passed;
    dial->holds = 1;
    dial->begin.run = begin;
    loop_defer(dialer->loop, &dial->begin);
    timer_start(dialer->loop, &dial->limit, loop_now(dialer->loop) + dialer->timeout);
    return dial;
}

void dialer_init(struct dialer *dialer, struct loop *loop, struct resolver *resolver,
                 io_time timeout, size_t dials_max)
{
    *dialer = (struct dialer){.loop = loop, .resolver = resolver, .timeout = timeout};
    pool_init(&dialer->dials, sizeof(struct dial), dials_max);
}

void dialer_release(struct dialer *dialer)
{
    pool_release(&dialer->dials);
}

bool dialer_idle(const struct dialer *dialer)
{
    return dialer->dials.in_use == 0;
}
