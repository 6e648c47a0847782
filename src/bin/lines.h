/* bin/lines.h - text that comes in: all of it, or as JSON lines that are answered one by one.
 *
 *   {"text": "a"} --fn--> {"ids": [81]}       a line out for each line in, in order and at once
 *   {"txet": "b"} --fn--> {"error": "..."}    also told on standard error; the exit status is 1
 *
 * Threads  the main thread. */
#ifndef BIN_LINES_H
#define BIN_LINES_H

#include <jansson.h>

#include "base/buf.h"
#include "base/note.h"
#include "base/status.h"
#include "bin/flags.h"

/* Appends all that a file descriptor has. IO_ERROR: the system's words. */
must_use enum status read_all(int fd, struct buf *out, struct note *why);

/* Opens a file, pipe or terminal for reading. NOT_FOUND, IO_ERROR: the note names it. */
must_use enum status open_path(int *fd, const char *path, struct note *why);

/* Appends all that it has. */
must_use enum status read_path(const char *path, struct buf *out, struct note *why);

/* Appends the text that a verb is to work on: `text`, else what is in `path`, else standard input. */
must_use enum status read_given(const char *text, const char *path, struct buf *out,
                                struct note *why);

/* What there is, line by line; empty ones are left out. `(struct line_reader){ .fd = fd }` to begin
 * with; buf_close(&r.in) at the end. */
struct line_reader {
    int fd;
    struct buf in;
    size_t at, searched; // the next line's beginning; no line break between there and `searched`
    uint64_t number;     // of the line that came last, from 1
    bool end;
};
/* The next line: it holds until the next call. NOT_FOUND: there are no more. */
must_use enum status line_next(struct line_reader *r, const char **line, size_t *len,
                               struct note *why);

/* Writes *line and a line break to standard output, at once. IO_ERROR, FULL: it could not be. */
must_use enum status line_write(struct buf *line, struct note *why);

/* Makes *line the answer {"error": the note}. */
void line_error(struct buf *line, const struct note *why);

/* Appends the answer to one JSON value, without a line break. */
typedef enum status line_fn(void *arg, const json_t *in, struct buf *out, struct note *why);

/* Answers every line of `fd` on standard output. Gives the exit status. */
int answer_lines(const struct flag_table *verb, int fd, line_fn *fn, void *arg);

/* "[1, 2]" */
void add_json_ids(struct buf *out, const struct ids *ids);

/* Appends those of {"ids": [1, 2]}. BAD_INPUT: the note names what is none. */
must_use enum status read_json_ids(const json_t *line, struct ids *out, struct note *why);

/* FULL: memory ended while they were added. */
must_use enum status check_ids(const struct ids *ids, struct note *why);

#endif
