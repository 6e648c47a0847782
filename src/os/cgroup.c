#include "os/cgroup.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "os/file.h"

enum { FILE_BYTES_MAX = 16 << 20, PATH_BYTES = 4096 };

/* ---- reading ---- */

enum status cgroup_text(char **out, const char *dir, const char *name, struct note *why)
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

enum status cgroup_number(const char *dir, const char *name, uint64_t *out)
{
    char *text, *end;
    enum status st = cgroup_text(&text, dir, name, NULL);
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
static bool find_path(const char *cgroups, const struct cgroup_kind *kind, char *out)
{
    for (const char *line = cgroups; line && *line;
         line = strchr(line, '\n'), line += line != NULL) {
        const char *list = strchr(line, ':');
        const char *path = list ? strchr(list + 1, ':') : NULL;
        if (!path)
            return false;
        size_t len = (size_t)(path - (list + 1));
        bool ours = *kind->controller ? has_word(list + 1, len, kind->controller) : len == 0;
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
static bool read_mount(const char *line, const struct cgroup_kind *kind, struct mount *out)
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
    if (strcmp(type, kind->mount_type) ||
        (*kind->controller && !has_word(super, strlen(super), kind->controller)))
        return false;
    copy_field(out->root, sizeof out->root, field, ' ');
    copy_field(out->point, sizeof out->point, point + 1, ' ');
    return true;
}

static bool find_mount(const char *mounts, const struct cgroup_kind *kind, struct mount *out)
{
    for (const char *line = mounts; line && *line; line = strchr(line, '\n'), line += line != NULL)
        if (read_mount(line, kind, out))
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

/* ---- the walk ---- */

static enum status walk(const char *root, const struct cgroup_kind *kind, const char *cgroups,
                        const char *mounts, cgroup_level *each, void *arg)
{
    char path[PATH_BYTES];
    struct mount mount;
    struct buf dir = { 0 };
    if (!find_path(cgroups, kind, path) || !find_mount(mounts, kind, &mount))
        return OK;
    buf_addf(&dir, "%s%s", root, mount.point);
    size_t mount_len = dir.len;
    buf_add_text(&dir, path_below(path, &mount));
    enum status st = dir.failed ? FULL : OK;
    while (st == OK) {
        char *below = dir.bytes + mount_len;
        st = each(arg, dir.bytes, *below ? below : "/");
        char *last = strrchr(below, '/');
        if (!last)
            break;
        *last = 0; // the parent
    }
    buf_close(&dir);
    return st;
}

enum status cgroup_walk(const char *root, const struct cgroup_kind *kind, cgroup_level *each,
                        void *arg)
{
    struct buf proc = { 0 };
    char *cgroups = NULL, *mounts = NULL;
    buf_addf(&proc, "%s/proc/self", root);
    enum status st = proc.failed ? FULL : cgroup_text(&cgroups, buf_text(&proc), "cgroup", NULL);
    if (st == OK)
        st = cgroup_text(&mounts, buf_text(&proc), "mountinfo", NULL);
    if (st == OK)
        st = walk(root, kind, cgroups, mounts, each, arg);
    mem_free(cgroups);
    mem_free(mounts);
    buf_close(&proc);
    return st == FULL ? FULL : OK;
}
