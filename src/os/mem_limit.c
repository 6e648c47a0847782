#include "os/mem_limit.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "os/file.h"

enum { FILE_BYTES_MAX = 16 << 20, PATH_BYTES = 4096 };

/* The names of the same things in the two versions. */
struct version {
    const char *mount_type;
    const char *controller; // of the line in /proc/self/cgroup; v2's has none
    const char *limit[2];
    const char *usage;
    const char *cache; // key in memory.stat: file pages not used lately, here and below
};

static const struct version versions[] = {
    { "cgroup2", "", { "memory.max", "memory.high" }, "memory.current", "inactive_file" },
    { "cgroup",
      "memory",
      { "memory.limit_in_bytes" },
      "memory.usage_in_bytes",
      "total_inactive_file" },
};

/* ---- reading ---- */

/* The whole file as text, to be freed. FULL: no memory. Others: it cannot be read. */
static enum status read_text(char **out, const char *dir, const char *name, struct note *why)
{
    struct buf path = { 0 };
    size_t len;
    enum status st = FULL;
    buf_addf(&path, "%s/%s", dir, name);
    if (path.failed)
        note_set(why, "no memory for the path of %s/%s", dir, name);
    else
        st = file_read(out, &len, buf_text(&path), FILE_BYTES_MAX, why);
    buf_close(&path);
    return st;
}

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

/* A file that holds one number; "max" is none, which is NOT_FOUND as an absent file is. */
static enum status read_number(const char *dir, const char *name, uint64_t *out)
{
    char *text, *end;
    enum status st = read_text(&text, dir, name, NULL);
    if (st != OK)
        return st == FULL ? FULL : NOT_FOUND;
    const uint64_t n = strtoull(text, &end, 10);
    const bool found = end != text;
    mem_free(text);
    if (!found)
        return NOT_FOUND;
    *out = n;
    return OK;
}

/* ---- where our cgroup is ---- */

static bool has_word(const char *list, size_t len, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; p + n <= list + len; p++)
        if (memcmp(p, word, n) == 0 && (p == list || p[-1] == ',') &&
            (p + n == list + len || p[n] == ','))
            return true;
    return false;
}

/* Copies up to the end of the line or `stop`, and undoes the octal escapes of mountinfo. */
static void copy_field(char *out, size_t room, const char *from, char stop)
{
    size_t n = 0;
    while (*from && *from != '\n' && *from != stop && n + 1 < room) {
        if (from[0] == '\\' && strspn(from + 1, "01234567") >= 3) {
            out[n++] = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
            from += 4;
        } else {
            out[n++] = *from++;
        }
    }
    out[n] = 0;
}

/* The path of our cgroup, from lines "5:cpu,memory:/a/b" (v1) or "0::/a/b" (v2). */
static bool find_path(const char *cgroups, const struct version *v, char *out)
{
    for (const char *line = cgroups; line && *line;
         line = strchr(line, '\n'), line += line != NULL) {
        const char *list = strchr(line, ':');
        const char *path = list ? strchr(list + 1, ':') : NULL;
        if (!path)
            return false;
        size_t len = (size_t)(path - (list + 1));
        bool ours = *v->controller ? has_word(list + 1, len, v->controller) : len == 0;
        if (!ours)
            continue;
        copy_field(out, PATH_BYTES, path + 1, '\n');
        return true;
    }
    return false;
}

struct mount {
    char root[PATH_BYTES];  // the part of the hierarchy that is mounted
    char point[PATH_BYTES]; // where
};

/* A line of mountinfo: "36 35 0:32 ROOT POINT options [optional...] - TYPE source
 * super,options". */
static bool read_mount(const char *line, const struct version *v, struct mount *out)
{
    const char *field = line, *end = strchr(line, '\n');
    for (int skip = 0; skip < 3 && field; skip++)
        field = strchr(field, ' '), field += field != NULL;
    const char *point = field ? strchr(field, ' ') : NULL;
    const char *tail = strstr(line, " - ");
    if (!point || !tail || (end && tail > end))
        return false;
    char type[32], super[512];
    copy_field(type, sizeof type, tail + 3, ' ');
    const char *source = strchr(tail + 3, ' ');
    const char *options = source ? strchr(source + 1, ' ') : NULL;
    copy_field(super, sizeof super, options ? options + 1 : "", ' ');
    if (strcmp(type, v->mount_type) ||
        (*v->controller && !has_word(super, strlen(super), v->controller)))
        return false;
    copy_field(out->root, sizeof out->root, field, ' ');
    copy_field(out->point, sizeof out->point, point + 1, ' ');
    return true;
}

static bool find_mount(const char *mounts, const struct version *v, struct mount *out)
{
    for (const char *line = mounts; line && *line; line = strchr(line, '\n'), line += line != NULL)
        if (read_mount(line, v, out))
            return true;
    return false;
}

/* The cgroup's path below the mount point. A container may see the path from outside (/docker/1f..)
 * and have just that part mounted; a path that is not below what is mounted tells nothing, and the
 * mount point is all we see. */
static const char *path_below(const char *path, const struct mount *m)
{
    size_t len = strcmp(m->root, "/") ? strlen(m->root) : 0;
    if (strncmp(path, m->root, len) || (path[len] && path[len] != '/') ||
        strncmp(path, "/..", 3) == 0)
        return "";
    return path + len;
}

/* ---- what is left ---- */

static void lower(struct mem_limit *m, uint64_t total, uint64_t available, const char *by)
{
    if (total < m->total)
        m->total = total;
    if (available < m->available) {
        m->available = available;
        snprintf(m->by, sizeof m->by, "%s", by);
    }
}

/* One level: dir is the cgroup's directory, `name` how a human knows it. FULL: no memory to read
 * it. */
static enum status read_level(const struct version *v, const char *dir, const char *name,
                              struct mem_limit *m)
{
    uint64_t limit = UINT64_MAX, usage = 0, cache = 0, n = UINT64_MAX;
    char *stat;
    for (int i = 0; i < 2 && v->limit[i]; i++) {
        if (read_number(dir, v->limit[i], &n) == FULL)
            return FULL;
        limit = n < limit ? n : limit;
    }
    enum status st = limit == UINT64_MAX ? NOT_FOUND : read_number(dir, v->usage, &usage);
    if (st != OK)
        return st == FULL ? FULL : OK;
    st = read_text(&stat, dir, "memory.stat", NULL);
    if (st == FULL)
        return FULL;
    if (st == OK) {
        read_key(stat, v->cache, &cache);
        mem_free(stat);
    }
    uint64_t used = usage > cache ? usage - cache : 0;
    lower(m, limit, limit > used ? limit - used : 0, name);
    return OK;
}

static enum status read_levels(const char *root, const struct version *v, const char *cgroups,
                               const char *mounts, struct mem_limit *m)
{
    char path[PATH_BYTES];
    struct mount mount;
    struct buf dir = { 0 };
    enum status st = OK;
    if (!find_path(cgroups, v, path) || !find_mount(mounts, v, &mount))
        return OK;
    buf_addf(&dir, "%s%s", root, mount.point);
    size_t mount_len = dir.len;
    buf_add_text(&dir, path_below(path, &mount));
    if (dir.failed)
        st = FULL;
    while (st == OK) {
        char *below = dir.bytes + mount_len;
        st = read_level(v, dir.bytes, *below ? below : "/", m);
        char *last = strrchr(below, '/');
        if (!last)
            break;
        *last = 0; // the parent
    }
    buf_close(&dir);
    return st;
}

/* All levels of all versions lower *m. */
static enum status read_cgroups(const char *root, const char *proc, struct mem_limit *m)
{
    char *cgroups = NULL, *mounts = NULL;
    enum status st = read_text(&cgroups, proc, "self/cgroup", NULL);
    if (st == OK)
        st = read_text(&mounts, proc, "self/mountinfo", NULL);
    for (size_t i = 0; i < sizeof versions / sizeof *versions && st == OK; i++)
        st = read_levels(root, &versions[i], cgroups, mounts, m);
    mem_free(cgroups);
    mem_free(mounts);
    return st == FULL ? FULL : OK;
}

static enum status read_machine(const char *proc, struct mem_limit *out, struct note *why)
{
    uint64_t total, available;
    char *text;
    enum status st = read_text(&text, proc, "meminfo", why);
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
    struct mem_limit m;
    struct buf proc = { 0 };
    buf_addf(&proc, "%s/proc", root);
    enum status st = proc.failed ? FULL : read_machine(buf_text(&proc), &m, why);
    if (st == OK)
        st = read_cgroups(root, buf_text(&proc), &m);
    if (st == OK)
        *out = m;
    else if (st == FULL)
        note_set(why, "no memory to read how much memory there is");
    buf_close(&proc);
    return st;
}
