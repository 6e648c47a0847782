/* bin/flags_in.h - what the files behind bin/flags.h share: flags.c (lines and where values come from), flags_value.c
 * (one value), flags_help.c. */
#ifndef BIN_FLAGS_IN_H
#define BIN_FLAGS_IN_H

#include "bin/flags.h"

/* BAD_INPUT: the note has the value and the limit, not yet the flag. */
must_use enum status flag_set(const struct flag *f, void *options, const char *text,
                              struct note *why);

#endif
