#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "os/pages.h"

enum { READ_BYTES = 64 << 10 }; // one read(2)

static const uint8_t empty_file[1];

/* ---- faults for tests ---- */

static _Atomic uint64_t fail_at, asked;

static bool refused(void)
{
    const uint64_t n = atomic_fetch_add_explicit(&asked, 1, memory_order_relaxed) + 1;
    if (n != atomic_load_explicit(&fail_at, memory_order_relaxed))
        return false;
    errno = EIO;
    return true;
}

void file_fail_at(uint64_t k)
{
    atomic_store(&asked, 0);
    atomic_store(&fail_at, k);
}

uint64_t file_fail_count(void)
{
    return atomic_load(&asked);
}

/* ---- opening ---- */

/* `also` is 0 or O_NONBLOCK. */
static enum status open_to_read(int *out, const char *path, int also, struct note *why)
{
    int fd = refused() ? -1 : open(path, O_RDONLY | O_CLOEXEC | also);
    if (fd < 0) {
        enum status st = errno == ENOENT || errno == ENOTDIR ? NOT_FOUND : IO_ERROR;
        note_set(why, "cannot open '%s': %m", path);
        return st;
    }
    *out = fd;
    return OK;
}

static struct file_identity identity_of(const struct stat *st)
{
    return (struct file_identity){
        .device = st->st_dev,
        .inode = st->st_ino,
        .bytes = (uint64_t)st->st_size,
        .written_s = st->st_mtim.tv_sec,
        .written_ns = st->st_mtim.tv_nsec,
    };
}

/* What a regular file is known by. */
static enum status identify(struct file_identity *out, int fd, const char *path, struct note *why)
{
    struct stat st;
    if (refused() || fstat(fd, &st) != 0) {
        note_set(why, "cannot stat '%s': %m", path);
        return IO_ERROR;
    }
    if (!S_ISREG(st.st_mode)) {
        note_set(why, "'%s' is %s; give a regular file", path,
                 S_ISDIR(st.st_mode) ? "a directory" : "a pipe or a device");
        return BAD_INPUT;
    }
    *out = identity_of(&st);
    return OK;
}

/* ---- mappings, and who reads them without asking ---- */

/* What the handler looks at: mappings that exist. `bytes` takes a slot, and it counts while `from` is set. Mappings
 * beyond the last slot end the process without words. */
enum { N_NAMED = 256 };
static struct named {
    _Atomic uintptr_t from;
    _Atomic size_t bytes; // 0: unused
    char *_Atomic path;
} named[N_NAMED];

static void name_mapping(const struct file_map *m)
{
    for (int i = 0; i < N_NAMED; i++) {
        size_t unused = 0;
        if (!atomic_compare_exchange_strong(&named[i].bytes, &unused, m->len))
            continue;
        atomic_store(&named[i].path, m->path);
        atomic_store(&named[i].from, (uintptr_t)m->bytes);
        return;
    }
}

static void forget_mapping(const struct file_map *m)
{
    for (int i = 0; i < N_NAMED; i++) {
        if (atomic_load(&named[i].from) != (uintptr_t)m->bytes)
            continue;
        atomic_store(&named[i].from, 0);
        atomic_store(&named[i].bytes, 0);
    }
}

static char before_path[] = "\nakvifer: '";
static char behind_path[] =
    "' cannot be read any more: it was shortened while it was in use, or its disk failed. "
    "Replace model files by renaming, never in place, and start again\n";

/* Only what a signal handler may call. */
static void explain(int signal_number, siginfo_t *info, void *context)
{
    const uintptr_t at = (uintptr_t)info->si_addr;
    (void)context;
    for (int i = 0; i < N_NAMED; i++) {
        const uintptr_t from = atomic_load(&named[i].from);
        if (!from || at < from || at - from >= atomic_load(&named[i].bytes))
            continue;
        char *path = atomic_load(&named[i].path);
        const struct iovec words[] = { { before_path, sizeof before_path - 1 },
                                       { path, strlen(path) },
                                       { behind_path, sizeof behind_path - 1 } };
        (void)!writev(STDERR_FILENO, words, 3);
        _exit(1);
    }
    signal(signal_number, SIG_DFL); // none of ours: it happens again when this returns
}

void file_explain_faults(void)
{
    struct sigaction action = { .sa_sigaction = explain, .sa_flags = SA_SIGINFO };
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}

enum status file_map(struct file_map *out, const char *path, struct note *why)
{
    int fd = -1;
    struct file_map m = { .bytes = empty_file }; // a mapping of no bytes does not exist
    *out = (struct file_map){ 0 };

    // A pipe that nobody writes to is refused below; without O_NONBLOCK it would be waited for.
    enum status st = open_to_read(&fd, path, O_NONBLOCK, why);
    if (st != OK)
        return st;
    st = identify(&m.opened, fd, path, why);
    if (st != OK)
        goto done;
    m.path = mem_copy_text(path, strlen(path));
    if (!m.path) {
        note_set(why, "no memory for the name of '%s'", path);
        st = FULL;
        goto done;
    }
    const size_t len = (size_t)m.opened.bytes;
    if (len)
        m.bytes = refused() ? MAP_FAILED : mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
    if (m.bytes == MAP_FAILED) {
        note_set(why, "cannot map the %zu bytes of '%s': %m", len, path);
        mem_free(m.path);
        st = IO_ERROR;
        goto done;
    }
    m.len = len;
    name_mapping(&m);
    *out = m;
done:
    close(fd);
    return st;
}

void file_unmap(struct file_map *m)
{
    if (m->len) {
        forget_mapping(m);
        munmap((void *)(uintptr_t)m->bytes, m->len);
    }
    mem_free(m->path);
    *m = (struct file_map){ 0 };
}

enum status file_fetch(const struct file_map *m, size_t from, size_t bytes, struct note *why)
{
    const size_t left = from < m->len ? m->len - from : 0, n = bytes < left ? bytes : left;
    if (n == 0 || (!refused() && pages_fetch(m->bytes + from, n)))
        return OK;
    note_set(why,
             "cannot read bytes %zu to %zu of '%s': it was shortened since it was opened, or its "
             "disk failed (%m)",
             from, from + n, m->path);
    return IO_ERROR;
}

enum file_change file_changed(const struct file_map *m, struct note *why)
{
    struct stat st;
    if (!m->path || stat(m->path, &st) != 0)
        return FILE_SAME; // what took its name away left the mapping
    const struct file_identity now = identity_of(&st), *then = &m->opened;
    if (now.device != then->device || now.inode != then->inode)
        return FILE_SAME;
    if (now.bytes == then->bytes && now.written_s == then->written_s &&
        now.written_ns == then->written_ns)
        return FILE_SAME;
    note_set(why,
             "'%s' was written to while it is in use (%llu bytes then, %llu now); replace model "
             "files by renaming, never in place, and start again",
             m->path, (unsigned long long)then->bytes, (unsigned long long)now.bytes);
    return now.bytes == then->bytes ? FILE_WRITTEN : FILE_RESIZED;
}

/* ---- small files ---- */

static enum status read_all(struct buf *to, int fd, const char *path, size_t bytes_max,
                            struct note *why)
{
    char chunk[READ_BYTES];
    buf_add(to, "", 0); // an empty file is an empty text, not NULL
    while (!to->failed) {
        ssize_t n = refused() ? -1 : read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            const bool directory = errno == EISDIR;
            note_set(why, "cannot read '%s': %m", path);
            return directory ? BAD_INPUT : IO_ERROR;
        }
        if (n == 0)
            return OK;
        if ((size_t)n > bytes_max - to->len) {
            note_set(why, "'%s' is longer than %zu bytes, the most that is read here", path,
                     bytes_max);
            return BAD_INPUT;
        }
        buf_add(to, chunk, (size_t)n);
    }
    note_set(why, "no memory for '%s' after %zu bytes", path, to->len);
    return FULL;
}

enum status file_read(char **out, size_t *len, const char *path, size_t bytes_max, struct note *why)
{
    int fd = -1;
    struct buf all = { 0 };

    enum status st = open_to_read(&fd, path, 0, why);
    if (st != OK)
        return st;
    st = read_all(&all, fd, path, bytes_max, why);
    close(fd);
    if (st != OK) {
        buf_close(&all);
        return st;
    }
    *out = all.bytes;
    *len = all.len;
    return OK;
}

enum status file_write(int fd, const void *bytes, size_t len, const char *path, struct note *why)
{
    for (const char *at = bytes, *end = at + len; at < end;) {
        ssize_t n = refused() ? -1 : write(fd, at, (size_t)(end - at));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            note_set(why, "cannot write '%s': %m", path);
            return IO_ERROR;
        }
        at += n;
    }
    return OK;
}

/* ---- replacing ---- */

static bool is_a_stream(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

/* A new file that is all on disk, under `name` of its own. */
static enum status write_whole(const char *name, int flags, const void *bytes, size_t len,
                               struct note *why)
{
    const int fd = refused() ? -1 : open(name, O_WRONLY | O_CLOEXEC | flags, 0666);
    if (fd < 0) {
        note_set(why, "cannot write '%s': %m", name);
        return IO_ERROR;
    }
    enum status st = file_write(fd, bytes, len, name, why);
    if (st == OK && flags && (refused() || fsync(fd) != 0)) {
        note_set(why, "cannot bring '%s' to disk: %m", name);
        st = IO_ERROR;
    }
    close(fd);
    return st;
}

/* The name that a new file has while it is written. FULL: no memory. */
static enum status name_part(struct buf *part, const char *path, struct note *why)
{
    buf_addf(part, "%s.%ld.part", path, (long)getpid());
    if (!part->failed)
        return OK;
    note_set(why, "no memory for the name of '%s'", path);
    return FULL;
}

enum status file_replace_check(const char *path, struct note *why)
{
    struct buf part = { 0 };
    struct stat is;
    if (is_a_stream(path))
        return write_whole(path, 0, "", 0, why);
    if (stat(path, &is) == 0 && S_ISDIR(is.st_mode)) {
        note_set(why, "cannot write '%s': it is a folder", path);
        return IO_ERROR;
    }
    enum status st = name_part(&part, path, why);
    if (st == OK)
        st = write_whole(buf_text(&part), O_CREAT | O_TRUNC, "", 0, why);
    if (st == OK)
        (void)unlink(buf_text(&part));
    buf_close(&part);
    return st;
}

enum status file_replace(const char *path, const void *bytes, size_t len, struct note *why)
{
    struct buf part = { 0 };
    if (is_a_stream(path))
        return write_whole(path, 0, bytes, len, why);
    enum status st = name_part(&part, path, why);
    if (st != OK) {
        buf_close(&part);
        return st;
    }
    const char *name = buf_text(&part);
    st = write_whole(name, O_CREAT | O_TRUNC, bytes, len, why);
    if (st == OK && (refused() || rename(name, path) != 0)) {
        note_set(why, "cannot rename '%s' to '%s': %m", name, path);
        st = IO_ERROR;
    }
    if (st != OK)
        (void)unlink(name);
    buf_close(&part);
    return st;
}
