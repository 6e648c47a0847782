/* engine/keeper_taps.c - what a keeper has written down while its rows are computed: for itself, for marks, for others. */
#include "engine/keeper_in.h"

#include "kv/rank.h"

enum { WIDE_QUERIES = 64 }; // written down for policies that are not known yet

uint32_t keeper_queries(const struct keeper *k)
{
    const struct kv_policy *p = k->choice.policy;
    return p->n_query && keeper_needs(k) & KV_NEED_QUERIES ? p->n_query(&k->choice.options) : 0;
}

static struct kv_taps_size size_of(const struct keeper_frame *f)
{
    return (struct kv_taps_size){ .n_layer = f->n_layer,
                                  .n_head = f->model.n_head,
                                  .d = f->model.shape->group[0].d_k };
}

/* Lists that lose a row with each token, by what rows received: one a layer and kv_head. */
static uint32_t lists_of_least(const struct keeper *k, const struct keeper_frame *f)
{
    const struct kv_policy *p = k->choice.policy;
    const bool asks =
        p->evicts_each && !k->n_context && p->by_mass && p->by_mass(k->choice.options.bytes);
    return asks ? f->n_layer * f->model.shape->group[0].n_kv_head : 0;
}

enum status keeper_open_taps(struct keeper *k, const struct keeper_frame *f, struct note *why)
{
    const unsigned needs = keeper_needs(k);
    const struct kv_taps_size size = size_of(f);
    k->taps = (struct kv_taps){
        .mass = needs & KV_NEED_MASS_SUM ? KV_TAP_MASS_SUM : KV_TAP_NO_MASS,
        .into = k->excerpt,
        .n_counted = UINT32_MAX,
        .n_least = lists_of_least(k, f),
        .n_query = keeper_queries(k),
        .moments_from = KV_OUTLIERS,
        .n_late_max = needs & KV_NEED_MOMENTS ? KV_TAP_LATE : 0,
        .moments_due = keeper_next_stop(k),
    };
    const enum status st = kv_taps_open(&k->taps, &size, needs & KV_NEED_MOMENTS);
    if (st != OK)
        note_set(why, "no memory for what KV policy '%s' writes down", k->choice.policy->name);
    return st;
}

void keeper_look(struct keeper *k, const struct kv_shape *shape, uint32_t n_done, uint32_t n_row)
{
    struct kv_taps *t = &k->taps;
    kv_taps_forget_least(t);
    t->looks =
        t->n_least && n_row == 1 && n_done >= k->n_prompt && k->pruned && k->due == n_done + 1;
    if (!t->looks)
        return;
    const struct kv_floors floors = kv_keep_floors(&k->choice, shape, keeper_whole(k));
    t->open = kv_open_of(&floors, n_done + 1);
}

/* ---- marks ---- */

unsigned keeper_mark_kinds(const struct keeper *k)
{
    const unsigned needs = keeper_needs(k);
    return (needs & KV_NEED_MASS_SUM ? 1u << KV_MARK_MASS : 0) |
           (needs & KV_NEED_MOMENTS ? 1u << KV_MARK_MOMENTS : 0);
}

size_t keeper_mark_bytes(const struct keeper *k, const struct keeper_frame *f, uint32_t n)
{
    const struct kv_taps_size size = size_of(f);
    size_t most = 0;
    for (unsigned kind = 0; kind < KV_MARK_N; kind++) {
        const size_t bytes = kv_mark_bytes(kind, &size, f->model.shape, n);
        if (keeper_mark_kinds(k) & 1u << kind && bytes > most)
            most = bytes;
    }
    return most;
}

enum status keeper_mark_new(const struct keeper *k, const struct keeper_frame *f,
                            enum kv_mark_kind kind, uint32_t n_done, struct kv_mark **out)
{
    const struct kv_taps_size size = size_of(f);
    return kv_mark_new(out, kind, &k->taps, &size, f->model.shape, n_done);
}

void keeper_recall(struct keeper *k, const struct keeper_frame *f, unsigned kinds,
                   struct kv_mark *const mark[KV_MARK_N])
{
    const struct kv_taps_size size = size_of(f);
    for (unsigned kind = 0; kind < KV_MARK_N; kind++)
        if (kinds & 1u << kind)
            kv_mark_read(mark[kind], &k->taps, &size, f->model.shape);
}

/* ---- for others ---- */

bool keeper_may_compare(const struct keeper *k)
{
    return keeper_drops(k) && !k->choice.policy->select && !k->episodes && k->n_context > 0 &&
           k->n_context < k->n_prompt && !k->choice.options.common.block &&
           !(keeper_needs(k) & KV_NEED_MASS_PEAK);
}

enum status keeper_open_wide(struct keeper *k, const struct keeper_frame *f, struct note *why)
{
    const uint32_t own = keeper_queries(k);
    const struct kv_taps_size size = size_of(f);
    k->wide = (struct kv_taps){
        .mass = KV_TAP_MASS_SUM,
        .into = k->excerpt,
        .n_counted = UINT32_MAX,
        .n_query = own > WIDE_QUERIES ? own : WIDE_QUERIES,
        .moments_from = KV_OUTLIERS,
    };
    const enum status st = kv_taps_open(&k->wide, &size, true);
    if (st != OK)
        note_set(why, "no memory for what other KV policies may need to know of a context");
    return st;
}

bool keeper_may_judge(const struct keeper *k, const struct kv_taps *read)
{
    return k->compares && keeper_queries(k) <= read->n_query;
}

void keeper_learn(struct keeper *k, const struct keeper_frame *f, const struct kv_taps *read)
{
    const struct kv_taps_size size = size_of(f);
    kv_taps_copy(&k->taps, read, &size, k->n_context);
}

struct kv_taps keeper_give_wide(struct keeper *k)
{
    const struct kv_taps wide = k->wide;
    k->wide = (struct kv_taps){ 0 };
    return wide;
}
