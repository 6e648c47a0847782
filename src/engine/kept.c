/* What of a prompt is kept, and what of a sequence is put there for others. */
#include <string.h>

#include "engine/engine_in.h"

/* A prompt that wants what is kept of it. */
struct wanted {
    const char *salt;
    const int32_t *ids;
    uint32_t n_id, n_public; // n_public: those that everybody may share
};

static struct wanted wanted_by(const struct sequence *s)
{
    return (struct wanted){
        .salt = s->salt, .ids = s->ids, .n_id = sequence_reusable(s) + 1, .n_public = s->n_public
    };
}

/* Under its salt or for everybody, whichever is more. */
static struct kv_hit kept(const struct engine *e, const struct wanted *w)
{
    const struct kv_hit own = kv_index_find(e->index, w->salt, w->ids, w->n_id),
                        all = kv_index_find_public(e->index, w->ids, w->n_id, w->n_public);
    return all.n_position > own.n_position ? all : own;
}

struct kv_hit engine_kept(const struct engine *e, const struct sequence *s)
{
    if (s->cache_no_read)
        return (struct kv_hit){ .miss = KV_MISS_OFF };
    if (s->keeper && keeper_reusable(s->keeper) == 0)
        return (struct kv_hit){ .miss = KV_MISS_POLICY };
    const struct wanted w = wanted_by(s);
    return kept(e, &w);
}

enum status engine_take_kept(struct engine *e, struct sequence *s, struct note *why)
{
    const struct wanted w = wanted_by(s);
    if (s->hit.of_public)
        return kv_index_take_public(e->index, w.ids, w.n_id, w.n_public, &s->space,
                                    &s->public_trail, &s->hit, why);
    return kv_index_take(e->index, w.salt, w.ids, w.n_id, &s->space, &s->trail, &s->hit, why);
}

void engine_keep(struct engine *e, struct sequence *s)
{
    if (s->cache_no_write || s->n_done > sequence_n_exact(s))
        return;
    kv_index_put(e->index, s->salt, s->ids, s->space, &s->trail);
    if (s->n_public)
        kv_index_publish(e->index, s->ids, s->n_public, s->space, &s->public_trail);
}

struct akv_evicted engine_evicted(const struct engine *e, const struct kv_hit *hit)
{
    const bool went = hit->miss == KV_MISS_EVICTED || hit->miss == KV_MISS_WINDOW;
    if (!went || !hit->gone.tick)
        return (struct akv_evicted){ .why = NULL };
    const uint64_t now = engine_now(e);
    return (struct akv_evicted){
        .why = kv_evict_name(hit->gone.why),
        .from = "memory", /* the one place that there is */
        .steps_ago = e->step - hit->gone.tick,
        .ns_ago = now > hit->gone.ns ? now - hit->gone.ns : 0,
    };
}

/* As a step would find it that began now. */
static struct kv_hit find_for(const struct engine *e, const struct sequence *s)
{
    struct kv_hit hit = engine_kept(e, s);
    if (hit.miss == KV_MISS_COLD)
        hit.miss = kv_index_elsewhere(e->index, s->salt, s->ids, s->n_id);
    if (hit.n_position > 0 && hit.n_position < e->limits.n_cache_min)
        hit = (struct kv_hit){ .miss = KV_MISS_SHORT };
    return hit;
}

enum status engine_find(struct engine *e, const struct akv_request *r, struct akv_cache_find *out,
                        struct note *why)
{
    struct sequence *s;
    const enum status st = sequence_new(&s, r, &e->frame, why);
    if (st != OK)
        return st;
    tables_look(&e->tables);
    const struct kv_hit hit = find_for(e, s);
    *out = (struct akv_cache_find){
        .n_cached = hit.n_position,
        .cached_public = hit.of_public,
        .miss = kv_miss_name(miss_to_tell(hit.miss)),
        .miss_at = hit.miss_at,
        .evicted = engine_evicted(e, &hit),
        .n_instead = hit.n_instead,
    };
    tables_looked(&e->tables);
    _Static_assert(sizeof out->instead == sizeof hit.instead, "room for all of them");
    memcpy(out->instead, hit.instead, sizeof out->instead);
    sequence_free(s);
    return OK;
}
