#include "engine/embed.h"

#include <math.h>
#include <string.h>

#include "base/kmeans.h"
#include "base/mem.h"
#include "text/bag.h"

static float weight_of(float n, float df)
{
    const float rest = n - df + 0.5f;
    return rest > 0 ? sqrtf(rest / (df + 0.5f)) : 0;
}

/* ---- vectors ---- */

/* The text of a stretch. FULL: no memory. */
static enum status text_of(const struct embedder *e, const int32_t *ids, struct stretch s,
                           struct buf *text)
{
    const enum status st =
        vocab_decode(e->from.vocab, ids + s.first, s.end - s.first, false, text, NULL);
    return st == FULL || text->failed ? FULL : OK;
}

static enum status embed_words(const struct embedder *e, const int32_t *ids, struct stretch s,
                               float *vector)
{
    struct buf text = { 0 };
    const enum status st = text_of(e, ids, s, &text);
    if (st == OK)
        bag_add(vector, buf_text(&text), text.len);
    buf_close(&text);
    for (uint32_t i = 0; i < e->dim; i++) /* the tenth time says less than the first */
        vector[i] = copysignf(sqrtf(fabsf(vector[i])), vector[i]) * e->weight[i];
    return st;
}

static enum status embed_tokens(const struct embedder *e, const int32_t *ids, struct stretch s,
                                float *vector)
{
    float *row = mem_new(e->dim, sizeof *row);
    if (!row)
        return FULL;
    for (uint32_t i = s.first; i < s.end; i++) {
        if (vocab_type(e->from.vocab, ids[i]) == TOKEN_CONTROL)
            continue;
        model_embedding(e->from.model, ids[i], row);
        for (uint32_t j = 0; j < e->dim; j++)
            vector[j] += e->weight[ids[i]] * row[j];
    }
    mem_free(row);
    unit_vector(vector, e->dim);
    return OK;
}

static enum status embed_sentences(const struct embedder *e, const int32_t *ids, struct stretch s,
                                   float *vector, struct note *why)
{
    struct buf text = { 0 };
    enum status st = text_of(e, ids, s, &text);
    if (st == OK)
        st = encoder_embed(e->from.encoder, buf_text(&text), text.len, vector, why);
    buf_close(&text);
    return st;
}

static enum status embed_raw(const struct embedder *e, const int32_t *ids, struct stretch s,
                             float *vector, struct note *why)
{
    memset(vector, 0, e->dim * sizeof *vector);
    switch (e->kind) {
    case EMBED_SELF:
        return embed_tokens(e, ids, s, vector);
    case EMBED_ENCODER:
        return embed_sentences(e, ids, s, vector, why);
    default:
        return embed_words(e, ids, s, vector);
    }
}

enum status embed(const struct embedder *e, const int32_t *ids, struct stretch s, float *vector,
                  struct note *why)
{
    const enum status st = embed_raw(e, ids, s, vector, why);
    for (uint32_t j = 0; e->mean && j < e->dim; j++)
        vector[j] -= e->mean[j];
    unit_vector(vector, e->dim);
    return st;
}

/* ---- fitting ---- */

/* weight: in how many stretches each place is not empty. */
static enum status count_words(struct embedder *e, const int32_t *ids, const struct stretch *s,
                               uint32_t n)
{
    enum status st = OK;
    float *vector = mem_new(2 * e->dim, sizeof *vector), *df = vector + e->dim;
    if (!vector)
        return FULL;
    for (uint32_t i = 0; i < e->dim; i++)
        e->weight[i] = 1;
    for (uint32_t i = 0; i < n && st == OK; i++) {
        st = embed_words(e, ids, s[i], memset(vector, 0, e->dim * sizeof *vector));
        for (uint32_t j = 0; j < e->dim; j++)
            df[j] += vector[j] != 0;
    }
    if (st == OK)
        memcpy(e->weight, df, e->dim * sizeof *df);
    mem_free(vector);
    return st;
}

/* weight: in how many stretches each token is. */
static enum status count_tokens(struct embedder *e, const int32_t *ids, const struct stretch *s,
                                uint32_t n)
{
    uint32_t *last = mem_new(e->n_weight, sizeof *last); // 1 + the stretch it was last met in
    if (!last)
        return FULL;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = s[i].first; j < s[i].end; j++) {
            if (last[ids[j]] == i + 1)
                continue;
            last[ids[j]] = i + 1;
            e->weight[ids[j]]++;
        }
    mem_free(last);
    return OK;
}

static enum status find_mean(struct embedder *e, const int32_t *ids, const struct stretch *s,
                             uint32_t n)
{
    enum status st = OK;
    float *vector = mem_new(2 * e->dim, sizeof *vector), *sum = vector + e->dim;
    if (!vector)
        return FULL;
    for (uint32_t i = 0; i < n && st == OK; i++) {
        st = embed_tokens(e, ids, s[i], memset(vector, 0, e->dim * sizeof *vector));
        for (uint32_t j = 0; j < e->dim; j++)
            sum[j] += vector[j];
    }
    e->mean = mem_new(e->dim, sizeof *e->mean);
    for (uint32_t j = 0; e->mean && j < e->dim; j++)
        e->mean[j] = sum[j] / (float)n;
    mem_free(vector);
    return e->mean ? st : FULL;
}

/* What of the stretches counts. */
static enum status fit_weights(struct embedder *e, const int32_t *ids,
                               const struct stretch *stretch, uint32_t n)
{
    const bool tokens = e->kind == EMBED_SELF;
    e->n_weight = tokens ? model_hparams(e->from.model)->n_vocab : BAG_PLACES;
    e->weight = mem_new(e->n_weight, sizeof *e->weight);
    if (!e->weight)
        return FULL;
    enum status st = tokens ? count_tokens(e, ids, stretch, n) : count_words(e, ids, stretch, n);
    for (uint32_t i = 0; st == OK && i < e->n_weight; i++)
        e->weight[i] = weight_of((float)n, e->weight[i]);
    if (st == OK && tokens && n > 1)
        st = find_mean(e, ids, stretch, n);
    return st;
}

enum status embedder_fit(struct embedder *out, enum embed_kind kind, const struct embed_from *from,
                         const int32_t *ids, const struct stretch *stretch, uint32_t n,
                         struct note *why)
{
    struct embedder e = { .kind = kind, .from = *from, .dim = BAG_PLACES };
    if (kind == EMBED_ENCODER) {
        const enum status st = encoder_dim(from->encoder, &e.dim, why);
        if (st == OK)
            *out = e;
        return st;
    }
    if (kind == EMBED_SELF)
        e.dim = (model_hparams(from->model)->n_embd + 7) / 8 * 8;
    const enum status st = fit_weights(&e, ids, stretch, n);
    if (st != OK) {
        note_set(why, "no memory to say what %u stretches of a conversation are about", n);
        embedder_close(&e);
        return st;
    }
    *out = e;
    return OK;
}

void embedder_close(struct embedder *e)
{
    mem_free(e->weight);
    mem_free(e->mean);
    *e = (struct embedder){ 0 };
}
