/* engine/sample.c - one sequence's sampler: what it remembers, and the chain of a pick. */
#include "engine/sample.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "engine/candidates.h"
#include "kernels/fmath.h"

enum {
    WINDOW_MAX =
        1 << 20,       // most tokens that penalties look back over, but for "all": 4 MiB a sampler
    FEW_FORBIDDEN = 8, // tokens that are dropped from the candidates; more are masked in a copy
    DRAW_STREAM = 0x6b76, // PCG stream of draws: a seed's other uses would take another
};

struct sampler {
    struct akv_sampling set; // its bias arrays are ours
    uint32_t n_vocab;
    struct rng rng;
    float *logits;          // [n_vocab] after bias, penalties and bans
    struct akv_logprob *at; // [candidates_max() + FEW_FORBIDDEN]
    uint32_t *count;        // [n_vocab] how often a token is in the window; NULL: no penalty is on
    int32_t *window;        // [repeat_last_n] a ring of the newest; NULL: all of the context
    uint32_t n_window;      // tokens in the ring
    uint32_t oldest;        // index of its oldest
};

/* ---- parameters ---- */

struct bounds {
    const char *name;
    double value, least, most;
};

static enum status check_bounds(const struct akv_sampling *p, struct note *why)
{
    const struct bounds row[] = {
        { "temperature", p->temperature, 0, 100 },
        { "top_k", p->top_k, 0, INT32_MAX },
        { "top_p", p->top_p, 0, 1 },
        { "min_p", p->min_p, 0, 1 },
        { "typical_p", p->typical_p, 0, 1 },
        { "repeat_penalty", p->repeat_penalty, (double)0.01f, 100 },
        { "repeat_last_n", p->repeat_last_n, -1, WINDOW_MAX },
        { "presence_penalty", p->presence_penalty, -100, 100 },
        { "frequency_penalty", p->frequency_penalty, -100, 100 },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        if (row[i].value >= row[i].least && row[i].value <= row[i].most)
            continue;
        note_set(why, "%s is %g; give a number from %g to %.10g", row[i].name, row[i].value,
                 row[i].least, row[i].most);
        return BAD_INPUT;
    }
    return OK;
}

static enum status check_bias(const struct akv_sampling *p, uint32_t n_vocab, struct note *why)
{
    for (uint32_t i = 0; i < p->n_bias; i++) {
        if (p->bias_id[i] < 0 || (uint32_t)p->bias_id[i] >= n_vocab) {
            note_set(why, "logit bias names token %d; the vocabulary has 0 to %u", p->bias_id[i],
                     n_vocab - 1);
            return BAD_INPUT;
        }
        if (!(p->bias[i] < INFINITY)) {
            note_set(why, "logit bias of token %d is %g; give a number, or -inf to forbid it",
                     p->bias_id[i], (double)p->bias[i]);
            return BAD_INPUT;
        }
    }
    return OK;
}

static bool has_penalty(const struct akv_sampling *p)
{
    return p->repeat_last_n != 0 &&
           (p->repeat_penalty != 1 || p->presence_penalty != 0 || p->frequency_penalty != 0);
}

static uint32_t candidates_max(const struct sampler *s)
{
    if (s->set.temperature == 0)
        return 1;
    uint32_t k = (uint32_t)s->set.top_k;
    return k == 0 || k > s->n_vocab ? s->n_vocab : k;
}

static void *copy(const void *from, size_t n, size_t size)
{
    void *to = mem_new(n, size);
    if (to != NULL && n > 0)
        memcpy(to, from, n * size);
    return to;
}

enum status sampler_new(struct sampler **out, const struct akv_sampling *params, uint32_t n_vocab,
                        struct note *why)
{
    enum status st = check_bounds(params, why);
    if (st == OK)
        st = check_bias(params, n_vocab, why);
    if (st != OK)
        return st;

    struct sampler *s = mem_new(1, sizeof *s);
    if (s == NULL)
        goto full;
    s->set = *params;
    s->n_vocab = n_vocab;
    s->rng = rng_seeded(params->seed, DRAW_STREAM);
    s->set.bias_id = copy(params->bias_id, params->n_bias, sizeof *params->bias_id);
    s->set.bias = copy(params->bias, params->n_bias, sizeof *params->bias);
    s->logits = mem_new(n_vocab, sizeof *s->logits);
    s->at = mem_new((size_t)candidates_max(s) + FEW_FORBIDDEN, sizeof *s->at);
    if (s->set.bias_id == NULL || s->set.bias == NULL || s->logits == NULL || s->at == NULL)
        goto full;
    if (has_penalty(params)) {
        s->count = mem_new(n_vocab, sizeof *s->count);
        if (s->count == NULL)
            goto full;
    }
    if (s->count != NULL && params->repeat_last_n > 0) {
        s->window = mem_new((size_t)params->repeat_last_n, sizeof *s->window);
        if (s->window == NULL)
            goto full;
    }
    *out = s;
    return OK;
full:
    sampler_free(s);
    note_set(why, "no memory for a sampler over %u tokens", n_vocab);
    return FULL;
}

void sampler_free(struct sampler *s)
{
    if (s == NULL)
        return;
    mem_free((void *)s->set.bias_id);
    mem_free((void *)s->set.bias);
    mem_free(s->logits);
    mem_free(s->at);
    mem_free(s->count);
    mem_free(s->window);
    mem_free(s);
}

/* ---- the window that penalties look at ---- */

static void window_push(struct sampler *s, int32_t id)
{
    uint32_t room = (uint32_t)s->set.repeat_last_n;
    if (s->n_window < room) {
        s->window[s->n_window++] = id;
        return;
    }
    s->count[s->window[s->oldest]]--;
    s->window[s->oldest] = id;
    s->oldest = s->oldest + 1 == room ? 0 : s->oldest + 1;
}

enum status sampler_accept(struct sampler *s, int32_t id)
{
    if (id < 0 || (uint32_t)id >= s->n_vocab)
        return BAD_INPUT;
    if (s->count == NULL)
        return OK;
    if (s->window != NULL)
        window_push(s, id);
    s->count[id]++;
    return OK;
}

/* ---- a pick ---- */

/* Repetition divides positive logits and multiplies the others (after Keskar et al. 2019, "CTRL");
 * presence and frequency subtract (as in the OpenAI API reference). */
static void penalize(const struct sampler *s)
{
    for (uint32_t i = 0; i < s->n_vocab; i++) {
        if (s->count[i] == 0)
            continue;
        float x = s->logits[i];
        x = x > 0 ? x / s->set.repeat_penalty : x * s->set.repeat_penalty;
        x -= (float)s->count[i] * s->set.frequency_penalty;
        x -= s->set.presence_penalty;
        s->logits[i] = x;
    }
}

/* Logits after bias, penalties and bans: those given where there is none of that, or few bans alone, as copying a large
 * vocabulary takes as long as looking for its best. */
static const float *adjusted(const struct sampler *s, const float *logits, const int32_t *forbidden,
                             uint32_t n_forbidden)
{
    if (s->set.n_bias == 0 && s->count == NULL && n_forbidden <= FEW_FORBIDDEN)
        return logits;
    memcpy(s->logits, logits, s->n_vocab * sizeof *logits);
    for (uint32_t i = 0; i < s->set.n_bias; i++)
        s->logits[s->set.bias_id[i]] += s->set.bias[i];
    if (s->count != NULL)
        penalize(s);
    for (uint32_t i = 0; i < n_forbidden; i++) {
        assert(forbidden[i] >= 0 && (uint32_t)forbidden[i] < s->n_vocab);
        s->logits[forbidden[i]] = -INFINITY;
    }
    return s->logits;
}

/* The k best of the others stay, in their order. */
static void drop_forbidden(struct candidates *c, uint32_t k, const int32_t *forbidden,
                           uint32_t n_forbidden)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->n && n < k; i++) {
        uint32_t f = 0;
        while (f < n_forbidden && forbidden[f] != c->at[i].id)
            f++;
        if (f == n_forbidden)
            c->at[n++] = c->at[i];
    }
    c->n = n;
}

int32_t sampler_pick(struct sampler *s, const float *logits, const int32_t *forbidden,
                     uint32_t n_forbidden)
{
    const struct akv_sampling *p = &s->set;
    struct candidates c = { .at = s->at };

    const uint32_t k = candidates_max(s),
                   extra = n_forbidden < FEW_FORBIDDEN ? n_forbidden : FEW_FORBIDDEN;
    logits = adjusted(s, logits, forbidden, n_forbidden);
    if (k < s->n_vocab)
        candidates_best(&c, logits, s->n_vocab, k + extra);
    else
        candidates_all(&c, logits, s->n_vocab);
    if (n_forbidden > 0)
        drop_forbidden(&c, k, forbidden, n_forbidden);
    if (c.n == 0)
        return -1;
    if (p->temperature == 0)
        return c.at[0].id;
    if (p->typical_p < 1)
        candidates_keep_typical(&c, p->typical_p);
    if (p->top_p < 1)
        candidates_keep_top_p(&c, p->top_p);
    if (p->min_p > 0)
        candidates_keep_min_p(&c, p->min_p);
    return candidates_draw(&c, p->temperature, rng_unit(&s->rng));
}

/* ---- log-probabilities ---- */

double logits_lse(const float *logits, uint32_t n_vocab)
{
    float max = -INFINITY;
    for (uint32_t i = 0; i < n_vocab; i++)
        if (logits[i] > max)
            max = logits[i];
    double sum = 0;
    for (uint32_t i = 0; i < n_vocab; i++)
        sum += fm_exp((double)logits[i] - (double)max);
    return (double)max + fm_log(sum);
}

void logits_best(const float *logits, uint32_t n_vocab, double lse, struct akv_logprob *best,
                 uint32_t n)
{
    struct candidates c = { .at = best };
    candidates_best(&c, logits, n_vocab, n);
    for (uint32_t i = 0; i < c.n; i++)
        best[i].logprob = (float)((double)best[i].logprob - lse);
    for (uint32_t i = c.n; i < n; i++)
        best[i] = (struct akv_logprob){ .id = -1, .logprob = -INFINITY };
}
