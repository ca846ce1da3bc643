/* A view of bytes that somebody else owns: a pointer and a length, by value.
 *
 * Never NUL-terminated, never freed through the view, valid for as long as its
 * owner says. `ptr` may be NULL only when `len` is 0. A `cursor` is a span that
 * is read from the front; a read past its end fails and moves nothing.
 */
#pragma once

#include "base/macros.h"

#include <string.h>

struct span {
    const uint8_t *ptr;
    size_t len;
};

/* Writable bytes. */
struct span_mut {
    uint8_t *ptr;
    size_t len;
};

/* A span of a string literal, also in static initialisers. */
#define SPAN_INIT(literal) {(const uint8_t *)("" literal), sizeof(literal) - 1}
#define SPAN(literal) ((struct span)SPAN_INIT(literal))
#define SPAN_NONE ((struct span){NULL, 0})
/* For printf's "%.*s". */
#define SPAN_FMT(s) (int)(s).len, (const char *)(s).ptr

static inline struct span span_of(const void *ptr, size_t len)
{
    return (struct span){(const uint8_t *)ptr, len};
}
static inline struct span span_cstr(const char *text)
{
    return span_of(text, text ? strlen(text) : 0);
}
static inline struct span span_view(struct span_mut bytes)
{
    return span_of(bytes.ptr, bytes.len);
}
static inline bool span_eq(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
static inline bool span_is(struct span a, const char *text)
{
    return span_eq(a, span_cstr(text));
}
/* The bytes from `from` (at most the length) to the end. */
static inline struct span span_from(struct span s, size_t from)
{
    from = from < s.len ? from : s.len;
    return span_of(s.len ? s.ptr + from : s.ptr, s.len - from);
}
/* The first `len` bytes, or all there are. */
static inline struct span span_first(struct span s, size_t len)
{
    return span_of(s.ptr, len < s.len ? len : s.len);
}

/* ASCII case is ignored; no locale. */
bool span_eq_nocase(struct span a, struct span b);
bool span_starts(struct span s, struct span prefix);
bool span_ends(struct span s, struct span suffix);
/* Index of the first `byte`, or `s.len`. */
size_t span_find(struct span s, uint8_t byte);
/* Index of the first occurrence of `needle`, or `s.len`. An empty one is at 0. */
size_t span_search(struct span s, struct span needle);
/* Without the spaces and tabs at both ends. */
struct span span_trim(struct span s);
/* Bytewise order, a shorter prefix first: <0, 0, >0. */
int span_cmp(struct span a, struct span b);

/* Cuts `*rest` at the first `separator`: returns what stands before it and leaves
 * what stands behind it. Without one, returns all and leaves an empty span whose
 * `ptr` is NULL, which is how the caller knows that nothing follows. */
struct span span_cut(struct span *rest, uint8_t separator);

struct cursor {
    struct span rest;
};

static inline struct cursor cursor_of(struct span s)
{
    return (struct cursor){s};
}
/* Takes `len` bytes from the front; false when there are fewer. */
bool cursor_take(struct cursor *c, size_t len, struct span *ret_bytes);
/* Little-endian integers; false when the bytes end. */
bool cursor_u8(struct cursor *c, uint8_t *ret_value);
bool cursor_u32le(struct cursor *c, uint32_t *ret_value);
bool cursor_u64le(struct cursor *c, uint64_t *ret_value);
