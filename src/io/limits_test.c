#include "base/test_cmocka.h"
#include "io/limits.h"
#include "io/test_folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/weir-limits-XXXXXX";

/* Makes a file below `root` and the folders above it. */
static void put(const char *path, const char *text)
{
    char full[400];
    snprintf(full, sizeof(full), "%s%s", root, path);
    for (char *c = full + strlen(root) + 1; *c; c++) {
        if (*c == '/') {
            *c = '\0';
            mkdir(full, 0755);
            *c = '/';
        }
    }
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int make_root(void **state)
{
    snprintf(root, sizeof(root), "/tmp/weir-limits-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
    return test_folder_remove(root);
}

#define V2 "30 20 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"

static void a_group_of_version_2_limits_and_so_do_those_above(void **state)
{
    put("/proc/self/mountinfo", "21 1 0:20 / /proc rw - proc proc rw\n" V2);
    put("/proc/self/cgroup", "0::/system.slice/weir.service\n");
    put("/sys/fs/cgroup/system.slice/weir.service/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/system.slice/weir.service/memory.max", "209715200\n");
    put("/sys/fs/cgroup/system.slice/cpu.max", "100000 100000\n");
    put("/sys/fs/cgroup/system.slice/memory.max", "max\n");
    struct limits limits = limits_read(root);
    assert_int_equal(limits.cores, 1);
    assert_int_equal(limits.memory, 209715200);
}

static void a_fraction_of_a_core_is_rounded_up_to_one(void **state)
{
    put("/proc/self/mountinfo", V2);
    put("/proc/self/cgroup", "0::/\n");
    put("/sys/fs/cgroup/cpu.max", "5000 100000\n");
    assert_int_equal(limits_read(root).cores, 1);
}

static void groups_of_version_1_limit_cores_and_memory(void **state)
{
    put("/proc/self/mountinfo",
        "31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
        "32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
    put("/proc/self/cgroup", "4:memory:/a/b\n3:cpu,cpuacct:/a\n1:name=systemd:/\n0::/\n");
    put("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "90000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "104857600\n");
    struct limits limits = limits_read(root);
    assert_int_equal(limits.cores, 1);
    assert_int_equal(limits.memory, 104857600);
}

static void a_container_sees_its_own_group_at_the_mount_point(void **state)
{
    put("/proc/self/mountinfo",
        "32 30 0:28 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
    put("/proc/self/cgroup", "4:memory:/docker/abc\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "52428800\n");
    assert_int_equal(limits_read(root).memory, 52428800);
    put("/proc/self/cgroup", "4:memory:/elsewhere\n");
    assert_int_equal(limits_read(root).memory, 52428800);
}

static void what_cannot_be_read_does_not_limit(void **state)
{
    struct limits none = limits_read(root);
    assert_true(none.cores >= 1);
    assert_true(none.memory > 0);
    put("/proc/self/mountinfo", "broken\n\n - cgroup2\n30 20 0:26 / /x rw - cgroup2\n" V2);
    put("/proc/self/cgroup", "0\n0:\n0::/../x\n:::\n");
    put("/sys/fs/cgroup/cpu.max", "what ever\n");
    put("/sys/fs/cgroup/memory.max", "99999999999999999999999\n");
    struct limits limits = limits_read(root);
    assert_int_equal(limits.cores, none.cores);
    assert_int_equal(limits.memory, none.memory);
}

static void this_machine_has_limits(void **state)
{
    struct limits limits = limits_read("");
    assert_true(limits.cores >= 1 && limits.cores <= sysconf(_SC_NPROCESSORS_CONF));
    assert_true(limits.memory > 1 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_group_of_version_2_limits_and_so_do_those_above,
                                        make_root, remove_root),
        cmocka_unit_test_setup_teardown(a_fraction_of_a_core_is_rounded_up_to_one, make_root,
                                        remove_root),
        cmocka_unit_test_setup_teardown(groups_of_version_1_limit_cores_and_memory, make_root,
                                        remove_root),
        cmocka_unit_test_setup_teardown(a_container_sees_its_own_group_at_the_mount_point,
                                        make_root, remove_root),
        cmocka_unit_test_setup_teardown(what_cannot_be_read_does_not_limit, make_root, remove_root),
        cmocka_unit_test(this_machine_has_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
