/* First rows brought near: their keys are turned as if nothing had gone behind them. */
#include <string.h>

#include "base/mem.h"
#include "kernels/fmath.h"
#include "kv/excerpt_in.h"

enum { KEY_MAX = 512 }; // elements of a key

/* Whether the first rows of a list stand in its first slots, in order: as they do from the first settle on. */
static bool are_first(const struct slots *l, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t b = i / KV_BLOCK;
        if (b >= l->n_block || !(l->live[b] >> i % KV_BLOCK & 1) || l->position[i] != i)
            return false;
    }
    return true;
}

static enum status remember_first(struct kv_excerpt *e, uint32_t n, struct note *why)
{
    const size_t d = e->shape->group[e->group].d_k;
    struct turned *t = &e->turned;
    if (t->n)
        return OK;
    t->k = mem_new((size_t)e->n_list * n * d, sizeof *t->k);
    t->by = mem_new(e->n_list, sizeof *t->by);
    if (t->k && t->by) {
        t->n = n;
        return OK;
    }
    note_set(why, "no memory for the keys of %u first rows", n);
    turned_close(t);
    return FULL;
}

void turned_close(struct turned *t)
{
    mem_free(t->k);
    mem_free(t->by);
    *t = (struct turned){ 0 };
}

enum status turned_copy(struct kv_excerpt *to, const struct kv_excerpt *from, struct note *why)
{
    const struct turned *t = &from->turned;
    const enum status st = t->n ? remember_first(to, t->n, why) : OK;
    if (st != OK || !t->n)
        return st;
    const size_t d = from->shape->group[from->group].d_k;
    memcpy(to->turned.k, t->k, (size_t)from->n_list * t->n * d * sizeof *t->k);
    memcpy(to->turned.by, t->by, from->n_list * sizeof *t->by);
    return OK;
}

/* (cos, sin) of `positions` more. */
static void angles_of(const struct kv_turn *how, uint32_t positions, float *cs)
{
    for (uint32_t i = 0; i < how->n_rot / 2; i++) {
        double sin, cos;
        fm_sincos(positions * how->freq[i], &sin, &cos);
        cs[2 * i] = (float)cos;
        cs[2 * i + 1] = (float)sin;
    }
}

/* FULL: the pool has no block for a copy of one that is shared. */
static enum status turn_list(struct kv_excerpt *e, uint32_t list, uint32_t by,
                             const struct kv_turn *how)
{
    const enum kv_type type = e->shape->type;
    const uint32_t d = e->shape->group[e->group].d_k, n = e->turned.n;
    struct slots *l = &e->list[list];
    float *as_they_were = e->turned.k + (size_t)list * n * d, cs[KEY_MAX], k[KEY_MAX];
    for (uint32_t i = 0; i < n && e->turned.by[list] == 0; i++)
        how->kern->load_k(type, l->block[i / KV_BLOCK], i % KV_BLOCK, as_they_were + (size_t)i * d,
                          d);
    angles_of(how, by, cs);
    for (uint32_t i = 0; i < n; i++) {
        const enum status st = slots_own(e, l, i / KV_BLOCK);
        if (st != OK)
            return st;
        memcpy(k, as_they_were + (size_t)i * d, d * sizeof *k);
        how->kern->rope(k, cs, how->n_rot, how->halves);
        how->kern->store_k(type, l->block[i / KV_BLOCK], i % KV_BLOCK, k, d);
    }
    e->turned.by[list] = by;
    return OK;
}

enum status kv_excerpt_turn(struct kv_excerpt *e, uint32_t n_first, uint32_t n_position,
                            const struct kv_turn *how, struct note *why)
{
    enum status st = n_first ? remember_first(e, n_first, why) : OK;
    for (uint32_t layer = 0; layer < e->shape->n_layer && n_first; layer++) {
        for (uint32_t h = 0; h < e->n_kv_head && st == OK; h++) {
            const uint32_t list = e->shape->layer_index[layer] * e->n_kv_head + h;
            if (e->shape->layer_group[layer] != e->group || !are_first(&e->list[list], n_first))
                continue;
            const uint32_t gone = n_position - kv_excerpt_n_live(e, layer, h, n_position);
            if (gone == e->turned.by[list])
                continue;
            st = turn_list(e, list, gone, how);
            if (st != OK)
                note_set(why, "the KV pool has no room for a copy of the first rows");
        }
    }
    return st;
}
