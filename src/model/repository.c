#include "model/repository.h"

#include "base/alloc.h"

#include <stdio.h>

#define NAMES_MAX 100000
#define PATH_LEN_MAX 4096

/* ---- names ---- */

struct names {
    struct text text; /* each with its NUL */
    size_t count;
};

static void names_add(void *arg, const char *name)
{
    struct names *names = arg;
    if (name[0] == '.' || names->count == NAMES_MAX)
        return;
    text_append(&names->text, span_of(name, strlen(name) + 1));
    names->count++;
}

static void names_release(struct names *names)
{
    text_release(&names->text);
}

static result names_read(struct process *process, const char *path, struct names *names,
                         struct diag *diag)
{
    text_init(&names->text, (size_t)NAMES_MAX * 64);
    names->count = 0;
    TRY(file_list(process, path, names_add, names, diag));
    if (failed(text_result(&names->text)))
        return diag_fail(diag, text_result(&names->text).code, "too many names in %s", path);
    return OK;
}

/* The names one after the other; `*at` begins with NULL. NULL at the end. */
static const char *names_next(const struct names *names, const char *at)
{
    const char *begin = (const char *)names->text.ptr;
    const char *next = at ? at + strlen(at) + 1 : begin;
    return next && next < begin + names->text.len ? next : NULL;
}

/* A version folder's name: digits only, at least 1 and at most INT64_MAX. */
static bool version_parse(struct span name, int64_t *ret_number)
{
    int64_t number = 0;
    if (name.len == 0 || name.len > 32)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        int digit = name.ptr[i] - '0';
        if (digit < 0 || digit > 9 || number > (INT64_MAX - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    *ret_number = number;
    return number > 0;
}

static result name_check(struct span name, const char *path, struct diag *diag)
{
    bool good =
        name.len > 0 && name.len <= MODEL_NAME_MAX && !span_is(name, ".") && !span_is(name, "..");
    for (size_t i = 0; i < name.len; i++)
        good = good && name.ptr[i] >= 0x20 && name.ptr[i] != '/' && name.ptr[i] != ':' &&
               name.ptr[i] != 0x7f;
    char quoted[64];
    return good ? OK
                : diag_fail(diag, ERR_ARGUMENT,
                            "'%s' cannot be a model's name (for %s): expected 1 to %d bytes "
                            "without '/', ':' and control characters",
                            diag_quote(name, quoted, sizeof(quoted)), path, MODEL_NAME_MAX);
}

/* ---- the scan ---- */

struct scan {
    struct process *process;
    struct backends *backends;
    const char *root;
    const char *name; /* override */
    repository_fn fn;
    void *arg;
    struct diag *diag;
    size_t found;
};

static result path_join(const char *folder, const char *name, char buffer[PATH_LEN_MAX],
                        struct diag *diag)
{
    size_t len = strlen(folder);
    const char *slash = len && folder[len - 1] == '/' ? "" : "/";
    return snprintf(buffer, PATH_LEN_MAX, "%s%s%s", folder, slash, name) < PATH_LEN_MAX
               ? OK
               : diag_fail(diag, ERR_TOO_LARGE, "the path of %s in %.200s is too long", name,
                           folder);
}

static result report(struct scan *scan, struct span name, int64_t number, const char *path,
                     struct backend *backend)
{
    if (scan->name && scan->found > 0)
        return diag_fail(scan->diag, ERR_ARGUMENT,
                         "%s holds several models, so they cannot all be named '%s'", scan->root,
                         scan->name);
    if (scan->name)
        name = span_cstr(scan->name);
    TRY(name_check(name, path, scan->diag));
    char buffer[MODEL_NAME_MAX + 1];
    memcpy(buffer, name.ptr, name.len);
    buffer[name.len] = '\0';
    scan->found++;
    struct found_model found = {buffer, number, path, backend};
    return scan->fn(scan->arg, &found, scan->diag);
}

/* The last part of a path, without slashes at its end; `*rest` is what stands before. */
static struct span path_last(struct span *rest)
{
    while (rest->len > 1 && rest->ptr[rest->len - 1] == '/')
        rest->len--;
    size_t at = rest->len;
    while (at > 0 && rest->ptr[at - 1] != '/')
        at--;
    struct span last = span_from(*rest, at);
    *rest = span_first(*rest, at);
    return last;
}

/* The file name without the ending that a backend loads. */
static struct span stem(struct span name)
{
    size_t dot = name.len;
    while (dot > 0 && name.ptr[dot - 1] != '.')
        dot--;
    return dot > 1 ? span_first(name, dot - 1) : name;
}

static result scan_file(struct scan *scan)
{
    struct span rest = span_cstr(scan->root), file = path_last(&rest);
    struct backend *backend = backends_find(scan->backends, file);
    if (!backend)
        return diag_fail(scan->diag, ERR_UNSUPPORTED,
                         "%s: no backend loads a file of that name; expected one that ends in "
                         ".onnx",
                         scan->root);
    struct span name = stem(file);
    int64_t number = 1;
    if (span_is(name, "model") && rest.len > 0) {
        struct span folder = path_last(&rest);
        if (version_parse(folder, &number) && rest.len > 0)
            folder = path_last(&rest);
        name = folder.len && !span_is(folder, ".") && !span_is(folder, "..") ? folder : name;
    }
    return report(scan, name, number, scan->root, backend);
}

/* The file "model" with any known ending in `folder`, which need not exist. */
static bool model_file(struct scan *scan, const char *folder, char path[PATH_LEN_MAX],
                       struct backend **ret_backend)
{
    struct span suffixes;
    for (size_t i = 0; backends_suffix(scan->backends, i, &suffixes); i++)
        while (suffixes.ptr) {
            struct span suffix = span_cut(&suffixes, ' ');
            struct file_info info;
            char file[64];
            if (!suffix.len || suffix.len > 32)
                continue;
            snprintf(file, sizeof(file), "model%.*s", SPAN_FMT(suffix));
            if (failed(path_join(folder, file, path, NULL)) ||
                failed(file_stat(scan->process, path, &info, NULL)) || info.kind != FILE_REGULAR)
                continue;
            *ret_backend = backends_find(scan->backends, span_cstr(file));
            return true;
        }
    return false;
}

/* The newest version folder of `folder` that holds a model. */
static result scan_versions(struct scan *scan, const char *folder, struct span name)
{
    CLEANUP(names_release) struct names names = {.count = 0};
    TRY(names_read(scan->process, folder, &names, scan->diag));
    int64_t newest = 0;
    char newest_path[PATH_LEN_MAX];
    struct backend *newest_backend = NULL;
    for (const char *entry = names_next(&names, NULL); entry; entry = names_next(&names, entry)) {
        int64_t number;
        char version_folder[PATH_LEN_MAX], path[PATH_LEN_MAX];
        struct backend *backend = NULL;
        if (!version_parse(span_cstr(entry), &number) || number < newest)
            continue;
        TRY(path_join(folder, entry, version_folder, scan->diag));
        if (!model_file(scan, version_folder, path, &backend))
            continue;
        if (number == newest)
            return diag_fail(scan->diag, ERR_EXISTS, "two folders of %s are version %lld", folder,
                             (long long)number);
        newest = number;
        newest_backend = backend;
        memcpy(newest_path, path, sizeof(path));
    }
    return newest ? report(scan, name, newest, newest_path, newest_backend) : OK;
}

static result scan_entry(struct scan *scan, const char *entry)
{
    char path[PATH_LEN_MAX];
    struct file_info info;
    struct span name = span_cstr(entry);
    TRY(path_join(scan->root, entry, path, scan->diag));
    if (failed(file_stat(scan->process, path, &info, NULL)))
        return OK; /* gone since the folder was read, or a dangling link */
    int64_t number;
    if (info.kind == FILE_DIRECTORY)
        return version_parse(name, &number) ? OK : scan_versions(scan, path, name);
    struct backend *backend =
        info.kind == FILE_REGULAR ? backends_find(scan->backends, name) : NULL;
    return backend ? report(scan, stem(name), 1, path, backend) : OK;
}

static result scan_folder(struct scan *scan)
{
    struct span rest = span_cstr(scan->root);
    struct span own_name = path_last(&rest);
    TRY(scan_versions(scan, scan->root, own_name));
    if (scan->found)
        return OK;
    CLEANUP(names_release) struct names names = {.count = 0};
    TRY(names_read(scan->process, scan->root, &names, scan->diag));
    for (const char *entry = names_next(&names, NULL); entry; entry = names_next(&names, entry))
        TRY(scan_entry(scan, entry));
    if (scan->found)
        return OK;
    return diag_fail(scan->diag, ERR_NOT_FOUND,
                     "no model in %s: expected NAME.onnx, MODEL/VERSION/model.onnx or "
                     "VERSION/model.onnx, where VERSION is a number",
                     scan->root);
}

result repository_scan(struct process *process, struct backends *backends, const char *path,
                       const char *name, repository_fn fn, void *arg, struct diag *diag)
{
    struct scan scan = {.process = process,
                        .backends = backends,
                        .root = path,
                        .name = name,
                        .fn = fn,
                        .arg = arg,
                        .diag = diag};
    struct file_info info;
    TRY(file_stat(process, path, &info, diag));
    switch (info.kind) {
    case FILE_REGULAR:
        return scan_file(&scan);
    case FILE_DIRECTORY:
        return scan_folder(&scan);
    default:
        return diag_fail(diag, ERR_ARGUMENT, "%s is neither a file nor a folder", path);
    }
}
