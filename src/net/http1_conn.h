/* HTTP/1 on the server's side: one connection, one exchange at a time. What its two
 * sources share: http1_server.c reads, http1_answer.c writes. Private to them.
 *
 * States of a connection, and the function behind each edge
 *
 *          head_done            body_step: end
 *   HEAD ------------> BODY -----------------> ANSWER
 *    ^                  | answer_done             | answer_done
 *    | discard_step     v                         |
 *    |<------------- DISCARD: the rest of a body  |
 *    |               that nobody wants            |
 *    |<-------------------------------------------+
 *    any --> LINGER: FIN is sent, what still comes is thrown away --> CLOSED
 *
 * Invariants
 *   N1  A read is armed while little is waiting to be consumed, or what is there is not
 *       enough for the parser: so a client that goes away is noticed while its request
 *       runs, and a body that nobody asks for stops after one scratch of read-ahead.
 *   N2  `in` is what has been read and not consumed. It lies in the loop's scratch
 *       only inside `on_read`; afterwards in `stash`. Its first `body_in` bytes are body
 *       that the parser has accounted for.
 *   N3  The connection is freed when its stream has closed and its exchange has ended,
 *       whichever comes last.
 *   N4  The timer is moved only to an earlier time; a later deadline is noticed when
 *       it fires. So a kept-alive request costs no timer operation.
 *   N5  The exchange hears that its client has gone when the stream has closed, and
 *       ends only after a read into its memory has completed: until then the memory
 *       that it named may be used.
 *   N6  A message is read under the limits that hold when its first byte is looked at.
 */
#pragma once

#include "net/codec.h"
#include "wire/http1.h"
#include "wire/http1_write.h"

/* What is read and thrown away of a body nobody wants, before the connection is given
 * up instead. */
#define DISCARD_MAX 65536
/* An answer in pieces: the rest of its head, a chunk's head, data, a chunk's tail. */
#define OUT_MAX 4

enum conn_state { CONN_HEAD, CONN_BODY, CONN_ANSWER, CONN_DISCARD, CONN_LINGER, CONN_CLOSED };
enum conn_write { WRITE_NONE, WRITE_ANSWER, WRITE_PIECE };

struct conn {
    struct connection c;
    struct h1 h1;
    struct h1_limits limits; /* N6 */
    struct exchange *x;
    struct span in;
    size_t body_in;
    uint8_t *stash;
    size_t stash_cap;
    size_t filled;        /* of the memory that the handler named */
    uint64_t discarded;   /* of a body nobody wants */
    uint64_t answer_left; /* of the answer's Content-Length; UINT64_MAX for another framing */
    io_time deadline, timer_at, linger_until;
    struct io_timer timer;
    struct span out[OUT_MAX]; /* not yet taken by the kernel */
    uint8_t out_first, out_count;
    uint8_t chunk_head[H1_CHUNK_HEAD_MAX];
    uint8_t state, write;
    uint8_t lost_code;    /* enum err: why it was closed */
    uint8_t body_error;   /* enum err: the rest of the body cannot be had */
    bool reading, bypass; /* a read is armed; into the handler's memory */
    bool starved;         /* the parser needs more than `in` holds */
    bool running;         /* inside conn_run */
    bool in_head;         /* head_timeout runs */
    bool served;          /* at least one request was read */
    bool keep_alive;
    bool eof, closed;
    bool ending;    /* answered; the exchange ends with the read into its memory (N5) */
    bool expects;   /* a 100 Continue is owed */
    bool chunked;   /* the answer's framing */
    bool head_only; /* the request was HEAD */
    bool no_body;   /* nor has the answer a body */
    bool old;       /* HTTP/1.0 */
};

/* What the exchange asks for. */
extern const struct codec_ops http1_ops;

/* ---- http1_server.c ---- */

/* As far as it goes, from wherever something has changed. */
void conn_run(struct conn *conn);
/* The client cannot be answered any more; the exchange is told once the stream is closed. */
void conn_lost(struct conn *conn, enum err code, enum stream_close_how how);
void conn_set_deadline(struct conn *conn, io_time delay);
/* The answer has been written, or has been given up with the connection. */
void conn_answered(struct conn *conn);
/* Drain. */
void conn_stop(struct conn *conn, bool now);
