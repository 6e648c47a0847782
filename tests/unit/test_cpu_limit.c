/* cpu_limit: quotas of both versions, along the path, in containers, and none; and processors of large machines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/cpu_limit.h"
#include "os/workers.h"
#include "support/temp_dir.h"

static void put_v2(const char *cgroup, const char *mount_root)
{
    char text[256];
    snprintf(text, sizeof text, "0::%s\n", cgroup);
    temp_dir_put("proc/self/cgroup", text);
    snprintf(text, sizeof text,
             "31 23 0:28 %s /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n", mount_root);
    temp_dir_put("proc/self/mountinfo", text);
}

static void nothing_there_limits_nothing(void **state)
{
    (void)state;
    assert_int_equal(cpu_limit_read(temp_dir()), UINT32_MAX);
    put_v2("/a", "/");
    assert_int_equal(cpu_limit_read(temp_dir()), UINT32_MAX);
}

static void v2_is_our_own_and_rounded_up(void **state)
{
    (void)state;
    put_v2("/app", "/");
    temp_dir_put("sys/fs/cgroup/cpu.max", "max 100000\n");
    temp_dir_put("sys/fs/cgroup/app/cpu.max", "150000 100000\n");
    temp_dir_put("sys/fs/cgroup/other/cpu.max", "100000 100000\n");
    assert_int_equal(cpu_limit_read(temp_dir()), 2);
    temp_dir_put("sys/fs/cgroup/app/cpu.max", "200000 100000\n");
    assert_int_equal(cpu_limit_read(temp_dir()), 2);
    temp_dir_put("sys/fs/cgroup/app/cpu.max", "1000 100000\n");
    assert_int_equal(cpu_limit_read(temp_dir()), 1);
}

static void v2_least_along_the_path(void **state)
{
    (void)state;
    put_v2("/a/b/c", "/");
    temp_dir_put("sys/fs/cgroup/a/b/c/cpu.max", "800000 100000\n");
    temp_dir_put("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    temp_dir_put("sys/fs/cgroup/a/cpu.max", "300000 100000\n");
    assert_int_equal(cpu_limit_read(temp_dir()), 3);
}

static void v2_namespace_shows_the_root(void **state)
{
    (void)state;
    put_v2("/", "/");
    temp_dir_put("sys/fs/cgroup/cpu.max", "400000 100000\n");
    assert_int_equal(cpu_limit_read(temp_dir()), 4);
}

static void put_v1(const char *quota)
{
    temp_dir_put("proc/self/cgroup",
                 "4:memory:/docker/1f\n3:cpuset:/x\n11:cpu,cpuacct:/docker/1f\n");
    temp_dir_put("proc/self/mountinfo",
                 "32 31 0:29 /x /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
                 "33 31 0:30 /docker/1f /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n");
    temp_dir_put("sys/fs/cgroup/cpu/cpu.cfs_quota_us", quota);
    temp_dir_put("sys/fs/cgroup/cpu/cpu.cfs_period_us", "50000\n");
}

static void v1_in_a_container(void **state)
{
    (void)state;
    put_v1("120000\n");
    assert_int_equal(cpu_limit_read(temp_dir()), 3);
    put_v1("-1\n");
    assert_int_equal(cpu_limit_read(temp_dir()), UINT32_MAX);
}

static void odd_files_do_no_harm(void **state)
{
    (void)state;
    put_v2("/a", "/");
    static const char *const odd[] = {
        "", "\n", "max", "5", "0 0\n", "10 0\n", "-7 100000\n", "x y"
    };
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        temp_dir_put("sys/fs/cgroup/a/cpu.max", odd[i]);
        assert_int_equal(cpu_limit_read(temp_dir()), UINT32_MAX);
    }
}

static void this_machine_has_some(void **state)
{
    (void)state;
    assert_true(cpu_limit_read("") >= 1);
    assert_true(os_cpu_count() >= 1);
    assert_true(os_cpu_count() <= cpu_limit_read(""));
}

/* ---- machines with more processors than a cpu_set_t has room for ---- */

/* Ids that the kernel has room for (0: the real one answers), and how many of them this process may use. */
static size_t n_id, n_allowed;

/* Instead of the library's. */
int sched_getaffinity(pid_t pid, size_t bytes, cpu_set_t *set)
{
    CPU_ZERO_S(bytes, set);
    if (n_id == 0)
        return syscall(SYS_sched_getaffinity, pid, bytes, set) < 0 ? -1 : 0;
    if (bytes * 8 < n_id) {
        errno = EINVAL;
        return -1;
    }
    for (size_t i = 0; i < n_allowed; i++)
        CPU_SET_S(n_id - 1 - i, bytes, set);
    return 0;
}

static void expect_count(size_t ids, size_t allowed, uint32_t want)
{
    const uint32_t quota = cpu_limit_read("");
    n_id = ids;
    n_allowed = allowed;
    assert_int_equal(os_cpu_count(), want < quota ? want : quota);
    n_id = 0;
}

static void large_machines_have_all_of_theirs(void **state)
{
    (void)state;
    expect_count(64, 5, 5);
    expect_count(1024, 5, 5);
    expect_count(1025, 5, 5);
    expect_count(8192, 700, 700);
    expect_count(8192, 8000, WORKERS_MAX); // threads are started for all of them
}

static void a_machine_that_does_not_tell_is_asked_otherwise(void **state)
{
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    (void)state;
    expect_count((size_t)1 << 30, 1, (uint32_t)(online < WORKERS_MAX ? online : WORKERS_MAX));
}

#define IN_DIR(f) cmocka_unit_test_setup_teardown(f, temp_dir_make, temp_dir_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIR(nothing_there_limits_nothing),
        IN_DIR(v2_is_our_own_and_rounded_up),
        IN_DIR(v2_least_along_the_path),
        IN_DIR(v2_namespace_shows_the_root),
        IN_DIR(v1_in_a_container),
        IN_DIR(odd_files_do_no_harm),
        cmocka_unit_test(this_machine_has_some),
        cmocka_unit_test(large_machines_have_all_of_theirs),
        cmocka_unit_test(a_machine_that_does_not_tell_is_asked_otherwise),
    };
    return cmocka_run_group_tests_name("cpu_limit", tests, NULL, NULL);
}
