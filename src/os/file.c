#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"

enum { READ_BYTES = 64 << 10 }; // one read(2)

static const uint8_t empty_file[1];

/* `also` is 0 or O_NONBLOCK. */
static enum status open_to_read(int *out, const char *path, int also, struct note *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | also);
    if (fd < 0) {
        enum status st = errno == ENOENT || errno == ENOTDIR ? NOT_FOUND : IO_ERROR;
        note_set(why, "cannot open '%s': %m", path);
        return st;
    }
    *out = fd;
    return OK;
}

/* The length of a regular file. */
static enum status regular_bytes(size_t *out, int fd, const char *path, struct note *why)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        note_set(why, "cannot stat '%s': %m", path);
        return IO_ERROR;
    }
    if (!S_ISREG(st.st_mode)) {
        note_set(why, "'%s' is %s; give a regular file", path,
                 S_ISDIR(st.st_mode) ? "a directory" : "a pipe or a device");
        return BAD_INPUT;
    }
    *out = (size_t)st.st_size;
    return OK;
}

enum status file_map(struct file_map *out, const char *path, struct note *why)
{
    int fd = -1;
    size_t len = 0;
    *out = (struct file_map){ 0 };

    // A pipe that nobody writes to is refused below; without O_NONBLOCK it would be waited for.
    enum status st = open_to_read(&fd, path, O_NONBLOCK, why);
    if (st != OK)
        return st;
    st = regular_bytes(&len, fd, path, why);
    if (st != OK)
        goto done;
    const void *bytes = empty_file; // a mapping of no bytes does not exist
    if (len)
        bytes = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
    if (bytes == MAP_FAILED) {
        note_set(why, "cannot map the %zu bytes of '%s': %m", len, path);
        st = IO_ERROR;
        goto done;
    }
    *out = (struct file_map){ .bytes = bytes, .len = len };
done:
    close(fd);
    return st;
}

void file_unmap(struct file_map *m)
{
    if (m->len)
        munmap((void *)(uintptr_t)m->bytes, m->len);
    *m = (struct file_map){ 0 };
}

static enum status read_all(struct buf *to, int fd, const char *path, size_t bytes_max,
                            struct note *why)
{
    char chunk[READ_BYTES];
    buf_add(to, "", 0); // an empty file is an empty text, not NULL
    while (!to->failed) {
        ssize_t n = read(fd, chunk, sizeof chunk);
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
        ssize_t n = write(fd, at, (size_t)(end - at));
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
