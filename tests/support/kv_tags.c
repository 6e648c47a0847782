#include "support/kv_tags.h"

#include <string.h>

static char *slot(const struct kv_view *v, uint32_t position, uint32_t part)
{
    uint32_t block = position / KV_BLOCK, head = part / 2;
    char *at = part & 1 ? kv_view_v(v, block, head) : kv_view_k(v, block, head);
    size_t part_bytes = part & 1 ? v->v_bytes : v->k_bytes;
    return at + position % KV_BLOCK * (part_bytes / KV_BLOCK);
}

static uint64_t mark_of(uint64_t tag, uint32_t layer, uint32_t part)
{
    return tag * 0x9e3779b97f4a7c15u ^ (layer << 8 | part);
}

static uint64_t each(const struct kv_tags *t, bool write)
{
    uint64_t wrong = 0;
    uint32_t step = t->layer_step ? t->layer_step : 1;
    for (uint32_t layer = t->layer_from; layer < t->shape->n_layer; layer += step) {
        struct kv_view v = kv_view_layer(t->space, layer);
        uint32_t first = t->first ? t->first[t->shape->layer_group[layer]] * KV_BLOCK : 0;
        for (uint32_t p = t->from > first ? t->from : first; p < t->to; p++) {
            for (uint32_t part = 0; part < 2 * v.n_kv_head; part++) {
                uint64_t mark = mark_of(t->tag[p], layer, part);
                if (write)
                    memcpy(slot(&v, p, part), &mark, sizeof mark);
                else
                    wrong += memcmp(slot(&v, p, part), &mark, sizeof mark) != 0;
            }
        }
    }
    return wrong;
}

void kv_tags_write(const struct kv_tags *t)
{
    each(t, true);
}

uint64_t kv_tags_wrong(const struct kv_tags *t)
{
    return each(t, false);
}
