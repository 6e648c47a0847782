/* os/cpu_limit.h - the processors that quotas leave this process: those of its cgroup and of all
 * above it (os/cgroup.h), v2 (cpu.max) and v1 (cpu.cfs_quota_us over cpu.cfs_period_us).
 *
 * Threads  any. Cost  some small files. */
#ifndef OS_CPU_LIMIT_H
#define OS_CPU_LIMIT_H

#include <stdint.h>

/* The least quota in whole processors, rounded up; UINT32_MAX: there is none. `root` as in
 * os/cgroup.h. */
uint32_t cpu_limit_read(const char *root);

#endif
