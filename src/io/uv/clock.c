/* Time, chance, and what this process uses. */
#include "base/number.h"
#include "io/uv/uv_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static io_time read_clock(clockid_t clock)
{
    struct timespec ts = {0};
    clock_gettime(clock, &ts);
    return (io_time)ts.tv_sec * IO_SEC + ts.tv_nsec;
}

io_time iouv_clock(struct process *process)
{
    return read_clock(CLOCK_MONOTONIC);
}

io_time iouv_wall(struct process *process)
{
    return read_clock(CLOCK_REALTIME);
}

io_time iouv_thread_cpu(struct process *process)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

static void from_kernel(uint8_t *ptr, size_t len)
{
    while (len > 0) {
        ssize_t n = getrandom(ptr, len, 0);
        ASSERT(n > 0 || errno == EINTR); /* it has no other failure for valid memory */
        if (n > 0) {
            ptr += n;
            len -= (size_t)n;
        }
    }
}

/* Small requests (trace ids, one a request) share a system call. What was handed out is
 * wiped. */
struct reserve {
    uint8_t bytes[512];
    size_t left;
};
static _Thread_local struct reserve reserve;

void iouv_random(struct process *process, struct span_mut bytes)
{
    if (bytes.len == 0)
        return;
    if (bytes.len > 32) {
        from_kernel(bytes.ptr, bytes.len);
        return;
    }
    if (reserve.left < bytes.len) {
        from_kernel(reserve.bytes, sizeof(reserve.bytes));
        reserve.left = sizeof(reserve.bytes);
    }
    reserve.left -= bytes.len;
    memcpy(bytes.ptr, reserve.bytes + reserve.left, bytes.len);
    memset(reserve.bytes + reserve.left, 0, bytes.len);
}

/* The text of a small kernel file, NUL-terminated; "" when it cannot be read. */
static void read_small(const char *path, char *buffer, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, buffer, size - 1) : 0;
    buffer[MAX(n, (ssize_t)0)] = '\0';
    if (fd >= 0)
        close(fd);
}

static uint64_t resident_bytes(void)
{
    char text[256];
    read_small("/proc/self/statm", text, sizeof(text)); /* "TOTAL RESIDENT ..." in pages */
    struct span rest = span_cstr(text);
    uint64_t pages;
    span_cut(&rest, ' ');
    if (failed(number_parse_u64(span_cut(&rest, ' '), &pages)))
        return 0;
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t descriptors_now(void)
{
    /* Since Linux 6.2 the size of the folder is the number of descriptors. */
    struct stat info;
    if (stat("/proc/self/fd", &info) == 0 && info.st_size > 0)
        return (uint64_t)info.st_size;
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return 0;
    uint64_t count = 0;
    struct dirent *entry;
    while ((entry = readdir(dir)))
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count > 0 ? count - 1 : 0; /* less the one that reads */
}

io_time iouv_started_at(void)
{
    /* Field 22 of /proc/self/stat, in clock ticks since boot; fields are counted behind
     * the command's name, which ends at the last parenthesis (proc(5)). */
    char text[1024];
    read_small("/proc/self/stat", text, sizeof(text));
    struct span rest = span_cstr(strrchr(text, ')'));
    for (int i = 2; i < 22; i++)
        span_cut(&rest, ' ');
    io_time now = read_clock(CLOCK_REALTIME);
    long hertz = sysconf(_SC_CLK_TCK);
    uint64_t ticks;
    if (failed(number_parse_u64(span_cut(&rest, ' '), &ticks)) || hertz <= 0)
        return now;
    io_time since_boot = (io_time)(ticks * (uint64_t)(IO_SEC / hertz));
    return now - read_clock(CLOCK_BOOTTIME) + since_boot;
}

static io_time time_of(struct timeval tv)
{
    return (io_time)tv.tv_sec * IO_SEC + (io_time)tv.tv_usec * IO_US;
}

void iouv_usage(struct process *process, struct process_usage *ret_usage)
{
    struct rusage used = {0};
    struct rlimit limit = {0};
    getrusage(RUSAGE_SELF, &used);
    getrlimit(RLIMIT_NOFILE, &limit);
    *ret_usage = (struct process_usage){
        .cpu_user = time_of(used.ru_utime),
        .cpu_system = time_of(used.ru_stime),
        .resident_bytes = resident_bytes(),
        .descriptors_now = descriptors_now(),
        .descriptors_max = (uint64_t)limit.rlim_cur,
        .started_at = iouv_process(process)->started_at,
    };
}

uint64_t iouv_descriptors(struct process *process, uint64_t wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    uint64_t now = (uint64_t)limit.rlim_cur;
    if (wanted > now) {
        limit.rlim_cur = MIN((rlim_t)wanted, limit.rlim_max);
        if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
            now = (uint64_t)limit.rlim_cur;
    }
    return now;
}
