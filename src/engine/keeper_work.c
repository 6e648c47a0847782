/* A keeper at work: what is read over the past, who is judged and leaves, what is not read at all. */
#include "engine/keeper_in.h"

#include "base/mem.h"
#include "kv/policy/epicache.h"
#include "kv/rank.h"

/* ---- judging ---- */

static struct kv_keep_job job_of(struct keeper *k, const struct keeper_frame *f, struct kv_space *s,
                                 uint32_t n_done)
{
    return (struct kv_keep_job){
        .choice = &k->choice,
        .shares = f->shares,
        .excerpt = k->excerpt,
        .space = s,
        .taps = keeper_writes_down(&k->taps) ? &k->taps : NULL,
        .n_position = n_done,
        .n_whole = keeper_whole(k),
    };
}

static enum status keep(struct keeper *k, const struct keeper_frame *f, const struct model *m,
                        struct kv_space *s, uint32_t n_done, struct note *why)
{
    struct kv_keep_job job = job_of(k, f, s, n_done);
    float *future = NULL;
    if (k->taps.sum) {
        future = mem_new(f->model.n_rot, sizeof *future);
        if (!future) {
            note_set(why, "no memory for the angles of %d positions", KV_FUTURE);
            return FULL;
        }
        model_rope_mean(m, n_done, KV_FUTURE, future);
        job.future = future;
    }
    const enum status st = kv_keep_run(&f->model, &job, why);
    mem_free(future);
    return st;
}

/* One row of each list leaves with each token; blocks come back when the tail has filled one. */
static enum status keep_one(struct keeper *k, const struct keeper_frame *f, struct kv_space *s,
                            uint32_t n_done, struct note *why)
{
    const struct kv_keep_job job = job_of(k, f, s, n_done);
    enum status st = kv_keep_one(&f->model, &job, why);
    if (st != OK || n_done % KV_BLOCK || kv_excerpt_is_whole(k->excerpt))
        return st;
    st = kv_excerpt_settle(k->excerpt, s, n_done);
    return st == OK ? kv_keep_turn(&f->model, &job, why) : st;
}

/* What the replay wrote down is for one keep. */
static void forget_mass(struct keeper *k)
{
    if (keeper_needs(k) & KV_NEED_MASS_PEAK)
        kv_excerpt_clear_mass(k->excerpt);
}

/* FULL: it is to be called again, and goes on. */
static enum status judge(struct keeper *k, const struct keeper_frame *f, const struct model *m,
                         struct kv_space *s, uint32_t n_done, bool *pruned_now, struct note *why)
{
    const bool one = k->choice.policy->evicts_each && !k->n_context && n_done > keeper_first(k);
    const enum status st = one ? keep_one(k, f, s, n_done, why) : keep(k, f, m, s, n_done, why);
    k->judging = st != OK;
    *pruned_now = !k->pruned && !kv_excerpt_is_whole(k->excerpt); // also when tidying has to wait
    k->pruned |= *pruned_now;
    if (st != OK)
        return st;
    forget_mass(k);
    keeper_look_ahead(k, n_done);
    if (k->due == KEEPER_NOTHING)
        kv_taps_close(&k->taps);
    return OK;
}

/* What keeps all there is judges nothing, so nothing is replayed for it; and not every vocabulary has a probe. */
static bool has_to_replay(struct keeper *k, const struct keeper_frame *f, struct kv_space *s,
                          uint32_t n_done)
{
    const bool reads = keeper_needs(k) & KV_NEED_PROBE ? f->probe.n > 0 : keeper_reads_over(k);
    const struct kv_keep_job job = job_of(k, f, s, n_done);
    return reads && kv_keep_may_drop(&f->model, &job);
}

static const struct epicache_options *options_of(const struct keeper *k)
{
    return (const struct epicache_options *)k->choice.options.bytes;
}

bool keeper_parks(const struct keeper *k)
{
    return k->episodes && options_of(k)->park == EPICACHE_RAM;
}

/* What is read behind the past. */
static struct replay_text text_of(const struct keeper *k, const struct keeper_frame *f,
                                  const int32_t *ids, uint32_t n_done)
{
    const struct episodes *e = k->episodes;
    if (keeper_needs(k) & KV_NEED_PROBE)
        return (struct replay_text){ .prefix = &f->probe };
    if (!e)
        return (struct replay_text){ .prefix = &f->repeat, .ids = ids, .n = n_done };
    return (struct replay_text){ .prefix = &f->essential,
                                 .ids = e->text,
                                 .n = e->n_text,
                                 .past_alone = options_of(k)->support == EPICACHE_PAST };
}

/* ---- what is not read ---- */

static void drop_positions(struct keeper *k, const struct keeper_frame *f, uint32_t first,
                           uint32_t end)
{
    const struct kv_shape *shape = f->model.shape;
    for (uint32_t layer = 0; layer < shape->n_layer; layer++)
        for (uint32_t h = 0; h < shape->group[shape->layer_group[layer]].n_kv_head; h++)
            for (uint32_t p = first; p < end; p++)
                kv_excerpt_drop(k->excerpt, layer, h, KV_IN_TAIL | p);
}

/* Goes over a stretch block by block, so that its memory is one block's. No layer has a window (engine/episodes.h Z3).
 * FULL: goes on where it was. */
static enum status skip(struct keeper *k, const struct keeper_frame *f, struct kv_space *s,
                        uint32_t *n_done, bool *pruned_now)
{
    const uint32_t end = k->episodes->skip[k->n_skipped].end;
    for (;;) {
        if (k->judging && kv_excerpt_settle(k->excerpt, s, *n_done) != OK)
            return FULL;
        k->judging = false;
        if (*n_done == end)
            break;
        const uint32_t next = min_u32((*n_done / KV_BLOCK + 1) * KV_BLOCK, end);
        if (kv_space_grow(s, next) != OK)
            return FULL;
        kv_space_commit(s, next);
        drop_positions(k, f, *n_done, next);
        *pruned_now |= !k->pruned;
        k->pruned = true;
        k->judging = next % KV_BLOCK == 0; // a full block goes back
        *n_done = k->due = next;
    }
    k->n_skipped++;
    keeper_look_ahead(k, end);
    if (k->due == KEEPER_NOTHING)
        kv_taps_close(&k->taps);
    return OK;
}

enum status keeper_after(struct keeper *k, const struct keeper_frame *f, const struct model *m,
                         struct kv_space *s, const int32_t *ids, uint32_t *n_done, bool *pruned_now,
                         struct note *why)
{
    *pruned_now = false;
    if (*n_done != k->due)
        return OK;
    if (!keeper_drops(k)) {
        k->due = KEEPER_NOTHING;
        return OK;
    }
    if (k->skips)
        return skip(k, f, s, n_done, pruned_now);
    if (k->replay.runs) /* a chunk of it could not begin */
        return keeper_replayed(k, f, m, s, ids, *n_done, 0, pruned_now, why);
    if (k->judging || !has_to_replay(k, f, s, *n_done))
        return judge(k, f, m, s, *n_done, pruned_now, why);
    const struct replay_text text = text_of(k, f, ids, *n_done);
    if (keeper_needs(k) & KV_NEED_PROBE)
        return replay_probe_begin(&k->replay, &text, s, &k->taps, *n_done, why);
    return replay_begin(&k->replay, &text, s, k->excerpt, *n_done, why);
}

enum status keeper_replayed(struct keeper *k, const struct keeper_frame *f, const struct model *m,
                            struct kv_space *s, const int32_t *ids, uint32_t n_done, uint32_t n,
                            bool *pruned_now, struct note *why)
{
    const struct replay_text text = text_of(k, f, ids, n_done);
    bool over;
    *pruned_now = false;
    const enum status st = replay_went_on(&k->replay, &text, s, n, &over, why);
    if (!over)
        return st;
    replay_end(&k->replay);
    return judge(k, f, m, s, n_done, pruned_now, why);
}
