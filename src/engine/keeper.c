#include "engine/keeper.h"

#include <string.h>

#include "base/mem.h"
#include "kv/policy/epicache.h"
#include "kv/rank.h"

enum { NOWHERE = UINT32_MAX };

static unsigned needs_of(const struct keeper *k)
{
    const struct kv_policy *p = k->choice.policy;
    return p->needs ? p->needs(&k->choice.options) : 0;
}

/* Whether something is read over the past before it is judged. */
static bool replays(const struct keeper *k)
{
    return needs_of(k) & (KV_NEED_MASS_PEAK | KV_NEED_PROBE);
}

static uint32_t queries_of(const struct keeper *k)
{
    const struct kv_policy *p = k->choice.policy;
    return p->n_query && needs_of(k) & KV_NEED_QUERIES ? p->n_query(&k->choice.options) : 0;
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* ---- the schedule ---- */

static bool drops(const struct keeper *k)
{
    return kv_choice_drops(&k->choice);
}

/* What percentages of the budget are of; and behind it rows select. */
static uint32_t whole_of(const struct keeper *k)
{
    if (k->episodes)
        return k->episodes->n_base ? k->episodes->n_base : k->n_prompt;
    return k->n_context ? k->n_context : k->n_prompt;
}

/* The next end of a block, or `end`. */
static uint32_t block_end(const struct keeper *k, uint32_t n_done, uint32_t end)
{
    const uint32_t block = k->choice.options.common.block;
    return block ? min_u32(n_done / block * block + block, end) : end;
}

/* Blocks of the history, then what is skipped. */
static uint32_t due_of_episodes(const struct keeper *k, uint32_t n_done)
{
    const struct episodes *e = k->episodes;
    if (n_done < e->n_base)
        return block_end(k, n_done, e->n_base);
    return k->n_skipped < e->n_skip ? e->skip[k->n_skipped].first : NOWHERE;
}

/* The first position above n_done at which keep runs, rows begin to select, or from which on some are skipped. */
static uint32_t due_after(const struct keeper *k, uint32_t n_done)
{
    const struct kv_common *c = &k->choice.options.common;
    if (k->episodes)
        return due_of_episodes(k, n_done);
    if (k->n_context || !drops(k))
        return n_done < whole_of(k) ? whole_of(k) : NOWHERE;
    if (n_done < k->n_prompt)
        return block_end(k, n_done, k->n_prompt);
    if (k->choice.policy->evicts_each)
        return n_done + 1;
    return c->every ? n_done + c->every - (n_done - k->n_prompt) % c->every : NOWHERE;
}

static void look_ahead(struct keeper *k, uint32_t n_done)
{
    k->due = due_after(k, n_done);
    k->skips = k->episodes && n_done >= k->episodes->n_base;
}

uint32_t keeper_rows(const struct keeper *k, uint32_t n_done, uint32_t n)
{
    return min_u32(n, k->due - n_done);
}

uint32_t keeper_reusable(const struct keeper *k)
{
    const uint32_t first = due_after(k, 0);
    const unsigned at_the_end = KV_NEED_QUERIES | KV_NEED_MASS_PEAK | KV_NEED_PROBE;
    if (needs_of(k) & ~at_the_end) /* written down from the first row on */
        return 0;
    return first > queries_of(k) ? first - queries_of(k) : 0;
}

/* ---- what is written down ---- */

static uint32_t whole_blocks(uint32_t rows)
{
    return (rows + KV_BLOCK - 1) / KV_BLOCK * KV_BLOCK;
}

/* Rows of the tail at once: up to the first keep, or from one keep to the next beside a block in progress. */
static uint32_t tail_rows(const struct keeper *k)
{
    const struct kv_common *c = &k->choice.options.common;
    const uint32_t between = (c->block > c->every ? c->block : c->every) + 2 * KV_BLOCK;
    const uint32_t first = due_after(k, 0) + KV_BLOCK;
    return whole_blocks(first > between ? first : between);
}

/* Those that count mass: until the budget is exceeded no keep drops anything, and the tail is all there is. */
static uint32_t mass_rows(const struct keeper *k, const struct kv_shape *shape)
{
    const uint32_t rows = tail_rows(k), most = whole_blocks(k->n_position_max);
    const uint32_t budget = kv_keep_floors(&k->choice, shape, whole_of(k)).budget;
    if (k->n_context && !k->episodes)
        return rows;
    return min_u32(whole_blocks(budget) + rows, most > rows ? most : rows);
}

static enum status taps_open(struct keeper *k, const struct keeper_frame *f)
{
    const unsigned needs = needs_of(k);
    const struct kv_group *g = &f->model.shape->group[0];
    const size_t row = (size_t)f->model.n_head * g->d_k;
    k->taps = (struct kv_taps){
        .mass = needs & KV_NEED_MASS_SUM ? KV_TAP_MASS_SUM : KV_TAP_NO_MASS,
        .into = k->excerpt,
        .n_counted = UINT32_MAX,
        .n_query = queries_of(k),
        .moments_from = KV_OUTLIERS,
    };
    if (k->taps.n_query)
        k->taps.query = mem_new(f->n_layer * (size_t)k->taps.n_query * row, sizeof(float));
    if (needs & KV_NEED_MOMENTS) {
        k->taps.sum = mem_new(f->n_layer * row, sizeof(float));
        k->taps.outer = mem_new(f->n_layer * row * g->d_k, sizeof(float));
    }
    const bool queries = !k->taps.n_query || k->taps.query;
    const bool moments = !(needs & KV_NEED_MOMENTS) || (k->taps.sum && k->taps.outer);
    return queries && moments ? OK : FULL;
}

static bool taps_are_on(const struct kv_taps *t)
{
    return t->mass || t->n_query || t->sum;
}

/* ---- life ---- */

/* Of a policy that knows episodes: those of its history. */
static enum status find_episodes(struct keeper *k, const struct keeper_prompt *p, struct note *why)
{
    const struct episodes_in in = {
        .model = p->model,
        .vocab = p->vocab,
        .shape = p->shape,
        .choice = &k->choice,
        .ids = p->ids,
        .n_prompt = p->n,
        .n_context = p->n_context,
        .n_question = p->n_question,
        .once = p->told,
    };
    if (k->choice.policy->replay != KV_REPLAY_EPISODE)
        return OK;
    k->episodes = mem_new(1, sizeof *k->episodes);
    if (k->episodes)
        return episodes_make(k->episodes, &in, why);
    note_set(why, "no memory for the episodes of a conversation");
    return FULL;
}

enum status keeper_new(struct keeper **out, const struct kv_choice *choice,
                       const struct keeper_prompt *prompt, struct note *why)
{
    *out = NULL;
    if (prompt->n_context > prompt->n) {
        note_set(why, "the context is %u tokens, but the prompt has %u", prompt->n_context,
                 prompt->n);
        return BAD_INPUT;
    }
    if (!choice->policy->rank && !choice->policy->select)
        return OK;
    struct keeper *k = mem_new(1, sizeof *k);
    if (!k) {
        note_set(why, "no memory for a KV policy");
        return FULL;
    }
    *k = (struct keeper){ .choice = *choice,
                          .n_prompt = prompt->n,
                          .n_context = prompt->n_context,
                          .n_position_max = prompt->n_position_max };
    kv_choice_print(choice, k->name, sizeof k->name);
    const enum status st = find_episodes(k, prompt, why);
    if (st != OK) {
        keeper_free(k);
        return st;
    }
    look_ahead(k, 0);
    *out = k;
    return OK;
}

void keeper_free(struct keeper *k)
{
    if (!k)
        return;
    keeper_end(k);
    if (k->episodes)
        episodes_close(k->episodes);
    mem_free(k->episodes);
    mem_free(k->logits);
    mem_free(k);
}

static enum sentence_rule rule_of(enum kv_boundaries b)
{
    static const enum sentence_rule rule[] = { [KV_BOUNDARIES_AUTO] = SENTENCES_AUTO,
                                               [KV_BOUNDARIES_STRICT] = SENTENCES_STRICT,
                                               [KV_BOUNDARIES_LINES] = SENTENCES_LINES,
                                               [KV_BOUNDARIES_FIXED] = SENTENCES_FIXED };
    return rule[b];
}

static enum status select_begin(struct keeper *k, const struct keeper_frame *f, struct note *why)
{
    const struct kv_select_config config = {
        .choice = &k->choice,
        .shape = f->model.shape,
        .n_position_max = k->n_position_max,
        .from = whole_of(k),
    };
    const struct kv_select_policy *p = k->choice.policy->select;
    k->told = (struct kv_select_stats){ 0 };
    k->n_scanned = 0;
    if (p && p->sentences) {
        const struct kv_sentences cut = p->sentences(&k->choice.options);
        sentences_open(&k->sentences, f->vocab, rule_of(cut.boundaries), cut.longest);
    }
    return p ? kv_select_new(&k->select, &config, why) : OK;
}

void keeper_scan(struct keeper *k, const int32_t *ids, uint32_t n)
{
    if (!k->select || !k->choice.policy->select->sentences)
        return;
    for (; k->n_scanned < n; k->n_scanned++) {
        const bool ended = sentences_next(&k->sentences, ids[k->n_scanned]);
        if (k->n_scanned > 0 && (ended || k->n_scanned == whole_of(k)))
            kv_select_end_sentence(k->select, k->n_scanned - 1);
    }
}

enum status keeper_begin(struct keeper *k, const struct keeper_frame *f, struct note *why)
{
    const bool mass = needs_of(k) & (KV_NEED_MASS_SUM | KV_NEED_MASS_PEAK);
    const uint32_t beside = needs_of(k) & KV_NEED_MASS_PEAK ? REPLAY_ROWS : 0;
    const struct kv_excerpt_config config = {
        .pool = f->pool,
        .n_position_max = k->n_position_max + REPLAY_ROWS,
        .n_tail_mass = mass ? mass_rows(k, f->model.shape) + beside : 0,
    };
    k->n_skipped = 0;
    k->pruned = k->judging = false;
    look_ahead(k, 0);
    enum status st = select_begin(k, f, why);
    if (st == OK && drops(k))
        st = kv_excerpt_new(&k->excerpt, &config, why);
    if (st == OK && taps_open(k, f) != OK) {
        note_set(why, "no memory for what KV policy '%s' writes down", k->choice.policy->name);
        st = FULL;
    }
    if (st != OK)
        keeper_end(k);
    return st;
}

static void taps_close(struct kv_taps *t)
{
    mem_free(t->query);
    mem_free(t->sum);
    mem_free(t->outer);
    *t = (struct kv_taps){ 0 };
}

void keeper_end(struct keeper *k)
{
    replay_end(&k->replay);
    kv_excerpt_free(k->excerpt);
    k->excerpt = NULL;
    kv_select_free(k->select);
    k->select = NULL;
    taps_close(&k->taps);
}

void keeper_remember(struct keeper *k, const float *logits, uint32_t n_vocab)
{
    mem_free(k->logits);
    k->logits = mem_new(n_vocab, sizeof *logits);
    if (k->logits)
        memcpy(k->logits, logits, n_vocab * sizeof *logits);
}

enum status keeper_adopt(struct keeper *k, const struct keeper_frame *f, struct kv_excerpt *excerpt,
                         uint32_t n_done, struct note *why)
{
    const struct episodes *e = k->episodes;
    const enum status st = select_begin(k, f, why);
    if (st != OK)
        return st;
    k->excerpt = excerpt;
    k->pruned = true;
    for (k->n_skipped = 0; e && k->n_skipped < e->n_skip; k->n_skipped++)
        if (e->skip[k->n_skipped].end > n_done)
            break;
    look_ahead(k, n_done);
    return OK;
}

/* Positions in the space at once, but for the block in progress: up to the first keep, or behind a keep. */
static uint32_t most_in_space(const struct keeper *k, uint32_t n_position)
{
    const struct kv_common *c = &k->choice.options.common;
    const uint32_t first = due_after(k, 0), last = whole_of(k);
    const bool goes_on = !k->n_context && (c->every || k->choice.policy->evicts_each);
    const uint32_t behind = goes_on || n_position < last ? tail_rows(k) : n_position - last;
    return first > behind ? first : behind;
}

/* Of the fork that replays, a partial block of the past copied with it. */
static size_t replay_bytes(const struct keeper *k, const struct keeper_frame *f)
{
    const bool again = needs_of(k) & KV_NEED_MASS_PEAK;
    const uint32_t most = k->choice.policy->replay == KV_REPLAY_EPISODE
                              ? episodes_text_max(&k->choice)
                              : REPLAY_CHUNK;
    const uint32_t n = again ? min_u32(whole_of(k), most) + REPLAY_PREFIX_MAX : f->probe.n;
    return replays(k) ? kv_sequence_bytes(f->model.shape, n + KV_BLOCK, n + KV_BLOCK) : 0;
}

/* Positions in the space at once: a block of the history, or what is read behind it. */
static uint32_t most_of_episodes(const struct keeper *k, uint32_t n_position)
{
    const struct episodes *e = k->episodes;
    uint32_t behind = n_position > e->n_base ? n_position - e->n_base : 0;
    const uint32_t first = e->n_base ? min_u32(block_end(k, 0, e->n_base), n_position) : 0;
    for (uint32_t i = 0; i < e->n_skip; i++)
        behind -= e->skip[i].end - e->skip[i].first;
    return first > behind ? first : behind;
}

size_t keeper_bytes(const struct keeper *k, const struct keeper_frame *f, uint32_t n_position,
                    uint32_t n_step)
{
    const struct kv_shape *shape = f->model.shape;
    size_t slots = 0;
    if (n_position < due_after(k, 0) || !drops(k))
        return kv_sequence_bytes(shape, n_position, n_step);
    if (kv_keep_bytes(&k->choice, f->shares, shape, whole_of(k), &slots) != OK)
        return SIZE_MAX;
    const uint32_t most =
        k->episodes ? most_of_episodes(k, n_position) : most_in_space(k, n_position);
    const uint32_t rows = min_u32(most + KV_BLOCK, n_position);
    return kv_sequence_bytes(shape, rows, n_step) + slots + replay_bytes(k, f);
}

/* ---- at work ---- */

static struct kv_keep_job job_of(struct keeper *k, const struct keeper_frame *f, struct kv_space *s,
                                 uint32_t n_done)
{
    return (struct kv_keep_job){
        .choice = &k->choice,
        .shares = f->shares,
        .excerpt = k->excerpt,
        .space = s,
        .taps = taps_are_on(&k->taps) ? &k->taps : NULL,
        .n_position = n_done,
        .n_whole = whole_of(k),
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
    const enum status st = kv_keep_one(&f->model, &job, why);
    if (st != OK || n_done % KV_BLOCK || kv_excerpt_is_whole(k->excerpt))
        return st;
    return kv_excerpt_settle(k->excerpt, s, n_done);
}

/* What the replay wrote down is for one keep. */
static void forget_mass(struct keeper *k)
{
    if (needs_of(k) & KV_NEED_MASS_PEAK)
        kv_excerpt_clear_mass(k->excerpt);
}

/* FULL: it is to be called again, and goes on. */
static enum status judge(struct keeper *k, const struct keeper_frame *f, const struct model *m,
                         struct kv_space *s, uint32_t n_done, bool *pruned_now, struct note *why)
{
    const bool one = k->choice.policy->evicts_each && !k->n_context && n_done > k->n_prompt;
    const enum status st = one ? keep_one(k, f, s, n_done, why) : keep(k, f, m, s, n_done, why);
    k->judging = st != OK;
    *pruned_now = !k->pruned && !kv_excerpt_is_whole(k->excerpt); // also when tidying has to wait
    k->pruned |= *pruned_now;
    if (st != OK)
        return st;
    forget_mass(k);
    look_ahead(k, n_done);
    if (k->due == NOWHERE)
        taps_close(&k->taps);
    return OK;
}

/* What keeps all there is judges nothing, so nothing is replayed for it; and not every vocabulary has a probe. */
static bool has_to_replay(struct keeper *k, const struct keeper_frame *f, struct kv_space *s,
                          uint32_t n_done)
{
    const bool reads = needs_of(k) & KV_NEED_PROBE ? f->probe.n > 0 : replays(k);
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
    if (needs_of(k) & KV_NEED_PROBE)
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
    look_ahead(k, end);
    return OK;
}

enum status keeper_after(struct keeper *k, const struct keeper_frame *f, const struct model *m,
                         struct kv_space *s, const int32_t *ids, uint32_t *n_done, bool *pruned_now,
                         struct note *why)
{
    *pruned_now = false;
    if (*n_done != k->due)
        return OK;
    if (!drops(k)) {
        k->due = NOWHERE;
        return OK;
    }
    if (k->skips)
        return skip(k, f, s, n_done, pruned_now);
    if (k->replay.runs) /* a chunk of it could not begin */
        return keeper_replayed(k, f, m, s, ids, *n_done, 0, pruned_now, why);
    if (k->judging || !has_to_replay(k, f, s, *n_done))
        return judge(k, f, m, s, *n_done, pruned_now, why);
    const struct replay_text text = text_of(k, f, ids, *n_done);
    if (needs_of(k) & KV_NEED_PROBE)
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
