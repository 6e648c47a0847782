/* kv/space.h - one sequence's reserved, contiguous addresses; blocks are mapped into them in order.
 *
 *   group 0   | block 3 | block 9 | block 4 |   reserved ...            |    the MMU is the block table:
 *   group 1   |  given back       | block 7 |   reserved ...            |    kernels see base + i * stride
 *               ^ read-only where shared      ^ a fault beyond the mapped range
 *
 * S1  Positions 0..n_position-1 are mapped in every group, but for those that a window has passed.
 * S2  A block is mapped writable in at most one space, and only while it is OPEN.
 * S3  The reservation has no hole: what is not mapped is PROT_NONE.
 * S4  The number of mappings of the process stays below the VMA budget (vm.max_map_count): kv_space_new
 *     answers FULL before it could be exceeded.
 *
 * Source: Prabhu et al. 2025, "vAttention: Dynamic Memory Management for Serving LLMs without PagedAttention".
 * Lifetime  per sequence; addresses of freed spaces are recycled, and unmapping is deferred and batched.
 * Threads   the engine thread; a mapper thread maps one block ahead (map-ahead) and unmaps retired spaces.
 * Cost      growing by a block: one mmap (5 us with huge pages, ~200 us with 4 KiB pages), hidden by map-ahead. */
#ifndef KV_SPACE_H
#define KV_SPACE_H

#include "kv/pool.h"

struct kv_spaces; // all spaces of a process: reservations, mapper thread, VMA budget
struct kv_space;

struct kv_spaces_config {
    struct kv_pool *pool;
    uint32_t n_position_max; // a sequence's longest context
    bool map_ahead;          // map the next block in the background
    bool table;              // do not map into spaces: views carry a table of block addresses (--kv-map table)
};

must_use enum status kv_spaces_new(struct kv_spaces **out, const struct kv_spaces_config *config, struct note *why);
void kv_spaces_free(struct kv_spaces *all); // every space must be freed before

/* An empty sequence. FULL: no address space or VMA budget left (the note has the numbers). */
must_use enum status kv_space_new(struct kv_space **out, struct kv_spaces *all, struct note *why);
void kv_space_free(struct kv_space *s); // releases its blocks; unmapping may happen later, before reuse of any block

/* Makes positions [0, n) writable where they are new: takes and maps blocks. FULL: the cap; nothing changed.
 * BAD_INPUT: n above n_position_max. */
must_use enum status kv_space_grow(struct kv_space *s, uint32_t n_position);

/* Blocks that grow(n) would have to take, of each group. Pure. */
void kv_space_need(const struct kv_space *s, uint32_t n_position, uint32_t n_block[KV_GROUP_MAX]);

/* Says that rows below n are written: full blocks are sealed, and windowed groups give back blocks that no
 * query at position >= n can see. */
void kv_space_commit(struct kv_space *s, uint32_t n_position);

/* A new space that shares the first n committed positions of `s`: sealed blocks read-only at the same index, a partial
 * last block copied. FULL: no block for the copy, nothing changed. */
must_use enum status kv_space_fork(struct kv_space **out, struct kv_space *s, uint32_t n_position, struct note *why);

/* Forgets positions n.. (n <= committed). A sealed block that becomes partial is copied first (FULL possible), and
 * windowed groups that no longer hold what a query at n would see answer NOT_FOUND: nothing changed. */
must_use enum status kv_space_truncate(struct kv_space *s, uint32_t n_position);

uint32_t kv_space_committed(const struct kv_space *s);
uint32_t kv_space_grown(const struct kv_space *s);

/* Block i of a group; only where mapped. */
block_id kv_space_block(const struct kv_space *s, uint32_t group, uint32_t i);

struct kv_spaces_stats {
    uint64_t n_map, n_map_ahead, n_map_inline; // mappings: all, made ahead by the mapper, made while the engine waited
    uint64_t n_unmap, n_unmap_batch;
    uint64_t map_ns;                           // time the engine thread spent in grow, mapping included
    uint32_t n_vma, n_vma_max;                 // upper bound of what we hold, and the budget
};
void kv_spaces_stats(const struct kv_spaces *all, struct kv_spaces_stats *out);

/* Waits until retired spaces are unmapped and the mapper is idle: tests and shutdown. */
void kv_spaces_settle(struct kv_spaces *all);

#endif
