/* bin/lines.h - text from standard input: all of it, or as JSON lines that are answered one by one.
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

/* The same of a file, pipe or terminal by name. */
must_use enum status read_path(const char *path, struct buf *out, struct note *why);

/* Appends the answer to one JSON value, without a line break. */
typedef enum status line_fn(void *arg, const json_t *in, struct buf *out, struct note *why);

/* Answers every line of standard input on standard output; empty lines are left out. Gives the
 * exit status. */
int answer_lines(const struct flag_table *verb, line_fn *fn, void *arg);

/* "[1, 2]" */
void add_json_ids(struct buf *out, const struct ids *ids);

#endif
