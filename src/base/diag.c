#include "base/diag.h"

#include <stdarg.h>
#include <stdio.h>

/* Marks text that did not fit. */
static void mark_cut(char *buffer, size_t size)
{
    if (size >= 4)
        memcpy(buffer + size - 4, "...", 4);
}

PRINTF_LIKE(3, 0) static void print(char *buffer, size_t size, const char *format, va_list args)
{
    int len = vsnprintf(buffer, size, format, args);
    if (len < 0)
        buffer[0] = '\0';
    else if ((size_t)len >= size)
        mark_cut(buffer, size);
}

/* Whether a report is to be written: the first one wins. */
static bool wants(const struct diag *diag)
{
    return diag && diag->code == ERR_NONE;
}

result diag_fail(struct diag *diag, enum err code, const char *format, ...)
{
    if (wants(diag)) {
        va_list args;
        va_start(args, format);
        print(diag->text, sizeof(diag->text), format, args);
        va_end(args);
        diag->code = code;
    }
    return fail(code);
}

result diag_fail_at(struct diag *diag, enum err code, const char *file, int line, int column,
                    const char *format, ...)
{
    if (wants(diag)) {
        va_list args;
        va_start(args, format);
        print(diag->text, sizeof(diag->text), format, args);
        va_end(args);
        int len = snprintf(diag->file, sizeof(diag->file), "%s", file ? file : "");
        if (len >= (int)sizeof(diag->file))
            mark_cut(diag->file, sizeof(diag->file));
        diag->line = line;
        diag->column = column;
        diag->code = code;
    }
    return fail(code);
}

result diag_fail_errno(struct diag *diag, int errnum, const char *format, ...)
{
    enum err code = err_of_errno(errnum);
    if (wants(diag)) {
        char what[DIAG_TEXT_MAX / 2], reason[128];
        va_list args;
        va_start(args, format);
        print(what, sizeof(what), format, args);
        va_end(args);
        /* The GNU one: returns the text, in `reason` or a constant. */
        const char *text = strerror_r(errnum, reason, sizeof(reason));
        snprintf(diag->text, sizeof(diag->text), "cannot %s: %s", what, text);
        diag->code = code;
    }
    return fail(code);
}

void diag_prefix(struct diag *diag, const char *format, ...)
{
    if (!diag || diag->code == ERR_NONE)
        return;
    char prefix[DIAG_TEXT_MAX / 2], text[DIAG_TEXT_MAX];
    va_list args;
    va_start(args, format);
    print(prefix, sizeof(prefix), format, args);
    va_end(args);
    memcpy(text, diag->text, sizeof(text));
    int len = snprintf(diag->text, sizeof(diag->text), "%s: %s", prefix, text);
    if (len >= (int)sizeof(diag->text))
        mark_cut(diag->text, sizeof(diag->text));
}

size_t diag_format(const struct diag *diag, char *buffer, size_t size)
{
    char place[sizeof(diag->file) + 64] = "";
    const char *file = diag->file, *gap = file[0] ? ":" : "line ";
    if (diag->line > 0 && diag->column > 0)
        snprintf(place, sizeof(place), "%s%s%d%s%d: ", file, gap, diag->line,
                 file[0] ? ":" : ", column ", diag->column);
    else if (diag->line > 0)
        snprintf(place, sizeof(place), "%s%s%d: ", file, gap, diag->line);
    else if (file[0])
        snprintf(place, sizeof(place), "%s: ", file);
    int len = snprintf(buffer, size, "%s%s%s%s", place, diag->key, diag->key[0] ? ": " : "",
                       diag->text[0] ? diag->text : err_text(diag->code));
    if ((size_t)len < size)
        return (size_t)len;
    mark_cut(buffer, size);
    return size - 1;
}

const char *diag_quote(struct span bytes, char *buffer, size_t size)
{
    size_t len = MIN(bytes.len, size - 1);
    for (size_t i = 0; i < len; i++)
        buffer[i] = (char)(bytes.ptr[i] >= 0x20 && bytes.ptr[i] < 0x7f ? bytes.ptr[i] : '.');
    buffer[len] = '\0';
    if (len < bytes.len)
        mark_cut(buffer, size);
    return buffer;
}
