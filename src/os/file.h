/* os/file.h - files: mapped whole, or read whole when they are small.
 *
 *   file_map ---> bytes [len], as they are on disk ---> file_fetch: in memory now, or an IO_ERROR
 *                              |                        file_changed: not the file that was opened
 *                              '-- read without asking: a page that cannot be had is a SIGBUS
 *
 * Whoever shortens a mapped file, or writes into it, changes what the mapping shows; so model files are replaced
 * by renaming, never in place. Reads are announced by file_fetch where that can be, requests ask file_changed,
 * and file_explain_faults has words for the moment between.
 *
 * Tests make the k-th call on files fail with file_fail_at().
 *
 * Lifetime  the caller's structs; the descriptor is closed when file_map returns. Threads  any. */
#ifndef OS_FILE_H
#define OS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/note.h"
#include "base/status.h"

struct file_identity {
    uint64_t device, inode, bytes;
    int64_t written_s, written_ns; // when its bytes changed last
};

struct file_map {
    const uint8_t *bytes; // never NULL once open, also for an empty file
    size_t len;
    char *path;
    struct file_identity opened;
};

/* Maps a regular file read-only. NOT_FOUND: no such file. BAD_INPUT: a directory, pipe or device.
 * IO_ERROR: the system's words. FULL: no memory. A failed map is closed. */
must_use enum status file_map(struct file_map *out, const char *path, struct note *why);
void file_unmap(struct file_map *m); // also a closed one: `(struct file_map){ 0 }`

/* Brings [from, from + bytes) of the mapping into memory, at most to its end. IO_ERROR: it cannot be read; the
 * note says so and names the file. Linux before 5.14 cannot tell: OK. */
must_use enum status file_fetch(const struct file_map *m, size_t from, size_t bytes,
                                struct note *why);

/* Whether the file that was opened, if it is still at its path, was written to or resized since: then the note says
 * so. A file that took its place by renaming leaves the mapping as it is. Cost  one system call. */
enum file_change { FILE_SAME, FILE_WRITTEN, FILE_RESIZED };
enum file_change file_changed(const struct file_map *m, struct note *why);

/* From now on a page of a mapped file that cannot be read ends the process with the file's name, what may have
 * happened and exit status 1. For programs; a library leaves signals to them. */
void file_explain_faults(void);

/* Reads all of a file (a pipe too) into memory of its own, with a zero byte behind it that *len
 * does not count; free it with mem_free. BAD_INPUT: a directory, or longer than bytes_max. FULL: no
 * memory. NOT_FOUND, IO_ERROR as above. */
must_use enum status file_read(char **out, size_t *len, const char *path, size_t bytes_max,
                               struct note *why);

/* Writes all of it at the descriptor's place; `path` is for the note. IO_ERROR: the system's
 * words. */
must_use enum status file_write(int fd, const void *bytes, size_t len, const char *path,
                                struct note *why);

/* Puts `len` bytes in the place of what `path` names: who reads it finds the old file or all of the new one, also after
 * a crash. What is there and is no regular file (a pipe, a terminal) is written to. IO_ERROR: the old file is as it
 * was; the system's words. FULL: no memory. */
must_use enum status file_replace(const char *path, const void *bytes, size_t len,
                                  struct note *why);

/* Whether that could be done, before the work for it. IO_ERROR: it cannot; the system's words. */
must_use enum status file_replace_check(const char *path, struct note *why);

/* Tests only: the k-th call on a file from now on fails with EIO (1 is the next); 0 switches it off.
 * file_fail_count() tells how many were made since. */
void file_fail_at(uint64_t k);
uint64_t file_fail_count(void);

#endif
