/* How much of the machine this process may use.
 *
 * Cores: min(CPUs that the affinity mask allows, CPU quota of every control group the
 * process is in, rounded up), at least 1. Memory: min(physical, limit of every control
 * group). Both versions of control groups are read, where the kernel mounted them
 * (Linux Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst); a group's ancestors
 * limit it too.
 */
#pragma once

#include "io/io.h"

struct limits {
    int cores;
    uint64_t memory; /* bytes */
};

/* `root` is put in front of every path that is read: "" for the machine itself. What
 * cannot be read does not limit. */
struct limits limits_read(const char *root);
