/* What policies wrote down over a prefix (kv/mark.h), at the nodes where it ends. Few and large: a list, and the
 * longest unused goes. With its node, a mark goes too. */
#include "kv/index_in.h"

static void mark_drop(struct kv_index *x, uint32_t i)
{
    struct marked *m = &x->marked[i];
    struct kv_mark **at = &m->node->mark[m->kind];
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

static void mark_evict(struct kv_index *x)
{
    uint32_t oldest = 0;
    for (uint32_t i = 1; i < x->stats.n_mark; i++)
        if (x->marked[i].node->used < x->marked[oldest].node->used)
            oldest = i;
    mark_drop(x, oldest);
}

void kv_index_mark(struct kv_index *x, const struct kv_trail *trail, struct kv_mark *m)
{
    struct kv_node *n = trail->node;
    if (!n || node_is_root(n) || trail->n_block * KV_BLOCK != m->n || n->mark[m->kind] ||
        m->bytes > x->mark_bytes_max)
        return;
    while (x->stats.n_mark == MARK_MAX || x->stats.mark_bytes + m->bytes > x->mark_bytes_max)
        mark_evict(x);
    n->mark[m->kind] = kv_mark_hold(m);
    x->marked[x->stats.n_mark++] = (struct marked){ n, m->kind };
    x->stats.mark_bytes += m->bytes;
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
