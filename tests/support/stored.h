/* support/stored.h - hashes of results, written down in the tests: tables are held against ref, and ref against these, so
 * that a compiler which changes both alike is seen. Inputs come from a seed and from no libm. */
#ifndef SUPPORT_STORED_H
#define SUPPORT_STORED_H

#include <stddef.h>
#include <stdint.h>

#include "support/fnv.h"

/* Goes on from a hash (FNV1A_64_NONE) with n floats; every NaN is the same one. */
uint64_t stored_floats(uint64_t hash, const float *x, size_t n);

/* Fails the test, naming what was computed by whom, unless the hash is the stored one. */
void expect_stored(uint64_t got, uint64_t stored, const char *by, const char *what);

#endif
