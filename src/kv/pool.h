/* kv/pool.h - the blocks: who holds each one, and the hard cap on their bytes.
 *
 *             take           seal             last release          take
 *      FREE -------> OPEN ---------> SEALED --------------> FREE
 *        ^             |  ^            ^  |
 *        +-- release --+  +-- reopen --+--+ hold (a fork, a prefix hit)
 *
 * Blocks come in classes (kv/shape.h): one of each layer group, and one of excerpts.
 *
 * P1  A block is held exactly when it is OPEN or SEALED; a FREE block has no holder.
 * P2  An OPEN block has one holder, and only that sequence writes it.
 * P3  A SEALED block never changes; so it can be shared, hashed, moved. (Its only holder may reopen
 *     one that nobody else was told of: kv/excerpt.h.)
 * P4  The bytes backed by memory, over all classes, never exceed the cap: a class that needs a block
 *     while the cap is reached gets one only after another class's free block gave its memory back
 *     (hole punched).
 * P5  Bytes of a free block are never visible to another tenant's sequence before being overwritten
 *     or zeroed: a space maps blocks for rows that its sequence wrote, and views never reach behind
 *     them.
 * P6  A block that is still mapped in some space is never taken: FREE then means free once it is
 *     unmapped.
 * P7  Blocks can be taken exactly while bytes_held + their bytes <= bytes_max, whatever classes they
 *     are of: free memory is never lost to a class that does not need it. (Only the system can
 *     refuse besides.)
 *
 * Memory    one memfd a class, as large as the cap allows; backed on first take or by the
 *           background populator.
 * Lifetime  built once at start from the cap; blocks outlive every sequence.
 * Threads   the engine thread only, but for kv_pool_back. (The populator and the mapper touch only
 *           blocks that nobody holds, under the pool's lock.)
 * Cost      no allocation after kv_pool_new; O(1) a call (50 ns) where memory is backed and the
 *           block that follows is free, else a search (kv/block_set.h); backing a block inline costs
 *           0.7 ms a MiB. */
#ifndef KV_POOL_H
#define KV_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/note.h"
#include "base/status.h"
#include "kv/shape.h"

typedef struct {
    uint32_t n; // class in the top 2 bits, index below: use the helpers
} block_id;

struct kv_pool;

struct kv_pool_config {
    const struct kv_shape *shape;
    size_t bytes_max;      // the hard cap (--kv-ram)
    bool populate;         // fault memory in ahead of use, in the background
    size_t populate_ahead; // keep so much of it free and backed; 0: all, up to the cap
    bool huge_pages;       // the populator asks for huge pages where the system grants them
};

/* BAD_INPUT: the cap is below one block of every group (the note has the numbers). FULL: no memory
 * or addresses. */
must_use enum status kv_pool_new(struct kv_pool **out, const struct kv_pool_config *config,
                                 struct note *why);
void kv_pool_free(struct kv_pool *p); // every block must be free and unmapped; NULL is allowed

/* Takes one block of the class (a group's number, or kv_excerpt_class) for writing. FULL: the cap is reached and
 * nothing is free; nothing changed. */
must_use enum status kv_pool_take(struct kv_pool *p, uint32_t class, block_id *out);

/* The same, but the block that follows `after` in the file, where that one is free and none that is
 * has memory when it has not: two such make one mapping. */
must_use enum status kv_pool_take_after(struct kv_pool *p, uint32_t class, block_id after,
                                        block_id *out);

void kv_pool_seal(struct kv_pool *p, block_id b);    // OPEN -> SEALED
void kv_pool_reopen(struct kv_pool *p, block_id b);  // SEALED -> OPEN, by its only holder
void kv_pool_hold(struct kv_pool *p, block_id b);    // one more holder of a SEALED block
void kv_pool_release(struct kv_pool *p, block_id b); // one fewer; the last one frees it

bool kv_pool_is_sealed(const struct kv_pool *p, block_id b);
uint32_t kv_pool_holders(const struct kv_pool *p, block_id b);

#define KV_NO_BLOCK ((block_id){ UINT32_MAX })

static inline uint32_t kv_block_class(block_id b)
{
    return b.n >> 30;
}

/* Its place in the file of its class. */
static inline uint32_t kv_block_index(block_id b)
{
    return b.n & ((1u << 30) - 1);
}

/* Whether b is the neighbour that follows a in the file of their class. */
static inline bool kv_block_follows(block_id a, block_id b)
{
    return b.n == a.n + 1 && kv_block_class(a) == kv_block_class(b);
}

/* The block in the pool's own mapping, readable and writable: for copies and for the table form of
 * views. Touching it maps it here, besides where a space has it, and resident memory counts it
 * twice until kv_pool_hide. */
void *kv_pool_address(const struct kv_pool *p, block_id b);
void kv_pool_show(struct kv_pool *p, block_id b); // at once, so that nobody faults there
void kv_pool_hide(struct kv_pool *p, block_id b);

/* Where the block lies in its class's file, to map it elsewhere. */
void kv_pool_file(const struct kv_pool *p, block_id b, int *fd, uint64_t *offset);

struct kv_pool_usage {
    size_t bytes_max;    // the cap
    size_t bytes_backed; // memory really taken, <= bytes_max
    size_t bytes_held;   // in OPEN or SEALED blocks, <= bytes_backed
    uint32_t n_held[KV_CLASS_MAX];
    uint32_t n_free_backed[KV_CLASS_MAX];
};
void kv_pool_usage(const struct kv_pool *p, struct kv_pool_usage *out);

/* Whether so many blocks of each class can be taken together (P7). */
bool kv_pool_fits(const struct kv_pool *p, const uint32_t n_block[KV_CLASS_MAX]);

const struct kv_shape *kv_pool_shape(const struct kv_pool *p);

/* Memory of free blocks that nobody maps: what a take gets at once. */
size_t kv_pool_spare(struct kv_pool *p);

/* Gives at least so many bytes of that back to the system, in whole blocks, or all there is: how many. Not for a pool
 * that populates ahead of use. */
size_t kv_pool_trim(struct kv_pool *p, size_t bytes);

/* What follows is for kv/space.c, the only one that maps blocks elsewhere. */

/* Says that one more, or one fewer, mapping of b exists besides the pool's own (P6). */
void kv_pool_mapped(struct kv_pool *p, block_id b);
void kv_pool_unmapped(struct kv_pool *p, block_id b);

/* Chooses a block as take_after does and keeps it from everybody else, to be mapped ahead of use;
 * it still counts as free. It may lack memory until kv_pool_back. FULL: none without making
 * somebody let go; nothing changed. */
must_use enum status kv_pool_keep(struct kv_pool *p, uint32_t class, block_id after, block_id *out);
void kv_pool_take_kept(struct kv_pool *p, block_id kept); // now OPEN, held by the caller
void kv_pool_unkeep(struct kv_pool *p, block_id kept);    // free for everybody, once unmapped

/* Gives a kept block its memory, from any thread. FULL: there is none; the block is still kept. */
must_use enum status kv_pool_back(struct kv_pool *p, block_id kept);

/* Asks who keeps or still maps free blocks to let go of some: false when there is nothing left to
 * let go of. It is called when a take finds none else, outside of the pool's lock. */
typedef bool kv_let_go(void *arg);
void kv_pool_on_short(struct kv_pool *p, kv_let_go *let_go, void *arg);

/* Checks P1..P4, P6 and P7, for tests: aborts with a message where one is broken. */
void kv_pool_check(const struct kv_pool *p);

#endif
