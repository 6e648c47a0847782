/* kv/space.h - one sequence's reserved, contiguous addresses; blocks are mapped into them in order.
 *
 *   group 0   | block 3 | block 9 | block 4 |  reserved ...  |    the MMU is the block table:
 *   group 1   |    given back     | block 7 |  reserved ...  |    kernels see base + i * stride
 *               ^ sealed: read-only           ^ a fault beyond the mapped range
 *
 * S1  Positions 0..n_position-1 are mapped in every group, but for those that a window has passed.
 * S2  A block is mapped writable in at most one space (and in the pool), and only while it is OPEN,
 *     or free and kept for that space (map-ahead), or free and not yet unmapped: then nobody takes
 *     it (P6). Sealing makes the mapping read-only: who writes a sealed block faults.
 * S3  The reservation has no hole: what is not mapped is PROT_NONE.
 * S4  The mappings of all spaces stay within the VMA budget: a space that would exceed it, or to
 *     which the system refuses a mapping or its removal, goes over to the table form at once. Only
 *     its views change; nothing fails. (kv_spaces_stats: n_left) A mapping that it could not take
 *     along is used by nobody, and keeps its block from being taken until it is gone (P6).
 *
 * Source: Prabhu et al. 2025, "vAttention: Dynamic Memory Management for Serving LLMs without
 *         PagedAttention".
 * Lifetime  per sequence; addresses of freed spaces are recycled, and unmapping is deferred and
 *           batched.
 * Threads   the engine thread; a mapper thread maps the next blocks (map-ahead) and unmaps retired
 *           spaces.
 * Cost      growing by a block: one mmap (7 us with huge pages, 80 us a MiB with small ones),
 *           hidden by map-ahead. */
#ifndef KV_SPACE_H
#define KV_SPACE_H

#include "kv/pool.h"

struct kv_spaces; // all spaces of a process: reservations, mapper thread, VMA budget
struct kv_space;

struct kv_spaces_config {
    struct kv_pool *pool;
    uint32_t n_position_max; // a sequence's longest context
    bool map_ahead;          // map the next blocks in the background (kv_space_expect)
    bool table;              // map nothing: views carry block addresses (--kv-map table)
    uint32_t n_vma_max;      // mappings of all spaces; 0: 4/5 of what vm.max_map_count leaves
};

must_use enum status kv_spaces_new(struct kv_spaces **out, const struct kv_spaces_config *config,
                                   struct note *why);
void kv_spaces_free(struct kv_spaces *all); // every space must be freed before

/* An empty sequence. FULL: no memory or address space left (the note has the numbers). */
must_use enum status kv_space_new(struct kv_space **out, struct kv_spaces *all, struct note *why);

/* Releases its blocks. They are unmapped later, before any of them is used again. NULL is
 * allowed. */
void kv_space_free(struct kv_space *s);

/* Makes positions [0, n) writable where they are new: takes and maps blocks. FULL: the cap; nothing
 * changed. BAD_INPUT: n above n_position_max. */
must_use enum status kv_space_grow(struct kv_space *s, uint32_t n_position);

/* It is about to grow to so many positions, and slowly beyond them: so far blocks are mapped ahead as many as were last
 * added, behind it one at a time. Unless told it is to the longest context. */
void kv_space_expect(struct kv_space *s, uint32_t n_position);

/* Blocks that grow(n) would have to take, of each class; grow succeeds where kv_pool_fits says they
 * fit. Pure. */
void kv_space_need(const struct kv_space *s, uint32_t n_position, uint32_t n_block[KV_CLASS_MAX]);

/* Says that rows below n are written: full blocks are sealed, and windowed groups give back blocks
 * that no query at position >= n can see. */
void kv_space_commit(struct kv_space *s, uint32_t n_position);

/* Gives back the blocks below `block` of every group without a window: their rows are elsewhere, or dropped
 * (kv/excerpt.h). They must be committed. kv_space_fork finds those positions lost from now on. */
void kv_space_pass(struct kv_space *s, uint32_t block);

/* As kv_space_fork, but what was passed is missing in the new space too: for who forks the excerpt beside it. */
must_use enum status kv_space_fork_rest(struct kv_space **out, struct kv_space *s,
                                        uint32_t n_position, struct note *why);

/* A new space that shares the first n committed positions of `s`: sealed blocks read-only at the
 * same index, a partial last block copied. FULL: no block for the copy, nothing changed. NOT_FOUND:
 * a window has passed rows that it needs. */
must_use enum status kv_space_fork(struct kv_space **out, struct kv_space *s, uint32_t n_position,
                                   struct note *why);

/* A new space of n >= 1 positions over sealed blocks that the caller holds, as fork makes one:
 * block[g * n_block + i] is block i of group g, n_block of them where n_block = n / 64 rounded up.
 * Blocks that a query at n no longer sees may be anything. FULL: as fork. */
must_use enum status kv_space_adopt(struct kv_space **out, struct kv_spaces *all,
                                    uint32_t n_position, const block_id *block, struct note *why);

/* Copies the blocks that it holds, group after group, to bytes, which may be NULL: to ask how many there are. All of
 * its positions must be committed. */
size_t kv_space_save(const struct kv_space *s, char *bytes);

/* A new space of n >= 1 positions of what was saved, where group g begins with block first[g]. FULL: no blocks for it,
 * or no memory; nothing changed. */
must_use enum status kv_space_restore(struct kv_space **out, struct kv_spaces *all,
                                      uint32_t n_position, const uint32_t first[KV_GROUP_MAX],
                                      const char *bytes, struct note *why);

/* Seals the partial last block too (committed is no multiple of 64): the sequence has ended. */
void kv_space_seal(struct kv_space *s);

/* How many blocks from position 0 on are the same blocks in both, of every group that no window ends: 0 where there is
 * none such, or where blocks were passed. Pure. */
uint32_t kv_space_shared(const struct kv_space *a, const struct kv_space *b);

uint32_t kv_space_committed(const struct kv_space *s);
uint32_t kv_space_grown(const struct kv_space *s);

/* The first block of a group that is held, and block i from there on. */
uint32_t kv_space_first(const struct kv_space *s, uint32_t group);
block_id kv_space_block(const struct kv_space *s, uint32_t group, uint32_t i);

struct kv_spaces_stats {
    uint64_t n_map;         // blocks mapped, of them
    uint64_t n_map_ahead;   //   by the mapper, before they were asked for
    uint64_t n_map_inline;  //   while the engine waited
    uint64_t n_unmap;       // blocks unmapped,
    uint64_t n_unmap_batch; //   in so many calls
    uint64_t map_ns;        // the engine thread's time in grow, where it took blocks
    uint32_t n_vma;         // upper bound of the mappings that we hold
    uint32_t n_vma_max;     // and the budget
    uint64_t n_left;        // times a space went over to the table form (S4)
};
void kv_spaces_stats(const struct kv_spaces *all, struct kv_spaces_stats *out);

/* Takes note of what the mapper has unmapped since, and waits for nothing: those blocks are free for everybody now. */
void kv_spaces_collect(struct kv_spaces *all);

/* Waits until retired spaces are unmapped and the mapper is idle, or has been refused so often that
 * nobody knows when it will be: tests and shutdown. */
void kv_spaces_settle(struct kv_spaces *all);

#endif
