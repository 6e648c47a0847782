/* bin/serve_args.h - the command line of serve before its flags are read: a configuration file's lines, and flags of
 * llama-server and vLLM that mean nothing here.
 *
 *   serve --config f.conf -ngl 99 -c 4096   ->   serve --port=9000 (from f.conf) -c 4096
 *                                                + a warning that says what -ngl stands for here
 *
 * A configuration: lines of "flag = value", "flag" alone for a switch, true and false for one too; # begins a comment. */
#ifndef BIN_SERVE_ARGS_H
#define BIN_SERVE_ARGS_H

#include "base/buf.h"
#include "base/note.h"
#include "base/status.h"

struct serve_args {
    int argc;
    char **argv; // ends with NULL, as main's
    struct buf text;
};

/* BAD_INPUT, NOT_FOUND, IO_ERROR: of the configuration; the note names the line. */
must_use enum status serve_args_open(struct serve_args *a, int argc, char **argv, struct note *why);
void serve_args_close(struct serve_args *a);

#endif
