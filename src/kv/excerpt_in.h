/* kv/excerpt_in.h - an excerpt from the inside. Private to excerpt.c (lists), excerpt_settle.c (moving rows) and
 * excerpt_turn.c (rows brought near).
 *
 *   a list: one kv_head of one layer without a window, [layer of the group][kv_head]
 *
 *      live       1 1 0 1 ..          bit i of word b: slot 64 b + i holds a row
 *                     ^ free_from     no slot below is free
 *      tail_live  of all positions: 1 where the row is kept, also where it is still to come */
#ifndef KV_EXCERPT_IN_H
#define KV_EXCERPT_IN_H

#include "kv/excerpt.h"

/* Slots whose keys were turned: by how much, and what they were, so that they can be turned again. */
struct turned {
    uint32_t *by; // [n_block_max * 64] positions; 0: not yet. NULL: no slot was
    float **was;  // [n_block_max]: [64][d_k] of a block, or NULL: none of it was
};

struct slots {
    block_id *id;       // [n_block]
    char **block;       // [n_block] their addresses in the pool
    uint64_t *live;     // [n_block]
    uint32_t *position; // [n_block * 64]
    uint64_t *mass;     // [n_block * 64]; NULL: nobody counts
    uint32_t n_block, n_block_max;
    uint32_t n_live, free_from;
    struct turned turned;
    uint64_t *tail_live; // [n_block of the longest space]
    uint64_t *tail_mass; // [n_tail_mass], or NULL
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
};

void turned_close(struct slots *l); // also where none was
/* Room for n_block blocks instead of l->n_block_max. FULL: no memory, nothing changed. */
must_use enum status turned_reserve(struct slots *l, size_t n_block);
/* What `from`'s slots have of it, to slots of the same room or more. FULL: no memory. */
must_use enum status turned_copy(struct slots *to, const struct slots *from, uint32_t d_k);
/* A slot gets a row whose key was turned `by` positions from was [d_k]; 0: not at all. FULL: no memory, nothing
 * changed. */
must_use enum status turned_put(struct slots *l, uint32_t slot, uint32_t by, const float *was,
                                uint32_t d_k);

/* Has block b of slots for itself, to write in (X2). FULL: no block for the copy; nothing changed. */
must_use enum status slots_own(struct kv_excerpt *e, struct slots *l, uint32_t b);

/* Makes room for n blocks of slots. FULL: no memory, nothing changed. */
must_use enum status slots_reserve(struct slots *l, uint32_t n_block, bool mass);

static inline uint32_t bits_set(uint64_t bits)
{
    return (uint32_t)__builtin_popcountll(bits);
}

#endif
