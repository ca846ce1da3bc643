/* Files of a simulated machine: a tree of names, and bytes. What is written is safe from a
 * power loss half a minute later, as the kernel then writes it back by itself. */
#include "base/alloc.h"
#include "io/sim/sim_private.h"

#include <stdlib.h>

#define FILE_BYTES_MAX ((size_t)1 << 30)
#define WRITTEN_BACK (30 * IO_SEC)

/* ---- the tree ------------------------------------------------------------------------ */

struct sim_node *sim_folder_new(void)
{
    struct sim_node *node = sim_new(sizeof(*node));
    list_init(&node->children);
    text_init(&node->bytes, FILE_BYTES_MAX);
    node->is_folder = true;
    node->refs = 1;
    return node;
}

void sim_node_unref(struct sim_node *node)
{
    if (!node || --node->refs > 0)
        return;
    struct list_node *child;
    while ((child = list_pop(&node->children))) {
        struct sim_node *below = CONTAINER_OF(child, struct sim_node, node);
        below->folder = NULL;
        sim_node_unref(below);
    }
    text_release(&node->bytes);
    mem_free(node->name);
    mem_free(node);
}

static struct sim_node *child(struct sim_node *folder, struct span name)
{
    struct list_node *node = list_first(&folder->children);
    for (; node; node = list_next(&folder->children, node)) {
        struct sim_node *one = CONTAINER_OF(node, struct sim_node, node);
        if (span_eq(span_cstr(one->name), name))
            return one;
    }
    return NULL;
}

static struct sim_node *make_child(struct sim_node *folder, struct span name, bool is_folder,
                                   io_time now)
{
    struct sim_node *node = sim_folder_new();
    node->is_folder = is_folder;
    node->name = sim_new(name.len + 1);
    memcpy(node->name, name.ptr, name.len);
    node->modified_at = now;
    node->folder = folder;
    list_push(&folder->children, &node->node);
    return node;
}

/* Cuts the next name off; false when none is left. */
static bool next_name(struct span *path, struct span *ret_name)
{
    while (path->len > 0) {
        *ret_name = span_cut(path, '/');
        if (ret_name->len > 0)
            return true;
    }
    return false;
}

/* The folder above what `path` names, made on demand, and its last name. NULL when there
 * is none. */
static struct sim_node *folder_of(struct sim_host *host, const char *path, bool make,
                                  struct span *ret_name)
{
    struct span rest = span_cstr(path), name, next;
    struct sim_node *folder = host->root;
    if (!next_name(&rest, &name))
        return NULL;
    while (next_name(&rest, &next)) {
        struct sim_node *below = child(folder, name);
        if (!below && make)
            below = make_child(folder, name, true, 0);
        if (!below || !below->is_folder)
            return NULL;
        folder = below;
        name = next;
    }
    *ret_name = name;
    return folder;
}

static struct sim_node *find(struct sim_host *host, const char *path)
{
    struct span name;
    struct sim_node *folder = folder_of(host, path, false, &name);
    if (folder)
        return child(folder, name);
    return path[0] == '/' && path[strspn(path, "/")] == '\0' ? host->root : NULL;
}

static void unlink_node(struct sim_node *node)
{
    list_remove(&node->node);
    node->folder = NULL;
    sim_node_unref(node);
}

/* ---- what a test does to it --------------------------------------------------------------- */

static struct sim_node *must_make(struct sim_process *process, const char *path, bool is_folder)
{
    struct span name;
    struct sim_node *folder = folder_of(process->host, path, true, &name);
    ASSERT(folder); /* a file in the way, or no name */
    struct sim_node *node = child(folder, name);
    if (!node)
        node = make_child(folder, name, is_folder, process_wall(&process->base));
    ASSERT(node->is_folder == is_folder);
    return node;
}

static void text_must(const struct text *text)
{
    result r = text_result(text);
    mem_must(failed(r) ? NULL : (void *)text, text->len);
}

/* What is put there has been there for long. */
void sim_file_put(struct process *process, const char *path, struct span bytes)
{
    struct sim_node *node = must_make(sim_process(process), path, false);
    text_clear(&node->bytes);
    text_append(&node->bytes, bytes);
    text_must(&node->bytes);
    node->modified_at = process_wall(process);
    node->safe_len = bytes.len;
    node->dirty_at = 0;
}

void sim_folder_make(struct process *process, const char *path)
{
    must_make(sim_process(process), path, true);
}

void sim_file_remove(struct process *process, const char *path)
{
    struct sim_node *node = find(sim_process(process)->host, path);
    if (node && node->folder)
        unlink_node(node);
}

void sim_file_rename(struct process *process, const char *from, const char *to)
{
    struct sim_host *host = sim_process(process)->host;
    struct sim_node *node = find(host, from);
    struct span name;
    struct sim_node *folder = folder_of(host, to, true, &name);
    ASSERT(node && node->folder && folder);
    struct sim_node *there = child(folder, name);
    if (there == node)
        return;
    if (there)
        unlink_node(there);
    char *renamed = sim_new(name.len + 1);
    memcpy(renamed, name.ptr, name.len);
    mem_free(node->name);
    node->name = renamed;
    list_remove(&node->node);
    node->folder = folder;
    list_push(&folder->children, &node->node);
}

void sim_disk_room(struct process *process, uint64_t bytes)
{
    sim_process(process)->host->disk_room = bytes;
}

void sim_files_power_loss(struct world *world, struct sim_node *node)
{
    struct list_node *below = list_first(&node->children);
    for (; below; below = list_next(&node->children, below))
        sim_files_power_loss(world, CONTAINER_OF(below, struct sim_node, node));
    if (node->dirty_at == 0 || node->dirty_at + WRITTEN_BACK <= world->now)
        return;
    size_t unsafe = node->bytes.len - node->safe_len;
    node->bytes.len = node->safe_len + (size_t)sim_draw_below(world, unsafe + 1);
    node->safe_len = node->bytes.len;
    node->dirty_at = 0;
}

/* ---- io.h ------------------------------------------------------------------------------- */

static result not_found(struct diag *diag, const char *path)
{
    return diag_fail(diag, ERR_NOT_FOUND, "cannot open %s: No such file or directory", path);
}

result sim_file_stat(struct process *base, const char *path, struct file_info *ret_info,
                     struct diag *diag)
{
    struct sim_node *node = find(sim_process(base)->host, path);
    if (!node)
        return not_found(diag, path);
    *ret_info = (struct file_info){node->is_folder ? FILE_DIRECTORY : FILE_REGULAR, node->bytes.len,
                                   node->modified_at, node->is_folder ? 0700 : 0600};
    return OK;
}

result sim_file_read(struct process *base, const char *path, struct text *into, struct diag *diag)
{
    TRY(text_result(into));
    struct sim_node *node = find(sim_process(base)->host, path);
    if (!node)
        return not_found(diag, path);
    if (node->is_folder)
        return diag_fail(diag, ERR_IO, "cannot read %s: Is a directory", path);
    size_t room = into->max - into->len;
    if (node->bytes.len > room)
        return diag_fail(diag, ERR_TOO_LARGE, "expected %s to be at most %zu bytes long", path,
                         room);
    text_append(into, text_span(&node->bytes));
    return text_result(into);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

result sim_file_list(struct process *base, const char *path,
                     void (*fn)(void *arg, const char *name), void *arg, struct diag *diag)
{
    struct sim_node *folder = find(sim_process(base)->host, path);
    if (!folder || !folder->is_folder)
        return not_found(diag, path);
    size_t count = 0;
    struct list_node *node = list_first(&folder->children);
    for (; node; node = list_next(&folder->children, node))
        count++;
    char **names = sim_new((count + 1) * sizeof(*names));
    count = 0;
    for (node = list_first(&folder->children); node; node = list_next(&folder->children, node))
        names[count++] = CONTAINER_OF(node, struct sim_node, node)->name;
    qsort(names, count, sizeof(*names), by_bytes);
    for (size_t i = 0; i < count; i++)
        fn(arg, names[i]);
    mem_free(names);
    return OK;
}

result sim_file_append_open(struct process *base, const char *path, struct file **ret_file,
                            struct diag *diag)
{
    struct sim_process *process = sim_process(base);
    struct span name;
    struct sim_node *folder = folder_of(process->host, path, false, &name);
    if (!folder)
        return not_found(diag, path);
    struct sim_node *node = child(folder, name);
    if (node && node->is_folder)
        return diag_fail(diag, ERR_IO, "cannot open %s: Is a directory", path);
    if (!node)
        node = make_child(folder, name, false, process_wall(base));
    struct sim_file *file = MEM_NEW(struct sim_file);
    if (!file)
        return diag_fail(diag, ERR_NO_MEMORY, "no memory to open %s", path);
    file->base.process = base;
    file->file = node;
    node->refs++;
    *ret_file = &file->base;
    return OK;
}

/* A test reads it as a file; it is none to the disk. */
void sim_file_open_standard(struct sim_process *process, struct sim_file *file, const char *path)
{
    file->base.process = &process->base;
    file->file = must_make(process, path, false);
    file->file->refs++;
}

struct file *sim_file_standard(struct process *base, int descriptor)
{
    return &sim_process(base)->standard[descriptor - 1].base;
}

bool sim_file_is_terminal(struct file *file)
{
    return false;
}

static bool is_standard(const struct sim_process *process, const struct sim_file *file)
{
    return file == &process->standard[0] || file == &process->standard[1];
}

result sim_file_append(struct file *base, struct span bytes)
{
    struct sim_process *process = sim_process(base->process);
    struct sim_file *file = (struct sim_file *)base;
    struct sim_node *node = file->file;
    io_time now = process->world->now;
    if (process->crashed)
        return OK;
    struct span taken = bytes;
    if (!is_standard(process, file)) {
        taken = span_first(bytes, process->host->disk_room);
        if (process->host->disk_room != UINT64_MAX)
            process->host->disk_room -= taken.len;
        if (!node->dirty_at || node->dirty_at + WRITTEN_BACK <= now) {
            node->safe_len = node->bytes.len;
            node->dirty_at = now;
        }
    }
    sim_trace(process->world, "append", taken.len, bytes.len);
    bool held = mem_fail_hold(true); /* a disk is no heap */
    text_append(&node->bytes, taken);
    mem_fail_hold(held);
    text_must(&node->bytes);
    node->modified_at = process_wall(&process->base);
    return taken.len < bytes.len ? fail(ERR_NO_SPACE) : OK;
}

void sim_file_close(struct file *base)
{
    struct sim_process *process = sim_process(base->process);
    struct sim_file *file = (struct sim_file *)base;
    if (is_standard(process, file))
        return;
    sim_node_unref(file->file);
    mem_free(file);
}
