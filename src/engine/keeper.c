#include "engine/keeper_in.h"

#include <string.h>

#include "base/mem.h"

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
    k->compares = p->compared && keeper_may_compare(k);
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
        .n_tail_mass = mass ? keeper_mass_rows(k, f->model.shape) + beside : 0,
    };
    k->n_skipped = 0;
    k->pruned = k->judging = false;
    keeper_look_ahead(k, 0);
    enum status st = select_begin(k, f, why);
    if (st == OK && keeper_drops(k))
        st = kv_excerpt_new(&k->excerpt, &config, why);
    if (st == OK)
        st = keeper_open_taps(k, f, why);
    if (st == OK && k->compares)
        st = keeper_open_wide(k, f, why);
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
    const enum status st = keeper_open_taps(k, f, why);
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
