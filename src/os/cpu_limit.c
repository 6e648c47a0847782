#include "os/cpu_limit.h"

#include <stdlib.h>

#include "base/mem.h"
#include "os/cgroup.h"

static void lower(uint32_t *limit, uint64_t quota, uint64_t period)
{
    if (quota == 0 || quota > INT64_MAX || period == 0) // v1 has no quota at -1
        return;
    const uint64_t n = quota / period + (quota % period != 0);
    if (n < *limit)
        *limit = (uint32_t)n;
}

/* "150000 100000": microseconds, of so many; "max 100000": none. */
static void read_v2(void *arg, const char *dir, const char *name)
{
    char *text = cgroup_text(dir, "cpu.max", NULL), *end;
    (void)name;
    if (!text)
        return;
    const uint64_t quota = strtoull(text, &end, 10);
    lower(arg, quota, strtoull(end, NULL, 10));
    mem_free(text);
}

static void read_v1(void *arg, const char *dir, const char *name)
{
    uint64_t quota, period;
    (void)name;
    if (cgroup_number(dir, "cpu.cfs_quota_us", &quota) &&
        cgroup_number(dir, "cpu.cfs_period_us", &period))
        lower(arg, quota, period);
}

uint32_t cpu_limit_read(const char *root)
{
    uint32_t limit = UINT32_MAX;
    cgroup_walk(root, &(struct cgroup_kind){ "cgroup2", "" }, read_v2, &limit);
    cgroup_walk(root, &(struct cgroup_kind){ "cgroup", "cpu" }, read_v1, &limit);
    return limit;
}
