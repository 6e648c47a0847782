/* mem_limit: fake roots with v1, v2, both, nested limits, containers, and none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "os/mem_limit.h"
#include "support/temp_dir.h"

#define MIB (1024ull * 1024)

/* A machine of 8 GiB, 6 of them available. */
static void put_machine(void)
{
    temp_dir_put(
        "proc/meminfo",
        "MemTotal:        8388608 kB\nMemFree:         1000000 kB\nMemAvailable:    6291456 kB\n");
}

static void put_v2_mount(const char *path, const char *mount_root)
{
    char text[512];
    snprintf(text, sizeof text, "0::%s\n", path);
    temp_dir_put("proc/self/cgroup", text);
    snprintf(text, sizeof text,
             "24 1 254:0 / / rw - ext4 /dev/vda rw\n"
             "31 23 0:28 %s /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
             mount_root);
    temp_dir_put("proc/self/mountinfo", text);
}

static void put_v2_level(const char *dir, const char *max, uint64_t current, uint64_t cache)
{
    char path[256], text[128];
    snprintf(path, sizeof path, "sys/fs/cgroup%s/memory.max", dir);
    snprintf(text, sizeof text, "%s\n", max);
    temp_dir_put(path, text);
    snprintf(path, sizeof path, "sys/fs/cgroup%s/memory.current", dir);
    snprintf(text, sizeof text, "%llu\n", (unsigned long long)current);
    temp_dir_put(path, text);
    snprintf(path, sizeof path, "sys/fs/cgroup%s/memory.stat", dir);
    snprintf(text, sizeof text,
             "anon 1\nfile 2\ninactive_file_x 7\ninactive_file %llu\nactive_file 3\n",
             (unsigned long long)cache);
    temp_dir_put(path, text);
}

static struct mem_limit read_it(void)
{
    struct mem_limit m;
    struct note why = { "" };
    assert_int_equal(mem_limit_read(temp_dir(), &m, &why), OK);
    return m;
}

static void expect(struct mem_limit m, uint64_t total, uint64_t available, const char *by)
{
    assert_int_equal(m.total, total);
    assert_int_equal(m.available, available);
    assert_string_equal(m.by, by);
}

static void machine_alone(void **state)
{
    (void)state;
    put_machine();
    expect(read_it(), 8192 * MIB, 6144 * MIB, "the machine");
}

static void no_meminfo_is_an_error(void **state)
{
    (void)state;
    struct mem_limit m;
    struct note why = { "" };
    assert_int_equal(mem_limit_read(temp_dir(), &m, &why), IO_ERROR);
    assert_non_null(strstr(why.text, "meminfo"));
    temp_dir_put("proc/meminfo", "MemTotal: 5 kB\n");
    assert_int_equal(mem_limit_read(temp_dir(), &m, &why), IO_ERROR);
    assert_non_null(strstr(why.text, "MemAvailable"));
}

static void v2_counts_inactive_cache_as_free(void **state)
{
    (void)state;
    put_machine();
    put_v2_mount("/app", "/");
    put_v2_level("/app", "1073741824", 600 * MIB, 100 * MIB);
    expect(read_it(), 1024 * MIB, 524 * MIB, "/app");
}

static void v2_minimum_along_the_path(void **state)
{
    (void)state;
    put_machine();
    put_v2_mount("/a/b/c", "/");
    put_v2_level("/a/b/c", "1073741824", 100 * MIB, 0);
    put_v2_level("/a/b", "max", 1900 * MIB, 0);
    put_v2_level("/a", "2147483648", 2000 * MIB, 0); // larger, but its other children filled it
    expect(read_it(), 1024 * MIB, 48 * MIB, "/a");
}

static void v2_high_limits_too(void **state)
{
    (void)state;
    put_machine();
    put_v2_mount("/app", "/");
    put_v2_level("/app", "max", 100 * MIB, 0);
    temp_dir_put("sys/fs/cgroup/app/memory.high", "314572800\n");
    expect(read_it(), 300 * MIB, 200 * MIB, "/app");
}

static void v2_without_limits(void **state)
{
    (void)state;
    put_machine();
    put_v2_mount("/app", "/");
    put_v2_level("/app", "max", 100 * MIB, 0);
    expect(read_it(), 8192 * MIB, 6144 * MIB, "the machine");
}

static void v2_over_its_limit_has_nothing(void **state)
{
    (void)state;
    put_machine();
    put_v2_mount("/app", "/");
    put_v2_level("/app", "1048576", 2 * MIB, 0);
    expect(read_it(), MIB, 0, "/app");
}

static void v2_namespace_shows_the_root(void **state)
{
    (void)state;
    put_machine();
    put_v2_mount("/", "/");
    put_v2_level("", "1073741824", 24 * MIB, 0);
    expect(read_it(), 1024 * MIB, 1000 * MIB, "/");
}

static void v2_path_outside_of_what_is_mounted(void **state)
{
    (void)state;
    put_machine();
    put_v2_mount("/../other", "/");
    put_v2_level("", "1073741824", 24 * MIB, 0);
    expect(read_it(), 1024 * MIB, 1000 * MIB, "/");
}

static void v1_in_a_container(void **state)
{
    (void)state;
    put_machine();
    temp_dir_put("proc/self/cgroup",
                 "11:cpu,cpuacct:/docker/1f\n4:memory:/docker/1f\n1:name=memory_like:/x\n");
    temp_dir_put(
        "proc/self/mountinfo",
        "33 31 0:30 /docker/1f /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
        "35 31 0:32 /docker/1f /sys/fs/cgroup/my\\040memory rw - cgroup cgroup rw,memory\n");
    temp_dir_put("sys/fs/cgroup/my memory/memory.limit_in_bytes", "536870912\n");
    temp_dir_put("sys/fs/cgroup/my memory/memory.usage_in_bytes", "268435456\n");
    temp_dir_put("sys/fs/cgroup/my memory/memory.stat",
                 "inactive_file 1\ntotal_inactive_file 67108864\n");
    expect(read_it(), 512 * MIB, 320 * MIB, "/");
}

static void v1_unlimited_is_the_machine(void **state)
{
    (void)state;
    put_machine();
    temp_dir_put("proc/self/cgroup", "4:memory:/a\n0::/\n");
    temp_dir_put("proc/self/mountinfo",
                 "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
                 "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    temp_dir_put("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n");
    temp_dir_put("sys/fs/cgroup/memory/a/memory.usage_in_bytes", "4032413696\n");
    temp_dir_put("sys/fs/cgroup/unified/cgroup.procs", "1\n");
    expect(read_it(), 8192 * MIB, 6144 * MIB, "the machine");
}

static void odd_files_do_no_harm(void **state)
{
    (void)state;
    put_machine();
    temp_dir_put("proc/self/cgroup", "nonsense\n0::/a");
    temp_dir_put("proc/self/mountinfo",
                 "31\n31 23 0:28 /\n - cgroup2\n31 23 0:28 / /sys/fs/cgroup rw - cgroup2");
    temp_dir_put("sys/fs/cgroup/a/memory.max", "");
    expect(read_it(), 8192 * MIB, 6144 * MIB, "the machine");
}

static void this_machine_has_some(void **state)
{
    (void)state;
    struct mem_limit m;
    assert_int_equal(mem_limit_read("", &m, NULL), OK);
    assert_true(m.available > 0);
    assert_true(m.available <= m.total);
    assert_true(*m.by);
}

#define WITH_ROOT(f) cmocka_unit_test_setup_teardown(f, temp_dir_make, temp_dir_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_ROOT(machine_alone),
        WITH_ROOT(no_meminfo_is_an_error),
        WITH_ROOT(v2_counts_inactive_cache_as_free),
        WITH_ROOT(v2_minimum_along_the_path),
        WITH_ROOT(v2_high_limits_too),
        WITH_ROOT(v2_without_limits),
        WITH_ROOT(v2_over_its_limit_has_nothing),
        WITH_ROOT(v2_namespace_shows_the_root),
        WITH_ROOT(v2_path_outside_of_what_is_mounted),
        WITH_ROOT(v1_in_a_container),
        WITH_ROOT(v1_unlimited_is_the_machine),
        WITH_ROOT(odd_files_do_no_harm),
        cmocka_unit_test(this_machine_has_some),
    };
    return cmocka_run_group_tests_name("mem_limit", tests, NULL, NULL);
}
