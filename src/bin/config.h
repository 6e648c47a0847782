/* bin/config.h - a file of flags, one a line, below the environment and the command line.
 *
 *     # a comment
 *     model   = qwen2
 *     port    = 9000            # names of flags without dashes
 *     api-key = "with # and = and spaces at its ends "
 *     no-slots                  # a switch: also slots = off
 *     [qwen2]                   # what follows is for this model only: its short name, as -m says it, or its file's
 *                               name
 *     kv-policy = auto:budget=20%
 *
 * C1  Every flag of the verb may stand in it; an error names the file and the line.
 * C2  A flag that may be given many times may stand in many lines.
 * C3  What is for one model comes behind what is for all, and wins over it.
 *
 * Lifetime  the settings point into the config, and what was read of them too: it is closed when the verb ends. */
#ifndef BIN_CONFIG_H
#define BIN_CONFIG_H

#include "base/buf.h"
#include "bin/flags.h"

struct config {
    struct buf text;
    struct flag_setting *setting; // [n], with room for as many again
    uint32_t n;
};

/* NOT_FOUND, IO_ERROR: of the file. BAD_INPUT: a line that is none. */
must_use enum status config_read(struct config *c, const char *path, struct note *why);

/* Whether a section is of this model: it is called as it was typed, or as its file, .gguf or not. */
bool config_is_of(const char *section, const char *model);

/* Leaves what is for all, and behind it what is for this model (C3). */
void config_choose(struct config *c, const char *model);
void config_close(struct config *c);

#endif
