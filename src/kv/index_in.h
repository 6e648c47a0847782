/* kv/index_in.h - the index from the inside. Private to index_tree.c (nodes), index_find.c (what is found and taken),
 * index.c (what is put), index_public.c (what everybody may take), index_mark.c (what policies wrote down),
 * index_walk.c and index_evict.c (what goes).
 *
 *   leaf heap    nodes without children and pins, the longest unused at the top        N2
 *   window list  nodes that hold window blocks, the longest unused first               N5
 *   ghosts       keys of nodes that went, for the reason of a miss; the newest overwrite */
#ifndef KV_INDEX_IN_H
#define KV_INDEX_IN_H

#include "kv/index.h"

enum { NODE_IN_NO_HEAP = UINT32_MAX, GHOST_MAX = 8192, MARK_MAX = 64 };

struct kv_node {
    struct kv_key key;
    struct kv_node *chain;  // in the same bucket
    struct kv_node *parent; // NULL: a root
    struct kv_node *child, *sibling,
        *elder; // first child; next and previous child of the parent, or root
    struct kv_node *window_next, *window_before;
    char *salt;    // a root's
    uint32_t n_id; // rows; 0: a root
    uint32_t n_child, n_pin;
    uint32_t heap_at;                // place in the leaf heap
    uint64_t used, window_used;      // ticks of last use
    uint64_t made_ns, used_ns;       // the clock then
    struct kv_gone window_gone;      // its window blocks
    struct kv_mark *mark[KV_MARK_N]; // of the positions up to its end; NULL: none
    block_id block[KV_GROUP_MAX];    // KV_NO_BLOCK: a windowed group's that went
    int32_t id[KV_BLOCK];
};

struct ghost {
    struct kv_key key;
    struct kv_gone gone;
};

struct marked {
    struct kv_node *node;
    enum kv_mark_kind kind;
};

struct kv_index {
    struct kv_pool *pool;
    struct kv_spaces *spaces;
    const struct kv_shape *shape;
    struct kv_key model;
    bool windowed; // some group is
    uint64_t tick, now_ns;

    struct kv_node *node;        // [n_node_max]
    uint32_t n_node_max, n_made; // node[0..n_made) were in use at some time
    struct kv_node *unused;      // of those, by chain
    uint32_t n_bucket;
    struct kv_node **bucket;
    struct kv_node **heap; // [n_node_max]
    uint32_t n_heap;
    struct kv_node *window_first, *window_last;
    struct kv_node *root;           // the newest
    struct ghost *ghost;            // [GHOST_MAX], by key
    struct marked marked[MARK_MAX]; // [stats.n_mark]
    size_t mark_bytes_max;
    uint32_t *n_node_of[KV_GROUP_MAX]; // [blocks of the group] nodes that hold it
    struct kv_index_stats stats;
};

static inline bool node_is_root(const struct kv_node *n)
{
    return n->parent == NULL;
}

static inline bool node_has(const struct kv_node *n, uint32_t group)
{
    return n->block[group].n != KV_NO_BLOCK.n;
}

/* ---- index_tree.c ---- */

/* Of a salt's root; of the node of ids [n] behind another, n <= 64. */
struct kv_key index_root_key(const struct kv_index *x, const char *salt);
struct kv_key index_child_key(struct kv_key parent, const int32_t *ids, uint32_t n);

/* NULL: there is none. */
struct kv_node *index_root_find(const struct kv_index *x, const char *salt);
struct kv_node *index_child_find(const struct kv_index *x, const struct kv_node *parent,
                                 struct kv_key key, const int32_t *ids, uint32_t n_id);

/* NULL: no room. A root is in no list until it has a child or a pin; the caller gives it one. */
struct kv_node *index_root_new(struct kv_index *x, const char *salt);
struct kv_node *index_child_new(struct kv_index *x, struct kv_node *parent, struct kv_key key,
                                const int32_t *ids, uint32_t n_id);

/* The pin goes from the trail's node to another one; either may be NULL. */
void index_trail_move(struct kv_index *x, struct kv_trail *trail, struct kv_node *to);

/* ---- index_evict.c ---- */

/* A node was made, or its children or pins changed: it enters or leaves the leaf heap. */
void index_leaf_update(struct kv_index *x, struct kv_node *n);
void index_touch(struct kv_index *x, struct kv_node *n); // used now, and with it all before it
void index_touch_window(struct kv_index *x, struct kv_node *n);

/* Takes the node out of everything, releases its blocks and remembers its key. It has neither children nor pins. */
void index_remove(struct kv_index *x, struct kv_node *n, enum kv_evict why);
/* A node to fill, evicting where there is none. NULL: all are in use. */
struct kv_node *index_node_new(struct kv_index *x);
bool index_was_evicted(const struct kv_index *x, struct kv_key key, struct kv_gone *gone);

void index_time(struct kv_times *t, uint64_t ns);

/* A node holds a block, or lets go of it. */
void index_hold(struct kv_index *x, struct kv_node *n, block_id b);
void index_release(struct kv_index *x, struct kv_node *n, uint32_t group);

/* ---- index_mark.c ---- */
void index_marks_remove(struct kv_index *x, const struct kv_node *n); // all of the node's

/* ---- index.c ---- */
/* kv_index_put, of the space's first blocks only. */
void index_put_blocks(struct kv_index *x, const char *salt, const int32_t *ids, uint32_t n_block,
                      struct kv_space *space, struct kv_trail *trail);

#endif
