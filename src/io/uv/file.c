/* Files, as blocking calls (I5). */
#include "base/alloc.h"
#include "io/uv/uv_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_STEP ((size_t)64 << 10)
#define APPEND_MODE 0644
/* Names in one folder; more is not a folder that a configuration means. */
#define NAMES_MAX 100000

static struct iouv_file *iouv_file(struct file *file)
{
    return (struct iouv_file *)file;
}

static int open_file(const char *path, int flags)
{
    int fd;
    do
        fd = open(path, flags | O_CLOEXEC, APPEND_MODE);
    while (fd < 0 && errno == EINTR);
    return fd;
}

static struct file_info info_of(const struct stat *st)
{
    return (struct file_info){
        .kind = S_ISREG(st->st_mode)   ? FILE_REGULAR
                : S_ISDIR(st->st_mode) ? FILE_DIRECTORY
                                       : FILE_OTHER,
        .size = (uint64_t)st->st_size,
        .modified_at = (io_time)st->st_mtim.tv_sec * IO_SEC + st->st_mtim.tv_nsec,
        .mode = st->st_mode & 07777,
    };
}

result iouv_file_stat(struct process *process, const char *path, struct file_info *ret_info,
                      struct diag *diag)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return diag_fail_errno(diag, errno, "look at %s", path);
    *ret_info = info_of(&st);
    return OK;
}

static ssize_t read_some(int fd, void *to, size_t len)
{
    ssize_t n;
    do
        n = read(fd, to, len);
    while (n < 0 && errno == EINTR);
    return n;
}

/* Until the end of the file, whatever its size was said to be: it may grow meanwhile,
 * and files of the kernel say 0. At the limit one byte more tells whether it ended. */
static result read_all(int fd, const char *path, struct text *into, struct diag *diag)
{
    struct stat st = {0};
    size_t step = READ_STEP;
    if (fstat(fd, &st) == 0 && st.st_size > 0)
        step = (size_t)st.st_size + 1;
    size_t limit = into->max - into->len;
    for (;;) {
        uint8_t probe;
        size_t room = MIN(step, into->max - into->len);
        uint8_t *to = room > 0 ? text_reserve(into, room) : &probe;
        if (!to)
            return diag_fail(diag, (enum err)into->error, "no memory to read %s", path);
        ssize_t n = read_some(fd, to, room > 0 ? room : 1);
        if (n < 0)
            return diag_fail_errno(diag, errno, "read %s", path);
        if (n == 0)
            return OK;
        if (room == 0)
            return diag_fail(diag, ERR_TOO_LARGE, "expected %s to be at most %zu bytes long", path,
                             limit);
        text_wrote(into, (size_t)n);
        step = READ_STEP;
    }
}

result iouv_file_read(struct process *process, const char *path, struct text *into,
                      struct diag *diag)
{
    TRY(text_result(into));
    int fd = open_file(path, O_RDONLY);
    if (fd < 0)
        return diag_fail_errno(diag, errno, "open %s", path);
    size_t len = into->len;
    result r = read_all(fd, path, into, diag);
    close(fd);
    if (failed(r) && into->ptr) {
        into->len = len;
        into->ptr[len] = '\0';
    }
    return r;
}

struct names {
    char **names;
    size_t count, cap;
};

static void names_free(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        mem_free(names->names[i]);
    mem_free(names->names);
}

static result names_add(struct names *names, const char *name)
{
    if (names->count == NAMES_MAX)
        return fail(ERR_TOO_LARGE);
    if (names->count == names->cap) {
        size_t cap = MAX(names->cap * 2, (size_t)16);
        char **grown = mem_realloc(names->names, cap * sizeof(*grown));
        if (!grown)
            return fail(ERR_NO_MEMORY);
        names->names = grown;
        names->cap = cap;
    }
    char *copy = mem_strdup(name);
    if (!copy)
        return fail(ERR_NO_MEMORY);
    names->names[names->count++] = copy;
    return OK;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static result read_names(DIR *dir, const char *path, struct names *names, struct diag *diag)
{
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (!entry)
            return errno ? diag_fail_errno(diag, errno, "list %s", path) : OK;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        result r = names_add(names, entry->d_name);
        if (failed(r))
            return diag_fail(diag, (enum err)r.code,
                             "cannot list %s: more than %d names, or no "
                             "memory for them",
                             path, NAMES_MAX);
    }
}

result iouv_file_list(struct process *process, const char *path,
                      void (*fn)(void *arg, const char *name), void *arg, struct diag *diag)
{
    DIR *dir = opendir(path);
    if (!dir)
        return diag_fail_errno(diag, errno, "list %s", path);
    CLEANUP(names_free) struct names names = {0};
    result r = read_names(dir, path, &names, diag);
    closedir(dir);
    TRY(r);
    if (names.count > 0)
        qsort(names.names, names.count, sizeof(*names.names), by_bytes);
    for (size_t i = 0; i < names.count; i++)
        fn(arg, names.names[i]);
    return OK;
}

result iouv_file_append_open(struct process *process, const char *path, struct file **ret_file,
                             struct diag *diag)
{
    int fd = open_file(path, O_WRONLY | O_APPEND | O_CREAT);
    if (fd < 0)
        return diag_fail_errno(diag, errno, "open %s", path);
    struct iouv_file *file = MEM_NEW(struct iouv_file);
    if (!file) {
        close(fd);
        return diag_fail(diag, ERR_NO_MEMORY, "no memory to open %s", path);
    }
    *file = (struct iouv_file){{process}, fd};
    *ret_file = &file->base;
    return OK;
}

struct file *iouv_file_standard(struct process *process, int number)
{
    return &iouv_process(process)->standard[number - 1].base;
}

bool iouv_file_is_terminal(struct file *file)
{
    return isatty(iouv_file(file)->fd) == 1;
}

result iouv_file_append(struct file *file, struct span bytes)
{
    int fd = iouv_file(file)->fd;
    while (bytes.len > 0) {
        ssize_t n = write(fd, bytes.ptr, bytes.len);
        if (n >= 0) {
            bytes = span_from(bytes, (size_t)n);
        } else if (errno == EAGAIN) {
            /* A pipe that whoever has the other end made non-blocking. */
            struct pollfd wait = {.fd = fd, .events = POLLOUT};
            poll(&wait, 1, -1);
        } else if (errno != EINTR) {
            return fail(err_of_errno(errno));
        }
    }
    return OK;
}

void iouv_file_close(struct file *base)
{
    struct iouv_file *file = iouv_file(base);
    struct iouv_file *standard = iouv_process(base->process)->standard;
    if (file == &standard[0] || file == &standard[1])
        return;
    close(file->fd);
    mem_free(file);
}
