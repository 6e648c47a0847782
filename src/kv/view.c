#include "kv/view.h"

#include <assert.h>

#include "kv/space_in.h"

struct kv_view kv_view_layer(const struct kv_space *s, uint32_t layer)
{
    const struct kv_shape *shape = s->all->shape;
    assert(layer < shape->n_layer);
    uint32_t g = shape->layer_group[layer];
    const struct kv_group *group = &shape->group[g];
    const struct span *span = &s->span[g];
    size_t layer_offset = shape->layer_index[layer] * kv_layer_bytes(shape, g);
    return (struct kv_view){
        .base = s->table ? NULL : block_at(s, span, 0) + layer_offset,
        .table = s->table ? span->address : NULL,
        .stride = span->block_bytes,
        .layer_offset = layer_offset,
        .k_bytes = kv_part_bytes(shape->type, group->d_k),
        .v_bytes = kv_part_bytes(shape->type, group->d_v),
        .n_kv_head = group->n_kv_head,
        .d_k = group->d_k,
        .d_v = group->d_v,
        .first = span->first,
        .n_block = span->n,
        .window = group->window,
        .type = shape->type,
    };
}
