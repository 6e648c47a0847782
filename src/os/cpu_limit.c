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
static enum status read_v2(void *arg, const char *dir, const char *name)
{
    char *text, *end;
    (void)name;
    if (cgroup_text(&text, dir, "cpu.max", NULL) != OK)
        return OK;
    const uint64_t quota = strtoull(text, &end, 10);
    lower(arg, quota, strtoull(end, NULL, 10));
    mem_free(text);
    return OK;
}

static enum status read_v1(void *arg, const char *dir, const char *name)
{
    uint64_t quota, period;
    (void)name;
    if (cgroup_number(dir, "cpu.cfs_quota_us", &quota) == OK &&
        cgroup_number(dir, "cpu.cfs_period_us", &period) == OK)
        lower(arg, quota, period);
    return OK;
}

/* A quota that is not found, for whatever reason, costs speed and nothing else. */
uint32_t cpu_limit_read(const char *root)
{
    uint32_t limit = UINT32_MAX;
    const enum status v2 =
        cgroup_walk(root, &(struct cgroup_kind){ "cgroup2", "" }, read_v2, &limit);
    const enum status v1 =
        cgroup_walk(root, &(struct cgroup_kind){ "cgroup", "cpu" }, read_v1, &limit);
    (void)v1, (void)v2;
    return limit;
}
