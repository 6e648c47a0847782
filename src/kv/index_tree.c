/* kv/index_tree.c - nodes of the index: their keys, where they hang, and who pins them. */
#include <assert.h>
#include <string.h>
#include <xxhash.h>

#include "base/mem.h"
#include "kv/index_in.h"

enum { KEY_VERSION = 1 };

/* ---- keys ---- */

static struct kv_key key_of(const void *bytes, size_t len, uint64_t seed)
{
    const XXH128_hash_t h = XXH3_128bits_withSeed(bytes, len, seed);
    return (struct kv_key){ h.low64, h.high64 };
}

struct kv_key index_root_key(const struct kv_index *x, const char *salt)
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

struct kv_key index_child_key(struct kv_key parent, const int32_t *ids, uint32_t n)
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

struct kv_node *index_root_find(const struct kv_index *x, const char *salt)
{
    struct kv_key key = index_root_key(x, salt);
    struct kv_node *n = chain_of(x, key);
    while (n && !(node_is_root(n) && key_equal(n->key, key) && strcmp(n->salt, salt) == 0))
        n = n->chain;
    return n;
}

struct kv_node *index_child_find(const struct kv_index *x, const struct kv_node *parent,
                                 struct kv_key key, const int32_t *ids, uint32_t n_id)
{
    struct kv_node *n = chain_of(x, key);
    while (n && !(n->parent == parent && n->n_id == n_id && key_equal(n->key, key) &&
                  memcmp(n->id, ids, n_id * sizeof *ids) == 0))
        n = n->chain;
    return n;
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

struct kv_node *index_root_new(struct kv_index *x, const char *salt)
{
    char *copy = mem_copy_text(salt, strlen(salt));
    struct kv_node *root = copy ? node_new(x, index_root_key(x, salt)) : NULL;
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

struct kv_node *index_child_new(struct kv_index *x, struct kv_node *parent, struct kv_key key,
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

void index_trail_move(struct kv_index *x, struct kv_trail *trail, struct kv_node *to)
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
    index_trail_move(x, trail, NULL);
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
