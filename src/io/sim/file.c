/* Files of a simulated machine: a list of paths and bytes. A folder is there as long as
 * something lies in it. */
#include "base/alloc.h"
#include "io/sim/sim_private.h"

#include <stdlib.h>

#define FILE_BYTES_MAX ((size_t)1 << 30)
#define NAMES_MAX 10000

static struct sim_file_data *find(struct sim_host *host, const char *path)
{
    struct list_node *node = list_first(&host->files);
    for (; node; node = list_next(&host->files, node)) {
        struct sim_file_data *file = CONTAINER_OF(node, struct sim_file_data, node);
        if (strcmp(file->path, path) == 0)
            return file;
    }
    return NULL;
}

/* What stands behind "`folder`/" in `path`; NULL when it does not lie there. */
static const char *inside(const char *path, struct span folder)
{
    while (folder.len > 0 && folder.ptr[folder.len - 1] == '/')
        folder.len--;
    if (strncmp(path, (const char *)folder.ptr, folder.len) != 0 || path[folder.len] != '/')
        return NULL;
    return path + folder.len + 1;
}

static bool is_folder(struct sim_host *host, struct span folder)
{
    struct list_node *node = list_first(&host->files);
    for (; node; node = list_next(&host->files, node)) {
        if (inside(CONTAINER_OF(node, struct sim_file_data, node)->path, folder))
            return true;
    }
    return false;
}

static struct sim_file_data *make(struct sim_process *process, const char *path)
{
    struct sim_file_data *file = sim_new(sizeof(*file));
    file->path = sim_strdup(path);
    file->modified_at = process_wall(&process->base);
    text_init(&file->bytes, FILE_BYTES_MAX);
    list_push(&process->host->files, &file->node);
    return file;
}

static result append(struct sim_process *process, struct sim_file_data *file, struct span bytes)
{
    bool held = mem_fail_hold(true);
    text_append(&file->bytes, bytes);
    mem_fail_hold(held);
    file->modified_at = process_wall(&process->base);
    return failed(text_result(&file->bytes)) ? fail(ERR_NO_SPACE) : OK;
}

void sim_file_put(struct process *process, const char *path, struct span bytes)
{
    struct sim_process *p = sim_process(process);
    struct sim_file_data *file = find(p->host, path);
    if (!file)
        file = make(p, path);
    text_clear(&file->bytes);
    result r = append(p, file, bytes);
    mem_must(failed(r) ? NULL : file, bytes.len);
}

static result not_found(struct diag *diag, const char *path)
{
    return diag_fail(diag, ERR_NOT_FOUND, "cannot open %s: No such file or directory", path);
}

result sim_file_stat(struct process *base, const char *path, struct file_info *ret_info,
                     struct diag *diag)
{
    struct sim_host *host = sim_process(base)->host;
    struct sim_file_data *file = find(host, path);
    if (file)
        *ret_info = (struct file_info){FILE_REGULAR, file->bytes.len, file->modified_at};
    else if (is_folder(host, span_cstr(path)))
        *ret_info = (struct file_info){FILE_DIRECTORY, 0, process_wall(base)};
    else
        return not_found(diag, path);
    return OK;
}

result sim_file_read(struct process *base, const char *path, struct text *into, struct diag *diag)
{
    TRY(text_result(into));
    struct sim_host *host = sim_process(base)->host;
    struct sim_file_data *file = find(host, path);
    if (!file && is_folder(host, span_cstr(path)))
        return diag_fail(diag, ERR_IO, "cannot read %s: Is a directory", path);
    if (!file)
        return not_found(diag, path);
    size_t room = into->max - into->len;
    if (file->bytes.len > room)
        return diag_fail(diag, ERR_TOO_LARGE, "expected %s to be at most %zu bytes long", path,
                         room);
    text_append(into, text_span(&file->bytes));
    return text_result(into);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The first part of `rest`, as a name of its own; NULL when it was listed already. */
static char *new_name(char **names, size_t count, const char *rest)
{
    size_t len = strcspn(rest, "/");
    for (size_t i = 0; i < count; i++) {
        if (strlen(names[i]) == len && memcmp(names[i], rest, len) == 0)
            return NULL;
    }
    char *name = sim_new(len + 1);
    memcpy(name, rest, len);
    return name;
}

result sim_file_list(struct process *base, const char *path,
                     void (*fn)(void *arg, const char *name), void *arg, struct diag *diag)
{
    struct sim_host *host = sim_process(base)->host;
    if (!is_folder(host, span_cstr(path)))
        return not_found(diag, path);
    char **names = sim_new(NAMES_MAX * sizeof(*names));
    size_t count = 0;
    struct list_node *node = list_first(&host->files);
    for (; node && count < NAMES_MAX; node = list_next(&host->files, node)) {
        const char *rest =
            inside(CONTAINER_OF(node, struct sim_file_data, node)->path, span_cstr(path));
        char *name = rest ? new_name(names, count, rest) : NULL;
        if (name)
            names[count++] = name;
    }
    qsort(names, count, sizeof(*names), by_bytes);
    for (size_t i = 0; i < count; i++) {
        fn(arg, names[i]);
        mem_free(names[i]);
    }
    mem_free(names);
    return OK;
}

result sim_file_append_open(struct process *base, const char *path, struct file **ret_file,
                            struct diag *diag)
{
    struct sim_process *process = sim_process(base);
    const char *slash = strrchr(path, '/');
    struct span folder = slash ? span_of(path, (size_t)(slash - path)) : SPAN_NONE;
    if (!find(process->host, path)) {
        if (!slash || !is_folder(process->host, folder))
            return not_found(diag, path);
        make(process, path);
    }
    struct sim_file *file = MEM_NEW(struct sim_file);
    if (!file)
        return diag_fail(diag, ERR_NO_MEMORY, "no memory to open %s", path);
    file->base.process = base;
    file->path = sim_strdup(path);
    *ret_file = &file->base;
    return OK;
}

struct file *sim_file_standard(struct process *base, int descriptor)
{
    return &sim_process(base)->standard[descriptor - 1].base;
}

bool sim_file_is_terminal(struct file *file)
{
    return false;
}

/* By path, so that a file that was replaced meanwhile is written anew, as one that is
 * opened for each line would be. */
result sim_file_append(struct file *base, struct span bytes)
{
    struct sim_process *process = sim_process(base->process);
    const char *path = ((struct sim_file *)base)->path;
    struct sim_file_data *file = find(process->host, path);
    if (!file)
        file = make(process, path);
    return append(process, file, bytes);
}

void sim_file_close(struct file *base)
{
    struct sim_process *process = sim_process(base->process);
    struct sim_file *file = (struct sim_file *)base;
    if (file == &process->standard[0] || file == &process->standard[1])
        return;
    mem_free(file->path);
    mem_free(file);
}

void sim_host_free(struct sim_host *host)
{
    struct list_node *node;
    while ((node = list_pop(&host->files))) {
        struct sim_file_data *file = CONTAINER_OF(node, struct sim_file_data, node);
        text_release(&file->bytes);
        mem_free(file->path);
        mem_free(file);
    }
    while ((node = list_pop(&host->env))) {
        struct sim_env *env = CONTAINER_OF(node, struct sim_env, node);
        mem_free(env->name);
        mem_free(env->value);
        mem_free(env);
    }
    mem_free(host->name);
    mem_free(host);
}
