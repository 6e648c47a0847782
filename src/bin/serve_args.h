/* bin/serve_args.h - what serve was asked for, before its flags are read: a file of flags, and flags of other programs.
 *
 *   serve --config f.conf -ngl 99 --cache-type-k q8_0   ->   settings of f.conf (bin/config.h), serve --kv-type int8
 *                                                            + a warning that says what -ngl stands for here
 *
 * The file is that of --config, else of AKV_ARG_CONFIG. */
#ifndef BIN_SERVE_ARGS_H
#define BIN_SERVE_ARGS_H

#include "bin/config.h"

struct serve_args {
    int argc;
    char **argv; // ends with NULL, as main's
    struct config config;
};

/* BAD_INPUT: a flag of others that asks for what is not there. Else of the file; the note names the line. */
must_use enum status serve_args_open(struct serve_args *a, int argc, char **argv, struct note *why);
/* Says on standard error which sections of the file have the name of no model. */
void serve_args_tell_strange_sections(const struct serve_args *a, const char *model);
void serve_args_close(struct serve_args *a);

#endif
