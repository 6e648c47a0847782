/* bin/unpack.h - a file as it is, or unpacked where its name ends in .gz. */
#ifndef BIN_UNPACK_H
#define BIN_UNPACK_H

#include "base/buf.h"
#include "base/note.h"
#include "base/status.h"

/* Appends what is in folder/name, else what folder/name.gz unpacks to. NOT_FOUND: there is neither.
 * CORRUPT: damaged. The note names the path. */
must_use enum status unpack_path(const char *folder, const char *name, struct buf *out,
                                 struct note *why);

#endif
