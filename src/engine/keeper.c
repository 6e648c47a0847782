#include "engine/keeper_in.h"

#include <string.h>

#include "base/mem.h"
#include "kv/rank.h"

enum { WIDE_QUERIES = 64 }; // written down for policies that are not known yet

static uint32_t queries_of(const struct keeper *k)
{
    const struct kv_policy *p = k->choice.policy;
    return p->n_query && keeper_needs(k) & KV_NEED_QUERIES ? p->n_query(&k->choice.options) : 0;
}

/* ---- the schedule ---- */

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
    return k->n_skipped < e->n_skip ? e->skip[k->n_skipped].first : KEEPER_NOTHING;
}

/* The first position above n_done at which keep runs, rows begin to select, or from which on some are skipped. */
static uint32_t due_after(const struct keeper *k, uint32_t n_done)
{
    if (k->episodes)
        return due_of_episodes(k, n_done);
    const uint32_t first = keeper_drops(k) ? keeper_first(k) : keeper_selects_from(k);
    if (n_done < first)
        return keeper_drops(k) ? block_end(k, n_done, first) : first;
    if (k->n_context || !keeper_drops(k))
        return KEEPER_NOTHING;
    if (k->choice.policy->evicts_each)
        return n_done + 1;
    return k->every ? n_done + k->every - (n_done - first) % k->every : KEEPER_NOTHING;
}

/* Where the next pass has to end. */
static uint32_t next_stop(const struct keeper *k)
{
    return k->n_mark ? min_u32(k->due, k->mark[0]) : k->due;
}

void keeper_look_ahead(struct keeper *k, uint32_t n_done)
{
    k->due = due_after(k, n_done);
    k->taps.moments_due = next_stop(k);
    k->skips = k->episodes && n_done >= k->episodes->n_base;
}

uint32_t keeper_rows(const struct keeper *k, uint32_t n_done, uint32_t n)
{
    return min_u32(n, next_stop(k) - n_done);
}

uint32_t keeper_reusable(const struct keeper *k)
{
    const uint32_t first = due_after(k, 0);
    if (k->compares) /* what others may need is written down from the first row on */
        return 0;
    return first > queries_of(k) ? first - queries_of(k) : 0;
}

/* ---- marks ---- */

unsigned keeper_mark_kinds(const struct keeper *k)
{
    const unsigned needs = keeper_needs(k);
    return (needs & KV_NEED_MASS_SUM ? 1u << KV_MARK_MASS : 0) |
           (needs & KV_NEED_MOMENTS ? 1u << KV_MARK_MOMENTS : 0);
}

uint32_t keeper_ask_mark(struct keeper *k, uint32_t n_done, uint32_t n)
{
    const uint32_t at = min_u32(n, due_after(k, 0)) / KV_BLOCK * KV_BLOCK;
    uint32_t i = 0;
    if (k->compares || k->pruned || at <= n_done || !keeper_mark_kinds(k))
        return 0;
    while (i < k->n_mark && k->mark[i] < at)
        i++;
    if (i < k->n_mark && k->mark[i] == at)
        return at;
    if (k->n_mark == KEEPER_MARKS)
        return i ? k->mark[i - 1] : 0;
    memmove(&k->mark[i + 1], &k->mark[i], (k->n_mark++ - i) * sizeof *k->mark);
    k->mark[i] = at;
    k->taps.moments_due = next_stop(k);
    return at;
}

void keeper_mark_passed(struct keeper *k)
{
    memmove(k->mark, k->mark + 1, --k->n_mark * sizeof *k->mark);
    k->taps.moments_due = next_stop(k);
}

void keeper_pass_marks(struct keeper *k, uint32_t n_done)
{
    while (k->n_mark && k->mark[0] <= n_done)
        keeper_mark_passed(k);
}

/* ---- what is written down ---- */

static uint32_t whole_blocks(uint32_t rows)
{
    return (rows + KV_BLOCK - 1) / KV_BLOCK * KV_BLOCK;
}

/* Rows of the tail at once: up to the first keep, or from one keep to the next beside a block in progress. */
static uint32_t tail_rows(const struct keeper *k)
{
    const uint32_t block = k->choice.options.common.block;
    const uint32_t between = (block > k->every ? block : k->every) + 2 * KV_BLOCK;
    const uint32_t first = due_after(k, 0) + KV_BLOCK;
    return whole_blocks(first > between ? first : between);
}

/* Those that count mass: until the budget is exceeded no keep drops anything, and the tail is all there is. */
static uint32_t mass_rows(const struct keeper *k, const struct kv_shape *shape)
{
    const uint32_t rows = tail_rows(k), most = whole_blocks(k->n_position_max);
    const uint32_t budget = kv_keep_floors(&k->choice, shape, keeper_whole(k)).budget;
    if (k->n_context && !k->episodes && !k->choice.options.common.block)
        return rows;
    return min_u32(whole_blocks(budget) + rows, most > rows ? most : rows);
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

static enum status taps_open(struct keeper *k, const struct keeper_frame *f, struct note *why)
{
    const unsigned needs = keeper_needs(k);
    const struct kv_taps_size size = size_of(f);
    k->taps = (struct kv_taps){
        .mass = needs & KV_NEED_MASS_SUM ? KV_TAP_MASS_SUM : KV_TAP_NO_MASS,
        .into = k->excerpt,
        .n_counted = UINT32_MAX,
        .n_least = lists_of_least(k, f),
        .n_query = queries_of(k),
        .moments_from = KV_OUTLIERS,
        .n_late_max = needs & KV_NEED_MOMENTS ? KV_TAP_LATE : 0,
        .moments_due = next_stop(k),
    };
    const enum status st = kv_taps_open(&k->taps, &size, needs & KV_NEED_MOMENTS);
    if (st != OK)
        note_set(why, "no memory for what KV policy '%s' writes down", k->choice.policy->name);
    return st;
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

/* ---- for others ---- */

/* A policy that drops rows once, behind a context, by what reading it alone has shown. */
static bool may_compare(const struct keeper *k)
{
    return keeper_drops(k) && !k->choice.policy->select && !k->episodes && k->n_context > 0 &&
           k->n_context < k->n_prompt && !k->choice.options.common.block &&
           !(keeper_needs(k) & KV_NEED_MASS_PEAK);
}

static enum status wide_open(struct keeper *k, const struct keeper_frame *f, struct note *why)
{
    const uint32_t own = queries_of(k);
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
    return k->compares && queries_of(k) <= read->n_query;
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

/* ---- life ---- */

/* Of a policy that knows episodes: those of its history. */
static enum status find_episodes(struct keeper *k, const struct keeper_prompt *p, struct note *why)
{
    const struct episodes_in in = {
        .from = p->from,
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

/* When it judges. BAD_INPUT: what is written it would not judge at all. */
static enum status set_schedule(struct keeper *k, const struct keeper_prompt *p, struct note *why)
{
    const bool by_block = k->episodes || (keeper_drops(k) && k->choice.options.common.block);
    k->compares = p->compared && may_compare(k);
    k->every = keeper_drops(k) ? kv_keep_every(&k->choice, p->shape, keeper_whole(k)) : 0;
    k->written = p->written && !p->n_context && !by_block;
    if (k->written && keeper_drops(k) && !k->every && !k->choice.policy->evicts_each) {
        note_set(why,
                 "%s drops rows behind a prompt alone, and nothing says where that ends: give it "
                 "block=N or every=N, or a context",
                 k->choice.policy->name);
        return BAD_INPUT;
    }
    keeper_look_ahead(k, 0);
    return OK;
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
    if (prompt->n_context && prompt->n_question > prompt->n - prompt->n_context) {
        note_set(why, "the question is %u tokens, but %u follow the context", prompt->n_question,
                 prompt->n - prompt->n_context);
        return BAD_INPUT;
    }
    if (!choice->policy->rank && !choice->policy->select)
        return OK;
    enum status st = kv_keep_check(choice, prompt->shape, why);
    if (st != OK)
        return st;
    struct keeper *k = mem_new(1, sizeof *k);
    if (!k) {
        note_set(why, "no memory for a KV policy");
        return FULL;
    }
    *k = (struct keeper){ .choice = *choice,
                          .n_prompt = prompt->n,
                          .n_context = prompt->n_context,
                          .n_question = prompt->n_context ? prompt->n_question : 0,
                          .n_position_max = prompt->n_position_max };
    kv_choice_print(choice, k->name, sizeof k->name);
    st = find_episodes(k, prompt, why);
    if (st == OK)
        st = set_schedule(k, prompt, why);
    if (st != OK) {
        keeper_free(k);
        return st;
    }
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
        .shares = f->shares,
        .n_head = f->model.n_head,
        .from = keeper_selects_from(k),
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
        const bool last = k->n_scanned == keeper_first(k) || k->n_scanned == keeper_selects_from(k);
        if (k->n_scanned > 0 && (ended || last))
            kv_select_end_sentence(k->select, k->n_scanned - 1);
    }
}

void keeper_enter(struct keeper *k, const struct keeper_frame *f, const struct kv_space *s,
                  uint32_t n_done)
{
    if (k->select && !keeper_drops(k) && n_done <= keeper_selects_from(k))
        kv_select_pass(k->select, f->model.kern, f->model.workers, s, n_done);
}

enum status keeper_begin(struct keeper *k, const struct keeper_frame *f, struct note *why)
{
    const bool mass = k->compares || keeper_needs(k) & (KV_NEED_MASS_SUM | KV_NEED_MASS_PEAK);
    const uint32_t beside = keeper_needs(k) & KV_NEED_MASS_PEAK ? REPLAY_ROWS : 0;
    const struct kv_excerpt_config config = {
        .pool = f->pool,
        .n_position_max = k->n_position_max + REPLAY_ROWS,
        .n_tail_mass = mass ? mass_rows(k, f->model.shape) + beside : 0,
    };
    k->n_skipped = 0;
    k->pruned = k->judging = false;
    keeper_look_ahead(k, 0);
    enum status st = select_begin(k, f, why);
    if (st == OK && keeper_drops(k))
        st = kv_excerpt_new(&k->excerpt, &config, why);
    if (st == OK)
        st = taps_open(k, f, why);
    if (st == OK && k->compares)
        st = wide_open(k, f, why);
    if (st != OK)
        keeper_end(k);
    return st;
}

enum status keeper_begin_behind(struct keeper *k, const struct keeper_frame *f,
                                struct kv_excerpt *excerpt, const struct kv_taps *read,
                                struct note *why)
{
    k->pruned = k->judging = false;
    k->excerpt = excerpt;
    const enum status st = taps_open(k, f, why);
    if (st != OK) {
        k->excerpt = NULL;
        return st;
    }
    keeper_learn(k, f, read);
    k->n_mark = 0;
    k->due = k->taps.moments_due = k->n_context;
    k->skips = false;
    return OK;
}

void keeper_end(struct keeper *k)
{
    replay_end(&k->replay);
    kv_excerpt_free(k->excerpt);
    k->excerpt = NULL;
    kv_select_free(k->select);
    k->select = NULL;
    kv_taps_close(&k->taps);
    kv_taps_close(&k->wide);
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
    k->n_mark = 0;
    for (k->n_skipped = 0; e && k->n_skipped < e->n_skip; k->n_skipped++)
        if (e->skip[k->n_skipped].end > n_done)
            break;
    keeper_look_ahead(k, n_done);
    return OK;
}

/* Positions in the space at once, but for the block in progress: up to the first keep, or behind a keep. (A budget that
 * it did not find filled is counted with the slots that it will move into.) */
static uint32_t most_in_space(const struct keeper *k, uint32_t n_position)
{
    const uint32_t first = due_after(k, 0), last = keeper_first(k);
    const bool goes_on = !k->n_context && (k->every || k->choice.policy->evicts_each);
    const uint32_t behind = goes_on || n_position < last ? tail_rows(k) : n_position - last;
    return first > behind ? first : behind;
}

/* Of the fork that replays, a partial block of the past copied with it. */
static size_t replay_bytes(const struct keeper *k, const struct keeper_frame *f)
{
    const bool again = keeper_needs(k) & KV_NEED_MASS_PEAK;
    const uint32_t most = k->choice.policy->replay == KV_REPLAY_EPISODE
                              ? episodes_text_max(&k->choice)
                              : REPLAY_CHUNK;
    const uint32_t n = again ? min_u32(keeper_whole(k), most) + REPLAY_PREFIX_MAX : f->probe.n;
    return keeper_reads_over(k) ? kv_sequence_bytes(f->model.shape, n + KV_BLOCK, n + KV_BLOCK) : 0;
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
    if (n_position < due_after(k, 0) || !keeper_drops(k))
        return kv_sequence_bytes(shape, n_position, n_step);
    if (kv_keep_bytes(&k->choice, f->shares, shape, keeper_whole(k), n_position, &slots) != OK)
        return SIZE_MAX;
    const uint32_t most =
        k->episodes ? most_of_episodes(k, n_position) : most_in_space(k, n_position);
    const uint32_t rows = min_u32(most + KV_BLOCK, n_position);
    return kv_sequence_bytes(shape, rows, n_step) + slots + replay_bytes(k, f);
}
