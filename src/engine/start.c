/* Birth and death of an engine: limits, memory, tables, the thread. */
#include <string.h>

#include "base/mem.h"
#include "engine/engine_in.h"

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
                   .rope_halves = h->rope_halves,
                   .rope_freq = model_rope_freq(e->model) },
        .pool = e->pool,
        .n_layer = h->n_layer,
        .vocab = e->frame.vocab,
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
    if (st == OK)
        st = replay_probe_make(&e->keeping.probe, e->frame.vocab, why);
    if (st != OK)
        return st;
    st = heads_open(&e->heads, e->model, &e->limits.shape, wish->kv_profile, model_path, why);
    if (e->heads.there)
        e->keeping.shares = &e->heads.shares;
    return st;
}

static enum status reader_open(struct engine *e, const struct vocab *v, struct note *why)
{
    struct hidden_frame frame;
    const enum status st = embed_frame(&frame, v, why);
    return st == OK ? hidden_new(&e->hidden, e->model, &frame, why) : st;
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
    e->spare.least = SIZE_MAX;
    queue_open(&e->inbox);
    queue_open(&e->waiting);
    outbox_open(&e->outbox);
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->work, NULL);
    tables_open(&e->tables);
    enum status st = engine_limits_choose(&e->limits, wish, m, why);
    e->pace.stretch = e->limits.step_stretch;
    if (st == OK && wish->encoder)
        st = encoder_new(&e->encoder, wish->encoder, model_kernels(m), why);
    if (st == OK)
        st = episodes_check(&e->limits.policy, e->encoder, why);
    if (st == OK)
        st = reader_open(e, vocab, why);
    if (st == OK)
        st = sequence_frame_open(&e->frame, m, vocab, e->hidden, e->encoder, &e->limits, why);
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
    engine_publish(e, 0); // before the first step: whoever asks first sees the limits
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

static void finish_all(struct engine *e)
{
    while (e->n_running > 0) {
        struct sequence *s = e->running[0];
        engine_stop_running(e, s);
        engine_finish(e, s, AKV_STOP_CANCELED, CANCELED, "the engine was stopped");
    }
    for (struct sequence *s; (s = queue_pop(&e->waiting)) || (s = queue_pop(&e->inbox));)
        engine_finish(e, s, AKV_STOP_CANCELED, CANCELED, "the engine was stopped");
    outbox_post(&e->outbox, &e->told);
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
    tapped_close(&e->tapped);
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
    hidden_free(e->hidden);
    encoder_free(e->encoder);
    mem_free(e->inside);
    mem_free(e->running);
    mem_free(e->share);
    mem_free(e->batch_seq);
    mem_free(e->batch_id);
    buf_close(&e->text);
    mem_free(e);
}

const char *engine_heads_told(const struct engine *e)
{
    return e->heads.told.text;
}

const struct engine_limits *engine_limits(const struct engine *e)
{
    return &e->limits;
}
