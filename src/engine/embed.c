#include "engine/embed.h"

#include <math.h>
#include <string.h>

#include "base/kmeans.h"
#include "base/mem.h"
#include "text/bag.h"

/* ---- words around a text ---- */

/* As many as there is room for. */
static enum status add_words(int32_t *out, uint32_t *n, const struct vocab *v, const char *text,
                             struct note *why)
{
    struct ids ids = { 0 };
    const enum status st = vocab_encode(v, text, strlen(text), 0, &ids, why);
    *n = st != OK ? 0 : ids.n < HIDDEN_WORDS_MAX ? (uint32_t)ids.n : HIDDEN_WORDS_MAX;
    if (*n > 0)
        memcpy(out, ids.id, *n * sizeof *out);
    ids_close(&ids);
    return st;
}

/* Of what was tried it found most dialogues (docs/POLICIES.md). */
enum status embed_frame(struct hidden_frame *out, const struct vocab *v, struct note *why)
{
    const int32_t bos = vocab_bos(v) >= 0 ? vocab_bos(v) : vocab_eos(v);
    *out = (struct hidden_frame){ .first = bos >= 0 ? bos : 0 };
    const enum status st = add_words(out->before, &out->n_before, v, "This passage: \"", why);
    return st == OK ? add_words(out->behind, &out->n_behind, v,
                                "\" is about one topic, in one word: \"", why)
                    : st;
}

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

/* Of what the stretch says: control tokens say who speaks. */
static enum status embed_hidden(const struct embedder *e, const int32_t *ids, struct stretch s,
                                float *vector, struct note *why)
{
    uint32_t n = 0;
    int32_t *said = mem_new(s.end - s.first + 1, sizeof *said);
    if (!said)
        return FULL;
    for (uint32_t i = s.first; i < s.end; i++)
        if (vocab_type(e->from.vocab, ids[i]) != TOKEN_CONTROL)
            said[n++] = ids[i];
    const enum status st =
        hidden_mean(e->from.hidden, e->how.hidden, e->from.salt, said, n, vector, why);
    mem_free(said);
    unit_vector(vector, e->dim);
    return st;
}

static enum status embed_sentences(const struct embedder *e, const int32_t *ids, struct stretch s,
                                   float *vector, struct note *why)
{
    struct buf text = { 0 };
    enum status st = text_of(e, ids, s, &text);
    if (st == OK)
        st = encoder_embed(e->from.encoder, e->from.salt, buf_text(&text), text.len, vector, why);
    buf_close(&text);
    return st;
}

static enum status embed_raw(const struct embedder *e, const int32_t *ids, struct stretch s,
                             float *vector, struct note *why)
{
    memset(vector, 0, e->dim * sizeof *vector);
    switch (e->how.kind) {
    case EMBED_TOKENS:
        return embed_tokens(e, ids, s, vector);
    case EMBED_HIDDEN:
        return embed_hidden(e, ids, s, vector, why);
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
        vector[j] = (vector[j] - e->mean[j]) * (e->scale ? e->scale[j] : 1);
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

/* Sums over the stretches' vectors: of each element, or of the square of how far it is from the mean. */
static enum status add_up(const struct embedder *e, const int32_t *ids, const struct stretch *s,
                          uint32_t n, bool squares, float *sum, struct note *why)
{
    enum status st = OK;
    float *vector = mem_new(e->dim, sizeof *vector);
    if (!vector)
        return FULL;
    for (uint32_t i = 0; i < n && st == OK; i++) {
        st = embed_raw(e, ids, s[i], vector, why);
        for (uint32_t j = 0; j < e->dim; j++) {
            const float far = squares ? vector[j] - e->mean[j] : 0;
            sum[j] += squares ? far * far : vector[j];
        }
    }
    mem_free(vector);
    return st;
}

static enum status find_mean(struct embedder *e, const int32_t *ids, const struct stretch *s,
                             uint32_t n, struct note *why)
{
    e->mean = mem_new(e->dim, sizeof *e->mean);
    const enum status st = e->mean ? add_up(e, ids, s, n, false, e->mean, why) : FULL;
    for (uint32_t j = 0; st == OK && j < e->dim; j++)
        e->mean[j] /= (float)n;
    return st;
}

/* Few elements of a text's hidden states are larger than all others together, and say little: each counts by how far
 * the stretches differ in it. */
static enum status find_scale(struct embedder *e, const int32_t *ids, const struct stretch *s,
                              uint32_t n, struct note *why)
{
    e->scale = mem_new(e->dim, sizeof *e->scale);
    const enum status st = e->scale ? add_up(e, ids, s, n, true, e->scale, why) : FULL;
    for (uint32_t j = 0; st == OK && j < e->dim; j++)
        e->scale[j] = e->scale[j] > 0 ? 1 / sqrtf(e->scale[j]) : 0;
    return st;
}

/* Which places, or tokens, count. */
static enum status fit_weights(struct embedder *e, const int32_t *ids,
                               const struct stretch *stretch, uint32_t n)
{
    const bool tokens = e->how.kind == EMBED_TOKENS;
    e->n_weight = tokens ? model_hparams(e->from.model)->n_vocab : BAG_PLACES;
    e->weight = mem_new(e->n_weight, sizeof *e->weight);
    if (!e->weight)
        return FULL;
    const enum status st =
        tokens ? count_tokens(e, ids, stretch, n) : count_words(e, ids, stretch, n);
    for (uint32_t i = 0; st == OK && i < e->n_weight; i++)
        e->weight[i] = weight_of((float)n, e->weight[i]);
    return st;
}

static enum status fit(struct embedder *e, const int32_t *ids, const struct stretch *stretch,
                       uint32_t n, struct note *why)
{
    const enum embed_kind kind = e->how.kind;
    if (kind == EMBED_ENCODER)
        return encoder_dim(e->from.encoder, &e->dim, why);
    if (kind != EMBED_TFIDF)
        e->dim = (model_hparams(e->from.model)->n_embd + 7) / 8 * 8;
    enum status st = kind == EMBED_HIDDEN ? OK : fit_weights(e, ids, stretch, n);
    if (st == OK && kind != EMBED_TFIDF && n > 1)
        st = find_mean(e, ids, stretch, n, why);
    if (st == OK && kind == EMBED_HIDDEN && !e->how.hidden.asks && n > 1)
        st = find_scale(e, ids, stretch, n, why);
    if (st == FULL)
        note_set(why, "no memory to say what %u stretches of a conversation are about", n);
    return st;
}

enum status embedder_fit(struct embedder *out, struct embed_how how, const struct embed_from *from,
                         const int32_t *ids, const struct stretch *stretch, uint32_t n,
                         struct note *why)
{
    struct embedder e = { .how = how, .from = *from, .dim = BAG_PLACES };
    const enum status st = fit(&e, ids, stretch, n, why);
    if (st != OK) {
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
    mem_free(e->scale);
    *e = (struct embedder){ 0 };
}
