/* Rows on the move: gaps close, the tail's rows go into slots, and emptied blocks go back to the pool. */
#include <assert.h>
#include <string.h>

#include "kv/excerpt_in.h"
#include "kv/view.h"

/* ---- one row ---- */

struct row_at {
    const char *k, *v;
    uint32_t row, position;
    uint64_t mass;
    uint32_t by; // its key was turned, from
    const float *was;
};

static size_t element_bytes(enum kv_type type)
{
    return type == KV_F32 ? 4 : type == KV_F16 ? 2 : 1;
}

/* Element j of a row of K lies at j * 64 + row. */
static void copy_k(enum kv_type type, char *to, uint32_t slot, const char *from, uint32_t row,
                   uint32_t d)
{
    const size_t bytes = element_bytes(type), step = KV_BLOCK * bytes;
    to += slot * bytes;
    from += row * bytes;
    for (uint32_t j = 0; j < d; j++, to += step, from += step) {
        if (type == KV_F16)
            memcpy(to, from, 2);
        else if (type == KV_F32)
            memcpy(to, from, 4);
        else
            *to = *from;
    }
}

static void copy_v(enum kv_type type, char *to, uint32_t slot, const char *from, uint32_t row,
                   uint32_t d)
{
    const size_t bytes = d * element_bytes(type);
    memcpy(to + slot * bytes, from + row * bytes, bytes);
}

/* The scales lie behind all elements of an int8 part. */
static void copy_scale(char *to, uint32_t slot, const char *from, uint32_t row, uint32_t d)
{
    const size_t behind = (size_t)KV_BLOCK * d;
    memcpy(to + behind + slot * sizeof(float), from + behind + row * sizeof(float), sizeof(float));
}

static void copy_row(const struct kv_excerpt *e, char *block, uint32_t slot,
                     const struct row_at *from)
{
    const enum kv_type type = e->shape->type;
    const uint32_t d_k = e->shape->group[e->group].d_k, d_v = e->shape->group[e->group].d_v;
    char *k = block, *v = block + kv_part_bytes(type, d_k);
    copy_k(type, k, slot, from->k, from->row, d_k);
    copy_v(type, v, slot, from->v, from->row, d_v);
    if (type == KV_INT8) {
        copy_scale(k, slot, from->k, from->row, d_k);
        copy_scale(v, slot, from->v, from->row, d_v);
    }
}

/* ---- slots ---- */

enum status slots_own(struct kv_excerpt *e, struct slots *l, uint32_t b)
{
    struct kv_pool *pool = e->config.pool;
    block_id copy;
    if (!kv_pool_is_sealed(pool, l->id[b]))
        return OK;
    if (kv_pool_holders(pool, l->id[b]) == 1) {
        kv_pool_reopen(pool, l->id[b]);
        return OK;
    }
    enum status st = kv_pool_take(pool, e->class, &copy);
    if (st != OK)
        return st;
    char *to = kv_pool_address(pool, copy);
    memcpy(to, l->block[b], kv_class_bytes(e->shape, e->class));
    kv_pool_release(pool, l->id[b]);
    l->id[b] = copy;
    l->block[b] = to;
    return OK;
}

static enum status append_block(struct kv_excerpt *e, struct slots *l)
{
    assert(l->n_block < l->n_block_max);
    enum status st = kv_pool_take(e->config.pool, e->class, &l->id[l->n_block]);
    if (st != OK)
        return st;
    l->block[l->n_block] = kv_pool_address(e->config.pool, l->id[l->n_block]);
    l->live[l->n_block++] = 0;
    if (l->n_block > e->n_slot_block)
        e->n_slot_block = l->n_block;
    return OK;
}

/* The lowest free slot; behind all blocks when none is. */
static uint32_t lowest_free(struct slots *l)
{
    uint32_t b = l->free_from / KV_BLOCK;
    while (b < l->n_block && l->live[b] == UINT64_MAX)
        b++;
    l->free_from =
        b < l->n_block ? b * KV_BLOCK + (uint32_t)__builtin_ctzll(~l->live[b]) : b * KV_BLOCK;
    return l->free_from;
}

/* Puts a row into the lowest free slot. FULL: the pool has no block for it; nothing changed. */
static enum status put(struct kv_excerpt *e, struct slots *l, const struct row_at *from)
{
    const uint32_t slot = lowest_free(l), b = slot / KV_BLOCK;
    enum status st = b < l->n_block ? slots_own(e, l, b) : append_block(e, l);
    if (st == OK)
        st = turned_put(l, slot, from->by, from->was, e->shape->group[e->group].d_k);
    if (st != OK)
        return st;
    copy_row(e, l->block[b], slot % KV_BLOCK, from);
    l->live[b] |= UINT64_C(1) << slot % KV_BLOCK;
    l->position[slot] = from->position;
    if (l->mass)
        l->mass[slot] = from->mass;
    l->n_live++;
    return OK;
}

static struct row_at row_of_slot(const struct kv_excerpt *e, const struct slots *l, uint32_t slot)
{
    const char *block = l->block[slot / KV_BLOCK];
    const uint32_t by = l->turned.by ? l->turned.by[slot] : 0, d_k = e->shape->group[e->group].d_k;
    return (struct row_at){
        .k = block,
        .v = block + kv_part_bytes(e->shape->type, e->shape->group[e->group].d_k),
        .row = slot % KV_BLOCK,
        .position = l->position[slot],
        .mass = l->mass ? l->mass[slot] : 0,
        .by = by,
        .was = by ? l->turned.was[slot / KV_BLOCK] + (size_t)(slot % KV_BLOCK) * d_k : NULL,
    };
}

static uint32_t blocks_for(uint32_t n_row)
{
    return (n_row + KV_BLOCK - 1) / KV_BLOCK;
}

/* Slots of `n` rows in all are what is needed: rows behind those move to the front, blocks behind go back. */
static enum status close_gaps(struct kv_excerpt *e, struct slots *l, uint32_t n)
{
    for (uint32_t b = l->n_block; b-- > n / KV_BLOCK;) {
        while (l->live[b]) {
            const uint32_t last = b * KV_BLOCK + 63 - (uint32_t)__builtin_clzll(l->live[b]);
            if (last < n)
                break;
            const struct row_at row = row_of_slot(e, l, last);
            enum status st = put(e, l, &row);
            if (st != OK)
                return st;
            l->live[b] &= ~(UINT64_C(1) << last % KV_BLOCK);
            l->n_live--;
        }
    }
    while (l->n_block > blocks_for(n))
        kv_pool_release(e->config.pool, l->id[--l->n_block]);
    if (l->free_from > l->n_block * KV_BLOCK)
        l->free_from = l->n_block * KV_BLOCK;
    return OK;
}

/* ---- the tail ---- */

static uint32_t count_tail(const struct kv_excerpt *e, const struct slots *l, uint32_t n_block)
{
    uint32_t n = 0;
    for (uint32_t b = e->tail_first; b < n_block; b++)
        n += bits_set(l->tail_live[b]);
    return n;
}

/* The kept rows of the tail's first block, of one list. */
static enum status take_rows(struct kv_excerpt *e, struct slots *l, const char *k, const char *v)
{
    const uint32_t block = e->tail_first;
    while (l->tail_live[block]) {
        const uint32_t row = (uint32_t)__builtin_ctzll(l->tail_live[block]);
        const uint32_t position = block * KV_BLOCK + row;
        const struct row_at from = {
            .k = k,
            .v = v,
            .row = row,
            .position = position,
            .mass = l->tail_mass ? l->tail_mass[position % e->config.n_tail_mass] : 0,
        };
        enum status st = put(e, l, &from);
        if (st != OK)
            return st;
        l->tail_live[block] &= l->tail_live[block] - 1;
    }
    if (l->tail_mass)
        memset(l->tail_mass + (size_t)block * KV_BLOCK % e->config.n_tail_mass, 0,
               KV_BLOCK * sizeof *l->tail_mass);
    return OK;
}

/* The tail's first block, of all lists; then the space has one block less. */
static enum status settle_block(struct kv_excerpt *e, struct kv_space *s)
{
    for (uint32_t layer = 0; layer < e->shape->n_layer; layer++) {
        if (e->shape->layer_group[layer] != e->group)
            continue;
        const struct kv_view view = kv_view_layer(s, layer);
        struct slots *l = &e->list[e->shape->layer_index[layer] * e->n_kv_head];
        for (uint32_t h = 0; h < e->n_kv_head; h++, l++) {
            enum status st = take_rows(e, l, kv_view_k(&view, e->tail_first, h),
                                       kv_view_v(&view, e->tail_first, h));
            if (st != OK)
                return st;
        }
    }
    kv_space_pass(s, ++e->tail_first);
    return OK;
}

/* ---- whether it fits ---- */

/* What settling asks of the pool, list by list. */
struct demand {
    uint32_t n_row; // in the end
    uint32_t n_block,
        n_own;       // blocks that stay of those there are; shared ones of them that get written
    uint32_t n_back; // blocks that go back, and are nobody else's
};

static struct demand demand_of(const struct kv_excerpt *e, const struct slots *l, uint32_t n_block)
{
    struct demand d = { .n_row = l->n_live + count_tail(e, l, n_block) };
    const uint32_t last = blocks_for(d.n_row);
    d.n_block = last < l->n_block ? last : l->n_block;
    for (uint32_t b = 0; b < l->n_block; b++) {
        const bool alone = kv_pool_holders(e->config.pool, l->id[b]) == 1;
        const uint32_t left = d.n_row - b * KV_BLOCK;
        const uint64_t used = b >= d.n_block     ? 0
                              : left >= KV_BLOCK ? UINT64_MAX
                                                 : (UINT64_C(1) << left) - 1;
        d.n_back += b >= d.n_block && alone;
        d.n_own += (used & ~l->live[b]) && !alone;
    }
    return d;
}

uint32_t kv_excerpt_need(const struct kv_excerpt *e, uint32_t n_position)
{
    const uint32_t n_block = n_position / KV_BLOCK;
    uint32_t need = 0;
    for (uint32_t i = 0; i < e->n_list; i++) {
        const struct demand d = demand_of(e, &e->list[i], n_block);
        need += blocks_for(d.n_row) - d.n_block + d.n_own;
    }
    return need;
}

/* Blocks that list l appends when rows of the tail's blocks below `n_block` have moved. */
static uint32_t appended(const struct kv_excerpt *e, const struct slots *l, uint32_t n_block,
                         uint32_t n_block_end)
{
    const uint32_t kept = demand_of(e, l, n_block_end).n_block;
    const uint32_t then = blocks_for(l->n_live + count_tail(e, l, n_block));
    return then > kept ? then - kept : 0;
}

/* Whether the pool has all that is asked for, or else what is asked for at each moment: copies first, what gaps give
 * back then, and with each block of the tail the slots for its rows before it goes back itself. */
static bool fits(const struct kv_excerpt *e, const struct kv_space *s, uint32_t n_block)
{
    const size_t slot_bytes = kv_class_bytes(e->shape, e->class);
    const size_t block_bytes = kv_class_bytes(e->shape, e->group);
    uint32_t need[KV_CLASS_MAX] = { 0 };
    struct kv_pool_usage kv;
    need[e->class] = kv_excerpt_need(e, n_block * KV_BLOCK);
    if (kv_pool_fits(e->config.pool, need))
        return true;
    kv_pool_usage(e->config.pool, &kv);
    int64_t room = (int64_t)(kv.bytes_max - kv.bytes_held), n_own = 0, n_back = 0, n_new = 0;
    for (uint32_t i = 0; i < e->n_list; i++) {
        const struct demand d = demand_of(e, &e->list[i], n_block);
        n_own += d.n_own;
        n_back += d.n_back;
    }
    room -= n_own * (int64_t)slot_bytes;
    bool fit = room >= 0;
    room += n_back * (int64_t)slot_bytes;
    for (uint32_t b = e->tail_first; b < n_block && fit; b++) {
        int64_t n = 0;
        for (uint32_t i = 0; i < e->n_list; i++)
            n += appended(e, &e->list[i], b + 1, n_block);
        room -= (n - n_new) * (int64_t)slot_bytes;
        n_new = n;
        fit = room >= 0;
        if (kv_pool_holders(e->config.pool, kv_space_block(s, e->group, b)) == 1)
            room += (int64_t)block_bytes;
    }
    return fit;
}

/* ---- all ---- */

/* Room for the arrays of every list. */
static enum status reserve(struct kv_excerpt *e, uint32_t n_block)
{
    enum status st = OK;
    for (uint32_t i = 0; i < e->n_list && st == OK; i++) {
        struct slots *l = &e->list[i];
        const uint32_t n_row = l->n_live + count_tail(e, l, n_block);
        st = slots_reserve(l, blocks_for(n_row), e->config.n_tail_mass > 0);
    }
    return st;
}

enum status kv_excerpt_settle(struct kv_excerpt *e, struct kv_space *s, uint32_t n_position)
{
    const uint32_t to = n_position / KV_BLOCK;
    const uint32_t n_block = to > e->tail_first ? to : e->tail_first;
    if (e->n_list == 0)
        return OK;
    assert(n_position <= kv_space_committed(s));
    assert(kv_space_first(s, e->group) == e->tail_first);
    enum status st = reserve(e, n_block);
    if (st == OK && !fits(e, s, n_block))
        st = FULL;
    for (uint32_t i = 0; i < e->n_list && st == OK; i++) {
        struct slots *l = &e->list[i];
        st = close_gaps(e, l, l->n_live + count_tail(e, l, n_block));
    }
    while (e->tail_first < n_block && st == OK)
        st = settle_block(e, s);
    e->n_slot_block = 0;
    for (uint32_t i = 0; i < e->n_list; i++)
        if (e->list[i].n_block > e->n_slot_block)
            e->n_slot_block = e->list[i].n_block;
    return st;
}
