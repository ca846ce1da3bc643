/* The parts of a request target and of an absolute http URI (RFC 3986, RFC 9110 §4.2).
 *
 * Everything works on views of the caller's bytes and nothing is decoded unless
 * asked: a part stays percent-encoded until `url_decode`, so that an encoded '/' or
 * '&' is never taken for a separator.
 *
 * Dots. No function here removes "." or ".." segments, folds "//" or changes case.
 * A server that maps a path to something with a hierarchy of its own (files, an
 * upstream) asks `url_path_has_dots` and refuses; one that compares segments with
 * names needs nothing, because no name is "..".
 *
 * Strictness. A '%' that two hexadecimal digits do not follow is ERR_SYNTAX, where
 * the WHATWG rule would keep it; an encoded NUL is ERR_SYNTAX. Decoded bytes are not
 * checked for UTF-8: whoever needs text does that.
 *
 * Threads: pure functions.
 */
#pragma once

#include "base/result.h"
#include "base/span.h"

struct url_authority {
    struct span host; /* a name, an IPv4 address, or "[...]" with its brackets */
    int32_t port;     /* -1 when there is none, also for "host:" (RFC 3986 §3.2.3) */
};

/* `uri-host [":" port]` (RFC 9110 §7.2, RFC 3986 §3.2.2), without userinfo. Refused
 * with ERR_SYNTAX: bytes outside the grammar, a bad %xx, a port that is no number up
 * to 65535, a port without a host, an IP literal that is not the shape of an IPv6
 * address (zones and IPvFuture among them). An empty host alone is accepted: whether
 * one may be empty depends on where it stands. */
result url_authority_parse(struct span text, struct url_authority *ret_authority);

struct url {
    struct span scheme; /* as written; "http" or "https" in any case */
    struct url_authority authority;
    struct span path;  /* "/" when the URI has none */
    struct span query; /* without '?'; NULL `ptr` when there is no '?' */
};

/* An absolute http or https URI. ERR_UNSUPPORTED for another scheme; ERR_SYNTAX for
 * an empty host (RFC 9110 §4.2.1), userinfo (§4.2.4), a fragment, a bad authority or
 * bytes that a URI cannot hold (`url_target_valid`). */
result url_parse(struct span text, struct url *ret_url);

/* Whether every byte may stand in a request target: printable ASCII without space,
 * '"', '#', '<' and '>'. Brackets, braces, '|', '\', '^' and '`' pass although RFC
 * 3986 encodes them, because browsers send them bare in queries (WHATWG URL, query
 * percent-encode set). */
bool url_target_valid(struct span target);

/* Cuts a target at its first '?'. `ret_query` gets a NULL `ptr` without one. */
void url_split_query(struct span target, struct span *ret_path, struct span *ret_query);

/* Whether a segment of the path is "." or "..", also when dots are written "%2e". */
bool url_path_has_dots(struct span path);

/* The segments of a path from the left: "/a//b/" gives "a", "", "b", "". Begin with
 * `*rest` = the path; false when none is left. A path that does not begin with '/'
 * has its first bytes as the first segment. Segments are still encoded. */
bool url_segment_next(struct span *rest, struct span *ret_segment);

/* The pairs of a query from the left, still encoded: pieces between '&', cut at their
 * first '='; empty pieces are passed over, a piece without '=' has an empty value
 * (application/x-www-form-urlencoded parsing, WHATWG URL). Decode both parts with
 * `url_decode_form`. Begin with `*rest` = the query; false when none is left. */
bool url_query_next(struct span *rest, struct span *ret_key, struct span *ret_value);

/* Percent-decodes into `into`, which may be the input's own bytes. '+' stays '+'.
 * ERR_SYNTAX: see Strictness. ERR_TOO_LARGE: `into` is too short; decoded bytes are
 * never more than encoded ones. On failure `into` may hold part of the result. */
result url_decode(struct span text, struct span_mut into, size_t *ret_len);
/* The same with '+' as a space: for the parts of a query (WHATWG form rule). */
result url_decode_form(struct span text, struct span_mut into, size_t *ret_len);

enum url_part {
    URL_SEGMENT,   /* keeps unreserved, sub-delims, ':' and '@' (RFC 3986 §3.3) */
    URL_COMPONENT, /* keeps unreserved only: for keys and values of a query */
};
/* Encodes into `into`; a space becomes "%20" in both. ERR_TOO_LARGE: `into` is too
 * short; three times the input is always enough. */
result url_encode(struct span bytes, enum url_part part, struct span_mut into, size_t *ret_len);
