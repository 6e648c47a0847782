#include "bin/unpack.h"

#include <errno.h>
#include <unistd.h>
#include <zlib.h>

#include "bin/lines.h"

enum { CHUNK = 1 << 16 };

static enum status unpack(const char *path, struct buf *out, struct note *why)
{
    char chunk[CHUNK];
    int n;
    gzFile file = gzopen(path, "rb");
    if (!file) {
        note_set(why, "cannot open '%s': %m", path);
        return errno == ENOENT ? NOT_FOUND : IO_ERROR;
    }
    while ((n = gzread(file, chunk, CHUNK)) > 0)
        buf_add(out, chunk, (size_t)n);
    if (gzclose(file) != Z_OK || n < 0) {
        note_set(why, "'%s' is damaged: it does not unpack as gzip", path);
        return CORRUPT;
    }
    if (!out->failed)
        return OK;
    note_set(why, "no memory for what '%s' unpacks to", path);
    return FULL;
}

enum status unpack_path(const char *folder, const char *name, struct buf *out, struct note *why)
{
    struct buf path = { 0 };
    buf_addf(&path, "%s/%s", folder, name);
    enum status st = OK;
    if (access(buf_text(&path), F_OK) == 0) {
        st = read_path(buf_text(&path), out, why);
    } else {
        buf_add_text(&path, ".gz");
        st = unpack(buf_text(&path), out, why);
        if (st == NOT_FOUND)
            note_set(why, "there is neither '%s/%s' nor '%s.gz' (--data)", folder, name, name);
    }
    buf_close(&path);
    return st;
}
