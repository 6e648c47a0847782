#include "kv/index.h"

#include <assert.h>
#include <string.h>
#include <xxhash.h>

#include "base/mem.h"
#include "kv/index_in.h"

enum { KEY_VERSION = 1, NODES_BESIDE = 64, ELSEWHERE_SALTS = 64, ELSEWHERE_IDS = 16 };

const char *kv_miss_name(enum kv_miss m)
{
    static const char *const name[KV_MISS_N] = {
        [KV_MISS_NONE] = "none",         [KV_MISS_COLD] = "cold",
        [KV_MISS_DIVERGED] = "diverged", [KV_MISS_END] = "end",
        [KV_MISS_EVICTED] = "evicted",   [KV_MISS_WINDOW] = "window",
        [KV_MISS_OFF] = "off",           [KV_MISS_SHORT] = "below_minimum",
        [KV_MISS_SALT] = "salt",         [KV_MISS_PUBLIC] = "public",
        [KV_MISS_TENANT] = "tenant",     [KV_MISS_POLICY] = "policy",
    };
    assert(m < KV_MISS_N);
    return name[m];
}

/* ---- keys ---- */

static struct kv_key key_of(const void *bytes, size_t len, uint64_t seed)
{
    const XXH128_hash_t h = XXH3_128bits_withSeed(bytes, len, seed);
    return (struct kv_key){ h.low64, h.high64 };
}

static struct kv_key root_key(const struct kv_index *x, const char *salt)
{
    struct {
        struct kv_key model;
        uint64_t type;
        char salt[KV_SALT_MAX + 1];
    } from = { .model = x->model, .type = (uint64_t)x->shape->type };
    const size_t len = strlen(salt);
    assert(len <= KV_SALT_MAX);
    memcpy(from.salt, salt, len);
    return key_of(&from, sizeof from, KEY_VERSION);
}

static struct kv_key child_key(struct kv_key parent, const int32_t *ids, uint32_t n)
{
    struct {
        struct kv_key parent;
        int32_t id[KV_BLOCK];
    } from = { .parent = parent };
    memcpy(from.id, ids, n * sizeof *ids);
    return key_of(&from, sizeof from.parent + n * sizeof *ids, KEY_VERSION);
}

/* ---- the tree ---- */

static bool key_equal(struct kv_key a, struct kv_key b)
{
    return a.low == b.low && a.high == b.high;
}

static struct kv_node *chain_of(const struct kv_index *x, struct kv_key key)
{
    return x->bucket[key.low % x->n_bucket];
}

static struct kv_node *root_find(const struct kv_index *x, const char *salt)
{
    struct kv_key key = root_key(x, salt);
    struct kv_node *n = chain_of(x, key);
    while (n && !(node_is_root(n) && key_equal(n->key, key) && strcmp(n->salt, salt) == 0))
        n = n->chain;
    return n;
}

static struct kv_node *child_find(const struct kv_index *x, const struct kv_node *parent,
                                  struct kv_key key, const int32_t *ids, uint32_t n_id)
{
    struct kv_node *n = chain_of(x, key);
    while (n && !(n->parent == parent && n->n_id == n_id && key_equal(n->key, key) &&
                  memcmp(n->id, ids, n_id * sizeof *ids) == 0))
        n = n->chain;
    return n;
}

static uint32_t same_ids(const int32_t *a, const int32_t *b, uint32_t n)
{
    uint32_t i = 0;
    while (i < n && a[i] == b[i])
        i++;
    return i;
}

static struct kv_node *node_new(struct kv_index *x, struct kv_key key)
{
    struct kv_node *n = index_node_new(x);
    if (!n)
        return NULL;
    *n = (struct kv_node){ .key = key, .heap_at = NODE_IN_NO_HEAP };
    for (uint32_t g = 0; g < KV_GROUP_MAX; g++)
        n->block[g] = KV_NO_BLOCK;
    struct kv_node **bucket = &x->bucket[key.low % x->n_bucket];
    n->chain = *bucket;
    *bucket = n;
    return n;
}

/* The root is in no list until it has a child or a pin; the caller gives it one. */
static struct kv_node *root_new(struct kv_index *x, const char *salt)
{
    char *copy = mem_copy_text(salt, strlen(salt));
    struct kv_node *root = copy ? node_new(x, root_key(x, salt)) : NULL;
    if (!root) {
        mem_free(copy);
        return NULL;
    }
    root->salt = copy;
    root->sibling = x->root;
    if (x->root)
        x->root->elder = root;
    x->root = root;
    x->stats.n_salt++;
    return root;
}

static struct kv_node *child_new(struct kv_index *x, struct kv_node *parent, struct kv_key key,
                                 const int32_t *ids, uint32_t n_id)
{
    parent->n_pin++; /* making room must not take it */
    index_leaf_update(x, parent);
    struct kv_node *n = node_new(x, key);
    if (n) {
        n->parent = parent;
        n->n_id = n_id;
        n->made_ns = n->used_ns = x->now_ns;
        memcpy(n->id, ids, n_id * sizeof *ids);
        n->sibling = parent->child;
        if (n->sibling)
            n->sibling->elder = n;
        parent->child = n;
        parent->n_child++;
        x->stats.n_node++;
        x->stats.n_put++;
    }
    parent->n_pin--;
    index_leaf_update(x, parent);
    return n;
}

/* ---- pins ---- */

static void trail_move(struct kv_index *x, struct kv_trail *trail, struct kv_node *to)
{
    struct kv_node *from = trail->node;
    trail->node = to;
    if (to) {
        to->n_pin++;
        index_leaf_update(x, to);
    }
    if (from) {
        from->n_pin--;
        index_leaf_update(x, from);
    }
}

void kv_index_drop(struct kv_index *x, struct kv_trail *trail)
{
    trail_move(x, trail, NULL);
    trail->n_block = 0;
}

void kv_index_forget(struct kv_index *x, struct kv_trail *trail, uint32_t n_block)
{
    struct kv_node *n = trail->node;
    uint32_t depth = trail->n_block;
    kv_index_drop(x, trail);
    while (n && depth > n_block && n->n_child == 0 && n->n_pin == 0) {
        struct kv_node *parent = n->parent;
        index_remove(x, n, KV_EVICT_POLICY);
        x->stats.n_pruned++;
        n = parent;
        depth--;
    }
}

/* ---- finding ---- */

struct path {
    struct kv_node *end;  // the last whole block's node, or the root
    uint32_t n_block;     // whole blocks up to it
    struct kv_node *tail; // whose first n_tail rows follow, or NULL
    uint32_t n_tail;
    enum kv_miss miss;
    uint32_t miss_at;
    struct kv_gone gone;
};

/* The child that goes on longest with these n ids, which are less than a block or no child's. */
static void find_tail(struct path *p, const int32_t *ids, uint32_t n)
{
    for (struct kv_node *c = p->end->child; c; c = c->sibling) {
        const uint32_t most = n < c->n_id ? n : c->n_id, same = same_ids(c->id, ids, most);
        if (same > p->n_tail) {
            p->n_tail = same;
            p->tail = c;
        }
    }
}

/* Whether the whole block behind the path was here once. */
static bool has_gone(const struct kv_index *x, struct path *p, struct kv_key end,
                     const int32_t *ids, uint32_t n_id)
{
    const uint32_t at = p->n_block * KV_BLOCK;
    return n_id - at >= KV_BLOCK &&
           index_was_evicted(x, child_key(end, ids + at, KV_BLOCK), &p->gone);
}

/* Why position p->miss_at = n_block * 64 + n_tail is not here. */
static enum kv_miss reason(const struct kv_index *x, struct path *p, const int32_t *ids,
                           uint32_t n_id)
{
    if (p->miss_at + 1 >= n_id)
        return KV_MISS_NONE;
    if (has_gone(x, p, p->end->key, ids, n_id))
        return KV_MISS_EVICTED;
    if (p->tail && p->n_tail == p->tail->n_id)
        return KV_MISS_END; /* a partial block, all of it used */
    if (p->end->child)
        return p->miss_at == 0 ? KV_MISS_COLD : KV_MISS_DIVERGED;
    return p->n_block ? KV_MISS_END : KV_MISS_COLD;
}

static struct path find(const struct kv_index *x, const char *salt, const int32_t *ids,
                        uint32_t n_id)
{
    struct path p = { .end = root_find(x, salt), .miss = KV_MISS_COLD };
    const uint32_t most = n_id - 1; /* one is left to compute: its row gives the next token */
    if (!p.end) {
        if (most == 0)
            p.miss = KV_MISS_NONE;
        else if (has_gone(x, &p, root_key(x, salt), ids, n_id))
            p.miss = KV_MISS_EVICTED;
        return p;
    }
    for (; (p.n_block + 1) * KV_BLOCK <= most; p.n_block++) {
        const int32_t *at = ids + (size_t)p.n_block * KV_BLOCK;
        struct kv_node *next =
            child_find(x, p.end, child_key(p.end->key, at, KV_BLOCK), at, KV_BLOCK);
        if (!next)
            break;
        p.end = next;
    }
    const uint32_t at = p.n_block * KV_BLOCK, left = most - at;
    find_tail(&p, ids + at, left < KV_BLOCK ? left : KV_BLOCK);
    p.miss_at = at + p.n_tail;
    p.miss = reason(x, &p, ids, n_id);
    return p;
}

static void path_step_back(struct path *p)
{
    if (p->tail) {
        p->tail = NULL;
        p->n_tail = 0;
    } else {
        p->end = p->end->parent;
        p->n_block--;
    }
}

static uint32_t path_positions(const struct path *p)
{
    return p->n_block * KV_BLOCK + p->n_tail;
}

/* A node of the path that lacks a block which a query at its end sees. NULL: all are here. */
static const struct kv_node *path_lacks(const struct kv_index *x, const struct path *p)
{
    const uint32_t n = path_positions(p);
    for (uint32_t g = 0; g < x->shape->n_group; g++) {
        const uint32_t first = kv_first_seen(x->shape, g, n);
        if (p->tail && !node_has(p->tail, g))
            return p->tail;
        const struct kv_node *at = p->end;
        for (uint32_t i = p->n_block; i > first; i--, at = at->parent) {
            if (!node_has(at, g))
                return at;
        }
    }
    return NULL;
}

/* Shortens the path to where windowed layers can go on. */
static void path_mend(const struct kv_index *x, struct path *p)
{
    if (!x->windowed || !p->end)
        return;
    const struct kv_node *lacks;
    while (path_positions(p) > 0 && (lacks = path_lacks(x, p))) {
        path_step_back(p);
        p->miss = KV_MISS_WINDOW;
        p->gone = lacks->window_gone;
    }
    if (p->miss == KV_MISS_WINDOW)
        p->miss_at = path_positions(p);
}

static struct kv_hit hit_of(const struct path *p)
{
    struct kv_hit hit = {
        .n_position = p->end ? path_positions(p) : 0,
        .miss = p->miss,
        .miss_at = p->miss_at,
        .gone = p->gone,
    };
    const struct kv_node *other = p->tail ? p->tail : p->end ? p->end->child : NULL;
    const uint32_t from = p->miss_at % KV_BLOCK;
    if (p->miss == KV_MISS_DIVERGED && other && other->n_id > from) {
        hit.n_instead = other->n_id - from < KV_INSTEAD_MAX ? other->n_id - from : KV_INSTEAD_MAX;
        memcpy(hit.instead, other->id + from, hit.n_instead * sizeof *hit.instead);
    }
    return hit;
}

struct kv_hit kv_index_find(const struct kv_index *x, const char *salt, const int32_t *ids,
                            uint32_t n_id)
{
    struct path p = find(x, salt, ids, n_id);
    path_mend(x, &p);
    return hit_of(&p);
}

/* ---- the same elsewhere ---- */

static bool same_tenant(const char *a, const char *b)
{
    const size_t n = strcspn(a, "/");
    return strcspn(b, "/") == n && memcmp(a, b, n) == 0;
}

enum kv_miss kv_index_elsewhere(const struct kv_index *x, const char *salt, const int32_t *ids,
                                uint32_t n_id)
{
    bool is_public = false, is_tenants = false;
    const uint32_t most = n_id - 1, enough = most < ELSEWHERE_IDS ? most : ELSEWHERE_IDS;
    uint32_t n_seen = 0;
    for (struct kv_node *r = x->root; r && enough && n_seen < ELSEWHERE_SALTS;
         r = r->sibling, n_seen++) {
        struct path p = { .end = r };
        if (strcmp(r->salt, salt) != 0)
            find_tail(&p, ids, enough);
        if (p.n_tail < enough)
            continue;
        if (same_tenant(r->salt, salt))
            return KV_MISS_SALT;
        if (strcmp(r->salt, KV_SALT_PUBLIC) == 0)
            is_public = true;
        else
            is_tenants = true;
    }
    return is_public ? KV_MISS_PUBLIC : is_tenants ? KV_MISS_TENANT : KV_MISS_COLD;
}

/* ---- taking ---- */

static void path_touch(struct kv_index *x, const struct path *p)
{
    struct kv_node *last = p->tail ? p->tail : p->end;
    for (const struct kv_node *n = last; !node_is_root(n); n = n->parent)
        index_time(&x->stats.reuse_gap, x->now_ns - n->used_ns);
    index_touch(x, last);
    if (!x->windowed)
        return;
    uint32_t first = p->n_block;
    for (uint32_t g = 0; g < x->shape->n_group; g++) {
        const uint32_t seen = kv_first_seen(x->shape, g, path_positions(p));
        if (x->shape->group[g].window && seen < first)
            first = seen;
    }
    struct kv_node *n = p->end;
    for (uint32_t i = p->n_block; i > first; i--, n = n->parent)
        index_touch_window(x, n);
    if (p->tail)
        index_touch_window(x, p->tail);
}

/* The blocks of the path, for kv_space_adopt: those that are not needed are KV_NO_BLOCK. */
static block_id *path_blocks(const struct kv_index *x, const struct path *p)
{
    const uint32_t n = p->n_block + (p->tail != NULL), n_group = x->shape->n_group;
    block_id *block = mem_new((size_t)n * n_group, sizeof *block);
    if (!block)
        return NULL;
    const struct kv_node *at = p->tail ? p->tail : p->end;
    for (uint32_t i = n; i > 0; i--, at = at->parent) {
        for (uint32_t g = 0; g < n_group; g++)
            block[(size_t)g * n + i - 1] = at->block[g];
    }
    return block;
}

enum status kv_index_take(struct kv_index *x, const char *salt, const int32_t *ids, uint32_t n_id,
                          struct kv_space **space, struct kv_trail *trail, struct kv_hit *hit,
                          struct note *why)
{
    assert(!trail->node);
    struct path p = find(x, salt, ids, n_id);
    path_mend(x, &p);
    *hit = hit_of(&p);
    if (hit->n_position == 0)
        return NOT_FOUND;
    block_id *block = path_blocks(x, &p);
    if (!block) {
        note_set(why, "no memory for a list of %u blocks", p.n_block + 1);
        return FULL;
    }
    enum status st = kv_space_adopt(space, x->spaces, hit->n_position, block, why);
    mem_free(block);
    if (st != OK)
        return st;
    path_touch(x, &p);
    trail_move(x, trail, p.end);
    trail->n_block = p.n_block;
    return OK;
}

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
    const struct kv_key key = child_key(trail->node->key, ids, n_id);
    struct kv_node *n = child_find(x, trail->node, key, ids, n_id);
    const bool here = n != NULL;
    if (!here && !(n = child_new(x, trail->node, key, ids, n_id)))
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
    struct kv_node *root = root_find(x, salt);
    if (!root)
        root = root_new(x, salt);
    if (!root)
        return false;
    trail_move(x, trail, root);
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
        trail_move(x, trail, n);
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
    if (!x)
        goto full;
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
    for (uint32_t i = 1; i < x->n_heap; i++)
        assert(x->heap[(i - 1) / 2]->used <= x->heap[i]->used);
}
