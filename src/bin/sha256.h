/* bin/sha256.h - checksums of downloaded files. */
#ifndef BIN_SHA256_H
#define BIN_SHA256_H

#include "base/note.h"
#include "base/status.h"

enum { SHA256_HEX = 65 }; // 64 digits and a zero byte

/* The checksum of a whole file, in lower case. `label` names the progress line. */
must_use enum status sha256_file(char out[SHA256_HEX], const char *path, const char *label,
                                 struct note *why);

/* CORRUPT: the file's checksum is another one than `wanted` (any case); the note has both. */
must_use enum status sha256_check(const char *path, const char *wanted, const char *label,
                                  struct note *why);

#endif
