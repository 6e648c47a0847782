/* support/kv_tags.h - rows that say whose they are: a tag a position, different in every layer,
 * head, K and V.
 *
 * A part is cut in 64 equal slots, whatever the kernels make of it, and a row's mark lies at the
 * start of its own. */
#ifndef SUPPORT_KV_TAGS_H
#define SUPPORT_KV_TAGS_H

#include "kv/view.h"

struct kv_tags {
    const struct kv_space *space;
    const struct kv_shape *shape;
    const uint64_t *tag;   // of position 0..
    const uint32_t *first; // [n_group] blocks given back: their positions are left out; NULL: none
    uint32_t from, to;     // positions
    uint32_t layer_from, layer_step; // every layer_step'th layer; 0: all
};

void kv_tags_write(const struct kv_tags *t);
uint64_t kv_tags_wrong(const struct kv_tags *t); // marks that are not as written

#endif
