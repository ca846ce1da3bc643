#include "config/path.h"

#include <stdarg.h>
#include <stdio.h>

size_t config_path_push(struct config_path *path, const char *format, ...)
{
    size_t before = path->len;
    va_list args;
    va_start(args, format);
    int len = vsnprintf(path->text + before, sizeof(path->text) - before, format, args);
    va_end(args);
    ASSERT(len >= 0 && before + (size_t)len < sizeof(path->text));
    path->len = before + (size_t)len;
    return before;
}

void config_path_pop(struct config_path *path, size_t before)
{
    path->len = before;
    path->text[before] = '\0';
}

bool config_path_matches(const char *key_path, struct span name, bool *ret_below)
{
    struct span whole = span_cstr(key_path);
    if (!span_starts(whole, name))
        return false;
    *ret_below = whole.len > name.len && whole.ptr[name.len] == '.';
    return *ret_below || whole.len == name.len;
}
