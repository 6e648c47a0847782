/* engine/candidates.c - a heap of candidates under three orders, and the filters over it. */
#include "engine/candidates.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "kernels/fmath.h"

/* Which of two candidates comes out of the heap first. Total orders: equal logits go by id. */
enum order { BEST_FIRST, WORST_FIRST, TYPICAL_FIRST };

struct heap {
    struct akv_logprob *at;
    uint32_t n;
    enum order order;
    double centre; // TYPICAL_FIRST: the logit that is most typical
};

static double distance(const struct heap *h, const struct akv_logprob *c)
{
    return fabs((double)c->logprob - h->centre);
}

static bool comes_before(const struct heap *h, const struct akv_logprob *a,
                         const struct akv_logprob *b)
{
    if (h->order == TYPICAL_FIRST) {
        double da = distance(h, a), db = distance(h, b);
        return da < db || (da == db && a->id < b->id);
    }
    bool better = a->logprob > b->logprob || (a->logprob == b->logprob && a->id < b->id);
    return better == (h->order == BEST_FIRST);
}

static void heap_sink(struct heap *h, uint32_t i)
{
    struct akv_logprob moving = h->at[i];
    for (;;) {
        uint32_t child = 2 * i + 1; // cannot wrap: a vocabulary has fewer than 2^31 tokens
        if (child >= h->n)
            break;
        if (child + 1 < h->n && comes_before(h, &h->at[child + 1], &h->at[child]))
            child++;
        if (!comes_before(h, &h->at[child], &moving))
            break;
        h->at[i] = h->at[child];
        i = child;
    }
    h->at[i] = moving;
}

static void heap_build(struct heap *h)
{
    for (uint32_t i = h->n / 2; i-- > 0;)
        heap_sink(h, i);
}

/* Moves the first one behind the heap, to at[n - 1] of before. */
static const struct akv_logprob *heap_pop(struct heap *h)
{
    struct akv_logprob first = h->at[0];
    h->n--;
    h->at[0] = h->at[h->n];
    h->at[h->n] = first;
    heap_sink(h, 0);
    return &h->at[h->n];
}

/* What pops left behind the heap stands last to first; turns it round and moves it to the front. */
static void heap_keep_popped(const struct heap *h, struct candidates *c)
{
    struct akv_logprob *popped = c->at + h->n;
    uint32_t n = c->n - h->n;
    for (uint32_t i = 0; i < n / 2; i++) {
        struct akv_logprob other = popped[i];
        popped[i] = popped[n - 1 - i];
        popped[n - 1 - i] = other;
    }
    memmove(c->at, popped, n * sizeof *popped);
    c->n = n;
}

static struct akv_logprob candidate(int32_t id, float logit)
{
    return (struct akv_logprob){ .id = id, .logprob = logit > FLT_MAX ? FLT_MAX : logit };
}

/* Better logits [from, to) take the worst one's place. */
static void offer(struct heap *h, const float *logits, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++)
        if (logits[i] > h->at[0].logprob && h->at[0].logprob < FLT_MAX) { // false for a NaN
            h->at[0] = candidate((int32_t)i, logits[i]);
            heap_sink(h, 0);
        }
}

enum { AT_ONCE = 16 };

/* Almost never, behind the first thousand of a vocabulary; and without a branch for each the compiler compares several
 * at once (262,144 logits: 0.34 -> 0.09 ms). */
static bool any_above(const float *logits, float worst)
{
    int any = 0;
    for (uint32_t i = 0; i < AT_ONCE; i++)
        any |= logits[i] > worst;
    return any;
}

void candidates_best(struct candidates *c, const float *logits, uint32_t n_vocab, uint32_t k)
{
    struct heap h = { .at = c->at, .order = WORST_FIRST };
    uint32_t i = 0;
    for (; i < n_vocab && h.n < k; i++)
        if (logits[i] > -INFINITY)
            h.at[h.n++] = candidate((int32_t)i, logits[i]);
    heap_build(&h);
    c->n = h.n;
    for (; i + AT_ONCE <= n_vocab && h.n > 0; i += AT_ONCE)
        if (any_above(logits + i, h.at[0].logprob))
            offer(&h, logits, i, i + AT_ONCE);
    if (h.n > 0)
        offer(&h, logits, i, n_vocab);
    while (h.n > 0)
        heap_pop(&h); // the worst goes last: what remains is best first
}

void candidates_all(struct candidates *c, const float *logits, uint32_t n_vocab)
{
    c->n = 0;
    for (uint32_t i = 0; i < n_vocab; i++)
        if (logits[i] > -INFINITY)
            c->at[c->n++] = candidate((int32_t)i, logits[i]);
}

static double largest(const struct candidates *c)
{
    float max = c->at[0].logprob;
    for (uint32_t i = 1; i < c->n; i++)
        if (c->at[i].logprob > max)
            max = c->at[i].logprob;
    return max;
}

/* Pops candidates until they hold the share p of all probability, and keeps those. */
static void keep_mass(struct candidates *c, struct heap *h, double max, double total, double p)
{
    double sum = 0;
    heap_build(h);
    while (h->n > 0) {
        sum += fm_exp((double)heap_pop(h)->logprob - max);
        if (sum >= p * total)
            break;
    }
    heap_keep_popped(h, c);
}

/* With d = logit - max, Z = sum e^d and S = sum d e^d: surprise is log Z - d and entropy is
 * log Z - S / Z, so |surprise - entropy| = |S / Z - d|, and no logarithm is taken. */
void candidates_keep_typical(struct candidates *c, double p)
{
    double max = largest(c), total = 0, weighted = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        double d = (double)c->at[i].logprob - max, weight = fm_exp(d);
        total += weight;
        weighted += d * weight;
    }
    struct heap h = { c->at, c->n, TYPICAL_FIRST, .centre = max + weighted / total };
    keep_mass(c, &h, max, total, p);
}

void candidates_keep_top_p(struct candidates *c, double p)
{
    double max = largest(c), total = 0;
    for (uint32_t i = 0; i < c->n; i++)
        total += fm_exp((double)c->at[i].logprob - max);
    struct heap h = { .at = c->at, .n = c->n, .order = BEST_FIRST };
    keep_mass(c, &h, max, total, p);
}

void candidates_keep_min_p(struct candidates *c, double p)
{
    double least = largest(c) + fm_log(p);
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->n; i++)
        if (c->at[i].logprob >= least)
            c->at[n++] = c->at[i];
    c->n = n;
}

int32_t candidates_draw(const struct candidates *c, double temperature, double uniform)
{
    double max = largest(c), total = 0, sum = 0;
    for (uint32_t i = 0; i < c->n; i++)
        total += fm_exp(((double)c->at[i].logprob - max) / temperature);

    int32_t drawn = c->at[0].id;
    for (uint32_t i = 0; i < c->n && sum <= uniform * total; i++) {
        double weight = fm_exp(((double)c->at[i].logprob - max) / temperature);
        sum += weight;
        if (weight >
            0) // where uniform * total rounds up to the total, the last possible one is drawn
            drawn = c->at[i].id;
    }
    return drawn;
}
