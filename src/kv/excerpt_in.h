/* kv/excerpt_in.h - an excerpt from the inside. Private to excerpt.c (lists) and excerpt_settle.c (moving rows).
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
};

/* Makes room for n blocks of slots. FULL: no memory, nothing changed. */
must_use enum status slots_reserve(struct slots *l, uint32_t n_block, bool mass);

static inline uint32_t bits_set(uint64_t bits)
{
    return (uint32_t)__builtin_popcountll(bits);
}

#endif
