/* bin/terminal.h - the terminal of a conversation: lines with history, Ctrl-C, remarks.
 *
 *   standard input --readline--> messages          prompts, remarks --> standard error
 *   Ctrl-C  while answering: terminal_interrupted() is true, once
 *           at the prompt:   the message is dropped; a second one in a row is the end
 *
 * T1  Only answers go to standard output.
 * T2  No colours where standard error is no terminal or NO_COLOR is set.
 * T3  The terminal is left as it was found, also when the process is ended by a signal.
 *
 * Lifetime  one a process, since signal handlers and readline are. Threads  the main thread;
 *           signals may arrive on any. */
#ifndef BIN_TERMINAL_H
#define BIN_TERMINAL_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/note.h"
#include "base/status.h"

/* Whether somebody sits there: standard input and standard error are terminals. */
bool terminal_is_there(void);

must_use enum status terminal_open(struct note *why);
/* Ends the process by the signal that asked for it, if one did. */
void terminal_close(void);

/* Reads a message: a line; lines that end with a backslash and the next; or all between two """.
 * OK: it is in *out. CANCELED: it was dropped. NOT_FOUND: there are no more. */
must_use enum status terminal_read(struct buf *out);

/* Whether Ctrl-C was pressed, or a signal asks the process to end, since the last call or
 * terminal_read. */
bool terminal_interrupted(void);

/* A line to standard error, dim where it is a terminal. */
void terminal_remark(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
