/* Rows brought near: their keys are turned as if nothing had gone behind them. */
#include <string.h>

#include "base/mem.h"
#include "kernels/fmath.h"
#include "kv/excerpt_in.h"

enum { KEY_MAX = 512 }; // elements of a key

/* ---- what keys were ---- */

void turned_close(struct slots *l)
{
    for (uint32_t b = 0; l->turned.was && b < l->n_block_max; b++)
        mem_free(l->turned.was[b]);
    mem_free(l->turned.was);
    mem_free(l->turned.by);
    l->turned = (struct turned){ 0 };
}

enum status turned_reserve(struct slots *l, size_t n_block)
{
    const size_t had = l->n_block_max, more = n_block - had;
    void *p;
    if (!l->turned.by)
        return OK;
    if (!(p = mem_resize(l->turned.by, n_block, KV_BLOCK * sizeof *l->turned.by)))
        return FULL;
    l->turned.by = p;
    memset(l->turned.by + had * KV_BLOCK, 0, more * KV_BLOCK * sizeof *l->turned.by);
    if (!(p = mem_resize(l->turned.was, n_block, sizeof *l->turned.was)))
        return FULL;
    l->turned.was = p;
    memset(l->turned.was + had, 0, more * sizeof *l->turned.was);
    return OK;
}

/* Room for what all keys of a list were, and of one block of them. */
static enum status begin(struct slots *l)
{
    if (l->turned.by)
        return OK;
    l->turned.by = mem_new((size_t)l->n_block_max * KV_BLOCK, sizeof *l->turned.by);
    l->turned.was = mem_new(l->n_block_max, sizeof *l->turned.was);
    if (l->turned.by && l->turned.was)
        return OK;
    mem_free(l->turned.by);
    mem_free(l->turned.was);
    l->turned = (struct turned){ 0 };
    return FULL;
}

static enum status begin_block(struct slots *l, uint32_t b, uint32_t d_k)
{
    if (begin(l) != OK)
        return FULL;
    if (!l->turned.was[b])
        l->turned.was[b] = mem_new((size_t)KV_BLOCK * d_k, sizeof **l->turned.was);
    return l->turned.was[b] ? OK : FULL;
}

static float *was_of(const struct slots *l, uint32_t slot, uint32_t d_k)
{
    return l->turned.was[slot / KV_BLOCK] + (size_t)(slot % KV_BLOCK) * d_k;
}

enum status turned_put(struct slots *l, uint32_t slot, uint32_t by, const float *was, uint32_t d_k)
{
    if (by && begin_block(l, slot / KV_BLOCK, d_k) != OK)
        return FULL;
    if (l->turned.by)
        l->turned.by[slot] = by;
    if (by)
        memcpy(was_of(l, slot, d_k), was, d_k * sizeof *was);
    return OK;
}

enum status turned_copy(struct slots *to, const struct slots *from, uint32_t d_k)
{
    if (!from->turned.by || from->n_block == 0)
        return OK;
    if (begin(to) != OK)
        return FULL;
    memcpy(to->turned.by, from->turned.by,
           (size_t)from->n_block * KV_BLOCK * sizeof *to->turned.by);
    for (uint32_t b = 0; b < from->n_block; b++) {
        if (!from->turned.was[b])
            continue;
        if (begin_block(to, b, d_k) != OK)
            return FULL;
        memcpy(to->turned.was[b], from->turned.was[b],
               (size_t)KV_BLOCK * d_k * sizeof **to->turned.was);
    }
    return OK;
}

/* ---- how much has gone ---- */

/* Rows of a list that are there, by position. */
struct there {
    uint64_t *bits;   // [n_word]
    uint32_t *behind; // [n_word] in the words behind
    uint32_t n_word, n_position;
};

static enum status there_open(struct there *t, uint32_t n_position)
{
    const uint32_t n_word = n_position / 64 + 1;
    *t = (struct there){ .n_word = n_word, .n_position = n_position };
    t->bits = mem_new(n_word, sizeof *t->bits);
    t->behind = mem_new(n_word, sizeof *t->behind);
    return t->bits && t->behind ? OK : FULL;
}

static void there_close(struct there *t)
{
    mem_free(t->bits);
    mem_free(t->behind);
}

static uint64_t from_bit(uint32_t i)
{
    return UINT64_MAX << i;
}

static void there_look(struct there *t, const struct slots *l, uint32_t tail_first)
{
    uint32_t n = 0;
    memset(t->bits, 0, t->n_word * sizeof *t->bits);
    for (uint32_t b = 0; b < l->n_block; b++)
        for (uint64_t left = l->live[b]; left; left &= left - 1) {
            const uint32_t p = l->position[b * KV_BLOCK + (uint32_t)__builtin_ctzll(left)];
            t->bits[p / 64] |= UINT64_C(1) << p % 64;
        }
    for (uint32_t b = tail_first; b < t->n_word; b++)
        t->bits[b] |= b < t->n_word - 1 ? l->tail_live[b] : 0;
    if (t->n_position % 64 && t->n_word > tail_first)
        t->bits[t->n_word - 1] |= l->tail_live[t->n_word - 1] & ~from_bit(t->n_position % 64);
    for (uint32_t b = t->n_word; b-- > 0;) {
        t->behind[b] = n;
        n += bits_set(t->bits[b]);
    }
}

/* Of the positions behind p. */
static uint32_t gone_behind(const struct there *t, uint32_t p)
{
    const uint64_t after = p % 64 == 63 ? 0 : from_bit(p % 64 + 1);
    return t->n_position - 1 - p - t->behind[p / 64] - bits_set(t->bits[p / 64] & after);
}

/* ---- turning ---- */

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

/* FULL: no memory, or the pool has no block for a copy of one that is shared. */
static enum status turn_row(struct kv_excerpt *e, struct slots *l, uint32_t slot, uint32_t by,
                            const struct kv_turn *how)
{
    const enum kv_type type = e->shape->type;
    const uint32_t d = e->shape->group[e->group].d_k, b = slot / KV_BLOCK;
    float cs[KEY_MAX], k[KEY_MAX];
    enum status st = begin_block(l, b, d);
    if (st == OK)
        st = slots_own(e, l, b);
    if (st != OK)
        return st;
    if (l->turned.by[slot] == 0)
        how->kern->load_k(type, l->block[b], slot % KV_BLOCK, was_of(l, slot, d), d);
    angles_of(how, by, cs);
    memcpy(k, was_of(l, slot, d), d * sizeof *k);
    how->kern->rope(k, cs, how->n_rot, how->halves);
    how->kern->store_k(type, l->block[b], slot % KV_BLOCK, k, d);
    l->turned.by[slot] = by;
    return OK;
}

static enum status turn_list(struct kv_excerpt *e, struct slots *l, struct there *t,
                             const struct kv_turn *how)
{
    enum status st = OK;
    there_look(t, l, e->tail_first);
    for (uint32_t b = 0; b < l->n_block; b++)
        for (uint64_t left = l->live[b]; left && st == OK; left &= left - 1) {
            const uint32_t slot = b * KV_BLOCK + (uint32_t)__builtin_ctzll(left);
            const uint32_t gone = gone_behind(t, l->position[slot]);
            if (gone != (l->turned.by ? l->turned.by[slot] : 0))
                st = turn_row(e, l, slot, gone, how);
        }
    return st;
}

enum status kv_excerpt_turn(struct kv_excerpt *e, uint32_t n_position, const struct kv_turn *how,
                            struct note *why)
{
    struct there t;
    enum status st = there_open(&t, n_position);
    for (uint32_t i = 0; i < e->n_list && st == OK; i++)
        st = turn_list(e, &e->list[i], &t, how);
    there_close(&t);
    if (st != OK)
        note_set(why, "no memory for what keys were before they were brought near");
    return st;
}
