/* Values that a file takes from elsewhere: variables of the environment, secrets from
 * files of their own. */
#include "base/utf8.h"
#include "config/snapshot.h"

#include <stdio.h>

#define EXPANDED_BYTES_MAX ((size_t)64 << 10)
#define NAMES_BYTES_MAX 1024
#define VARIABLE_BYTES_MAX 128
#define SECRET_BYTES_MAX ((size_t)64 << 10)

struct expansion {
    struct process *process;
    struct text text, names;
    struct diag *diag;
};

static bool is_name_byte(uint8_t byte, bool first)
{
    bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_';
    return letter || (!first && byte >= '0' && byte <= '9');
}

static size_t name_len(struct span text)
{
    size_t len = 0;
    while (len < text.len && is_name_byte(text.ptr[len], len == 0))
        len++;
    return len;
}

static result not_ours(struct expansion *e, struct span text)
{
    char quoted[48];
    return diag_fail(e->diag, ERR_SYNTAX,
                     "expected ${NAME}, ${NAME:-default} or $$ for a dollar sign, got '%s'",
                     diag_quote(text, quoted, sizeof(quoted)));
}

/* What stands between the braces. */
static result take_variable(struct expansion *e, struct span inside)
{
    char name[VARIABLE_BYTES_MAX + 1];
    size_t len = name_len(inside);
    struct span rest = span_from(inside, len);
    bool fallback = span_starts(rest, SPAN(":-"));
    ASSERT(len <= VARIABLE_BYTES_MAX);
    snprintf(name, sizeof(name), "%.*s", SPAN_FMT(span_first(inside, len)));
    const char *value = e->process ? process_env(e->process, name) : NULL;
    if (value && !utf8_valid(span_cstr(value)))
        return diag_fail(e->diag, ERR_TYPE,
                         "expected UTF-8 text in the environment variable %s, got other bytes",
                         name);
    if (!value && !fallback)
        return diag_fail(e->diag, ERR_NOT_FOUND,
                         "the environment variable %s is not set; ${%s:-default} gives a default",
                         name, name);
    text_printf(&e->names, "%s%s", e->names.len > 0 ? ", " : "", name);
    /* As in a shell: the default stands for an empty variable, too. */
    if (value && (value[0] != '\0' || !fallback))
        text_str(&e->text, value);
    else
        text_append(&e->text, span_from(rest, 2));
    return OK;
}

/* `text` begins with a dollar sign; `ret_used`: how much of it was taken. */
static result take_dollar(struct expansion *e, struct span text, size_t *ret_used)
{
    if (span_starts(text, SPAN("$$"))) {
        text_byte(&e->text, '$');
        *ret_used = 2;
        return OK;
    }
    size_t end = span_find(text, '}');
    struct span inside = span_from(span_first(text, end), 2);
    size_t len = name_len(inside);
    struct span rest = span_from(inside, len);
    bool good = span_starts(text, SPAN("${")) && end < text.len && len > 0 &&
                len <= VARIABLE_BYTES_MAX && (rest.len == 0 || span_starts(rest, SPAN(":-"))) &&
                span_find(rest, '$') == rest.len;
    if (!good)
        return not_ours(e, span_first(text, MIN(end + 1, text.len)));
    *ret_used = end + 1;
    return take_variable(e, inside);
}

static result expand(struct expansion *e, struct span text)
{
    while (text.len > 0) {
        size_t plain = span_find(text, '$'), used = 0;
        text_append(&e->text, span_first(text, plain));
        text = span_from(text, plain);
        if (text.len > 0)
            TRY(take_dollar(e, text, &used));
        text = span_from(text, used);
    }
    if (failed(text_result(&e->text)))
        return diag_fail(e->diag, (enum err)text_result(&e->text).code,
                         "expected at most %zu bytes with all variables, got more",
                         EXPANDED_BYTES_MAX);
    return OK;
}

static result keep(struct expansion *e, struct arena *arena, struct span *ret_text,
                   const char **ret_variables)
{
    /* More names than fit are cut; they are only told. */
    if (is(text_result(&e->names), ERR_NO_MEMORY))
        return diag_fail(e->diag, ERR_NO_MEMORY, "out of memory for the configuration");
    const char *copy = arena_copy(arena, text_span(&e->text));
    const char *names = e->names.len > 0 ? arena_copy(arena, text_span(&e->names)) : NULL;
    if (!copy || (e->names.len > 0 && !names))
        return diag_fail(e->diag, ERR_NO_MEMORY, "out of memory for the configuration");
    *ret_text = span_of(copy, e->text.len);
    *ret_variables = names;
    return OK;
}

result config_expand(struct process *process, struct arena *arena, struct span text,
                     struct span *ret_text, const char **ret_variables, struct diag *diag)
{
    if (span_find(text, '$') == text.len) {
        *ret_text = text;
        return OK;
    }
    struct expansion e = {.process = process, .diag = diag};
    text_init(&e.text, EXPANDED_BYTES_MAX);
    text_init(&e.names, NAMES_BYTES_MAX);
    result r = expand(&e, text);
    if (!failed(r))
        r = keep(&e, arena, ret_text, ret_variables);
    text_release(&e.text);
    text_release(&e.names);
    return r;
}

/* One newline, as editors and `echo` leave it. */
static struct span without_newline(struct span text)
{
    size_t len = text.len;
    if (len > 0 && text.ptr[len - 1] == '\n')
        len--;
    if (len < text.len && len > 0 && text.ptr[len - 1] == '\r')
        len--;
    return span_first(text, len);
}

static result secret_copy(struct arena *arena, struct span all, const char *path,
                          struct span *ret_text, struct diag *diag)
{
    struct span secret = without_newline(all);
    if (span_find(secret, '\0') < secret.len || !utf8_valid(secret))
        return diag_fail(diag, ERR_TYPE, "expected UTF-8 text in %s, got other bytes", path);
    const char *copy = arena_copy(arena, secret);
    if (!copy)
        return diag_fail(diag, ERR_NO_MEMORY, "out of memory for the configuration");
    *ret_text = span_of(copy, secret.len);
    return OK;
}

result config_secret_read(struct process *process, struct arena *arena, const char *path,
                          struct span *ret_text, bool *ret_open, struct diag *diag)
{
    struct file_info info;
    if (!process)
        return diag_fail(diag, ERR_UNSUPPORTED, "cannot read %s: there are no files here", path);
    TRY(file_stat(process, path, &info, diag));
    /* A pipe would hold a reload up for as long as nobody writes. */
    if (info.kind != FILE_REGULAR)
        return diag_fail(diag, ERR_TYPE, "expected %s to be a regular file, got another", path);
    struct text all;
    text_init(&all, SECRET_BYTES_MAX);
    result r = file_read(process, path, &all, diag);
    if (failed(r)) /* the text's own failure says nothing */
        r = diag_fail(diag, (enum err)r.code, "cannot read %s", path);
    else
        r = secret_copy(arena, text_span(&all), path, ret_text, diag);
    text_release(&all);
    *ret_open = (info.mode & 0004) != 0;
    return r;
}
