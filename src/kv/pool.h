/* kv/pool.h - the blocks: who holds each one, and the hard cap on their bytes.
 *
 *             take           seal             last release          take
 *      FREE -------> OPEN ---------> SEALED --------------> FREE
 *        ^             |               ^  |
 *        +-- release --+               +--+ hold (a fork, a prefix hit)
 *
 * P1  A block is held exactly when it is OPEN or SEALED; a FREE block has no holder.
 * P2  An OPEN block has one holder, and only that sequence writes it.
 * P3  A SEALED block never changes; so it can be shared, hashed, moved.
 * P4  The bytes backed by memory, over all groups, never exceed the cap: a group that needs a block while the cap
 *     is reached gets one only after another group's free block gave its memory back (hole punched).
 * P5  Bytes of a free block are never visible to another tenant's sequence before being overwritten or zeroed:
 *     a space maps blocks for rows that its sequence wrote, and views never reach behind them.
 *
 * Memory    one memfd a group, as large as the cap allows; backed on first take or by the background populator.
 * Lifetime  built once at start from the cap; blocks outlive every sequence.
 * Threads   the engine thread only (the populator touches only blocks that are FREE, under the pool's lock).
 * Cost      O(1) a call, no allocation after kv_pool_new. */
#ifndef KV_POOL_H
#define KV_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/note.h"
#include "base/status.h"
#include "kv/shape.h"

typedef struct {
    uint32_t n; // group in the top 2 bits, index below: use the helpers
} block_id;

struct kv_pool;

struct kv_pool_config {
    const struct kv_shape *shape;
    size_t bytes_max;  // the hard cap (--kv-ram)
    bool populate;     // fault memory in ahead of use, in the background
    bool huge_pages;   // ask for huge pages where the system grants them
};

/* BAD_INPUT: the cap is below one block of every group (the note has the numbers). FULL: no memory. */
must_use enum status kv_pool_new(struct kv_pool **out, const struct kv_pool_config *config, struct note *why);
void kv_pool_free(struct kv_pool *p); // every block must be free

/* Takes one block of the group for writing. FULL: the cap is reached and nothing is free; nothing changed. */
must_use enum status kv_pool_take(struct kv_pool *p, uint32_t group, block_id *out);
void kv_pool_seal(struct kv_pool *p, block_id b);    // OPEN -> SEALED
void kv_pool_hold(struct kv_pool *p, block_id b);    // one more holder of a SEALED block
void kv_pool_release(struct kv_pool *p, block_id b); // one fewer; the last one frees it

bool kv_pool_is_sealed(const struct kv_pool *p, block_id b);
uint32_t kv_pool_holders(const struct kv_pool *p, block_id b);
uint32_t kv_block_group(block_id b);

/* The block in the pool's own mapping (readable and writable): for copies and for the table form of views. */
void *kv_pool_address(const struct kv_pool *p, block_id b);

/* Where the block lies in its group's file, to map it elsewhere. */
void kv_pool_file(const struct kv_pool *p, block_id b, int *fd, uint64_t *offset);

struct kv_pool_usage {
    size_t bytes_max;                    // the cap
    size_t bytes_backed;                 // memory really taken, <= bytes_max
    size_t bytes_held;                   // in OPEN or SEALED blocks, <= bytes_backed
    uint32_t n_held[KV_GROUP_MAX];
    uint32_t n_free_backed[KV_GROUP_MAX];
};
void kv_pool_usage(const struct kv_pool *p, struct kv_pool_usage *out);

/* Blocks of this group that can still be taken, were nothing of the other groups taken meanwhile. */
uint32_t kv_pool_available(const struct kv_pool *p, uint32_t group);

/* Checks P1..P4, for tests: aborts with a message where one is broken. */
void kv_pool_check(const struct kv_pool *p);

#endif
