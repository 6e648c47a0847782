#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "kv/excerpt_in.h"

/* ---- birth and death ---- */

static uint32_t blocks_for(uint32_t n_position)
{
    return (uint32_t)(((uint64_t)n_position + KV_BLOCK - 1) / KV_BLOCK);
}

/* Lines of the cache: whoever counts loads and stores eight rows at once. */
enum { MASS_ALIGN = 64 };

static bool mass_reserve(struct slots *l, size_t n_block)
{
    uint64_t *mass = mem_new_aligned(n_block, KV_BLOCK * sizeof *mass, MASS_ALIGN);
    if (!mass)
        return false;
    if (l->mass)
        memcpy(mass, l->mass, (size_t)l->n_block * KV_BLOCK * sizeof *mass);
    mem_free(l->mass);
    l->mass = mass;
    return true;
}

enum status slots_reserve(struct slots *l, uint32_t n_block, bool mass)
{
    if (n_block <= l->n_block_max)
        return OK;
    const size_t n = n_block > 2 * l->n_block_max ? n_block : 2 * l->n_block_max;
    void *p;
    if (!(p = mem_resize(l->id, n, sizeof *l->id)))
        return FULL;
    l->id = p;
    if (!(p = mem_resize(l->block, n, sizeof *l->block)))
        return FULL;
    l->block = p;
    if (!(p = mem_resize(l->live, n, sizeof *l->live)))
        return FULL;
    l->live = p;
    if (!(p = mem_resize(l->position, n, KV_BLOCK * sizeof *l->position)))
        return FULL;
    l->position = p;
    if (mass && !mass_reserve(l, n))
        return FULL;
    if (turned_reserve(l, n) != OK)
        return FULL;
    l->n_block_max = (uint32_t)n;
    return OK;
}

/* Zeros that cost nothing until they are touched. */
static bool tail_mass_open(struct kv_excerpt *e, size_t n_mass)
{
    const size_t n = e->n_list * n_mass, spare = MASS_ALIGN / sizeof *e->tail_mass;
    if (n == 0)
        return true;
    e->tail_mass_memory = mem_new(n + spare, sizeof *e->tail_mass);
    if (!e->tail_mass_memory)
        return false;
    const uintptr_t at = (uintptr_t)e->tail_mass_memory;
    e->tail_mass = (uint64_t *)((at + MASS_ALIGN - 1) & ~(uintptr_t)(MASS_ALIGN - 1));
    return true;
}

/* All lists empty, every row of the tail kept. NULL: no memory. */
static struct kv_excerpt *create(const struct kv_excerpt_config *config)
{
    const struct kv_shape *shape = kv_pool_shape(config->pool);
    const size_t n_block = blocks_for(config->n_position_max);
    const size_t n_mass = (size_t)blocks_for(config->n_tail_mass) * KV_BLOCK;
    struct kv_excerpt *e = mem_new(1, sizeof *e);
    if (!e)
        return NULL;
    e->config = *config;
    e->config.n_tail_mass = (uint32_t)n_mass;
    e->shape = shape;
    e->group = kv_whole_group(shape);
    e->class = kv_excerpt_class(shape);
    if (e->group < shape->n_group) {
        e->n_kv_head = shape->group[e->group].n_kv_head;
        e->n_list = shape->group[e->group].n_layer * e->n_kv_head;
    }
    e->list = mem_new(e->n_list, sizeof *e->list);
    e->tail = mem_new(e->n_list * n_block, sizeof *e->tail);
    if (!e->list || !e->tail || !tail_mass_open(e, n_mass)) {
        kv_excerpt_free(e);
        return NULL;
    }
    for (uint32_t i = 0; i < e->n_list; i++) {
        e->list[i].tail_live = e->tail + i * n_block;
        e->list[i].tail_mass = n_mass ? e->tail_mass + i * n_mass : NULL;
    }
    memset(e->tail, 0xff, e->n_list * n_block * sizeof *e->tail);
    return e;
}

enum status kv_excerpt_new(struct kv_excerpt **out, const struct kv_excerpt_config *config,
                           struct note *why)
{
    struct kv_excerpt *e = create(config);
    if (!e) {
        note_set(why, "no memory for the lists of kept rows of %u positions",
                 config->n_position_max);
        return FULL;
    }
    *out = e;
    return OK;
}

void kv_excerpt_free(struct kv_excerpt *e)
{
    if (!e)
        return;
    for (uint32_t i = 0; e->list && i < e->n_list; i++) {
        struct slots *l = &e->list[i];
        while (l->n_block > 0)
            kv_pool_release(e->config.pool, l->id[--l->n_block]);
        mem_free(l->id);
        mem_free(l->block);
        mem_free(l->live);
        mem_free(l->position);
        mem_free(l->mass);
        turned_close(l);
    }
    mem_free(e->tail_mass_memory);
    mem_free(e->tail);
    mem_free(e->list);
    mem_free(e);
}

/* What OPEN blocks `from` has are SEALED, and held by both. */
static void share_slots(struct kv_pool *pool, struct slots *to, const struct slots *from)
{
    const size_t n = from->n_block;
    for (uint32_t b = 0; b < n; b++) {
        if (!kv_pool_is_sealed(pool, from->id[b]))
            kv_pool_seal(pool, from->id[b]);
        kv_pool_hold(pool, from->id[b]);
        to->id[b] = from->id[b];
        to->block[b] = from->block[b];
        to->live[b] = from->live[b];
    }
    if (n > 0)
        memcpy(to->position, from->position, n * KV_BLOCK * sizeof *to->position);
    if (n > 0 && from->mass)
        memcpy(to->mass, from->mass, n * KV_BLOCK * sizeof *to->mass);
    to->n_block = from->n_block;
    to->n_live = from->n_live;
    to->free_from = from->free_from;
}

/* Rows of the tail; those behind the end of either one are still to come. */
static void copy_tail(struct kv_excerpt *to, const struct kv_excerpt *from)
{
    const size_t n_to = blocks_for(to->config.n_position_max),
                 n_from = blocks_for(from->config.n_position_max),
                 n = n_to < n_from ? n_to : n_from;
    for (uint32_t i = 0; i < from->n_list; i++)
        memcpy(to->tail + i * n_to, from->tail + i * n_from, n * sizeof *to->tail);
    if (from->tail_mass)
        memcpy(to->tail_mass, from->tail_mass,
               from->n_list * (size_t)from->config.n_tail_mass * sizeof *to->tail_mass);
}

enum status kv_excerpt_fork(struct kv_excerpt **out, struct kv_excerpt *e, uint32_t n_position_max,
                            struct note *why)
{
    const bool mass = e->config.n_tail_mass > 0;
    struct kv_excerpt_config config = e->config;
    struct kv_excerpt *fork;
    config.n_position_max = n_position_max;
    enum status st = kv_excerpt_new(&fork, &config, why);
    if (st != OK)
        return st;
    for (uint32_t i = 0; i < e->n_list && st == OK; i++) {
        st = slots_reserve(&fork->list[i], e->list[i].n_block, mass);
        if (st == OK)
            st = turned_copy(&fork->list[i], &e->list[i], e->shape->group[e->group].d_k);
    }
    if (st != OK) {
        note_set(why, "no memory for a copy of the lists of kept rows");
        kv_excerpt_free(fork);
        return st;
    }
    for (uint32_t i = 0; i < e->n_list; i++)
        share_slots(e->config.pool, &fork->list[i], &e->list[i]);
    copy_tail(fork, e);
    fork->tail_first = e->tail_first;
    fork->n_slot_block = e->n_slot_block;
    fork->dropped = e->dropped;
    *out = fork;
    return OK;
}

/* ---- looking ---- */

static struct slots *list_of(const struct kv_excerpt *e, uint32_t layer, uint32_t kv_head)
{
    assert(layer < e->shape->n_layer);
    assert(e->shape->layer_group[layer] == e->group);
    assert(kv_head < e->n_kv_head);
    return &e->list[e->shape->layer_index[layer] * e->n_kv_head + kv_head];
}

struct kv_list kv_excerpt_list(const struct kv_excerpt *e, uint32_t layer, uint32_t kv_head)
{
    const struct slots *l = list_of(e, layer, kv_head);
    return (struct kv_list){
        .n_block = l->n_block,
        .block = l->block,
        .live = l->live,
        .position = l->position,
        .mass = l->mass,
        .tail_first = e->tail_first,
        .tail_live = l->tail_live,
        .tail_mass = l->tail_mass,
        .n_tail_mass = e->config.n_tail_mass,
    };
}

bool kv_excerpt_is_whole(const struct kv_excerpt *e)
{
    return !e->dropped && e->tail_first == 0;
}

uint32_t kv_excerpt_tail_first(const struct kv_excerpt *e)
{
    return e->tail_first;
}

uint32_t kv_excerpt_slot_blocks(const struct kv_excerpt *e)
{
    return e->n_slot_block;
}

/* Bits of rows of block b at positions below n. */
static uint64_t below(uint32_t n_position, uint32_t b)
{
    const uint64_t first = (uint64_t)b * KV_BLOCK;
    if (n_position <= first)
        return 0;
    return n_position >= first + KV_BLOCK ? UINT64_MAX : (UINT64_C(1) << (n_position - first)) - 1;
}

uint32_t kv_excerpt_rows(const struct kv_excerpt *e, uint32_t layer, uint32_t kv_head,
                         uint32_t n_position, kv_row *row, uint32_t *position)
{
    const struct slots *l = list_of(e, layer, kv_head);
    uint32_t n = 0;
    for (uint32_t b = 0; b < l->n_block; b++) {
        for (uint64_t left = l->live[b]; left; left &= left - 1) {
            const uint32_t slot = b * KV_BLOCK + (uint32_t)__builtin_ctzll(left);
            if (l->position[slot] >= n_position)
                continue;
            row[n] = slot;
            position[n++] = l->position[slot];
        }
    }
    for (uint32_t b = e->tail_first; b < blocks_for(n_position); b++) {
        for (uint64_t left = l->tail_live[b] & below(n_position, b); left; left &= left - 1) {
            const uint32_t at = b * KV_BLOCK + (uint32_t)__builtin_ctzll(left);
            row[n] = KV_IN_TAIL | at;
            position[n++] = at;
        }
    }
    return n;
}

static uint32_t count_live(const struct kv_excerpt *e, const struct slots *l, uint32_t n_position)
{
    uint32_t n = 0;
    for (uint32_t b = e->tail_first; b < blocks_for(n_position); b++)
        n += bits_set(l->tail_live[b] & below(n_position, b));
    if (n_position >= e->tail_first * KV_BLOCK)
        return n + l->n_live;
    for (uint32_t b = 0; b < l->n_block; b++)
        for (uint64_t left = l->live[b]; left; left &= left - 1)
            n += l->position[b * KV_BLOCK + (uint32_t)__builtin_ctzll(left)] < n_position;
    return n;
}

uint32_t kv_excerpt_n_live(const struct kv_excerpt *e, uint32_t layer, uint32_t kv_head,
                           uint32_t n_position)
{
    return count_live(e, list_of(e, layer, kv_head), n_position);
}

uint64_t kv_excerpt_live_rows(const struct kv_excerpt *e, uint32_t n_position)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < e->n_list; i++)
        n += count_live(e, &e->list[i], n_position);
    return n;
}

void kv_excerpt_clear_mass(struct kv_excerpt *e)
{
    for (uint32_t i = 0; e->tail_mass && i < e->n_list; i++) {
        const struct slots *l = &e->list[i];
        if (l->n_block > 0)
            memset(l->mass, 0, (size_t)l->n_block * KV_BLOCK * sizeof *l->mass);
        memset(l->tail_mass, 0, e->config.n_tail_mass * sizeof *l->tail_mass);
    }
}

size_t kv_excerpt_bytes(const struct kv_excerpt *e)
{
    size_t n_block = 0;
    for (uint32_t i = 0; i < e->n_list; i++)
        n_block += e->list[i].n_block;
    return n_block > 0 ? n_block * kv_class_bytes(e->shape, e->class) : 0;
}

/* ---- dropping ---- */

void kv_excerpt_drop(struct kv_excerpt *e, uint32_t layer, uint32_t kv_head, kv_row row)
{
    struct slots *l = list_of(e, layer, kv_head);
    const uint32_t at = row & ~KV_IN_TAIL, b = at / KV_BLOCK;
    const uint64_t bit = UINT64_C(1) << at % KV_BLOCK;
    e->dropped = true;
    if (row & KV_IN_TAIL) {
        assert(at < e->config.n_position_max);
        assert(b >= e->tail_first);
        assert(l->tail_live[b] & bit);
        l->tail_live[b] &= ~bit;
        return;
    }
    assert(b < l->n_block);
    assert(l->live[b] & bit);
    l->live[b] &= ~bit;
    l->n_live--;
    if (at < l->free_from)
        l->free_from = at;
}
