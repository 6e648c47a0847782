#include "model/hidden.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "base/mem.h"
#include "model/model_in.h"
#include "model/recall.h"

/* Where runs of the first h.n_layer layers are computed. */
struct hidden_room {
    struct hparams h; // the model's, as if it had no more layers
    struct kv_shape shape;
    struct kv_pool *pool;
    struct kv_spaces *spaces;
    struct kv_space *space; // of HIDDEN_RUN positions, written anew by each run
    struct workers *workers;
    struct pass pass;
    struct kv_taps taps;
};

struct hidden {
    const struct model *model;
    struct hidden_frame frame;
    pthread_mutex_t lock;     // of all that follows
    struct hidden_room *room; // NULL: not asked yet
    struct recall recall;
};

enum status hidden_new(struct hidden **out, const struct model *m, const struct hidden_frame *frame,
                       struct note *why)
{
    struct hidden *r = mem_new(1, sizeof *r);
    if (!r) {
        note_set(why, "no memory to read hidden states");
        return FULL;
    }
    *r = (struct hidden){ .model = m, .frame = *frame };
    pthread_mutex_init(&r->lock, NULL);
    *out = r;
    return OK;
}

static void room_free(struct hidden_room *room)
{
    if (!room)
        return;
    kv_taps_close(&room->taps);
    pass_close(&room->pass);
    workers_free(room->workers);
    kv_space_free(room->space);
    kv_spaces_free(room->spaces);
    kv_pool_free(room->pool);
    mem_free(room);
}

void hidden_free(struct hidden *r)
{
    if (!r)
        return;
    room_free(r->room);
    recall_close(&r->recall);
    pthread_mutex_destroy(&r->lock);
    mem_free(r);
}

/* ---- under the lock ---- */

/* A space of HIDDEN_RUN positions. They are never committed, so they stay open to be written again. */
static enum status open_space(struct hidden_room *room, struct note *why)
{
    const struct kv_pool_config pool = {
        .shape = &room->shape,
        .bytes_max = kv_sequence_bytes(&room->shape, HIDDEN_RUN, HIDDEN_RUN),
    };
    enum status st = kv_pool_new(&room->pool, &pool, why);
    if (st == OK)
        st = kv_spaces_new(&room->spaces,
                           &(struct kv_spaces_config){
                               .pool = room->pool, .n_position_max = HIDDEN_RUN, .table = true },
                           why);
    if (st == OK)
        st = kv_space_new(&room->space, room->spaces, why);
    return st == OK ? kv_space_grow(room->space, HIDDEN_RUN) : st;
}

/* One thread computes: others answer meanwhile. */
static enum status room_new(struct hidden_room **out, const struct model *m, uint32_t n_layer,
                            struct note *why)
{
    struct hidden_room *room = mem_new(1, sizeof *room);
    if (!room)
        return FULL;
    room->h = m->h;
    room->h.n_layer = n_layer;
    room->h.n_vocab = 0; /* no logits are asked for */
    hparams_kv_shape(&room->h, KV_F16, &room->shape);
    enum status st = open_space(room, why);
    if (st == OK)
        st = workers_new(&room->workers, 1, why);
    if (st == OK) {
        room->pass = (struct pass){ .kern = m->pass.kern, .h = &room->h, .workers = room->workers };
        memcpy(room->pass.rope, m->pass.rope, sizeof room->pass.rope);
        st = pass_open(&room->pass, &m->weights, HIDDEN_RUN, why);
    }
    room->taps = (struct kv_taps){ .hidden_layer = n_layer };
    if (st == OK)
        st = kv_taps_open(&room->taps, &(struct kv_taps_size){ .n_embd = room->h.n_embd }, false);
    if (st != OK) {
        room_free(room);
        return st;
    }
    *out = room;
    return OK;
}

/* The room is of the layers that were last asked for. */
static enum status ready(struct hidden *r, uint32_t n_layer, struct note *why)
{
    if (r->room && r->room->h.n_layer == n_layer)
        return OK;
    room_free(r->room);
    r->room = NULL;
    enum status st = r->recall.trace ? OK : recall_open(&r->recall, r->model->h.n_embd, why);
    if (st == OK)
        st = room_new(&r->room, r->model, n_layer, why);
    return st;
}

/* Copies n ids to the end of a run of n_run; returns its new end. */
static uint32_t add_ids(int32_t *run, uint32_t n_run, const int32_t *ids, uint32_t n)
{
    memcpy(run + n_run, ids, n * sizeof *ids);
    return n_run + n;
}

/* A run over n ids: the rows that count join the sum. */
static void read_run(const struct hidden *r, const struct hidden_frame *f, const int32_t *ids,
                     uint32_t n)
{
    struct hidden_room *room = r->room;
    int32_t run[HIDDEN_RUN] = { f->first };
    struct batch_seq seq = { .space = room->space, .taps = &room->taps };
    struct batch batch = { .n_seq = 1, .id = run, .seq = &seq };
    const uint32_t text = add_ids(run, 1, f->before, f->n_before);
    const uint32_t ask = add_ids(run, text, ids, n);
    batch.n_row = seq.n_row = add_ids(run, ask, f->behind, f->n_behind);
    room->taps.hidden_from = f->n_behind ? ask : text;
    pass_begin(&room->pass, &batch, &r->model->weights);
    r->model->arch->forward(&room->pass, &r->model->weights);
    pass_let_embedding_go(&room->pass, &r->model->weights);
}

static void compute(const struct hidden *r, bool asks, const int32_t *ids, size_t n, float *mean)
{
    struct kv_taps *t = &r->room->taps;
    const struct hidden_frame bare = { .first = r->frame.first }, *f = asks ? &r->frame : &bare;
    const uint32_t n_embd = r->room->h.n_embd, most = HIDDEN_RUN - 1 - f->n_before - f->n_behind;
    memset(t->hidden, 0, n_embd * sizeof *t->hidden);
    t->n_hidden = 0;
    for (size_t at = 0, m; at < n; at += m) {
        m = n - at < most ? n - at : most;
        read_run(r, f, ids + at, (uint32_t)m);
    }
    for (uint32_t j = 0; j < n_embd; j++)
        mean[j] = t->n_hidden ? t->hidden[j] / (float)t->n_hidden : 0;
}

enum status hidden_mean(struct hidden *r, struct hidden_how how, const char *salt,
                        const int32_t *ids, size_t n, float *mean, struct note *why)
{
    const struct recall_key key =
        recall_key_of(salt, how.n_layer << 1 | how.asks, ids, n * sizeof *ids);
    assert(how.n_layer >= 1 && how.n_layer <= r->model->h.n_layer);
    pthread_mutex_lock(&r->lock);
    const enum status st = ready(r, how.n_layer, why);
    if (st == OK && !recall_find(&r->recall, key, mean)) {
        compute(r, how.asks, ids, n, mean);
        recall_put(&r->recall, key, mean);
    }
    pthread_mutex_unlock(&r->lock);
    if (st == FULL)
        note_set(why, "no memory to read hidden states of %u layers", how.n_layer);
    return st;
}
