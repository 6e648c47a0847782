/* support/program.h - runs build/akvifer as a user would: with pipes, or on a terminal of its own.
 *
 * The folder of programs is $B, or build; a name with a slash is a path. Whatever takes longer than PROGRAM_SECONDS is
 * killed and fails the test. */
#ifndef SUPPORT_PROGRAM_H
#define SUPPORT_PROGRAM_H

#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"
#include "support/sanitized.h"

enum { PROGRAM_SECONDS = SANITIZED ? 300 : 60 };

#define WORDS(...) ((const char *const[]){ __VA_ARGS__, NULL })

struct program_end {
    struct buf out, err;
    int exit_code; // 128 + n: ended by signal n
};

extern const char program_closed[]; // as input: standard input is closed

/* Runs words[0] of the folder with the rest as arguments, NULL at the end. No input: /dev/null. */
void program_run(struct program_end *end, const char *const *words, const char *input, size_t len);
void program_end_close(struct program_end *end);

/* The same with an input of text, and what must come of it: the exit code, and words on standard
 * output and standard error (NULL: nothing at all). */
void program_expect(const char *const *words, const char *input, int exit_code, const char *out,
                    const char *err);

/* The same without input, and with standard output to a file; no path: it is closed. */
void program_expect_to(const char *const *words, const char *path, int exit_code, const char *err);

/* A folder for the files of a test program, as cmocka's group setup and teardown; and a file in
 * it, whose path is good until four more were written. */
int program_folder_make(void **state);
int program_folder_remove(void **state);
const char *program_file(const char *name, const char *text);

/* A program on a terminal of 100 columns, as somebody who types sees it. */
struct terminal_user {
    pid_t pid;
    int fd;
    struct buf seen;
    size_t read_to; // what comes next has to be behind this
};

void user_starts(struct terminal_user *u, const char *const *words);
void user_types(struct terminal_user *u, const char *text);
/* Waits until `text` is on the screen, behind what was seen before. */
void user_sees(struct terminal_user *u, const char *text);
/* Waits for the end, which must leave the terminal as it was; gives the exit code. */
int user_leaves(struct terminal_user *u);

#endif
