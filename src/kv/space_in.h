/* kv/space_in.h - a space from the inside. Private to space.c (sequences), space_map.c (addresses),
 * spaces.c (all).
 *
 *   a span: one group of one space, by block index
 *
 *      given back        held, read-only    held, writable    kept ahead        reserved
 *   |............|########|=================|================|==============|................|
 *           mapped_from  first       committed / 64          n         n + n_ahead     n_block_max
 *                                                                      = mapped_to
 *
 * I1  What is mapped is [mapped_from, mapped_to), without a gap; the rest is PROT_NONE. (A mapping
 *     just posted to the mapper counts as mapped, one just posted to be taken away too, until it is
 *     collected.)
 * I2  mapped[i] is the block mapped at index i: what is held may change there before the system
 *     takes the mapping away.
 * I3  In the table form nothing is kept ahead, and nothing is mapped but what the system refused to
 *     take away; nobody looks there, and `retire` waits for it. address[first..n) are the pool's
 *     addresses always: a space can take to the table form at any time. */
#ifndef KV_SPACE_IN_H
#define KV_SPACE_IN_H

#include "kv/mapper.h"
#include "kv/space.h"

struct span {
    block_id *block;  // [n_block_max], held and kept
    block_id *mapped; // [n_block_max]
    char **address;   // [n_block_max], the table form's
    size_t base;      // offset of block 0 in the space's reservation
    size_t block_bytes;
    uint32_t first, n; // held
    uint32_t n_ahead;  // kept, behind those
    uint32_t mapped_from, mapped_to;
    struct map_job tail;  // maps ahead
    struct map_job front; // takes away what the window passed
};

struct kv_space {
    struct kv_spaces *all;
    struct kv_space *next, *before; // in the list of live, or of unused spaces
    char *base;                     // the reservation; NULL: this space never had one
    bool table;                     // views carry addresses in the pool
    bool dead;                      // freed, its mappings not yet taken away
    uint32_t n_grown, n_committed;
    uint32_t n_block_last; // blocks that the last growth added
    uint32_t n_expected;   // position up to which it grows quickly
    uint32_t n_job;        // posted and not collected
    struct span span[KV_GROUP_MAX];
    struct map_job retire; // takes all away that a dead space has, or one that left its addresses
};

struct kv_spaces {
    struct kv_pool *pool;
    struct mapper *mapper; // NULL in the table form
    const struct kv_shape *shape;
    uint32_t n_block_max, n_position_max;
    size_t reserve_bytes; // of one space
    bool map_ahead, table;
    struct kv_space *live, *unused;
    uint32_t n_live;
    struct kv_spaces_stats stats;
};

static inline uint32_t blocks_of(uint32_t n_position)
{
    return (uint32_t)(((uint64_t)n_position + KV_BLOCK - 1) / KV_BLOCK);
}

static inline char *block_at(const struct kv_space *s, const struct span *span, uint32_t i)
{
    return s->base + span->base + (size_t)i * span->block_bytes;
}

/* ---- space_map.c ---- */

/* Makes blocks [mapped_to, to) of every group accessible at their indices, as runs of file
 * neighbours. Where the system or the VMA budget refuses, the space leaves its addresses for the
 * table form. */
void space_map(struct kv_space *s, uint32_t to, enum vm_access access);

/* Lets nobody write blocks [from, to) of every group any more; leaves the addresses if the system
 * refuses. */
void space_protect(struct kv_space *s, uint32_t from, uint32_t to);

/* Takes blocks [from, mapped_to) of a group away, now; leaves the addresses if the system
 * refuses. */
void space_unmap_tail(struct kv_space *s, uint32_t group, uint32_t from);
void space_unmap_passed(struct kv_space *s, uint32_t group); // [mapped_from, first): later
void space_unmap_all(struct kv_space *s);                    // later, with `retire`

void space_map_ahead(struct kv_space *s,
                     uint32_t n_block); // keeps blocks, and has them mapped in the background
void space_drop_ahead(struct kv_space *s, uint32_t group);    // now
void space_abandon_ahead(struct kv_space *s, uint32_t group); // on the way to space_unmap_all
void space_collect_ahead(struct kv_space *s);                 // waits until what is mapped ahead is

void space_job_done(struct kv_space *s, struct map_job *job);

#endif
