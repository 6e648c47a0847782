/* kv/rank_in.h - what stands behind the calls of kv/rank.h: one thread's source, set up by kv/keep.c for each layer. */
#ifndef KV_RANK_IN_H
#define KV_RANK_IN_H

#include "base/arena.h"
#include "kv/rank.h"
#include "kv/view.h"

enum { KV_RANK_QUERIES = 64 }; // at once: a block is unpacked for all of them

struct kv_rank_source {
    enum kv_type type;
    const struct kv_list *list; // [n_kv_head] of the layer
    struct kv_view view;        // of the space: where tails lie
    struct arena room;
    void *scratch; // of attn_scores
    bool failed;   // there was no memory
};

/* FULL: no memory. Close accepts a zeroed one. */
must_use enum status kv_rank_source_open(struct kv_rank_source *s, uint32_t d_k, uint32_t d_v);
void kv_rank_source_close(struct kv_rank_source *s);

/* What was taken with kv_rank_room is given back. */
void kv_rank_source_next(struct kv_rank_source *s, const struct kv_list *list,
                         const struct kv_view *view);

#endif
