#include "io/limits.h"

#include "base/number.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#define PATH_SIZE 4096
#define FILE_SIZE 65536 /* of mountinfo; the rest of a longer one is not seen */

struct finding {
    const char *root;
    struct limits limits;
    char text[FILE_SIZE], groups[PATH_SIZE];
};

/* The file's first bytes, without what follows the last whole line when it is cut. */
static struct span read_file(const char *root, const char *path, char *buffer, size_t size)
{
    char full[PATH_SIZE];
    int len = snprintf(full, sizeof(full), "%s%s", root, path);
    int fd = len < (int)sizeof(full) ? open(full, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return SPAN_NONE;
    size_t filled = 0;
    ssize_t n;
    do {
        n = read(fd, buffer + filled, size - filled);
        filled += n > 0 ? (size_t)n : 0;
    } while ((n > 0 && filled < size) || (n < 0 && errno == EINTR));
    close(fd);
    return span_of(buffer, filled);
}

/* False for anything but a number ("max", "-1"). */
static bool parse_number(struct span text, uint64_t *ret_value)
{
    return !failed(number_parse_u64(text, ret_value));
}

static struct span first_line(struct span text)
{
    return span_cut(&text, '\n');
}

static void limit_cores(struct limits *limits, struct span quota, struct span period)
{
    uint64_t q, p;
    if (!parse_number(quota, &q) || !parse_number(period, &p) || p == 0 || q == 0)
        return;
    uint64_t cores = (q + p - 1) / p;
    if (cores < (uint64_t)limits->cores)
        limits->cores = (int)cores;
}

static void limit_memory(struct limits *limits, struct span bytes)
{
    uint64_t value;
    if (parse_number(bytes, &value) && value > 0 && value < limits->memory)
        limits->memory = value;
}

enum group_kind { GROUP_V2, GROUP_V1_CPU, GROUP_V1_MEMORY };

static struct span read_value(const struct finding *f, const char *dir, const char *name,
                              char *buffer, size_t size)
{
    char path[PATH_SIZE];
    int len = snprintf(path, sizeof(path), "%s/%s", dir, name);
    return len < (int)sizeof(path) ? first_line(read_file(f->root, path, buffer, size)) : SPAN_NONE;
}

static void read_group(struct finding *f, enum group_kind kind, const char *dir)
{
    char a[64], b[64];
    struct span rest;
    switch (kind) {
    case GROUP_V2:
        rest = read_value(f, dir, "cpu.max", a, sizeof(a));
        struct span quota = span_cut(&rest, ' ');
        limit_cores(&f->limits, quota, rest);
        limit_memory(&f->limits, read_value(f, dir, "memory.max", b, sizeof(b)));
        break;
    case GROUP_V1_CPU:
        limit_cores(&f->limits, read_value(f, dir, "cpu.cfs_quota_us", a, sizeof(a)),
                    read_value(f, dir, "cpu.cfs_period_us", b, sizeof(b)));
        break;
    case GROUP_V1_MEMORY:
        limit_memory(&f->limits, read_value(f, dir, "memory.limit_in_bytes", a, sizeof(a)));
        break;
    }
}

/* The group and its ancestors up to the mount point. `inside`: the group's path under
 * it, "" or beginning with '/'. */
static void read_groups(struct finding *f, enum group_kind kind, struct span mount,
                        struct span inside)
{
    char dir[PATH_SIZE];
    int len = snprintf(dir, sizeof(dir), "%.*s%.*s", SPAN_FMT(mount), SPAN_FMT(inside));
    if (len >= (int)sizeof(dir))
        return;
    for (;;) {
        read_group(f, kind, dir);
        char *slash = strrchr(dir, '/');
        if (strlen(dir) <= mount.len || !slash)
            break;
        *slash = '\0';
    }
}

static bool has_word(struct span list, const char *word)
{
    while (list.ptr) {
        if (span_is(span_cut(&list, ','), word))
            return true;
    }
    return false;
}

/* The path of this process's group: of the version 2 hierarchy for "", else of the
 * version 1 hierarchy with that controller. /proc/self/cgroup: "ID:CONTROLLERS:PATH". */
static bool find_group(struct span lines, const char *controller, struct span *ret_path)
{
    while (lines.ptr) {
        struct span line = span_cut(&lines, '\n');
        struct span id = span_cut(&line, ':');
        struct span controllers = span_cut(&line, ':');
        if (!line.ptr)
            continue;
        bool match = *controller ? has_word(controllers, controller)
                                 : span_is(id, "0") && controllers.len == 0;
        if (match) {
            *ret_path = line;
            return true;
        }
    }
    return false;
}

/* One line of /proc/self/mountinfo (proc(5)): "ID PARENT DEV ROOT MOUNT OPTIONS
 * [FIELDS...] - TYPE SOURCE SUPEROPTIONS". */
static void read_mount(struct finding *f, struct span line, struct span groups)
{
    struct span root = SPAN_NONE, mount = SPAN_NONE;
    for (int i = 0; i < 5; i++) {
        struct span field = span_cut(&line, ' ');
        root = i == 3 ? field : root;
        mount = i == 4 ? field : mount;
    }
    size_t dash = span_search(line, SPAN(" - "));
    struct span rest = span_from(line, dash + 3);
    struct span type = span_cut(&rest, ' ');
    span_cut(&rest, ' ');
    static const struct {
        const char *type, *controller;
        enum group_kind kind;
    } kinds[] = {
        {"cgroup2", "", GROUP_V2},
        {"cgroup", "cpu", GROUP_V1_CPU},
        {"cgroup", "memory", GROUP_V1_MEMORY},
    };
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct span path;
        if (!span_is(type, kinds[i].type) ||
            (*kinds[i].controller && !has_word(rest, kinds[i].controller)) ||
            !find_group(groups, kinds[i].controller, &path))
            continue;
        /* The mount shows the hierarchy from `root` on. A path that does not lie
         * there, as in a container, means the mount point itself. */
        struct span inside = SPAN_NONE;
        if (span_is(root, "/"))
            inside = path;
        else if (span_starts(path, root))
            inside = span_from(path, root.len);
        if (span_is(inside, "/") || span_search(inside, SPAN("/..")) < inside.len)
            inside = SPAN_NONE;
        read_groups(f, kinds[i].kind, mount, inside);
    }
}

static int affinity_cores(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        return MAX(CPU_COUNT(&set), 1);
    long online = sysconf(_SC_NPROCESSORS_ONLN); /* more CPUs than the set holds */
    return online > 0 ? (int)MIN(online, 65536L) : 1;
}

struct limits limits_read(const char *root)
{
    static const char mountinfo[] = "/proc/self/mountinfo", cgroup[] = "/proc/self/cgroup";
    uint64_t pages = (uint64_t)MAX(sysconf(_SC_PHYS_PAGES), 1L);
    struct finding f = {.root = root};
    f.limits.cores = affinity_cores();
    f.limits.memory = pages * (uint64_t)sysconf(_SC_PAGESIZE);
    struct span groups = read_file(root, cgroup, f.groups, sizeof(f.groups));
    struct span lines = read_file(root, mountinfo, f.text, sizeof(f.text));
    while (lines.ptr)
        read_mount(&f, span_cut(&lines, '\n'), groups);
    return f.limits;
}
