#include "twin/kv_twin.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static uint32_t blocks_for(uint32_t n)
{
    return (n + KV_BLOCK - 1) / KV_BLOCK;
}

void twin_open(struct kv_twin *t, const struct kv_shape *shape, size_t bytes_max,
               uint32_t n_position_max)
{
    memset(t, 0, sizeof *t);
    t->shape = *shape;
    t->bytes_max = bytes_max;
    t->n_position_max = n_position_max;
    for (uint32_t i = 0; i < TWIN_BLOCKS; i++)
        t->free_block[t->n_free++] = i;
}

static void take(struct kv_twin *t, struct twin_seq *s, uint32_t group)
{
    assert(t->n_free);
    uint32_t b = t->free_block[--t->n_free];
    t->holders[b] = 1;
    t->n_held[group]++;
    t->bytes_held += kv_block_bytes(&t->shape, group);
    s->block[group][s->n[group]++] = b;
}

static void release(struct kv_twin *t, uint32_t group, uint32_t b)
{
    assert(t->holders[b]);
    if (--t->holders[b])
        return;
    t->free_block[t->n_free++] = b;
    t->n_held[group]--;
    t->bytes_held -= kv_block_bytes(&t->shape, group);
}

static bool fits(const struct kv_twin *t, uint32_t n_each)
{
    size_t need = 0;
    for (uint32_t g = 0; g < t->shape.n_group; g++)
        need += n_each * kv_block_bytes(&t->shape, g);
    return t->bytes_held + need <= t->bytes_max;
}

/* The first block that a query at n sees, position by position. */
static uint32_t first_seen(const struct kv_twin *t, uint32_t group, uint32_t n)
{
    uint32_t window = t->shape.group[group].window, p = n;
    while (p > 0 && (window == 0 || n - (p - 1) < window))
        p--;
    return p / KV_BLOCK;
}

static bool lost(const struct kv_twin *t, const struct twin_seq *s, uint32_t n)
{
    for (uint32_t g = 0; g < t->shape.n_group && n > 0; g++)
        if (first_seen(t, g, n) < s->first[g])
            return true;
    return false;
}

struct twin_seq *twin_new(struct kv_twin *t)
{
    struct twin_seq *s = calloc(1, sizeof *s);
    assert(s);
    s->tag = calloc(t->n_position_max, sizeof *s->tag);
    assert(s->tag);
    for (uint32_t g = 0; g < t->shape.n_group; g++) {
        s->block[g] = calloc(blocks_for(t->n_position_max), sizeof *s->block[g]);
        assert(s->block[g]);
    }
    return s;
}

static void cut(struct kv_twin *t, struct twin_seq *s, uint32_t group, uint32_t n)
{
    while (s->n[group] > n && s->n[group] > s->first[group])
        release(t, group, s->block[group][--s->n[group]]);
}

void twin_free(struct kv_twin *t, struct twin_seq *s)
{
    for (uint32_t g = 0; g < t->shape.n_group; g++) {
        cut(t, s, g, 0);
        free(s->block[g]);
    }
    free(s->tag);
    free(s);
}

enum status twin_grow(struct kv_twin *t, struct twin_seq *s, uint32_t n)
{
    if (n > t->n_position_max)
        return BAD_INPUT;
    uint32_t want = blocks_for(n), have = blocks_for(s->grown);
    if (want > have) {
        if (!fits(t, want - have))
            return FULL;
        for (uint32_t g = 0; g < t->shape.n_group; g++)
            while (s->n[g] < want)
                take(t, s, g);
    }
    s->grown = n > s->grown ? n : s->grown;
    return OK;
}

void twin_commit(struct kv_twin *t, struct twin_seq *s, uint32_t n)
{
    s->committed = n;
    for (uint32_t g = 0; g < t->shape.n_group; g++)
        while (s->first[g] < first_seen(t, g, n) && s->first[g] < s->n[g])
            release(t, g, s->block[g][s->first[g]++]);
}

enum status twin_fork(struct kv_twin *t, struct twin_seq *s, uint32_t n, struct twin_seq **out)
{
    if (lost(t, s, n))
        return NOT_FOUND;
    if (n % KV_BLOCK && !fits(t, 1))
        return FULL;
    struct twin_seq *child = twin_new(t);
    for (uint32_t g = 0; g < t->shape.n_group; g++) {
        child->first[g] = child->n[g] = first_seen(t, g, n);
        while (child->n[g] < n / KV_BLOCK) {
            uint32_t b = s->block[g][child->n[g]];
            t->holders[b]++;
            child->block[g][child->n[g]++] = b;
        }
        if (n % KV_BLOCK)
            take(t, child, g);
    }
    memcpy(child->tag, s->tag, n * sizeof *s->tag);
    child->grown = child->committed = n;
    *out = child;
    return OK;
}
