#include "base/alloc.h"
#include "base/test_fuzz.h"
#include "base/text.h"
#include "wire/url.h"

static struct span_mut block(size_t len)
{
    return (struct span_mut){mem_must(mem_alloc(len), len), len};
}

/* What is encoded comes back, and holds no byte that would part it. */
static void check_encode(struct span bytes, enum url_part part)
{
    struct span_mut text = block(3 * bytes.len), back = block(bytes.len);
    ASSERT(!failed(url_encode(bytes, part, text, &text.len)));
    ASSERT(url_target_valid(span_view(text)));
    ASSERT(span_find(span_view(text), '/') == text.len &&
           span_find(span_view(text), '?') == text.len);
    ASSERT(part == URL_SEGMENT || span_find(span_view(text), '&') == text.len);
    result r = url_decode(span_view(text), back, &back.len);
    bool nul = span_find(bytes, '\0') < bytes.len;
    ASSERT(is(r, ERR_SYNTAX) == nul);
    ASSERT(nul || span_eq(span_view(back), bytes));
    mem_free(text.ptr);
    mem_free(back.ptr);
}

static void check_decode(struct span text)
{
    struct span_mut plain = block(text.len), form = block(text.len), own = block(text.len);
    if (text.len)
        memcpy(own.ptr, text.ptr, text.len);
    result r = url_decode(text, plain, &plain.len), f = url_decode_form(text, form, &form.len);
    ASSERT(failed(r) == failed(f));
    if (failed(r)) {
        ASSERT(is(r, ERR_SYNTAX));
    } else {
        ASSERT(plain.len == form.len && plain.len <= text.len);
        ASSERT(!failed(url_decode(span_view(own), own, &own.len)));
        ASSERT(span_eq(span_view(own), span_view(plain)));
        for (size_t i = 0; i < plain.len; i++)
            ASSERT(plain.ptr[i] == form.ptr[i] || (plain.ptr[i] == '+' && form.ptr[i] == ' '));
    }
    mem_free(plain.ptr);
    mem_free(form.ptr);
    mem_free(own.ptr);
}

static bool dots(struct span segment)
{
    uint8_t plain[6];
    size_t len;
    if (segment.len > sizeof(plain) ||
        failed(url_decode(segment, (struct span_mut){plain, sizeof(plain)}, &len)))
        return false;
    return (len == 1 || len == 2) && plain[0] == '.' && plain[len - 1] == '.';
}

/* Segments put together are the path. */
static void check_path(struct span path)
{
    struct span rest = path, segment;
    struct text joined;
    bool any = false;
    text_init(&joined, path.len + 1);
    while (url_segment_next(&rest, &segment)) {
        ASSERT(span_find(segment, '/') == segment.len);
        if (joined.len > 0 || (path.len > 0 && path.ptr[0] == '/'))
            text_byte(&joined, '/');
        text_append(&joined, segment);
        any = any || dots(segment);
    }
    ASSERT(span_eq(text_span(&joined), path));
    ASSERT(url_path_has_dots(path) == any);
    text_release(&joined);
}

static void check_query(struct span query)
{
    struct span rest = query, key, value;
    size_t bytes = 0, left = query.len + 1;
    while (url_query_next(&rest, &key, &value)) {
        ASSERT(span_find(key, '&') == key.len && span_find(key, '=') == key.len);
        ASSERT(span_find(value, '&') == value.len);
        bytes += key.len + value.len;
        ASSERT(left-- > 0 && bytes <= query.len);
    }
}

static void check_authority(struct span text)
{
    struct url_authority authority, again;
    struct text written;
    if (failed(url_authority_parse(text, &authority)))
        return;
    ASSERT(authority.port >= -1 && authority.port <= 65535);
    ASSERT(authority.host.len > 0 || authority.port < 0);
    ASSERT(span_find(text, '@') == text.len);
    text_init(&written, text.len + 8);
    text_append(&written, authority.host);
    if (authority.port >= 0)
        text_printf(&written, ":%d", authority.port);
    ASSERT(!failed(url_authority_parse(text_span(&written), &again)));
    ASSERT(span_eq(again.host, authority.host) && again.port == authority.port);
    text_release(&written);
}

/* Put together again it is the same URI, but for an empty path, an empty port and a
 * port's leading zeros. */
static void check_uri(struct span text)
{
    struct url url, again;
    struct text written;
    if (failed(url_parse(text, &url)))
        return;
    ASSERT(url_target_valid(text) && url.authority.host.len > 0);
    text_init(&written, text.len + 8);
    text_append(&written, url.scheme);
    text_str(&written, "://");
    text_append(&written, url.authority.host);
    if (url.authority.port >= 0)
        text_printf(&written, ":%d", url.authority.port);
    text_append(&written, url.path);
    if (url.query.ptr) {
        text_byte(&written, '?');
        text_append(&written, url.query);
    }
    ASSERT(!failed(url_parse(text_span(&written), &again)));
    ASSERT(span_eq(again.path, url.path) && span_eq(again.query, url.query));
    ASSERT(span_eq(again.authority.host, url.authority.host));
    ASSERT(again.authority.port == url.authority.port && !again.query.ptr == !url.query.ptr);
    text_release(&written);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct span text = span_of(bytes, len), path, query;
    url_split_query(text, &path, &query);
    ASSERT(path.len + (query.ptr ? query.len + 1 : 0) == len);
    check_path(path);
    check_query(query);
    check_authority(text);
    check_uri(text);
    check_decode(text);
    check_encode(text, URL_SEGMENT);
    check_encode(text, URL_COMPONENT);
    return 0;
}
