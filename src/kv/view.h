/* kv/view.h - what attention may read and write of one layer of one sequence.
 *
 * V1  A view never reaches a block at or behind the grown positions, nor one given back: who asks
 *     for one aborts; who counts on by `stride` faults there, or finds no address in the table.
 * Lifetime  until the next call that changes the space. Cost  O(1). */
#ifndef KV_VIEW_H
#define KV_VIEW_H

#include <assert.h>

#include "kv/space.h"

/* Block i's K part of head h:  (table ? table[i] + layer_offset : base + i * stride) + h * k_bytes
 *           its V part:        the same + n_kv_head * k_bytes + h * v_bytes - h * k_bytes */
struct kv_view {
    char *base;              // of this layer in block 0 of the space; NULL in the table form
    char *const *table;      // addresses of blocks, or NULL
    size_t stride;           // bytes from block to block
    size_t layer_offset;     // of this layer inside a block (table form)
    size_t k_bytes, v_bytes; // of one head's part
    uint32_t n_kv_head, d_k, d_v;
    uint32_t first, n_block; // blocks [first, n_block) are there
    uint32_t window;         // positions a query sees, itself included; 0: all
    enum kv_type type;
};

struct kv_view kv_view_layer(const struct kv_space *s, uint32_t layer);

static inline char *kv_view_block(const struct kv_view *v, uint32_t block)
{
    assert(block >= v->first);
    assert(block < v->n_block);
    return v->table ? v->table[block] + v->layer_offset : v->base + (size_t)block * v->stride;
}

static inline char *kv_view_k(const struct kv_view *v, uint32_t block, uint32_t head)
{
    return kv_view_block(v, block) + (size_t)head * v->k_bytes;
}

static inline char *kv_view_v(const struct kv_view *v, uint32_t block, uint32_t head)
{
    return kv_view_block(v, block) + (size_t)v->n_kv_head * v->k_bytes + (size_t)head * v->v_bytes;
}

#endif
