/* os/mem_limit.h - the memory this process can really have: the machine's, and that of every cgroup
 * above it.
 *
 *   /proc/meminfo           MemAvailable: what the machine can give without swapping
 *   /a       1 GiB ------.
 *   /a/b     none ------ +-- each level leaves limit - usage + page cache not in use; a parent
 *   /a/b/c   512 MiB ----'   may have less left than its child: the minimum along the path counts
 *
 * cgroup v2 (memory.max, memory.high), v1 (memory.limit_in_bytes) and both at once are read from
 * where /proc/self/mountinfo says they are mounted. What cannot be read limits nothing.
 *
 * Threads  any. Cost  some ten small files. */
#ifndef OS_MEM_LIMIT_H
#define OS_MEM_LIMIT_H

#include <stdint.h>

#include "base/note.h"
#include "base/status.h"

struct mem_limit {
    uint64_t total;     // bytes this process could have, were nothing in use
    uint64_t available; // bytes it can have now, <= total
    char by[256];       // what sets `available`: "the machine", or the cgroup's path
};

/* `root` is "" for this machine, or a directory that holds a proc/ and the mounts it names (tests).
 * IO_ERROR: not even /proc/meminfo can be read; the note says why. FULL: no memory to read it. */
must_use enum status mem_limit_read(const char *root, struct mem_limit *out, struct note *why);

#endif
