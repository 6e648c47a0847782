#include "engine/engine_in.h"

#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "os/workers.h"

/* ---- a step ---- */

/* Rows at a share's beginning whose logits nobody asks for: a next token is drawn behind the last one, once all is
 * read. A policy may ask for any. */
static uint32_t n_unread_of(const struct share *sh)
{
    const struct sequence *s = sh->seq;
    if (s->keeper || s->prompt_logprobs)
        return 0;
    return s->n_done + sh->n_row == s->n_id ? sh->n_row - 1 : sh->n_row;
}

static void batch_of(struct engine *e, uint32_t n_share, uint32_t n_row, struct batch *out)
{
    for (uint32_t i = 0; i < n_share; i++) {
        const struct share *sh = &e->share[i];
        struct keeper *k = sh->seq->keeper;
        if (k && !sh->replay) {
            keeper_scan(k, sh->seq->ids, sh->seq->n_done + sh->n_row);
            keeper_look(k, &e->limits.shape, sh->seq->n_done, sh->n_row);
        }
        const struct replay *r = sh->replay ? &k->replay : NULL;
        e->batch_seq[i] = (struct batch_seq){
            .space = r ? r->space : sh->seq->space,
            .first_row = sh->first_row,
            .n_row = sh->n_row,
            .position = r ? r->n_past + r->n_done : sh->seq->n_done,
            .excerpt = k ? k->excerpt : NULL,
            .taps = sh->replay ? &k->replay.taps
                    : k        ? keeper_taps(k)
                               : NULL,
            .select = k && !sh->replay ? k->select : NULL,
            .n_unread = n_unread_of(sh),
        };
        memcpy(e->batch_id + sh->first_row, r ? r->ids + r->n_done : sh->seq->ids + sh->seq->n_done,
               sh->n_row * sizeof *e->batch_id);
    }
    *out =
        (struct batch){ .n_row = n_row, .n_seq = n_share, .id = e->batch_id, .seq = e->batch_seq };
}

/* Whether its time for whole lines is over, and one of them is: llama-server's t_max_predict_ms. */
static bool line_is_last(const struct engine *e, const struct sequence *s, const struct buf *text)
{
    return s->line_limit_ns && memchr(buf_text(text), '\n', text->len) &&
           engine_now(e) - s->first_ns > s->line_limit_ns;
}

/* The sequence has read all it has: its next token. True: it goes on. */
static bool generate(struct engine *e, struct sequence *s, int32_t id, const float *logits)
{
    if (!s->first_ns)
        s->first_ns = engine_now(e);
    if (s->n_id == s->n_id_max) {
        engine_finish(e, s,
                      s->length_is_context && s->n_id > s->n_prompt ? AKV_STOP_CONTEXT
                                                                    : AKV_STOP_LENGTH,
                      OK, "");
        return false;
    }
    if (id < 0) {
        engine_finish(e, s, AKV_STOP_ERROR, CORRUPT,
                      "no token can be drawn: every logit is NaN, -inf or forbidden");
        return false;
    }
    if (sequence_is_stop(s, id)) {
        s->end_id = id;
        engine_finish(e, s, AKV_STOP_END, OK, "");
        return false;
    }
    buf_clear(&e->text);
    const bool stopped = sequence_accept(s, id, &e->text);
    s->lost = e->text.failed || !engine_post_token(e, s, id, logits, &e->text);
    e->n_token_generated++;
    if (stopped || s->lost) {
        engine_finish(e, s, AKV_STOP_TEXT, OK, "");
        return false;
    }
    if (line_is_last(e, s, &e->text)) {
        engine_finish(e, s, AKV_STOP_TIME, OK, "");
        return false;
    }
    if (s->n_id == s->n_id_max) {
        engine_finish(e, s, s->length_is_context ? AKV_STOP_CONTEXT : AKV_STOP_LENGTH, OK, "");
        return false;
    }
    return true;
}

/* Whether some sequence waits for what this one computes. */
static bool is_waited_for(const struct engine *e, const struct sequence *s)
{
    for (const struct sequence *w = e->waiting.first; w; w = w->next) {
        if (w->wait_until && w->wait_for == s->id)
            return true;
    }
    return false;
}

/* What its policy did: what it put into the index gives its memory back with the rest, unless somebody waits for it or
 * is to find it, or has begun with it already. */
static void pruned(struct engine *e, struct sequence *s)
{
    e->spare = (struct spare){ .least = SIZE_MAX, .surplus = e->spare.surplus, .pruned = true };
    kv_index_drop(e->index, &s->public_trail);
    if (s->keeper->compares || is_waited_for(e, s))
        kv_index_drop(e->index, &s->trail);
    else
        kv_index_forget(e->index, &s->trail,
                        (s->n_cached > s->n_known ? s->n_cached : s->n_known) / KV_BLOCK);
}

/* The last row of its context, for others of the same to begin behind it. */
static void remember_context(struct engine *e, const struct share *sh)
{
    const uint32_t row = sh->first_row + sh->n_row - 1;
    if (frozen_applies(sh->seq) && sh->seq->n_done == keeper_shared(sh->seq->keeper))
        keeper_remember(sh->seq->keeper, model_logits(e->model, &row, 1),
                        model_hparams(e->model)->n_vocab);
}

void engine_prune(struct engine *e, struct sequence *s, uint32_t n_replayed)
{
    struct keeper *k = s->keeper;
    const bool context = s->n_done == keeper_shared(k) && !k->skips;
    struct note why = { "" };
    bool pruned_now;
    enum status st;
    do {
        st = n_replayed ? keeper_replayed(k, &e->keeping, e->model, s->space, s->ids, s->n_done,
                                          n_replayed, &pruned_now, &why)
                        : keeper_after(k, &e->keeping, e->model, s->space, s->ids, &s->n_done,
                                       &pruned_now, &why);
        if (pruned_now)
            pruned(e, s);
        n_replayed = 0;
    } while (st == FULL && keeper_is_stalled(k, s->n_done) && engine_evict(e));
    if (context && (k->due != s->n_done || k->skips))
        frozen_put(&e->frozen, s, model_hparams(e->model)->n_vocab);
}

/* What rows that select have read since it was asked last. */
static void count_reads(struct engine *e, struct keeper *k)
{
    if (!k->select)
        return;
    const struct kv_select_stats now = kv_select_stats_of(k->select);
    e->sum.n_read += now.n_read - k->told.n_read;
    e->sum.n_there += now.n_there - k->told.n_there;
    k->told = now;
}

static void commit(struct engine *e, const struct share *sh)
{
    struct sequence *s = sh->seq;
    if (sh->replay) {
        engine_prune(e, s, sh->n_row);
        return;
    }
    s->n_done += sh->n_row;
    const size_t bytes = sequence_kv_bytes(s, &e->limits.shape, sh->n_row);
    if (bytes > s->kv_bytes_peak)
        s->kv_bytes_peak = bytes;
    kv_space_commit(s->space, s->n_done);
    engine_keep(e, s);
    if (!s->keeper)
        return;
    engine_mark(e, s);
    count_reads(e, s->keeper);
    keeper_enter(s->keeper, &e->keeping, s->space, s->n_done);
    remember_context(e, sh);
    tapped_put(&e->tapped, &e->keeping, s, model_hparams(e->model)->n_vocab);
    engine_prune(e, s, 0);
}

static void commit_all(struct engine *e, uint32_t n_share)
{
    const uint64_t began = engine_now(e);
    for (uint32_t i = 0; i < n_share; i++) {
        const struct share *sh = &e->share[i];
        const bool prompt = !sh->replay && sh->seq->n_done < sh->seq->n_prompt;
        if (sh->seq->prompt_logprobs && prompt)
            engine_post_prompt(e, sh);
        e->n_token_prompt += prompt ? sh->n_row : 0;
    }
    e->sum.sample_ns += engine_now(e) - began; /* logits of prompts, where they are asked for */
    tables_hold(&e->tables);
    for (uint32_t i = 0; i < n_share; i++)
        commit(e, &e->share[i]);
    tables_let_go(&e->tables);
}

/* Tokens for sequences whose logits lie side by side. */
struct picks {
    uint32_t n, n_vocab;
    struct sequence *const *seq;
    const float *logits; // [n][n_vocab]
    int32_t *id;         // [n]; -1: the sequence is as long as it may be
};

/* A part's own sequences: their samplers are theirs alone. */
static void pick_some(void *arg, uint32_t part, uint32_t n_part)
{
    const struct picks *p = arg;
    for (uint32_t i = part; i < p->n; i += n_part) {
        struct sequence *s = p->seq[i];
        p->id[i] =
            s->n_id < s->n_id_max ? sequence_pick(s, p->logits + (size_t)i * p->n_vocab) : -1;
    }
}

static void pick_all(struct engine *e, struct picks *p)
{
    struct workers *w = model_workers(e->model);
    struct profile *profile = model_profile(e->model);
    if (p->n > 1) {
        profile_run(profile, PROFILE_SAMPLING, w, pick_some, p);
        return;
    }
    const uint64_t began = profile_alone(profile);
    pick_some(p, 0, 1);
    profile_alone_end(profile, PROFILE_SAMPLING, w, began);
}

/* Samples for the shares whose sequence is up to date, sixteen rows of logits at a time. */
static void sample_shares(struct engine *e, uint32_t n_share)
{
    const uint32_t n_vocab = model_hparams(e->model)->n_vocab;
    struct sequence *ready[LOGIT_ROWS];
    uint32_t row[LOGIT_ROWS], n = 0;
    int32_t id[LOGIT_ROWS];
    for (uint32_t i = 0; i < n_share; i++) {
        const struct share *sh = &e->share[i];
        if (sh->seq->n_done == sh->seq->n_id && !sh->replay && !sh->seq->lost) {
            ready[n] = sh->seq;
            row[n++] = sh->first_row + sh->n_row - 1;
        }
        if (n == 0 || (n < LOGIT_ROWS && i + 1 < n_share))
            continue;
        const uint64_t began = engine_now(e);
        const float *logits = model_logits(e->model, row, n);
        struct picks picks = { n, n_vocab, ready, logits, id };
        pick_all(e, &picks);
        e->sum.sample_ns += engine_now(e) - began;
        tables_hold(&e->tables);
        for (uint32_t j = 0; j < n; j++) {
            if (!generate(e, ready[j], id[j], logits + (size_t)j * n_vocab))
                engine_stop_running(e, ready[j]);
        }
        tables_let_go(&e->tables);
        n = 0;
    }
}

/* Ends those whose prompt rows could not be reported. */
static void finish_lost(struct engine *e)
{
    for (uint32_t i = 0; i < e->n_running;) {
        struct sequence *s = e->running[i];
        if (!s->lost) {
            i++;
            continue;
        }
        tables_hold(&e->tables);
        engine_stop_running(e, s);
        engine_finish(e, s, AKV_STOP_ERROR, FULL,
                      "no memory for the log-probabilities of the prompt");
        tables_let_go(&e->tables);
    }
}

static void count_rows(struct engine *e, uint32_t n_share, uint32_t n_row)
{
    uint32_t bucket = 0;
    while (bucket + 1 < AKV_STEP_BUCKETS && n_row > UINT32_C(1) << bucket)
        bucket++;
    e->sum.n_of_rows[bucket]++;
    e->sum.n_sequence += n_share;
    e->sum.n_row += n_row;
}

enum { SPARE_STEPS = 512, PRUNED_STEPS = 32 };
#define GIVE_BACK_STEP ((size_t)8 << 20) /* bytes: a punched hole costs 0.1 ms a MiB */

/* KV memory that lay free for so many steps is not needed: it goes back to the system, a piece with each step. What a
 * policy dropped does so soon; else the next requests want it, and backing it anew costs more than all other keeping of
 * a step. */
static void give_back(struct engine *e)
{
    struct spare *spare = &e->spare;
    kv_spaces_collect(e->spaces);
    if (spare->surplus > 0) {
        const size_t wanted = spare->surplus < GIVE_BACK_STEP ? spare->surplus : GIVE_BACK_STEP;
        const size_t given = kv_pool_trim(e->pool, wanted);
        spare->surplus -= given >= wanted && given < spare->surplus ? given : spare->surplus;
    }
    if (spare->pruned && spare->n_step == PRUNED_STEPS / 2)
        spare->least = SIZE_MAX; // by now the mapper is done with what was dropped
    const size_t now = kv_pool_spare(e->pool);
    spare->least = now < spare->least ? now : spare->least;
    if (++spare->n_step < (spare->pruned ? PRUNED_STEPS : SPARE_STEPS))
        return;
    *spare = (struct spare){ .least = SIZE_MAX, .surplus = spare->least };
}

/* One step, in the order things happen. */
static void step(struct engine *e)
{
    const uint64_t began = engine_now(e);
    struct batch batch;
    uint32_t n_share;

    tables_hold(&e->tables);
    kv_index_tick(e->index, ++e->step);
    e->frozen.step = e->tapped.step = e->step;
    kv_index_clock(e->index, began);
    const uint32_t n_row = engine_plan(e, &n_share);
    tables_let_go(&e->tables);
    if (n_row == 0) {
        outbox_post(&e->outbox, &e->told); // whoever was to run has ended
        engine_publish(e, 0);
        return;
    }
    const uint64_t planned = engine_now(e);
    batch_of(e, n_share, n_row, &batch);
    model_forward(e->model, &batch);
    count_rows(e, n_share, n_row);
    e->sum.plan_ns += planned - began;
    e->sum.forward_ns += engine_now(e) - planned;
    commit_all(e, n_share);
    sample_shares(e, n_share);
    finish_lost(e);
    outbox_post(&e->outbox, &e->told);
    give_back(e);
    model_let_go(e->model);
    const uint64_t took = engine_now(e) - began;
    pace_measured(&e->pace, e->n_answer, n_row - e->n_answer, took);
    engine_publish(e, took);
}

/* ---- turns ---- */

bool engine_turn(struct engine *e)
{
    if (!engine_drain(e))
        return false;
    outbox_wait_room(&e->outbox);
    step(e);
    return true;
}

void *engine_main(void *arg)
{
    while (engine_turn(arg))
        ;
    return NULL;
}
