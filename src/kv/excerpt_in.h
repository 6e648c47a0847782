/* kv/excerpt_in.h - an excerpt from the inside. Private to excerpt.c (lists), excerpt_settle.c (moving rows) and
 * excerpt_turn.c (first rows brought near).
 *
 *   a list: one kv_head of one layer without a window, [layer of the group][kv_head]
 *
 *      live       1 1 0 1 ..          bit i of word b: slot 64 b + i holds a row
 *                     ^ free_from     no slot below is free
 *      tail_live  of all positions: 1 where the row is kept, also where it is still to come */
#ifndef KV_EXCERPT_IN_H
#define KV_EXCERPT_IN_H

#include "kv/excerpt.h"

struct slots {
    block_id *id;       // [n_block]
    char **block;       // [n_block] their addresses in the pool
    uint64_t *live;     // [n_block]
    uint32_t *position; // [n_block * 64]
    uint64_t *mass;     // [n_block * 64]; NULL: nobody counts
    uint32_t n_block, n_block_max;
    uint32_t n_live, free_from;
    uint64_t *tail_live; // [n_block of the longest space]
    uint64_t *tail_mass; // [n_tail_mass], or NULL
};

/* First rows whose keys were turned: what they were, so that they can be turned again. */
struct turned {
    uint32_t n;   // of each list; 0: none
    float *k;     // [n_list][n][d_k]
    uint32_t *by; // [n_list] positions; 0: not yet, and not in k
};

struct kv_excerpt {
    struct kv_excerpt_config config; // n_tail_mass: whole blocks
    const struct kv_shape *shape;
    uint32_t group, class;      // of the space's blocks, of the slots' ones
    uint32_t n_list, n_kv_head; // lists, of a layer
    uint32_t tail_first;        // blocks of the space below are given back
    uint32_t n_slot_block;      // the most of any list
    bool dropped;               // some row was
    struct slots *list;         // [n_list]
    uint64_t *tail, *tail_mass; // of all lists
    void *tail_mass_memory;     // where tail_mass is
    struct turned turned;
};

void turned_close(struct turned *t); // a zeroed one too
/* What `from` has of it. FULL: no memory. */
must_use enum status turned_copy(struct kv_excerpt *to, const struct kv_excerpt *from,
                                 struct note *why);

/* Has block b of slots for itself, to write in (X2). FULL: no block for the copy; nothing changed. */
must_use enum status slots_own(struct kv_excerpt *e, struct slots *l, uint32_t b);

/* Makes room for n blocks of slots. FULL: no memory, nothing changed. */
must_use enum status slots_reserve(struct slots *l, uint32_t n_block, bool mass);

static inline uint32_t bits_set(uint64_t bits)
{
    return (uint32_t)__builtin_popcountll(bits);
}

#endif
