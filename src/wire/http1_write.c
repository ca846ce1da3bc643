#include "wire/http1_write.h"

#include "wire/http.h"
#include "wire/http1_head.h"

#define DECIMAL_MAX 20

void h1_writer_init(struct h1_writer *w, struct span_mut buffer)
{
    *w = (struct h1_writer){buffer.ptr, buffer.ptr, buffer.ptr + buffer.len, ERR_NONE};
}

result h1_writer_result(const struct h1_writer *w)
{
    return fail((enum err)w->error);
}

static void spoil(struct h1_writer *w, enum err error)
{
    if (!w->error)
        w->error = (uint16_t)error;
}

/* Whether `len` more bytes fit and nothing has failed. */
static bool room(struct h1_writer *w, size_t len)
{
    if (UNLIKELY(w->error))
        return false;
    if (UNLIKELY((size_t)(w->end - w->at) < len)) {
        spoil(w, ERR_TOO_LARGE);
        return false;
    }
    return true;
}

static void put(struct h1_writer *w, struct span bytes)
{
    if (bytes.len)
        memcpy(w->at, bytes.ptr, bytes.len);
    w->at += bytes.len;
}

/* RFC 9110 §5.5: HTAB, space, printable and obs-text. Eight bytes at a time, by the
 * borrow of a subtraction (a byte below 0x20) and a comparison with 0x7f; a hit, which
 * may be a HTAB, is looked at byte by byte. */
static bool value_clean(struct span value)
{
    const uint64_t ones = 0x0101010101010101;
    size_t i = 0;
    while (i < value.len) {
        uint64_t word;
        if (value.len - i >= sizeof(word)) {
            memcpy(&word, value.ptr + i, sizeof(word));
            uint64_t del = word ^ (ones * 0x7f);
            uint64_t low = (word - ones * 0x20) & ~word;
            uint64_t deleted = (del - ones) & ~del;
            if (LIKELY(((low | deleted) & (ones << 7)) == 0)) {
                i += sizeof(word);
                continue;
            }
        }
        uint8_t c = value.ptr[i++];
        if ((c < ' ' && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static bool token_clean(struct span token)
{
    for (size_t i = 0; i < token.len; i++)
        if (!h1_tchar(token.ptr[i]))
            return false;
    return token.len > 0;
}

/* The decimal digits of `value`, at the end of `buffer`. */
static struct span decimal(uint64_t value, uint8_t buffer[DECIMAL_MAX])
{
    size_t at = DECIMAL_MAX;
    do
        buffer[--at] = (uint8_t)('0' + value % 10);
    while (value /= 10);
    return span_of(buffer + at, DECIMAL_MAX - at);
}

void h1_write_status(struct h1_writer *w, int status)
{
    uint8_t digits[DECIMAL_MAX];
    struct span version = SPAN("HTTP/1.1 ");
    struct span reason = span_cstr(http_reason(status));
    if (status < 100 || status > 999) {
        spoil(w, ERR_RANGE);
        return;
    }
    if (!room(w, version.len + 3 + 1 + reason.len + 2))
        return;
    put(w, version);
    put(w, decimal((uint64_t)status, digits));
    put(w, SPAN(" "));
    put(w, reason);
    put(w, SPAN("\r\n"));
}

void h1_write_request(struct h1_writer *w, struct span method, struct span target)
{
    struct span version = SPAN(" HTTP/1.1\r\n");
    if (!token_clean(method) || target.len == 0) {
        spoil(w, ERR_SYNTAX);
        return;
    }
    for (size_t i = 0; i < target.len; i++) {
        if (target.ptr[i] <= ' ' || target.ptr[i] >= 0x7f) {
            spoil(w, ERR_SYNTAX);
            return;
        }
    }
    if (!room(w, method.len + 1 + target.len + version.len))
        return;
    put(w, method);
    put(w, SPAN(" "));
    put(w, target);
    put(w, version);
}

void h1_write_header(struct h1_writer *w, struct span name, struct span value)
{
    if (UNLIKELY(!token_clean(name) || !value_clean(value))) {
        spoil(w, ERR_SYNTAX);
        return;
    }
    if (!room(w, name.len + 2 + value.len + 2))
        return;
    put(w, name);
    put(w, SPAN(": "));
    put(w, value);
    put(w, SPAN("\r\n"));
}

void h1_write_header_u64(struct h1_writer *w, struct span name, uint64_t value)
{
    uint8_t digits[DECIMAL_MAX];
    h1_write_header(w, name, decimal(value, digits));
}

void h1_write_end(struct h1_writer *w)
{
    h1_write_raw(w, SPAN("\r\n"));
}

void h1_write_raw(struct h1_writer *w, struct span lines)
{
    if (room(w, lines.len))
        put(w, lines);
}

void h1_write_chunk_head(struct h1_writer *w, uint64_t size)
{
    static const char hex[] = "0123456789abcdef";
    int digits = 1;
    ASSERT(size > 0);
    while (digits < 16 && size >> (4 * digits))
        digits++;
    if (!room(w, (size_t)digits + 2))
        return;
    while (digits-- > 0)
        *w->at++ = (uint8_t)hex[size >> (4 * digits) & 15];
    put(w, SPAN("\r\n"));
}

void h1_write_last_chunk(struct h1_writer *w)
{
    h1_write_raw(w, SPAN("0\r\n"));
}
