/* What of a prompt is kept, and what of a sequence is put there for others. */
#include <string.h>

#include "engine/engine_in.h"

/* Under its salt or for everybody, whichever is more, of its first n positions. */
static struct kv_hit kept(const struct engine *e, const struct sequence *s, uint32_t n)
{
    const struct kv_hit own = kv_index_find(e->index, s->salt, s->ids, n + 1),
                        all = kv_index_find_public(e->index, s->ids, n + 1, s->n_public);
    return all.n_position > own.n_position ? all : own;
}

/* ---- where its policy can know what it would have seen ---- */

struct marked {
    uint32_t n; // positions; 0: nowhere
    bool of_public;
    struct kv_mark *mark[KV_MARK_N];
};

static bool needs_marks(const struct sequence *s)
{
    return s->keeper && keeper_marks(s->keeper);
}

/* Of its first n positions, as many as marks that it needs are of. */
static struct marked marked(const struct engine *e, const struct sequence *s, uint32_t n)
{
    const unsigned kinds = keeper_marks(s->keeper);
    const uint32_t n_public = s->n_public < n ? s->n_public : n;
    struct marked own = { 0 }, all = { .of_public = true };
    own.n = kv_index_marked(e->index, s->salt, s->ids, n + 1, kinds, own.mark);
    all.n = kv_index_marked(e->index, KV_SALT_PUBLIC, s->ids, n_public + 1, kinds, all.mark);
    return all.n > own.n ? all : own;
}

/* Up to the marks, or nothing where a window has passed what a query there sees. */
static struct kv_hit kept_and_marked(const struct engine *e, const struct sequence *s, uint32_t n)
{
    struct kv_hit hit = kept(e, s, n);
    const struct marked m = marked(e, s, n);
    if (hit.n_position == m.n) {
        hit.of_public = m.of_public;
        return hit;
    }
    const struct kv_hit there = kept(e, s, m.n);
    const bool passed = there.n_position < m.n;
    return (struct kv_hit){
        .n_position = passed ? 0 : m.n,
        .of_public = m.of_public,
        .miss = passed ? KV_MISS_WINDOW : KV_MISS_POLICY,
        .miss_at = passed ? 0 : m.n,
        .gone = there.gone,
    };
}

struct kv_hit engine_kept(const struct engine *e, const struct sequence *s)
{
    const uint32_t n = sequence_reusable(s);
    if (s->cache_no_read)
        return (struct kv_hit){ .miss = KV_MISS_OFF };
    if (s->keeper && keeper_reusable(s->keeper) == 0)
        return (struct kv_hit){ .miss = KV_MISS_POLICY };
    return needs_marks(s) ? kept_and_marked(e, s, n) : kept(e, s, n);
}

enum status engine_take_kept(struct engine *e, struct sequence *s, struct note *why)
{
    const struct kv_hit found = s->hit;
    const uint32_t n = needs_marks(s) ? found.n_position : sequence_reusable(s);
    const enum status st =
        found.of_public
            ? kv_index_take_public(e->index, s->ids, n + 1, s->n_public, &s->space,
                                   &s->public_trail, &s->hit, why)
            : kv_index_take(e->index, s->salt, s->ids, n + 1, &s->space, &s->trail, &s->hit, why);
    if (st == OK)
        s->hit = found;
    return st;
}

void engine_recall(struct engine *e, struct sequence *s)
{
    if (!needs_marks(s) || s->n_done == 0)
        return;
    const struct marked m = marked(e, s, s->n_done);
    keeper_recall(s->keeper, &e->keeping, keeper_marks(s->keeper), m.mark);
}

/* ---- what is put there ---- */

void engine_keep(struct engine *e, struct sequence *s)
{
    if (s->cache_no_write || s->n_done > sequence_n_exact(s))
        return;
    kv_index_put(e->index, s->salt, s->ids, s->space, &s->trail);
    if (s->n_public)
        kv_index_publish(e->index, s->ids, s->n_public, s->space, &s->public_trail);
}

void engine_mark(struct engine *e, struct sequence *s)
{
    struct keeper *k = s->keeper;
    if (!keeper_marks_here(k, s->n_done))
        return;
    keeper_marked(k);
    for (unsigned kind = 0; kind < KV_MARK_N; kind++) {
        struct kv_mark *mark;
        if (!(keeper_marks(k) & 1u << kind) ||
            keeper_mark(k, &e->keeping, kind, s->n_done, &mark) != OK)
            continue; /* without memory for it others read more themselves */
        kv_index_mark(e->index, &s->trail, mark);
        kv_index_mark(e->index, &s->public_trail, mark);
        kv_mark_release(mark);
    }
}

void engine_know(struct engine *e, struct sequence *s)
{
    const uint32_t own = kv_index_known(e->index, s->salt, s->ids, s->n_id);
    s->n_known = own > s->n_public ? own : s->n_public;
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
