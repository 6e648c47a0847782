/* base/mem.h - the process's memory: every malloc of our own goes through here. (The libraries under
 * us have theirs: jansson's values, curl's buffers.)
 *
 * Sizes are given as (count, size), so a product that would overflow fails instead. All memory comes
 * back zeroed. Tests make the k-th call fail with mem_fail_at(), for every k (tests/fault).
 *
 * Threads  any.  Cost  that of calloc. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* n zeroed objects of `size` bytes, or NULL (also on overflow). n == 0 gives a valid pointer. */
must_use void *mem_new(size_t n, size_t size);

/* Like mem_new, at a multiple of `align` (a power of two, at least 16). Free with mem_free. */
must_use void *mem_new_aligned(size_t n, size_t size, size_t align);

/* Grows or shrinks to n objects; new bytes are NOT zeroed. NULL leaves the old object as it was. */
must_use void *mem_resize(void *old, size_t n, size_t size);

/* A copy of `len` bytes followed by a zero byte. */
must_use char *mem_copy_text(const char *text, size_t len);

void mem_free(void *p);

/* Tests only: the k-th allocation from now on fails (1 is the next); 0 switches it off.
 * mem_fail_count() tells how many allocations were asked for since. */
void mem_fail_at(uint64_t k);
uint64_t mem_fail_count(void);

/* Counts as one allocation: whether it is the one to fail. For memory that comes from elsewhere
 * (os/pages.h). */
bool mem_refused(void);

#endif
