/* kv/index_find.c - what of a prompt is here, why the rest is not, and taking it. */
#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "kv/index_in.h"

enum { ELSEWHERE_SALTS = 64, ELSEWHERE_IDS = 16 };

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

/* ---- finding ---- */

static uint32_t same_ids(const int32_t *a, const int32_t *b, uint32_t n)
{
    uint32_t i = 0;
    while (i < n && a[i] == b[i])
        i++;
    return i;
}

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
           index_was_evicted(x, index_child_key(end, ids + at, KV_BLOCK), &p->gone);
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
    struct path p = { .end = index_root_find(x, salt), .miss = KV_MISS_COLD };
    const uint32_t most = n_id - 1; /* one is left to compute: its row gives the next token */
    if (!p.end) {
        if (most == 0)
            p.miss = KV_MISS_NONE;
        else if (has_gone(x, &p, index_root_key(x, salt), ids, n_id))
            p.miss = KV_MISS_EVICTED;
        return p;
    }
    for (; (p.n_block + 1) * KV_BLOCK <= most; p.n_block++) {
        const int32_t *at = ids + (size_t)p.n_block * KV_BLOCK;
        struct kv_node *next =
            index_child_find(x, p.end, index_child_key(p.end->key, at, KV_BLOCK), at, KV_BLOCK);
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
    index_trail_move(x, trail, p.end);
    trail->n_block = p.n_block;
    return OK;
}
