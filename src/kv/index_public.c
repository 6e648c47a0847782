/* What everybody may take: a tree of its own, whose nodes hold the same blocks as those under their sequences' salts.
 *
 *   salt "t-1" -- [system prompt] -- [system prompt] -- [question]        t-1 declared two blocks public
 *   salt "*"   -- [the same]      -- [the same]
 *   salt "t-2" -- [the same]      -- [the same]      -- [question]        t-2 declared so too, and took them
 *
 * Nothing is ever put or looked for here beyond the declared ids (N6), so that a private tail cannot be met by
 * mistake. */
#include "kv/index_in.h"

/* Of so many ids a lookup finds all but the last, which here may be found too, unless it is the prompt's own. */
static uint32_t looked_at(uint32_t n_id, uint32_t n_public)
{
    const uint32_t whole = n_public / KV_BLOCK * KV_BLOCK;
    return whole < n_id ? whole + 1 : n_id;
}

/* What stands there instead is not told: it may be another tenant's. */
static struct kv_hit tell(struct kv_hit hit, uint32_t n_id)
{
    hit.n_instead = 0;
    hit.of_public = true;
    if (hit.miss == KV_MISS_NONE && hit.n_position + 1 < n_id)
        hit.miss = KV_MISS_END;
    return hit;
}

struct kv_hit kv_index_find_public(const struct kv_index *x, const int32_t *ids, uint32_t n_id,
                                   uint32_t n_public)
{
    if (n_public < KV_BLOCK)
        return (struct kv_hit){ .miss = KV_MISS_COLD };
    return tell(kv_index_find(x, KV_SALT_PUBLIC, ids, looked_at(n_id, n_public)), n_id);
}

enum status kv_index_take_public(struct kv_index *x, const int32_t *ids, uint32_t n_id,
                                 uint32_t n_public, struct kv_space **space, struct kv_trail *trail,
                                 struct kv_hit *hit, struct note *why)
{
    const enum status st =
        kv_index_take(x, KV_SALT_PUBLIC, ids, looked_at(n_id, n_public), space, trail, hit, why);
    *hit = tell(*hit, n_id);
    return st;
}

void kv_index_publish(struct kv_index *x, const int32_t *ids, uint32_t n_public,
                      struct kv_space *space, struct kv_trail *trail)
{
    const uint32_t n_declared = n_public / KV_BLOCK,
                   n_sealed = kv_space_committed(space) / KV_BLOCK;
    index_put_blocks(x, KV_SALT_PUBLIC, ids, n_declared < n_sealed ? n_declared : n_sealed, space,
                     trail);
}
