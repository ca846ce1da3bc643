#include "base/span.h"

static uint8_t lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte | 0x20) : byte;
}

bool span_eq_nocase(struct span a, struct span b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.ptr[i]) != lower(b.ptr[i]))
            return false;
    return true;
}

bool span_starts(struct span s, struct span prefix)
{
    return span_eq(span_first(s, prefix.len), prefix);
}

bool span_ends(struct span s, struct span suffix)
{
    return s.len >= suffix.len && span_eq(span_from(s, s.len - suffix.len), suffix);
}

size_t span_find(struct span s, uint8_t byte)
{
    const uint8_t *at = s.len ? memchr(s.ptr, byte, s.len) : NULL;
    return at ? (size_t)(at - s.ptr) : s.len;
}

size_t span_search(struct span s, struct span needle)
{
    if (needle.len == 0)
        return 0;
    const uint8_t *at = s.len ? memmem(s.ptr, s.len, needle.ptr, needle.len) : NULL;
    return at ? (size_t)(at - s.ptr) : s.len;
}

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

struct span span_trim(struct span s)
{
    while (s.len && is_blank(s.ptr[0]))
        s = span_from(s, 1);
    while (s.len && is_blank(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

int span_cmp(struct span a, struct span b)
{
    size_t common = MIN(a.len, b.len);
    int order = common ? memcmp(a.ptr, b.ptr, common) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

struct span span_cut(struct span *rest, uint8_t separator)
{
    struct span all = *rest;
    size_t at = span_find(all, separator);
    *rest = at == all.len ? SPAN_NONE : span_from(all, at + 1);
    return span_first(all, at);
}

bool cursor_take(struct cursor *c, size_t len, struct span *ret_bytes)
{
    if (c->rest.len < len)
        return false;
    *ret_bytes = span_first(c->rest, len);
    c->rest = span_from(c->rest, len);
    return true;
}

bool cursor_u8(struct cursor *c, uint8_t *ret_value)
{
    struct span bytes;
    if (!cursor_take(c, 1, &bytes))
        return false;
    *ret_value = bytes.ptr[0];
    return true;
}

static uint64_t little_endian(struct span bytes)
{
    uint64_t value = 0;
    for (size_t i = bytes.len; i-- > 0;)
        value = value << 8 | bytes.ptr[i];
    return value;
}

bool cursor_u32le(struct cursor *c, uint32_t *ret_value)
{
    struct span bytes;
    if (!cursor_take(c, 4, &bytes))
        return false;
    *ret_value = (uint32_t)little_endian(bytes);
    return true;
}

bool cursor_u64le(struct cursor *c, uint64_t *ret_value)
{
    struct span bytes;
    if (!cursor_take(c, 8, &bytes))
        return false;
    *ret_value = little_endian(bytes);
    return true;
}
