/* Loaded in front of the C library (LD_PRELOAD): counts the system calls and allocations
 * that the program makes, and fails the chosen one. tests/faults/program.py drives it
 * through a file that both have mapped, named by WEIR_FAULTS.
 *
 * Whose call it is tells the address that it returns to: the program's own text or a
 * library's of the list below; memory that a library takes through the program's own door
 * is the program's. All else (the C library's own, the engines', the sanitizers',
 * jemalloc's) is passed on and not counted. A call on a socket is counted apart from one on
 * anything else, since libuv treats its own eventfds and pipes differently from connections.
 *
 * A failure is what the kernel could do: nothing has happened and errno is set; except
 * that close() has closed, whatever it returns (close(2)), and that SHORT moves one byte.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* In the driver's order. `memory` is every way to the heap. */
#define CALLS(X) \
    X(memory) \
    X(read) \
    X(write) \
    X(writev) \
    X(send) \
    X(sendto) \
    X(recv) \
    X(recvfrom) \
    X(accept4) \
    X(connect) \
    X(socket) \
    X(bind) \
    X(listen) \
    X(shutdown) \
    X(setsockopt) \
    X(getsockopt) \
    X(getsockname) \
    X(getpeername) \
    X(epoll_create1) \
    X(epoll_ctl) \
    X(epoll_wait) \
    X(epoll_pwait) \
    X(eventfd) \
    X(pipe2) \
    X(poll) \
    X(ioctl) \
    X(fcntl) \
    X(open) \
    X(fopen) \
    X(close) \
    X(stat) \
    X(fstat) \
    X(lstat) \
    X(chmod) \
    X(fchmod) \
    X(unlink) \
    X(opendir) \
    X(readdir) \
    X(readlink) \
    X(getrandom) \
    X(getrlimit) \
    X(setrlimit) \
    X(sigaction) \
    X(sigaltstack) \
    X(mmap) \
    X(mprotect) \
    X(madvise) \
    X(pthread_create) \
    X(sched_getaffinity)

enum call {
#define X(name) C_##name,
    CALLS(X)
#undef X
        CALLS_LEN
};

enum owner {
    OWNER_WEIR,
    OWNER_UV,
    OWNER_YAML,
    OWNER_OPENSSL,
    OWNER_ARES,
    OWNERS_LEN,
    OWNER_OTHER = OWNERS_LEN
};
enum kind { KIND_OTHER, KIND_SOCKET, KINDS_LEN };

#define SLOTS (OWNERS_LEN * KINDS_LEN * CALLS_LEN)
#define SHORT -1

struct control {
    atomic_uint_fast64_t armed; /* slot + 1; 0: none */
    atomic_uint_fast64_t at;    /* the count that fails */
    atomic_uint_fast64_t on;    /* and all after it */
    atomic_int_fast64_t error;  /* an errno, or SHORT */
    atomic_uint_fast64_t hits;
    atomic_uint_fast64_t counts[SLOTS];
};

static struct control nobody, *control = &nobody;

static struct range {
    uintptr_t from, to;
    enum owner owner;
} ranges[16];
static size_t ranges_len;

/* ---- whose call, and whether it fails ---- */

static enum owner owner_of_file(const char *name)
{
    static const struct {
        const char *part;
        enum owner owner;
    } libraries[] = {
        {"/libuv.so", OWNER_UV},       {"/libfyaml.so", OWNER_YAML},
        {"/libssl.so", OWNER_OPENSSL}, {"/libcrypto.so", OWNER_OPENSSL},
        {"/libcares.so", OWNER_ARES},
    };
    for (size_t i = 0; i < sizeof(libraries) / sizeof(libraries[0]); i++)
        if (strstr(name, libraries[i].part))
            return libraries[i].owner;
    return name[0] ? OWNER_OTHER : OWNER_WEIR;
}

static int note_text(struct dl_phdr_info *info, size_t size, void *arg)
{
    enum owner owner = owner_of_file(info->dlpi_name);
    for (int i = 0; owner != OWNER_OTHER && i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type != PT_LOAD || !(part->p_flags & PF_X))
            continue;
        if (ranges_len == sizeof(ranges) / sizeof(ranges[0]))
            abort();
        ranges[ranges_len++] =
            (struct range){info->dlpi_addr + part->p_vaddr,
                           info->dlpi_addr + part->p_vaddr + part->p_memsz, owner};
    }
    return 0;
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("WEIR_FAULTS");
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
    dl_iterate_phdr(note_text, NULL);
    if (fd < 0)
        return;
    void *map = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (map != MAP_FAILED)
        control = map;
}

static enum owner owner_of(const void *caller)
{
    uintptr_t at = (uintptr_t)caller;
    for (size_t i = 0; i < ranges_len; i++)
        if (at >= ranges[i].from && at < ranges[i].to)
            return ranges[i].owner;
    return OWNER_OTHER;
}

static enum kind kind_of(int fd)
{
    struct stat info;
    int before = errno;
    bool is_socket = fd >= 0 && syscall(SYS_fstat, fd, &info) == 0 && S_ISSOCK(info.st_mode);
    errno = before;
    return is_socket ? KIND_SOCKET : KIND_OTHER;
}

/* 0, or why this one fails. */
static int fault(enum call call, int fd, const void *caller)
{
    enum owner owner = owner_of(caller);
    if (owner == OWNER_OTHER)
        return 0;
    unsigned slot = ((unsigned)owner * KINDS_LEN + kind_of(fd)) * CALLS_LEN + call;
    uint64_t count = atomic_fetch_add(&control->counts[slot], 1) + 1;
    if (atomic_load(&control->armed) != slot + 1)
        return 0;
    uint64_t at = atomic_load(&control->at);
    if (count != at && !(count > at && atomic_load(&control->on)))
        return 0;
    atomic_fetch_add(&control->hits, 1);
    return (int)atomic_load(&control->error);
}

/* ---- the calls ---- */

/* The next function of that name, found at the first call. */
#define NEXT(name) \
    ({ \
        static __typeof__(&name) next_; \
        if (!next_) \
            next_ = (__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name); \
        next_; \
    })

#define EXPORT __attribute__((visibility("default")))

/* `name` is the symbol, `call` its slot; `none` what failure returns. */
#define WRAP(ret, none, call, name, fd, parameters, ...) \
    EXPORT ret name parameters \
    { \
        int error = fault(C_##call, fd, __builtin_return_address(0)); \
        if (error > 0) { \
            errno = error; \
            return none; \
        } \
        return NEXT(name)(__VA_ARGS__); \
    }

WRAP(ssize_t, -1, sendto, sendto, fd,
     (int fd, const void *buf, size_t n, int flags, const struct sockaddr *to, socklen_t len), fd,
     buf, n, flags, to, len)
WRAP(ssize_t, -1, send, send, fd, (int fd, const void *buf, size_t n, int flags), fd, buf, n, flags)
WRAP(ssize_t, -1, recv, recv, fd, (int fd, void *buf, size_t n, int flags), fd, buf, n, flags)
WRAP(ssize_t, -1, recvfrom, recvfrom, fd,
     (int fd, void *buf, size_t n, int flags, struct sockaddr *from, socklen_t *len), fd, buf, n,
     flags, from, len)
WRAP(int, -1, accept4, accept4, fd, (int fd, struct sockaddr *from, socklen_t *len, int flags), fd,
     from, len, flags)
WRAP(int, -1, connect, connect, fd, (int fd, const struct sockaddr *to, socklen_t len), fd, to, len)
WRAP(int, -1, socket, socket, -1, (int domain, int type, int protocol), domain, type, protocol)
WRAP(int, -1, bind, bind, fd, (int fd, const struct sockaddr *to, socklen_t len), fd, to, len)
WRAP(int, -1, listen, listen, fd, (int fd, int backlog), fd, backlog)
WRAP(int, -1, shutdown, shutdown, fd, (int fd, int how), fd, how)
WRAP(int, -1, setsockopt, setsockopt, fd,
     (int fd, int level, int name, const void *value, socklen_t len), fd, level, name, value, len)
WRAP(int, -1, getsockopt, getsockopt, fd,
     (int fd, int level, int name, void *value, socklen_t *len), fd, level, name, value, len)
WRAP(int, -1, getsockname, getsockname, fd, (int fd, struct sockaddr *of, socklen_t *len), fd, of,
     len)
WRAP(int, -1, getpeername, getpeername, fd, (int fd, struct sockaddr *of, socklen_t *len), fd, of,
     len)
WRAP(int, -1, epoll_create1, epoll_create1, -1, (int flags), flags)
WRAP(int, -1, epoll_ctl, epoll_ctl, fd, (int epoll, int op, int fd, struct epoll_event *event),
     epoll, op, fd, event)
WRAP(int, -1, epoll_wait, epoll_wait, -1,
     (int epoll, struct epoll_event *events, int max, int timeout), epoll, events, max, timeout)
WRAP(int, -1, epoll_pwait, epoll_pwait, -1,
     (int epoll, struct epoll_event *events, int max, int timeout, const sigset_t *mask), epoll,
     events, max, timeout, mask)
WRAP(int, -1, eventfd, eventfd, -1, (unsigned value, int flags), value, flags)
WRAP(int, -1, pipe2, pipe2, -1, (int fds[2], int flags), fds, flags)
WRAP(int, -1, poll, poll, -1, (struct pollfd * fds, nfds_t n, int timeout), fds, n, timeout)
WRAP(int, -1, stat, stat64, -1, (const char *path, struct stat64 *info), path, info)
WRAP(int, -1, fstat, fstat64, fd, (int fd, struct stat64 *info), fd, info)
WRAP(int, -1, lstat, lstat64, -1, (const char *path, struct stat64 *info), path, info)
WRAP(int, -1, chmod, chmod, -1, (const char *path, mode_t mode), path, mode)
WRAP(int, -1, fchmod, fchmod, fd, (int fd, mode_t mode), fd, mode)
WRAP(int, -1, unlink, unlink, -1, (const char *path), path)
WRAP(DIR *, NULL, opendir, opendir, -1, (const char *path), path)
WRAP(struct dirent64 *, NULL, readdir, readdir64, -1, (DIR * dir), dir)
WRAP(ssize_t, -1, readlink, readlink, -1, (const char *path, char *to, size_t n), path, to, n)
WRAP(int, -1, getrlimit, getrlimit64, -1, (__rlimit_resource_t what, struct rlimit64 *limit), what,
     limit)
WRAP(int, -1, setrlimit, setrlimit64, -1, (__rlimit_resource_t what, const struct rlimit64 *limit),
     what, limit)
WRAP(int, -1, sigaction, sigaction, -1,
     (int number, const struct sigaction *new, struct sigaction *old), number, new, old)
WRAP(int, -1, sigaltstack, sigaltstack, -1, (const stack_t *new, stack_t *old), new, old)
WRAP(void *, MAP_FAILED, mmap, mmap64, fd,
     (void *at, size_t n, int protection, int flags, int fd, off64_t offset), at, n, protection,
     flags, fd, offset)
WRAP(int, -1, mprotect, mprotect, -1, (void *at, size_t n, int protection), at, n, protection)
WRAP(int, -1, madvise, madvise, -1, (void *at, size_t n, int advice), at, n, advice)
WRAP(FILE *, NULL, fopen, fopen64, -1, (const char *path, const char *mode), path, mode)
WRAP(int, -1, sched_getaffinity, sched_getaffinity, -1, (pid_t pid, size_t n, cpu_set_t *set), pid,
     n, set)
WRAP(int, error, pthread_create, pthread_create, -1,
     (pthread_t * thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg), thread,
     attr, run, arg)

/* Calls that may also move less than they were asked to. */

EXPORT ssize_t read(int fd, void *buf, size_t n)
{
    int error = fault(C_read, fd, __builtin_return_address(0));
    if (error > 0) {
        errno = error;
        return -1;
    }
    return NEXT(read)(fd, buf, error == SHORT && n > 1 ? 1 : n);
}

EXPORT ssize_t write(int fd, const void *buf, size_t n)
{
    int error = fault(C_write, fd, __builtin_return_address(0));
    if (error > 0) {
        errno = error;
        return -1;
    }
    return NEXT(write)(fd, buf, error == SHORT && n > 1 ? 1 : n);
}

EXPORT ssize_t writev(int fd, const struct iovec *parts, int count)
{
    int error = fault(C_writev, fd, __builtin_return_address(0));
    if (error > 0) {
        errno = error;
        return -1;
    }
    return error == SHORT ? NEXT(write)(fd, parts[0].iov_base, 1) : NEXT(writev)(fd, parts, count);
}

EXPORT ssize_t getrandom(void *buf, size_t n, unsigned flags)
{
    int error = fault(C_getrandom, -1, __builtin_return_address(0));
    if (error > 0) {
        errno = error;
        return -1;
    }
    return NEXT(getrandom)(buf, error == SHORT && n > 1 ? 1 : n, flags);
}

/* How OpenSSL asks for chance; it comes whole or not at all. */
EXPORT int getentropy(void *buf, size_t n)
{
    int error = fault(C_getrandom, -1, __builtin_return_address(0));
    if (error > 0) {
        errno = error;
        return -1;
    }
    return NEXT(getentropy)(buf, n);
}

EXPORT int close(int fd)
{
    int error = fault(C_close, fd, __builtin_return_address(0));
    int r = NEXT(close)(fd);
    if (error <= 0)
        return r;
    errno = error;
    return -1;
}

/* With arguments that C does not name. */

EXPORT int open64(const char *path, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;
    va_end(list);
    int error = fault(C_open, -1, __builtin_return_address(0));
    if (error <= 0)
        return NEXT(open64)(path, flags, mode);
    errno = error;
    return -1;
}

EXPORT int fcntl64(int fd, int command, ...)
{
    va_list list;
    va_start(list, command);
    void *arg = va_arg(list, void *);
    va_end(list);
    int error = fault(C_fcntl, fd, __builtin_return_address(0));
    if (error <= 0)
        return NEXT(fcntl64)(fd, command, arg);
    errno = error;
    return -1;
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
    va_list list;
    va_start(list, request);
    void *arg = va_arg(list, void *);
    va_end(list);
    int error = fault(C_ioctl, fd, __builtin_return_address(0));
    if (error <= 0)
        return NEXT(ioctl)(fd, request, arg);
    errno = error;
    return -1;
}

/* The same under the names that libraries built without large files call. */
__asm__(".globl open, fcntl, stat, fopen, mmap\n"
        ".set open, open64\n"
        ".set fcntl, fcntl64\n"
        ".set stat, stat64\n"
        ".set fopen, fopen64\n"
        ".set mmap, mmap64\n");

/* libuv closes in this way, to be no point of cancellation. */
EXPORT long syscall(long number, ...)
{
    va_list list;
    long a[6];
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    int error = 0;
    if (number == SYS_close)
        error = fault(C_close, (int)a[0], __builtin_return_address(0));
    if (number == SYS_getrandom) /* OpenSSL, after the C library's own */
        error = fault(C_getrandom, -1, __builtin_return_address(0));
    if (error > 0 && number != SYS_close) {
        errno = error;
        return -1;
    }
    long r = NEXT(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (error <= 0)
        return r;
    errno = error;
    return -1;
}

/* ---- the heap ---- */

/* What dlsym itself may ask for while the next function is looked up. */
static void *early(size_t size)
{
    static _Alignas(16) uint8_t bytes[4096];
    static size_t taken;
    taken = (taken + 15) & ~(size_t)15;
    if (size > sizeof(bytes) - taken)
        return NULL;
    taken += size;
    return bytes + taken - size;
}

static __typeof__(&malloc) next_malloc;
static __typeof__(&calloc) next_calloc;
static __typeof__(&realloc) next_realloc;
static __typeof__(&posix_memalign) next_posix_memalign;

static bool heap_found(void)
{
    static bool searching;
    if (next_posix_memalign)
        return true;
    if (searching)
        return false;
    searching = true;
    next_malloc = (__typeof__(&malloc))(uintptr_t)dlsym(RTLD_NEXT, "malloc");
    next_calloc = (__typeof__(&calloc))(uintptr_t)dlsym(RTLD_NEXT, "calloc");
    next_realloc = (__typeof__(&realloc))(uintptr_t)dlsym(RTLD_NEXT, "realloc");
    next_posix_memalign =
        (__typeof__(&posix_memalign))(uintptr_t)dlsym(RTLD_NEXT, "posix_memalign");
    return true;
}

static bool no_memory(const void *caller)
{
    if (fault(C_memory, -1, caller) <= 0)
        return false;
    errno = ENOMEM;
    return true;
}

EXPORT void *malloc(size_t size)
{
    if (!heap_found())
        return early(size);
    return no_memory(__builtin_return_address(0)) ? NULL : next_malloc(size);
}

EXPORT void *calloc(size_t count, size_t size)
{
    if (!heap_found())
        return early(count * size);
    return no_memory(__builtin_return_address(0)) ? NULL : next_calloc(count, size);
}

EXPORT void *realloc(void *ptr, size_t size)
{
    heap_found();
    return no_memory(__builtin_return_address(0)) ? NULL : next_realloc(ptr, size);
}

EXPORT int posix_memalign(void **ret_ptr, size_t align, size_t size)
{
    heap_found();
    return no_memory(__builtin_return_address(0)) ? ENOMEM
                                                  : next_posix_memalign(ret_ptr, align, size);
}
