/* What of a prompt is kept, and what of a sequence is put there for others. */
#include <assert.h>
#include <string.h>

#include "engine/engine_in.h"

/* Of its first n positions, what is kept for everybody, or under its salt. */
static struct kv_hit kept_in(const struct engine *e, const struct sequence *s, uint32_t n,
                             bool of_public)
{
    return of_public ? kv_index_find_public(e->index, s->ids, n + 1, s->n_public)
                     : kv_index_find(e->index, s->salt, s->ids, n + 1);
}

static bool needs_marks(const struct sequence *s)
{
    return s->keeper && keeper_mark_kinds(s->keeper);
}

/* How many of its first n positions end at marks of all kinds that its policy needs, in one of the two trees. */
static uint32_t marked_in(const struct engine *e, const struct sequence *s, uint32_t n,
                          bool of_public, struct kv_mark *mark[KV_MARK_N])
{
    const uint32_t n_public = s->n_public < n ? s->n_public : n;
    return kv_index_marked(e->index, of_public ? KV_SALT_PUBLIC : s->salt, s->ids,
                           (of_public ? n_public : n) + 1, keeper_mark_kinds(s->keeper), mark);
}

/* In one tree, as far as its policy can know what it would have seen. */
static struct kv_hit known_in(const struct engine *e, const struct sequence *s, uint32_t n,
                              bool of_public)
{
    struct kv_mark *mark[KV_MARK_N];
    const struct kv_hit hit = kept_in(e, s, n, of_public);
    uint32_t at = marked_in(e, s, n, of_public, mark);
    if (hit.n_position == at)
        return hit;
    // Where a window has passed what a query there sees, an earlier mark may do.
    while (at > 0 && kept_in(e, s, at, of_public).n_position < at)
        at = marked_in(e, s, at - 1, of_public, mark);
    return (struct kv_hit){
        .n_position = at, .of_public = of_public, .miss = KV_MISS_POLICY, .miss_at = at
    };
}

struct kv_hit engine_kept(const struct engine *e, const struct sequence *s)
{
    const uint32_t n = sequence_reusable(s);
    if (s->cache_no_read)
        return (struct kv_hit){ .miss = KV_MISS_OFF };
    if (s->keeper && keeper_reusable(s->keeper) == 0)
        return (struct kv_hit){ .miss = KV_MISS_POLICY };
    const bool known = needs_marks(s);
    const struct kv_hit own = known ? known_in(e, s, n, false) : kept_in(e, s, n, false),
                        all = known ? known_in(e, s, n, true) : kept_in(e, s, n, true);
    return all.n_position > own.n_position ? all : own;
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
    assert(st != OK || s->hit.n_position == found.n_position);
    if (st == OK)
        s->hit = found;
    return st;
}

void engine_recall(struct engine *e, struct sequence *s)
{
    if (!needs_marks(s) || s->n_done == 0)
        return;
    struct kv_mark *mark[KV_MARK_N];
    const uint32_t n = marked_in(e, s, s->n_done, s->hit.of_public, mark);
    assert(n == s->n_done);
    (void)n;
    keeper_recall(s->keeper, &e->keeping, keeper_mark_kinds(s->keeper), mark);
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
    keeper_mark_passed(k);
    for (unsigned kind = 0; kind < KV_MARK_N; kind++) {
        const bool wanted = keeper_mark_kinds(k) & 1u << kind &&
                            (kv_index_lacks_mark(&s->trail, kind, s->n_done) ||
                             kv_index_lacks_mark(&s->public_trail, kind, s->n_done));
        struct kv_mark *mark;
        if (!wanted || keeper_mark_new(k, &e->keeping, kind, s->n_done, &mark) != OK)
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
