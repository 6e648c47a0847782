/* What policies wrote down over a prefix (kv/mark.h), at the nodes where it ends. Few and large: a list, and the
 * longest unused goes. With its node, a mark goes too. */
#include "kv/index_in.h"

static void mark_drop(struct kv_index *x, uint32_t i)
{
    struct marked *m = &x->marked[i];
    struct kv_mark **at = &m->node->mark[m->kind];
    if (--(*at)->n_node == 0)
        x->stats.mark_bytes -= (*at)->bytes;
    kv_mark_release(*at);
    *at = NULL;
    *m = x->marked[--x->stats.n_mark];
}

void index_marks_remove(struct kv_index *x, const struct kv_node *n)
{
    for (uint32_t i = 0; i < x->stats.n_mark;) {
        if (x->marked[i].node == n)
            mark_drop(x, i);
        else
            i++;
    }
}

/* The longest unused, but for m. False: there is no other. */
static bool mark_evict(struct kv_index *x, const struct kv_mark *m)
{
    uint32_t oldest = MARK_MAX;
    for (uint32_t i = 0; i < x->stats.n_mark; i++) {
        const struct marked *at = &x->marked[i];
        if (at->node->mark[at->kind] != m &&
            (oldest == MARK_MAX || at->node->used < x->marked[oldest].node->used))
            oldest = i;
    }
    if (oldest == MARK_MAX)
        return false;
    mark_drop(x, oldest);
    return true;
}

bool kv_index_lacks_mark(const struct kv_trail *trail, enum kv_mark_kind kind, uint32_t n)
{
    const struct kv_node *at = trail->node;
    return at && !node_is_root(at) && trail->n_block * KV_BLOCK == n && !at->mark[kind];
}

size_t kv_index_mark_max(const struct kv_index *x)
{
    return x->mark_bytes_max;
}

/* Both trees may have it, and it is there once. */
void kv_index_mark(struct kv_index *x, const struct kv_trail *trail, struct kv_mark *m)
{
    if (!kv_index_lacks_mark(trail, m->kind, m->n))
        return;
    const size_t bytes = m->n_node ? 0 : m->bytes;
    while (x->stats.n_mark == MARK_MAX || x->stats.mark_bytes + bytes > x->mark_bytes_max)
        if (!mark_evict(x, m))
            return;
    trail->node->mark[m->kind] = kv_mark_hold(m);
    x->marked[x->stats.n_mark++] = (struct marked){ trail->node, m->kind };
    x->stats.mark_bytes += bytes;
    m->n_node++;
}

static bool has_kinds(const struct kv_node *n, unsigned kinds)
{
    for (unsigned kind = 0; kind < KV_MARK_N; kind++)
        if (kinds & 1u << kind && !n->mark[kind])
            return false;
    return true;
}

uint32_t kv_index_marked(const struct kv_index *x, const char *salt, const int32_t *ids,
                         uint32_t n_id, unsigned kinds, struct kv_mark *mark[KV_MARK_N])
{
    const struct kv_node *n = index_root_find(x, salt);
    uint32_t found = 0;
    for (uint32_t at = 0; n && at + KV_BLOCK < n_id; at += KV_BLOCK) {
        n = index_child_find(x, n, index_child_key(n->key, ids + at, KV_BLOCK), ids + at, KV_BLOCK);
        if (!n || !has_kinds(n, kinds))
            continue;
        found = at + KV_BLOCK;
        for (unsigned kind = 0; kind < KV_MARK_N; kind++)
            mark[kind] = n->mark[kind];
    }
    return found;
}

uint32_t kv_index_known(const struct kv_index *x, const char *salt, const int32_t *ids,
                        uint32_t n_id)
{
    const struct kv_node *n = index_root_find(x, salt);
    struct kv_key key = index_root_key(x, salt);
    struct kv_gone gone;
    uint32_t at = 0;
    for (; at + KV_BLOCK < n_id; at += KV_BLOCK) {
        key = index_child_key(key, ids + at, KV_BLOCK);
        n = n ? index_child_find(x, n, key, ids + at, KV_BLOCK) : NULL;
        if (!n && !index_was_evicted(x, key, &gone))
            break;
    }
    return at;
}
