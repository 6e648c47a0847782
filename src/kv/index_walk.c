/* The whole index, for who looks on. */
#include "kv/index_in.h"

static void show(const struct kv_index *x, const struct kv_node *n, uint32_t depth,
                 kv_index_visit *visit, void *arg)
{
    const struct kv_index_seen seen = {
        .name = (uint32_t)(n - x->node),
        .depth = depth,
        .salt = n->salt,
        .n_id = n->n_id,
        .n_pin = n->n_pin,
        .id = n->id,
        .used = n->used,
        .block = n->block,
    };
    visit(arg, &seen);
}

/* Down to the first child, else to the next sibling of it or of the nearest that it lies under; roots are siblings too.
 * NULL: all were seen. */
static const struct kv_node *next_of(const struct kv_node *n, uint32_t *depth)
{
    if (n->child) {
        ++*depth;
        return n->child;
    }
    while (n && !n->sibling) {
        n = n->parent;
        --*depth;
    }
    return n ? n->sibling : NULL;
}

/* Roots are siblings of each other. */
void kv_index_walk(const struct kv_index *x, kv_index_visit *visit, void *arg)
{
    uint32_t depth = 0;
    for (const struct kv_node *n = x->root; n; n = next_of(n, &depth))
        show(x, n, depth, visit, arg);
}

uint32_t kv_index_node_max(const struct kv_index *x)
{
    return x->n_node_max;
}
