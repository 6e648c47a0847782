/* What the index lets go of: leaves by a heap, passed window blocks by a list. */
#include <assert.h>

#include "base/mem.h"
#include "kv/index_in.h"

/* ---- who holds a block ---- */

static uint32_t nodes_of(const struct kv_index *x, block_id b)
{
    return x->n_node_of[kv_block_class(b)][kv_block_index(b)];
}

/* Whether nodes only hold it. */
static bool is_idle(const struct kv_index *x, block_id b)
{
    return kv_pool_holders(x->pool, b) == nodes_of(x, b);
}

void index_hold(struct kv_index *x, struct kv_node *n, block_id b)
{
    n->block[kv_block_class(b)] = b;
    kv_pool_hold(x->pool, b);
    x->n_node_of[kv_block_class(b)][kv_block_index(b)]++;
}

void index_release(struct kv_index *x, struct kv_node *n, uint32_t group)
{
    const block_id b = n->block[group];
    n->block[group] = KV_NO_BLOCK;
    x->n_node_of[group][kv_block_index(b)]--;
    kv_pool_release(x->pool, b);
}

/* ---- how long they live ---- */

const double kv_time_bound[KV_TIME_BUCKETS - 1] = { 0.01, 0.1, 0.5, 1,   2,   5,    10,  20,
                                                    30,   60,  120, 300, 600, 1200, 1800 };

void index_time(struct kv_times *t, uint64_t ns)
{
    const double s = (double)ns / 1e9;
    uint32_t i = 0;
    while (i + 1 < KV_TIME_BUCKETS && s > kv_time_bound[i])
        i++;
    t->n[i]++;
    t->sum += s;
}

const char *kv_evict_name(enum kv_evict why)
{
    static const char *const name[KV_EVICT_N] = {
        [KV_EVICT_MEMORY] = "memory",     [KV_EVICT_WINDOW] = "window", [KV_EVICT_NODES] = "index",
        [KV_EVICT_REPLACED] = "replaced", [KV_EVICT_POLICY] = "policy",
    };
    assert(why < KV_EVICT_N);
    return name[why];
}

/* ---- the heap of leaves: the longest unused at the top ---- */

static void heap_set(struct kv_index *x, uint32_t i, struct kv_node *n)
{
    x->heap[i] = n;
    n->heap_at = i;
}

static void heap_up(struct kv_index *x, uint32_t i, struct kv_node *n)
{
    for (; i > 0 && n->used < x->heap[(i - 1) / 2]->used; i = (i - 1) / 2)
        heap_set(x, i, x->heap[(i - 1) / 2]);
    heap_set(x, i, n);
}

static void heap_down(struct kv_index *x, uint32_t i, struct kv_node *n)
{
    for (uint32_t child; (child = 2 * i + 1) < x->n_heap; i = child) {
        if (child + 1 < x->n_heap && x->heap[child + 1]->used < x->heap[child]->used)
            child++;
        if (n->used <= x->heap[child]->used)
            break;
        heap_set(x, i, x->heap[child]);
    }
    heap_set(x, i, n);
}

static void heap_remove(struct kv_index *x, struct kv_node *n)
{
    const uint32_t i = n->heap_at;
    struct kv_node *last = x->heap[--x->n_heap];
    n->heap_at = NODE_IN_NO_HEAP;
    if (last == n)
        return;
    heap_down(x, i, last);
    heap_up(x, last->heap_at, last);
}

void index_leaf_update(struct kv_index *x, struct kv_node *n)
{
    const bool belongs = n->n_child == 0 && n->n_pin == 0, is_there = n->heap_at != NODE_IN_NO_HEAP;
    if (belongs && !is_there)
        heap_up(x, x->n_heap++, n);
    else if (!belongs && is_there)
        heap_remove(x, n);
}

void index_touch(struct kv_index *x, struct kv_node *n)
{
    for (; n && n->used != x->tick; n = n->parent) {
        n->used = x->tick;
        n->used_ns = x->now_ns;
        if (n->heap_at != NODE_IN_NO_HEAP)
            heap_down(x, n->heap_at, n);
    }
}

/* ---- the list of nodes with window blocks ---- */

static bool holds_window(const struct kv_index *x, const struct kv_node *n)
{
    for (uint32_t g = 0; x->windowed && g < x->shape->n_group; g++) {
        if (x->shape->group[g].window && node_has(n, g))
            return true;
    }
    return false;
}

static void window_unlink(struct kv_index *x, struct kv_node *n)
{
    *(n->window_before ? &n->window_before->window_next : &x->window_first) = n->window_next;
    *(n->window_next ? &n->window_next->window_before : &x->window_last) = n->window_before;
    n->window_next = n->window_before = NULL;
}

static bool window_is_linked(const struct kv_index *x, const struct kv_node *n)
{
    return n->window_before || n->window_next || x->window_first == n;
}

void index_touch_window(struct kv_index *x, struct kv_node *n)
{
    if (!holds_window(x, n))
        return;
    if (window_is_linked(x, n))
        window_unlink(x, n);
    n->window_used = x->tick;
    n->window_before = x->window_last;
    *(x->window_last ? &x->window_last->window_next : &x->window_first) = n;
    x->window_last = n;
}

/* Whether its window blocks are held here only, so that dropping them frees memory. */
static bool window_is_idle(const struct kv_index *x, const struct kv_node *n)
{
    for (uint32_t g = 0; g < x->shape->n_group; g++) {
        if (x->shape->group[g].window && node_has(n, g) && !is_idle(x, n->block[g]))
            return false;
    }
    return true;
}

static void window_drop(struct kv_index *x, struct kv_node *n)
{
    window_unlink(x, n);
    for (uint32_t g = 0; g < x->shape->n_group; g++) {
        if (x->shape->group[g].window && node_has(n, g))
            index_release(x, n, g);
    }
    n->window_gone = (struct kv_gone){ x->tick, x->now_ns, KV_EVICT_WINDOW };
    x->stats.n_window_dropped++;
}

/* ---- nodes ---- */

static struct ghost *ghost_of(const struct kv_index *x, struct kv_key key)
{
    return &x->ghost[key.high % GHOST_MAX];
}

bool index_was_evicted(const struct kv_index *x, struct kv_key key, struct kv_gone *gone)
{
    const struct ghost *ghost = ghost_of(x, key);
    *gone = ghost->gone;
    return ghost->key.low == key.low && ghost->key.high == key.high;
}

static void chain_unlink(struct kv_index *x, struct kv_node *n)
{
    struct kv_node **at = &x->bucket[n->key.low % x->n_bucket];
    while (*at != n)
        at = &(*at)->chain;
    *at = n->chain;
}

static void sibling_unlink(struct kv_index *x, struct kv_node *n)
{
    struct kv_node **first = node_is_root(n) ? &x->root : &n->parent->child;
    *(n->elder ? &n->elder->sibling : first) = n->sibling;
    if (n->sibling)
        n->sibling->elder = n->elder;
}

void index_remove(struct kv_index *x, struct kv_node *n, enum kv_evict why)
{
    assert(n->n_child == 0 && n->n_pin == 0);
    if (n->heap_at != NODE_IN_NO_HEAP)
        heap_remove(x, n);
    if (holds_window(x, n))
        window_unlink(x, n);
    index_marks_remove(x, n);
    for (uint32_t g = 0; g < x->shape->n_group && !node_is_root(n); g++) {
        if (node_has(n, g))
            index_release(x, n, g);
    }
    *ghost_of(x, n->key) = (struct ghost){ n->key, { x->tick, x->now_ns, why } };
    chain_unlink(x, n);
    sibling_unlink(x, n);
    if (node_is_root(n)) {
        mem_free(n->salt);
        x->stats.n_salt--;
    } else {
        n->parent->n_child--;
        index_leaf_update(x, n->parent);
        x->stats.n_node--;
        if (why != KV_EVICT_REPLACED) {
            index_time(&x->stats.lifetime, x->now_ns - n->made_ns);
            index_time(&x->stats.idle, x->now_ns - n->used_ns);
        }
    }
    *n = (struct kv_node){ .chain = x->unused, .heap_at = NODE_IN_NO_HEAP };
    x->unused = n;
}

struct kv_node *index_node_new(struct kv_index *x)
{
    if (!x->unused && x->n_made < x->n_node_max)
        return &x->node[x->n_made++];
    if (!x->unused && x->n_heap > 0) {
        x->stats.n_crowded += !node_is_root(x->heap[0]);
        index_remove(x, x->heap[0], KV_EVICT_NODES);
    }
    struct kv_node *n = x->unused;
    if (n)
        x->unused = n->chain;
    return n;
}

/* The node that was unused for longest of those whose window blocks only the index holds. NULL: none. */
static struct kv_node *window_oldest(const struct kv_index *x)
{
    struct kv_node *n = x->window_first;
    while (n && !window_is_idle(x, n))
        n = n->window_next;
    return n;
}

bool kv_index_evict(struct kv_index *x)
{
    struct kv_node *window = window_oldest(x);
    while (x->n_heap > 0 && !(window && window->window_used <= x->heap[0]->used)) {
        const bool frees = !node_is_root(x->heap[0]);
        index_remove(x, x->heap[0], KV_EVICT_MEMORY);
        x->stats.n_evicted += frees;
        if (frees)
            return true;
    }
    if (window)
        window_drop(x, window);
    return window != NULL;
}

/* What several nodes hold counts in parts. */
size_t kv_index_idle_bytes(const struct kv_index *x)
{
    double bytes = 0;
    for (uint32_t i = 0; i < x->n_made; i++) {
        const struct kv_node *n = &x->node[i];
        for (uint32_t g = 0; n->parent && g < x->shape->n_group; g++) {
            if (node_has(n, g) && is_idle(x, n->block[g]))
                bytes += (double)kv_block_bytes(x->shape, g) / nodes_of(x, n->block[g]);
        }
    }
    return (size_t)(bytes + 0.5);
}
