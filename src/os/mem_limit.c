#include "os/mem_limit.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "os/cgroup.h"

/* The names of the same things in the two versions. */
struct version {
    struct cgroup_kind kind;
    const char *limit[2];
    const char *usage;
    const char *cache; // key in memory.stat: file pages not used lately, here and below
};

static const struct version versions[] = {
    { { "cgroup2", "" }, { "memory.max", "memory.high" }, "memory.current", "inactive_file" },
    { { "cgroup", "memory" },
      { "memory.limit_in_bytes" },
      "memory.usage_in_bytes",
      "total_inactive_file" },
};

/* Reads the number behind `key` at the start of a line ("MemTotal: 24103 kB", "inactive_file
 * 123"). */
static bool read_key(const char *text, const char *key, uint64_t *out)
{
    size_t len = strlen(key);
    for (const char *line = text; line && *line; line = strchr(line, '\n'), line += line != NULL) {
        if (strncmp(line, key, len) == 0 && (line[len] == ' ' || line[len] == ':')) {
            *out = strtoull(line + len + 1, NULL, 10);
            return true;
        }
    }
    return false;
}

static void lower(struct mem_limit *m, uint64_t total, uint64_t available, const char *by)
{
    if (total < m->total)
        m->total = total;
    if (available < m->available) {
        m->available = available;
        snprintf(m->by, sizeof m->by, "%s", by);
    }
}

struct walk {
    const struct version *version;
    struct mem_limit *limit;
};

static enum status read_level(void *arg, const char *dir, const char *name)
{
    const struct walk *walk = arg;
    const struct version *v = walk->version;
    uint64_t limit = UINT64_MAX, usage = 0, cache = 0, n = UINT64_MAX;
    char *stat;
    for (int i = 0; i < 2 && v->limit[i]; i++) {
        if (cgroup_number(dir, v->limit[i], &n) == FULL)
            return FULL;
        limit = n < limit ? n : limit;
    }
    enum status st = limit == UINT64_MAX ? NOT_FOUND : cgroup_number(dir, v->usage, &usage);
    if (st != OK)
        return st == FULL ? FULL : OK;
    st = cgroup_text(&stat, dir, "memory.stat", NULL);
    if (st == FULL)
        return FULL;
    if (st == OK) {
        read_key(stat, v->cache, &cache);
        mem_free(stat);
    }
    const uint64_t used = usage > cache ? usage - cache : 0;
    lower(walk->limit, limit, limit > used ? limit - used : 0, name);
    return OK;
}

static enum status read_machine(const char *proc, struct mem_limit *out, struct note *why)
{
    uint64_t total, available;
    char *text;
    enum status st = cgroup_text(&text, proc, "meminfo", why);
    if (st != OK)
        return st == FULL ? FULL : IO_ERROR;
    bool found = read_key(text, "MemTotal", &total) && read_key(text, "MemAvailable", &available);
    mem_free(text);
    if (!found) {
        note_set(why, "%s/meminfo does not tell MemTotal and MemAvailable", proc);
        return IO_ERROR;
    }
    *out = (struct mem_limit){ .total = total << 10,
                               .available = available << 10,
                               .by = "the machine" };
    return OK;
}

enum status mem_limit_read(const char *root, struct mem_limit *out, struct note *why)
{
    struct buf proc = { 0 };
    struct mem_limit m;
    buf_addf(&proc, "%s/proc", root);
    enum status st = proc.failed ? FULL : read_machine(buf_text(&proc), &m, why);
    for (size_t i = 0; i < sizeof versions / sizeof *versions && st == OK; i++)
        st = cgroup_walk(root, &versions[i].kind, read_level,
                         &(struct walk){ .version = &versions[i], .limit = &m });
    if (st == OK)
        *out = m;
    else if (st == FULL)
        note_set(why, "no memory to read how much memory there is");
    buf_close(&proc);
    return st;
}
