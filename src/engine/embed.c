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

static enum status embed_words(const struct embedder *e, const int32_t *ids, struct stretch s,
                               float *vector)
{
    struct buf text = { 0 };
    enum status st = vocab_decode(e->vocab, ids + s.first, s.end - s.first, false, &text, NULL);
    if (st != FULL && !text.failed) {
        bag_add(vector, buf_text(&text), text.len);
        st = OK;
    }
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
        if (vocab_type(e->vocab, ids[i]) == TOKEN_CONTROL)
            continue;
        model_embedding(e->model, ids[i], row);
        for (uint32_t j = 0; j < e->dim; j++)
            vector[j] += e->weight[ids[i]] * row[j];
    }
    mem_free(row);
    unit_vector(vector, e->dim);
    return OK;
}

static enum status embed_raw(const struct embedder *e, const int32_t *ids, struct stretch s,
                             float *vector)
{
    memset(vector, 0, e->dim * sizeof *vector);
    return e->kind == EMBED_SELF ? embed_tokens(e, ids, s, vector) : embed_words(e, ids, s, vector);
}

enum status embed(const struct embedder *e, const int32_t *ids, struct stretch s, float *vector)
{
    const enum status st = embed_raw(e, ids, s, vector);
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
        st = embed_raw(e, ids, s[i], vector);
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
        st = embed_raw(e, ids, s[i], vector);
        for (uint32_t j = 0; j < e->dim; j++)
            sum[j] += vector[j];
    }
    e->mean = mem_new(e->dim, sizeof *e->mean);
    for (uint32_t j = 0; e->mean && j < e->dim; j++)
        e->mean[j] = sum[j] / (float)n;
    mem_free(vector);
    return e->mean ? st : FULL;
}

enum status embedder_fit(struct embedder *out, enum embed_kind kind, const struct model *m,
                         const struct vocab *v, const int32_t *ids, const struct stretch *stretch,
                         uint32_t n, struct note *why)
{
    const bool tokens = kind == EMBED_SELF;
    const struct hparams *h = model_hparams(m);
    struct embedder e = { .kind = kind, .vocab = v, .model = m };
    e.dim = tokens ? (h->n_embd + 7) / 8 * 8 : BAG_PLACES;
    e.n_weight = tokens ? h->n_vocab : BAG_PLACES;
    e.weight = mem_new(e.n_weight, sizeof *e.weight);
    enum status st = e.weight ? OK : FULL;
    if (st == OK)
        st = tokens ? count_tokens(&e, ids, stretch, n) : count_words(&e, ids, stretch, n);
    for (uint32_t i = 0; st == OK && i < e.n_weight; i++)
        e.weight[i] = weight_of((float)n, e.weight[i]);
    if (st == OK && tokens && n > 1)
        st = find_mean(&e, ids, stretch, n);
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
