/* os/cgroup.h - where the limits of this process are written: its own cgroup and all above it.
 *
 *   /proc/self/cgroup     "0::/a/b/c"  or  "5:cpu,cpuacct:/a/b/c"     our path
 *   /proc/self/mountinfo  "... /sys/fs/cgroup ... - cgroup2 ..."      where paths are directories
 *
 *   walk:   mount/a/b/c   mount/a/b   mount/a   mount        each may limit: the least counts
 *
 * Both versions, and both at once, are found where they are mounted; a container that sees only its
 * own part of the hierarchy, too. What cannot be read is passed over, but not for want of memory:
 * no memory to read a limit is not no limit.
 *
 * Threads  any. Cost  some small files. */
#ifndef OS_CGROUP_H
#define OS_CGROUP_H

#include <stdint.h>

#include "base/note.h"
#include "base/status.h"

struct cgroup_kind {
    const char *mount_type; // "cgroup2", or "cgroup" for v1
    const char *controller; // v1: the one whose hierarchy it is; v2: ""
};

/* A level: its directory, and how a human knows it ("/a/b"; "/" for what is mounted). FULL ends the
 * walk. */
typedef enum status cgroup_level(void *arg, const char *dir, const char *name);

/* Calls `each` from the process's own cgroup upwards; not at all where there is none of this kind.
 * `root` is "" for this machine, or a directory that holds a proc/ and the mounts it names
 * (tests). OK, or FULL. */
must_use enum status cgroup_walk(const char *root, const struct cgroup_kind *kind,
                                 cgroup_level *each, void *arg);

/* The whole file dir/name as text, to be freed with mem_free. FULL: no memory. Others: it cannot be
 * read. */
must_use enum status cgroup_text(char **out, const char *dir, const char *name, struct note *why);

/* A file that begins with a number. NOT_FOUND: there is no such file, or it says "max". FULL: no
 * memory. */
must_use enum status cgroup_number(const char *dir, const char *name, uint64_t *out);

#endif
