#include "base/text.h"

#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>

#define CAP_MIN ((size_t)64)

void text_init(struct text *text, size_t max)
{
    *text = (struct text){.max = MIN(max, (size_t)PTRDIFF_MAX - 1)};
}

void text_release(struct text *text)
{
    mem_free(text->ptr);
    text_init(text, text->max);
}

void text_clear(struct text *text)
{
    text->len = 0;
    text->error = ERR_NONE;
    if (text->ptr)
        text->ptr[0] = '\0';
}

/* The slow part of `text_reserve`: the new capacity is at least double, so that
 * appending costs a constant time a byte. */
static NOINLINE bool grow(struct text *text, size_t len)
{
    if (len > text->max - text->len) {
        text->error = ERR_TOO_LARGE;
        return false;
    }
    size_t doubled = text->cap <= text->max / 2 ? text->cap * 2 : text->max;
    size_t cap = MAX(doubled, CAP_MIN);
    cap = MAX(text->len + len, MIN(cap, text->max));
    uint8_t *ptr = mem_realloc(text->ptr, cap + 1);
    if (!ptr) {
        text->error = ERR_NO_MEMORY;
        return false;
    }
    text->ptr = ptr;
    text->cap = cap;
    ptr[text->len] = '\0';
    return true;
}

uint8_t *text_reserve(struct text *text, size_t len)
{
    if (text->error != ERR_NONE)
        return NULL;
    if ((!text->ptr || len > text->cap - text->len) && !grow(text, len))
        return NULL;
    return text->ptr + text->len;
}

void text_wrote(struct text *text, size_t len)
{
    ASSERT(len <= text->cap - text->len);
    text->len += len;
    if (text->ptr)
        text->ptr[text->len] = '\0';
}

void text_append(struct text *text, struct span bytes)
{
    if (bytes.len == 0)
        return;
    uint8_t *to = text_reserve(text, bytes.len);
    if (!to)
        return;
    memcpy(to, bytes.ptr, bytes.len);
    text_wrote(text, bytes.len);
}

void text_str(struct text *text, const char *cstr)
{
    text_append(text, span_cstr(cstr));
}

void text_byte(struct text *text, uint8_t byte)
{
    text_append(text, span_of(&byte, 1));
}

void text_printf(struct text *text, const char *format, ...)
{
    uint8_t *to = text_reserve(text, 0);
    if (!to)
        return;
    size_t room = text->cap - text->len;
    va_list args;
    va_start(args, format);
    int printed = vsnprintf((char *)to, room + 1, format, args);
    va_end(args);
    size_t len = printed < 0 ? 0 : (size_t)printed;
    if (len > room) {
        to[0] = '\0';
        to = text_reserve(text, len);
        if (!to)
            return;
        va_start(args, format);
        vsnprintf((char *)to, len + 1, format, args);
        va_end(args);
    }
    text_wrote(text, len);
}

result text_result(const struct text *text)
{
    return fail((enum err)text->error);
}

const char *text_cstr(const struct text *text)
{
    return text->ptr ? (const char *)text->ptr : "";
}
