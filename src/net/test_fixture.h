/* For net's tests: a process with a server on it, over libuv or the simulator, with HTTP/1
 * or toymux; and clients that follow a script of bytes. Everything of the test runs on
 * loop 0.
 *
 *     fx_init -> (change fx->config) -> fx_serve -> fx_script... -> fx_run -> fx_release
 */
#pragma once

#include "base/test_cmocka.h"
#include "net/server.h"
#include "wire/http1.h"

struct fx_options {
    bool sim, toymux;
    bool tls;    /* between the server and the scripts' clients */
    bool faults; /* of the simulator: delays, short reads and writes */
    unsigned reset_permille;
    uint64_t seed; /* of the simulator */
    int loops;     /* 0: 1 */
};

struct fx {
    struct fx_options options;
    struct world *world;
    struct process *process;
    struct metrics *metrics;
    struct slab *slab;
    struct server_tls *server_tls; /* NULL without TLS */
    struct tls_context *client_tls;
    char folder[32]; /* of certificates */
    struct server_config config;
    struct route_table table;
    struct server *server;
    struct io_address address;
    struct io_timer guard, settle;
    io_time settle_until;
    int running; /* clients that have not finished */
    bool settled;
    uint64_t connections_left; /* that the test leaves open on purpose */
    char failure[1024];        /* the first one */
    /* What handlers saw. */
    struct quota started; /* from every loop */
    int gone, waiting_len;
    struct exchange *waiting[64]; /* of "/never" */
    uint64_t countdown;           /* the test's own */
    bool drained;
    uint64_t cut;
};

/* The configuration's defaults. */
void fx_init(struct fx *fx, const struct fx_options *options);
void fx_serve(struct fx *fx);
/* Runs until all clients have finished and everything the server holds has been given
 * back; fails the test if a client failed. */
void fx_run(struct fx *fx);
/* The same, and goes on when a client failed. */
void fx_run_loosely(struct fx *fx);
void fx_release(struct fx *fx);
/* Notes a failure; the test fails when the run is over. */
void fx_fail(struct fx *fx, const char *format, ...) PRINTF_LIKE(2, 3);
/* One client has finished. */
void fx_client_done(struct fx *fx);
/* Answers what waits at "/never". */
void fx_answer_waiting(struct fx *fx);
void fx_drain(struct fx *fx, io_time after);
struct server_counts fx_counts(struct fx *fx);
/* The value of a metric's line that begins with `prefix`, or -1. */
double fx_metric(struct fx *fx, const char *prefix);

/* test_tls.c */
void fx_tls_make(struct fx *fx);
void fx_tls_release(struct fx *fx);

/* test_handlers.c: the routes; `arg` is the fixture. */
extern const struct route test_routes[];
extern const size_t test_routes_len;
/* `len` bytes of a pattern; at most TEST_PATTERN_MAX. */
#define TEST_PATTERN_MAX ((size_t)4 << 20)
struct span test_pattern(size_t len);

/* ---- scripts: a client, byte by byte ---- */

enum step_kind {
    STEP_SEND,   /* `text`, `repeat` times (0: once) */
    STEP_SLOWLY, /* `text`, byte by byte, `wait` apart */
    STEP_EXPECT, /* a response of `status`; `body`, `header` if they are given */
    STEP_EOF,    /* the server closes, and nothing came before */
    STEP_ENDED,  /* the same, or it resets */
    STEP_WAIT,
    STEP_SILENCE, /* nothing comes for `wait`, and the connection stays */
    STEP_FIN,
    STEP_CLOSE, /* ends the script at once */
    STEP_RESET, /* the same, by a reset */
    STEP_CALL,
};

struct step {
    enum step_kind kind;
    const char *text;
    size_t repeat;
    int status;
    const char *body;
    const char *header;      /* "Name: value"; "Name:" any value; "!Name": it is not there */
    enum http_method method; /* of the request, where it matters (HEAD) */
    io_time wait;
    void (*call)(struct fx *fx);
};

#define SEND(text_) {.kind = STEP_SEND, .text = (text_)}
#define SEND_TIMES(text_, times_) {.kind = STEP_SEND, .text = (text_), .repeat = (times_)}
#define SLOWLY(text_, wait_) {.kind = STEP_SLOWLY, .text = (text_), .wait = (wait_)}
#define EXPECT(status_, ...) {.kind = STEP_EXPECT, .status = (status_), __VA_ARGS__}
#define AWAIT_EOF {.kind = STEP_EOF}
#define AWAIT_END {.kind = STEP_ENDED}
#define WAIT(wait_) {.kind = STEP_WAIT, .wait = (wait_)}
#define SILENCE(wait_) {.kind = STEP_SILENCE, .wait = (wait_)}
#define SEND_FIN {.kind = STEP_FIN}
#define CLOSE_NOW {.kind = STEP_CLOSE}
#define RESET_NOW {.kind = STEP_RESET}
#define CALL(call_) {.kind = STEP_CALL, .call = (call_)}

/* Adds a client that follows the steps, from `process_run` on. */
void fx_script_steps(struct fx *fx, const struct step *steps, size_t len);
#define fx_script(fx, ...) \
    fx_script_steps((fx), (const struct step[]){__VA_ARGS__}, \
                    sizeof((const struct step[]){__VA_ARGS__}) / sizeof(struct step))
