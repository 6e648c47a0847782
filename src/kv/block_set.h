/* kv/block_set.h - a set of a group's blocks, one bit each, and the runs of neighbours in it.
 *
 *   bits  0110 1111 1011 ...    the run 4..8: neighbours in the file, and so a single mapping where
 *                                 one sequence takes them in order
 *
 * Lifetime  whoever opened it. Threads  one at a time.
 * Cost  O(1); block_set_run looks at 16,384 blocks from where it last stopped, and on to the first
 *       in the set should none of them be: a word for each 64 blocks. block_set_any stops at the first. */
#ifndef KV_BLOCK_SET_H
#define KV_BLOCK_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

struct block_set {
    uint64_t *bits;
    uint32_t n_max; // blocks 0..n_max-1
    uint32_t n;     // in the set
    uint32_t word;  // where block_set_run looks first
};

struct block_run {
    uint32_t first;
    uint32_t n; // 0: the set is empty
};

must_use enum status block_set_open(struct block_set *s, uint32_t n_max); // empty; FULL: no memory
void block_set_close(struct block_set *s);

bool block_set_has(const struct block_set *s, uint32_t i);
void block_set_add(struct block_set *s, uint32_t i);    // not in it before
void block_set_remove(struct block_set *s, uint32_t i); // in it before

/* The longest run of neighbours where it looked; any run of 64 or more will do. */
struct block_run block_set_run(struct block_set *s);

/* Any block of the set, which is not empty: where neighbours do not matter. */
uint32_t block_set_any(struct block_set *s);

#endif
