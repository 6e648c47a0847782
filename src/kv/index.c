#include "kv/index.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "kv/index_in.h"

enum { NODES_BESIDE = 64, MARKS_PART = 8 };

/* ---- putting ---- */

/* Partial siblings whose rows the new whole block holds too are of no more use. */
static void drop_shorter(struct kv_index *x, struct kv_node *whole)
{
    for (struct kv_node *c = whole->parent->child, *next; c; c = next) {
        next = c->sibling;
        if (c->n_id < whole->n_id && c->n_child == 0 && c->n_pin == 0 &&
            memcmp(c->id, whole->id, c->n_id * sizeof *c->id) == 0)
            index_remove(x, c, KV_EVICT_REPLACED);
    }
}

/* The node of n_id ids behind the trail, made if it is not here. NULL: no room. */
static struct kv_node *put_block(struct kv_index *x, const int32_t *ids, uint32_t n_id,
                                 const struct kv_space *space, const struct kv_trail *trail)
{
    const struct kv_key key = index_child_key(trail->node->key, ids, n_id);
    struct kv_node *n = index_child_find(x, trail->node, key, ids, n_id);
    const bool here = n != NULL;
    if (!here && !(n = index_child_new(x, trail->node, key, ids, n_id)))
        return NULL;
    x->stats.n_put_twice += here;
    for (uint32_t g = 0; g < x->shape->n_group; g++) {
        const bool held = trail->n_block >= kv_space_first(space, g);
        if (held && !node_has(n, g)) /* a new node, or a window's that went */
            index_hold(x, n, kv_space_block(space, g, trail->n_block));
    }
    index_touch(x, n);
    index_touch_window(x, n);
    return n;
}

static bool trail_begin(struct kv_index *x, const char *salt, struct kv_trail *trail)
{
    if (trail->node)
        return true;
    struct kv_node *root = index_root_find(x, salt);
    if (!root)
        root = index_root_new(x, salt);
    if (!root)
        return false;
    index_trail_move(x, trail, root);
    return true;
}

void index_put_blocks(struct kv_index *x, const char *salt, const int32_t *ids, uint32_t n_block,
                      struct kv_space *space, struct kv_trail *trail)
{
    if (trail->n_block >= n_block || !trail_begin(x, salt, trail))
        return;
    for (; trail->n_block < n_block; trail->n_block++) {
        struct kv_node *n =
            put_block(x, ids + (size_t)trail->n_block * KV_BLOCK, KV_BLOCK, space, trail);
        if (!n)
            return; /* the next put tries again */
        index_trail_move(x, trail, n);
        drop_shorter(x, n);
        index_leaf_update(x, n);
    }
}

void kv_index_put(struct kv_index *x, const char *salt, const int32_t *ids, struct kv_space *space,
                  struct kv_trail *trail)
{
    index_put_blocks(x, salt, ids, kv_space_committed(space) / KV_BLOCK, space, trail);
}

/* Whether some child begins with these ids already. */
static bool is_begun(const struct kv_node *parent, const int32_t *ids, uint32_t n)
{
    for (const struct kv_node *c = parent->child; c; c = c->sibling) {
        if (c->n_id >= n && memcmp(c->id, ids, n * sizeof *ids) == 0)
            return true;
    }
    return false;
}

void kv_index_leave(struct kv_index *x, const char *salt, const int32_t *ids,
                    struct kv_space *space, struct kv_trail *trail)
{
    const uint32_t n = kv_space_committed(space), n_tail = n % KV_BLOCK;
    kv_index_put(x, salt, ids, space, trail);
    if (n_tail && trail->n_block == n / KV_BLOCK && trail_begin(x, salt, trail) &&
        !is_begun(trail->node, ids + n - n_tail, n_tail)) {
        kv_space_seal(space);
        struct kv_node *tail = put_block(x, ids + n - n_tail, n_tail, space, trail);
        if (tail)
            index_leaf_update(x, tail);
    }
    kv_index_drop(x, trail);
    kv_space_free(space);
}

/* ---- birth and death ---- */

void kv_index_tick(struct kv_index *x, uint64_t tick)
{
    x->tick = tick;
}

void kv_index_clock(struct kv_index *x, uint64_t now_ns)
{
    x->now_ns = now_ns;
}

void kv_index_stats(const struct kv_index *x, struct kv_index_stats *out)
{
    *out = x->stats;
}

/* Most nodes with blocks of every group that the cap allows, twice, as a public block has a second one; windowed groups
 * keep theirs for a while only. */
static uint32_t nodes_for(const struct kv_pool *pool)
{
    const struct kv_shape *shape = kv_pool_shape(pool);
    struct kv_pool_usage usage;
    size_t bytes = SIZE_MAX;
    kv_pool_usage(pool, &usage);
    for (uint32_t g = 0; g < shape->n_group; g++) {
        const size_t one = kv_block_bytes(shape, g);
        bytes = one < bytes ? one : bytes;
    }
    const size_t n = 2 * (usage.bytes_max / bytes) + NODES_BESIDE;
    return n < UINT32_MAX / 2 ? (uint32_t)n : UINT32_MAX / 2;
}

static bool counts_new(struct kv_index *x)
{
    struct kv_pool_usage usage;
    bool all = true;
    kv_pool_usage(x->pool, &usage);
    for (uint32_t g = 0; g < x->shape->n_group; g++) {
        x->n_node_of[g] = mem_new(usage.bytes_max / kv_block_bytes(x->shape, g), sizeof(uint32_t));
        all &= x->n_node_of[g] != NULL;
    }
    return all;
}

enum status kv_index_new(struct kv_index **out, const struct kv_index_config *config,
                         struct note *why)
{
    struct kv_index *x = mem_new(1, sizeof *x);
    struct kv_pool_usage usage;
    if (!x)
        goto full;
    kv_pool_usage(config->pool, &usage);
    x->mark_bytes_max = usage.bytes_max / MARKS_PART;
    x->pool = config->pool;
    x->spaces = config->spaces;
    x->shape = kv_pool_shape(config->pool);
    x->model = config->model;
    for (uint32_t g = 0; g < x->shape->n_group; g++)
        x->windowed |= x->shape->group[g].window != 0;
    x->n_node_max = nodes_for(config->pool);
    x->n_bucket = x->n_node_max | 1;
    x->node = mem_new(x->n_node_max, sizeof *x->node);
    x->bucket = mem_new(x->n_bucket, sizeof *x->bucket);
    x->heap = mem_new(x->n_node_max, sizeof *x->heap);
    x->ghost = mem_new(GHOST_MAX, sizeof *x->ghost);
    if (!x->node || !x->bucket || !x->heap || !x->ghost || !counts_new(x))
        goto full;
    *out = x;
    return OK;
full:
    note_set(why, "no memory for the index of KV blocks");
    kv_index_free(x);
    return FULL;
}

void kv_index_free(struct kv_index *x)
{
    if (!x)
        return;
    while (kv_index_evict(x))
        ;
    assert(x->stats.n_node == 0); /* a trail was not dropped */
    mem_free(x->node);
    mem_free(x->bucket);
    mem_free(x->heap);
    mem_free(x->ghost);
    for (uint32_t g = 0; g < KV_GROUP_MAX; g++)
        mem_free(x->n_node_of[g]);
    mem_free(x);
}

/* ---- checking ---- */

static void check_node(const struct kv_index *x, const struct kv_node *n)
{
    uint32_t n_child = 0;
    for (const struct kv_node *c = n->child; c; c = c->sibling, n_child++) {
        assert(c->parent == n);
        assert(c->used <= n->used);
    }
    assert(n_child == n->n_child);
    assert((n->heap_at != NODE_IN_NO_HEAP) == (n->n_child == 0 && n->n_pin == 0));
    assert(n->heap_at == NODE_IN_NO_HEAP || x->heap[n->heap_at] == n);
    for (uint32_t g = 0; g < x->shape->n_group && !node_is_root(n); g++) {
        assert(node_has(n, g) || x->shape->group[g].window);
        assert(!node_has(n, g) || kv_pool_is_sealed(x->pool, n->block[g]));
        assert(!node_has(n, g) || x->n_node_of[g][kv_block_index(n->block[g])] > 0);
    }
    assert(n->n_id == KV_BLOCK || n->n_child == 0 || node_is_root(n));
}

void kv_index_check(const struct kv_index *x)
{
    uint32_t n_node = 0;
    for (uint32_t b = 0; b < x->n_bucket; b++) {
        for (const struct kv_node *n = x->bucket[b]; n; n = n->chain) {
            check_node(x, n);
            n_node++;
        }
    }
    assert(n_node == x->stats.n_node + x->stats.n_salt);
    size_t mark_bytes = 0;
    for (uint32_t i = 0; i < x->stats.n_mark; i++) {
        const struct kv_mark *m = x->marked[i].node->mark[x->marked[i].kind];
        for (uint32_t j = 0; j < i && m; j++)
            if (x->marked[j].node->mark[x->marked[j].kind] == m)
                m = NULL; /* of the other tree, too */
        mark_bytes += m ? m->bytes : 0;
    }
    assert(mark_bytes == x->stats.mark_bytes && mark_bytes <= x->mark_bytes_max);
    for (uint32_t i = 1; i < x->n_heap; i++)
        assert(x->heap[(i - 1) / 2]->used <= x->heap[i]->used);
}
