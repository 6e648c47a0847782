/* os/file.h - files: mapped whole, or read whole when they are small.
 *
 * A mapping shows the file as it is on disk: whoever shortens a mapped file makes the next read of
 * the lost pages a SIGBUS, so model files are replaced by renaming, never in place.
 *
 * Lifetime  the caller's structs; the descriptor is closed when file_map returns. Threads  any. */
#ifndef OS_FILE_H
#define OS_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/note.h"
#include "base/status.h"

struct file_map {
    const uint8_t *bytes; // never NULL once open, also for an empty file
    size_t len;
};

/* Maps a regular file read-only. NOT_FOUND: no such file. BAD_INPUT: a directory, pipe or device.
 * IO_ERROR: the system's words. A failed map is closed. */
must_use enum status file_map(struct file_map *out, const char *path, struct note *why);
void file_unmap(struct file_map *m); // also a closed one: `(struct file_map){ 0 }`

/* Reads all of a file (a pipe too) into memory of its own, with a zero byte behind it that *len
 * does not count; free it with mem_free. BAD_INPUT: a directory, or longer than bytes_max. FULL: no
 * memory. NOT_FOUND, IO_ERROR as above. */
must_use enum status file_read(char **out, size_t *len, const char *path, size_t bytes_max,
                               struct note *why);

/* Writes all of it at the descriptor's place; `path` is for the note. IO_ERROR: the system's
 * words. */
must_use enum status file_write(int fd, const void *bytes, size_t len, const char *path,
                                struct note *why);

#endif
