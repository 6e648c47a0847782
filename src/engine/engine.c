#include "engine/engine_in.h"

#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"

/* ---- a step ---- */

static void batch_of(struct engine *e, uint32_t n_share, uint32_t n_row, struct batch *out)
{
    for (uint32_t i = 0; i < n_share; i++) {
        const struct share *sh = &e->share[i];
        struct keeper *k = sh->seq->keeper;
        const struct replay *r = sh->replay ? &k->replay : NULL;
        e->batch_seq[i] = (struct batch_seq){
            .space = r ? r->space : sh->seq->space,
            .first_row = sh->first_row,
            .n_row = sh->n_row,
            .position = r ? r->n_past + r->n_done : sh->seq->n_done,
            .excerpt = k ? k->excerpt : NULL,
            .taps = sh->replay ? &k->replay.taps
                    : k        ? &k->taps
                               : NULL,
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

/* What its policy did: what it put into the index gives its memory back with the rest, unless somebody waits for it. */
static void pruned(struct engine *e, struct sequence *s)
{
    kv_index_drop(e->index, &s->public_trail);
    if (is_waited_for(e, s))
        kv_index_drop(e->index, &s->trail);
    else
        kv_index_forget(e->index, &s->trail, s->n_cached / KV_BLOCK);
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
    remember_context(e, sh);
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
        for (uint32_t j = 0; j < n; j++) {
            const float *own = logits + (size_t)j * n_vocab;
            id[j] = ready[j]->n_id < ready[j]->n_id_max ? sequence_pick(ready[j], own) : -1;
        }
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

static struct akv_times times_of(const struct kv_times *t)
{
    struct akv_times out = { .sum = t->sum };
    _Static_assert((int)AKV_TIME_BUCKETS == (int)KV_TIME_BUCKETS, "the same buckets outside");
    memcpy(out.n, t->n, sizeof out.n);
    return out;
}

/* What engine_stats shows: a copy made once a step, so that callers never touch the pool. */
static void stats_publish(struct engine *e, uint64_t step_ns)
{
    struct kv_spaces_stats maps;
    struct kv_pool_usage kv;
    struct kv_index_stats index;
    uint32_t n_held = 0;
    kv_spaces_stats(e->spaces, &maps);
    kv_pool_usage(e->pool, &kv);
    kv_index_stats(e->index, &index);
    for (uint32_t g = 0; g < e->limits.shape.n_group; g++)
        n_held += kv.n_held[g];
    pthread_mutex_lock(&e->lock);
    struct akv_stats *s = &e->stats;
    *s = (struct akv_stats){
        .kv_bytes_max = kv.bytes_max,
        .kv_bytes_backed = kv.bytes_backed,
        .kv_bytes_held = kv.bytes_held,
        .kv_bytes_parked = e->frozen.parked_bytes,
        .n_episode_parked = e->frozen.n_parked,
        .n_episode_unparked = e->frozen.n_unparked,
        .n_running = e->n_running,
        .n_block_held = n_held,
        .n_block_indexed = index.n_node,
        .n_ctx = e->limits.n_ctx,
        .n_ubatch = e->limits.n_ubatch,
        .n_parallel = e->limits.n_parallel,
        .n_step = s->n_step + (step_ns > 0),
        .n_token_prompt = e->n_token_prompt,
        .n_token_cached = e->n_token_cached,
        .n_token_generated = e->n_token_generated,
        .n_evicted = index.n_evicted,
        .n_paused = e->n_pause,
        .step_ns = s->step_ns + step_ns,
        .map_ns = maps.map_ns,
        .plan_ns = e->sum.plan_ns > maps.map_ns ? e->sum.plan_ns - maps.map_ns : 0,
        .forward_ns = e->sum.forward_ns,
        .sample_ns = e->sum.sample_ns,
        .keep_ns = s->step_ns + step_ns - e->sum.plan_ns - e->sum.forward_ns - e->sum.sample_ns,
        .n_step_sequence = e->sum.n_sequence,
        .n_row = e->sum.n_row,
        .n_window_dropped = index.n_window_dropped,
        .n_crowded = index.n_crowded,
        .time_bound = kv_time_bound,
        .block_lifetime = times_of(&index.lifetime),
        .block_idle = times_of(&index.idle),
        .block_reuse_gap = times_of(&index.reuse_gap),
        .weight_bytes = model_weights(e->model)->bytes,
        .workspace_bytes = model_workspace_bytes(e->model),
        .kv_bytes_per_token = kv_bytes_per_position(&e->limits.shape),
    };
    memcpy(s->n_step_of_rows, e->sum.n_of_rows, sizeof s->n_step_of_rows);
    pthread_mutex_unlock(&e->lock);
}

/* One step, in the order things happen. */
static void step(struct engine *e)
{
    const uint64_t began = engine_now(e);
    struct batch batch;
    uint32_t n_share;

    tables_hold(&e->tables);
    kv_index_tick(e->index, ++e->step);
    kv_index_clock(e->index, began);
    const uint32_t n_row = engine_plan(e, &n_share);
    tables_let_go(&e->tables);
    if (n_row == 0) {
        stats_publish(e, 0); // whoever was to run has ended
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
    const uint64_t took = engine_now(e) - began;
    pace_measured(&e->pace, e->n_answer, n_row - e->n_answer, took);
    stats_publish(e, took);
}

/* ---- the inbox ---- */

/* Ends it if somebody asked for that, or its time is over. False: it goes on. */
static bool finish_due(struct engine *e, struct sequence *s, uint64_t now)
{
    if (!s->canceled && now < s->deadline_ns)
        return false;
    if (s->space)
        engine_stop_running(e, s);
    if (s->canceled)
        engine_finish(e, s, AKV_STOP_CANCELED, CANCELED, "the request was canceled");
    else
        engine_finish(e, s, AKV_STOP_TIME, OK, "");
    return true;
}

static void finish_all_due(struct engine *e)
{
    const uint64_t now = engine_now(e);
    for (uint32_t i = 0; i < e->n_running;)
        i += !finish_due(e, e->running[i], now);
    for (uint32_t n = e->waiting.n; n > 0; n--) {
        struct sequence *s = queue_pop(&e->waiting);
        if (!finish_due(e, s, now))
            queue_push(&e->waiting, s);
    }
}

static bool has_work(const struct engine *e)
{
    return e->quit || e->inbox.first || e->cancel_asked || e->n_running > 0 || e->waiting.first;
}

/* Takes what callers left; waits while there is nothing to do. False: quit. */
static bool inbox_drain(struct engine *e)
{
    struct queue came;
    queue_open(&came);
    pthread_mutex_lock(&e->lock);
    while (!has_work(e))
        pthread_cond_wait(&e->work, &e->lock);
    for (struct sequence *s; (s = queue_pop(&e->inbox));)
        queue_push(&came, s);
    const bool quit = e->quit;
    e->cancel_asked = false;
    pthread_mutex_unlock(&e->lock);
    tables_hold(&e->tables);
    for (struct sequence *s; (s = queue_pop(&came));)
        queue_push(&e->waiting, s);
    finish_all_due(e);
    tables_let_go(&e->tables);
    return !quit;
}

bool engine_turn(struct engine *e)
{
    if (!inbox_drain(e))
        return false;
    outbox_wait_room(&e->outbox);
    step(e);
    return true;
}

static void *engine_main(void *arg)
{
    while (engine_turn(arg))
        ;
    return NULL;
}

static void finish_all(struct engine *e)
{
    while (e->n_running > 0) {
        struct sequence *s = e->running[0];
        engine_stop_running(e, s);
        engine_finish(e, s, AKV_STOP_CANCELED, CANCELED, "the engine was stopped");
    }
    for (struct sequence *s; (s = queue_pop(&e->waiting)) || (s = queue_pop(&e->inbox));)
        engine_finish(e, s, AKV_STOP_CANCELED, CANCELED, "the engine was stopped");
}

/* ---- what callers see ---- */

enum status engine_submit(struct engine *e, const struct akv_request *r, uint64_t *id,
                          struct note *why)
{
    struct sequence *s;
    enum status st = model_check(e->model, why);
    if (st == OK)
        st = sequence_new(&s, r, &e->frame, why);
    if (st != OK)
        return st;
    pthread_mutex_lock(&e->lock);
    if (e->n_inside == e->n_inside_max) {
        note_set(why,
                 "%u requests run or wait already, which is the limit; try again when one is done",
                 e->n_inside);
        pthread_mutex_unlock(&e->lock);
        sequence_free(s);
        return FULL;
    }
    s->id = ++e->next_id;
    s->submit_ns = engine_now(e);
    s->deadline_ns =
        r->time_limit_ms ? s->submit_ns + r->time_limit_ms * UINT64_C(1000000) : UINT64_MAX;
    *id = s->id;
    e->inside[e->n_inside++] = s;
    queue_push(&e->inbox, s);
    pthread_cond_signal(&e->work);
    pthread_mutex_unlock(&e->lock);
    return OK;
}

void engine_cancel(struct engine *e, uint64_t id)
{
    pthread_mutex_lock(&e->lock);
    for (uint32_t i = 0; i < e->n_inside; i++) {
        if (e->inside[i]->id == id) {
            atomic_store(&e->inside[i]->canceled, true);
            e->cancel_asked = true;
            pthread_cond_signal(&e->work);
        }
    }
    pthread_mutex_unlock(&e->lock);
}

struct outbox_event *engine_take_event(struct engine *e, int timeout_ms)
{
    return outbox_take(&e->outbox, timeout_ms);
}

const struct engine_limits *engine_limits(const struct engine *e)
{
    return &e->limits;
}

void engine_stats(struct engine *e, struct akv_stats *out)
{
    pthread_mutex_lock(&e->lock);
    *out = e->stats;
    /* n_running is of the last step's end: some of those may have ended since */
    out->n_waiting = e->n_inside > out->n_running ? e->n_inside - out->n_running : 0;
    pthread_mutex_unlock(&e->lock);
}

static enum status arrays_new(struct engine *e, struct note *why)
{
    const struct engine_limits *l = &e->limits;
    e->n_inside_max = l->n_queue + l->n_parallel;
    e->inside = mem_new(e->n_inside_max, sizeof *e->inside);
    e->running = mem_new(l->n_parallel, sizeof *e->running);
    e->share = mem_new(l->n_parallel, sizeof *e->share);
    e->batch_seq = mem_new(l->n_parallel, sizeof *e->batch_seq);
    e->batch_id = mem_new(l->n_ubatch, sizeof *e->batch_id);
    if (e->inside && e->running && e->share && e->batch_seq && e->batch_id)
        return OK;
    note_set(why, "no memory for the lists of %u requests", e->n_inside_max);
    return FULL;
}

static enum status memory_new(struct engine *e, struct note *why)
{
    const struct engine_limits *l = &e->limits;
    const struct kv_pool_config pool = { .shape = &e->limits.shape, .bytes_max = l->kv_bytes };
    enum status st = model_reserve(e->model, l->n_ubatch, why);
    if (st == OK)
        st = kv_pool_new(&e->pool, &pool, why);
    const struct kv_spaces_config spaces = {
        .pool = e->pool,
        .n_position_max = l->n_ctx + REPLAY_ROWS,
        .map_ahead = true,
        .table = l->kv_table,
    };
    if (st == OK)
        st = kv_spaces_new(&e->spaces, &spaces, why);
    const struct kv_index_config index = {
        .pool = e->pool,
        .spaces = e->spaces,
        .model = model_fingerprint(e->model),
    };
    if (st == OK)
        st = kv_index_new(&e->index, &index, why);
    return st;
}

static enum status keeping_open(struct engine *e, const struct akv_limits *wish,
                                const char *model_path, struct note *why)
{
    const struct hparams *h = model_hparams(e->model);
    e->frozen.spaces = e->spaces;
    e->frozen.parked_bytes_max = e->limits.kv_bytes;
    e->keeping = (struct keeper_frame){
        .model = { .kern = model_kernels(e->model),
                   .workers = model_workers(e->model),
                   .shape = &e->limits.shape,
                   .n_head = h->n_head,
                   .scale = h->attn_scale,
                   .softcap = h->attn_softcap,
                   .n_rot = h->n_rot,
                   .rope_halves = h->rope_halves },
        .pool = e->pool,
        .n_layer = h->n_layer,
    };
    enum status st =
        kv_keep_room_new(&e->keeping.model.room, &e->limits.shape, model_n_thread(e->model));
    if (st != OK) {
        note_set(why, "no memory for the ranks of KV policies");
        return st;
    }
    const struct gguf *file = model_file(e->model);
    st = replay_prefix_make(&e->keeping.repeat, replay_repeat, file, e->frame.vocab, why);
    if (st == OK)
        st = replay_prefix_make(&e->keeping.essential, replay_essential, file, e->frame.vocab, why);
    if (st != OK)
        return st;
    st = heads_open(&e->heads, e->model, &e->limits.shape, wish->kv_profile, model_path, why);
    if (e->heads.there)
        e->keeping.shares = &e->heads.shares;
    return st;
}

enum status engine_new_still(struct engine **out, struct model *m, const struct vocab *vocab,
                             const struct akv_limits *wish, struct engine_clock clock,
                             struct note *why)
{
    struct engine *e = mem_new_aligned(1, sizeof *e, 64);
    if (!e) {
        note_set(why, "no memory for an engine");
        return FULL;
    }
    e->clock = clock;
    e->model = m;
    queue_open(&e->inbox);
    queue_open(&e->waiting);
    outbox_open(&e->outbox);
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->work, NULL);
    tables_open(&e->tables);
    enum status st = engine_limits_choose(&e->limits, wish, m, why);
    e->pace.stretch = e->limits.step_stretch;
    if (st == OK)
        st = sequence_frame_open(&e->frame, m, vocab, &e->limits, why);
    if (st == OK)
        st = arrays_new(e, why);
    if (st == OK)
        st = memory_new(e, why);
    if (st == OK)
        st = keeping_open(e, wish, model_file_path(m), why);
    if (st != OK) {
        engine_free(e);
        return st;
    }
    stats_publish(e, 0); // before the first step: whoever asks first sees the limits
    *out = e;
    return OK;
}

static uint64_t system_now_ns(void *arg)
{
    (void)arg;
    return os_now_ns();
}

enum status engine_new(struct engine **out, struct model *m, const struct vocab *vocab,
                       const struct akv_limits *wish, struct note *why)
{
    const struct engine_clock clock = { .now_ns = system_now_ns };
    struct engine *e;
    enum status st = engine_new_still(&e, m, vocab, wish, clock, why);
    if (st != OK)
        return st;
    const int error = pthread_create(&e->thread, NULL, engine_main, e);
    if (error) {
        note_set(why, "cannot start the engine thread: %s", strerror(error));
        engine_free(e);
        return FULL;
    }
    e->started = true;
    *out = e;
    return OK;
}

void engine_free(struct engine *e)
{
    if (!e)
        return;
    if (e->started) {
        pthread_mutex_lock(&e->lock);
        e->quit = true;
        pthread_cond_signal(&e->work);
        pthread_mutex_unlock(&e->lock);
        outbox_quit(&e->outbox);
        pthread_join(e->thread, NULL);
    }
    finish_all(e);
    frozen_close(&e->frozen);
    kv_index_free(e->index);
    kv_spaces_free(e->spaces);
    kv_pool_free(e->pool);
    kv_keep_room_free(e->keeping.model.room);
    heads_close(&e->heads);
    outbox_close(&e->outbox);
    pthread_mutex_destroy(&e->lock);
    pthread_cond_destroy(&e->work);
    tables_close(&e->tables);
    sequence_frame_close(&e->frame);
    mem_free(e->inside);
    mem_free(e->running);
    mem_free(e->share);
    mem_free(e->batch_seq);
    mem_free(e->batch_id);
    buf_close(&e->text);
    mem_free(e);
}
