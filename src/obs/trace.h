/* Which request this is: W3C trace context, and x-request-id.
 *
 * https://www.w3.org/TR/trace-context/ : `traceparent` names the trace, the caller's
 * span and whether it is sampled; `tracestate` is carried on as it came. A broken
 * traceparent is as good as none: a new trace begins and its tracestate is dropped.
 *
 * Ids come from a generator per loop, seeded once from io: unguessable enough not to
 * collide, not meant as secrets.
 *
 * Threads: a generator belongs to its loop; the rest is pure.
 */
#pragma once

#include "base/span.h"
#include "io/io.h"

/* "00-" 32 hex digits "-" 16 hex digits "-" 2 hex digits. */
#define TRACEPARENT_LEN 55
#define TRACE_ID_LEN 32
#define SPAN_ID_LEN 16
/* What the specification asks to carry at least (§3.3.1.5); more is dropped whole,
 * which §3.5 allows. */
#define TRACESTATE_MAX 512
#define TRACESTATE_MEMBERS_MAX 32

#define TRACE_SAMPLED 0x01
#define TRACE_RANDOM 0x02

struct trace_context {
    uint8_t trace_id[16];
    uint8_t span_id[8]; /* the caller's when parsed, ours after trace_child */
    uint8_t flags;      /* TRACE_SAMPLED, TRACE_RANDOM; unknown ones are cleared */
};

/* §3.2: lower-case hex only, no all-zero ids; version 00 has exactly TRACEPARENT_LEN
 * bytes, ff is invalid, a higher version is read as far as version 00 goes and may
 * have more behind a dash (§4.3). False and untouched when invalid. */
bool trace_parse(struct span traceparent, struct trace_context *ret_context);
/* As version 00, NUL-terminated. */
void trace_format(const struct trace_context *context, char buffer[TRACEPARENT_LEN + 1]);
/* The trace id alone, for a log line; NUL-terminated. */
void trace_id_format(const struct trace_context *context, char buffer[TRACE_ID_LEN + 1]);

/* What of a tracestate may be sent on: `tracestate` without blanks at its ends, or
 * SPAN_NONE when it is beyond the limits or holds bytes that do not belong there. */
struct span tracestate_carry(struct span tracestate);

/* xoshiro256++ (Blackman and Vigna, "Scrambled Linear Pseudorandom Number
 * Generators", 2021). */
struct trace_ids {
    uint64_t state[4];
};
void trace_ids_init(struct trace_ids *ids, struct process *process);
/* A new trace with a span of its own, not sampled. */
void trace_root(struct trace_ids *ids, struct trace_context *ret_context);
/* A span below `parent`, in its trace, with its flags. May be the same struct. */
void trace_child(struct trace_ids *ids, const struct trace_context *parent,
                 struct trace_context *ret_context);

#define REQUEST_ID_MAX 128
#define REQUEST_ID_LEN 32
/* Whether a caller's x-request-id may be taken over into logs and answers: 1 to
 * REQUEST_ID_MAX letters, digits and "-_.~:+/=@". */
bool request_id_valid(struct span id);
/* A new one: 32 hex digits, NUL-terminated. */
void request_id_new(struct trace_ids *ids, char buffer[REQUEST_ID_LEN + 1]);
