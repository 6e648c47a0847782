/* expected - attention that queries still to come are expected to pay, times what their rows would add.
 *
 *   queries before RoPE ~ N(mu, C) (seen so far, without the first);  R: RoPE averaged over the next positions
 *   E exp(q k)  ~  exp(s),   s = scale (R mu) k + scale^2 k' (R C R') k / 2
 *   rank = sum over the heads of the group of softmax(s) * |v|
 *
 * With C = L L' the last term is the sum of squares of scores of the columns of R L, halved: no more than dot products.
 *
 * Source: Devoto et al. 2025, "Expected Attention: KV Cache Compression by Estimating Attention from Future Queries
 * Distribution", and its implementation in the library kvpress. */
#include "kv/policy/expected.h"

#include <math.h>
#include <string.h>

#include "kv/policy/all.h"
#include "kv/policy/measure.h"

struct expected_options {
    struct kv_common common;
    bool covariance, values;
};

#define AT(field) offsetof(struct expected_options, field)

static const struct kv_option options[] = {
    { "covariance", KV_OPTION_SWITCH, AT(covariance), NULL, "on", NULL, 0, 0, NULL,
      "look at the spread of queries, not at their mean alone" },
    { "values", KV_OPTION_SWITCH, AT(values), NULL, "on", NULL, 0, 0, NULL,
      "times the length of the row's V" },
};

static unsigned expected_needs(const void *opt)
{
    (void)opt;
    return KV_NEED_MOMENTS;
}

/* ---- the queries' distribution ---- */

/* mean [d] of query head `head`, and c [d][d] the lower triangle of its covariance. */
static void moments_of(const struct kv_rank_in *in, uint32_t head, double *mean, double *c)
{
    const uint32_t d = in->d;
    const float *sum = in->sum + (size_t)head * d, *outer = in->outer + (size_t)head * d * d;
    const double n = (double)in->n_moment;
    for (uint32_t i = 0; i < d; i++)
        mean[i] = sum[i] / n;
    for (uint32_t i = 0; i < d; i++)
        for (uint32_t j = 0; j <= i; j++)
            c[(size_t)i * d + j] = outer[(size_t)i * d + j] / n - mean[i] * mean[j];
}

/* C = L L' in place. Where nothing but rounding is left of a pivot, its column is zero: C may be singular. */
static void cholesky(double *c, uint32_t d)
{
    double largest = 0;
    for (uint32_t i = 0; i < d; i++)
        largest = fmax(largest, c[(size_t)i * d + i]);
    for (uint32_t j = 0; j < d; j++) {
        double *cj = c + (size_t)j * d, pivot = cj[j];
        for (uint32_t k = 0; k < j; k++)
            pivot -= cj[k] * cj[k];
        const double root = pivot > 1e-7 * largest ? sqrt(pivot) : 0;
        for (uint32_t i = j + 1; i < d; i++) {
            double *ci = c + (size_t)i * d, x = ci[j];
            for (uint32_t k = 0; k < j; k++)
                x -= ci[k] * cj[k];
            ci[j] = root > 0 ? x / root : 0;
        }
        cj[j] = root;
    }
}

/* q [1 + d][d]: the mean, then the columns of L that are not zero, as they will be rotated. Answers how many rows. */
static uint32_t probes(const struct kv_rank_in *in, const double *mean, const double *l, float *q)
{
    const uint32_t d = in->d;
    uint32_t n = 1;
    for (uint32_t i = 0; i < d; i++)
        q[i] = (float)mean[i];
    for (uint32_t j = 0; l && j < d; j++) {
        if (l[(size_t)j * d + j] == 0)
            continue;
        for (uint32_t i = 0; i < d; i++)
            q[(size_t)n * d + i] = i < j ? 0 : (float)l[(size_t)i * d + j];
        n++;
    }
    for (uint32_t i = 0; i < n; i++)
        in->kern->rope(q + (size_t)i * d, in->future, in->n_rot, in->rope_halves);
    return n;
}

/* ---- scores ---- */

enum { TILE = 16 };

/* s [n] = score of row 0 of q, plus half the squares of those of the others. */
static void expect_scores(const struct kv_rank_in *in, uint32_t h, const float *q, uint32_t n_q,
                          float *tile, float *s)
{
    const uint32_t n = in->head[h].n;
    kv_rank_scores(in, h, q, 1, s);
    for (uint32_t first = 1; first < n_q; first += TILE) {
        const uint32_t n_tile = n_q - first < TILE ? n_q - first : TILE;
        kv_rank_scores(in, h, q + (size_t)first * in->d, n_tile, tile);
        for (uint32_t t = 0; t < n_tile; t++)
            for (uint32_t i = 0; i < n; i++)
                s[i] += 0.5f * tile[(size_t)t * n + i] * tile[(size_t)t * n + i];
    }
}

/* Room of one head's rank. */
struct room {
    double *mean, *c;
    float *q, *tile, *s;
};

static bool room_take(const struct kv_rank_in *in, uint32_t n, bool covariance, struct room *r)
{
    const size_t d = in->d;
    r->mean = kv_rank_room(in, d, sizeof *r->mean);
    r->c = kv_rank_room(in, d * d, sizeof *r->c);
    r->q = kv_rank_room(in, (d + 1) * d, sizeof *r->q);
    r->tile = kv_rank_room(in, (size_t)TILE * n * covariance + 1, sizeof *r->tile);
    r->s = kv_rank_room(in, n, sizeof *r->s);
    return r->mean && r->c && r->q && r->tile && r->s;
}

/* rank [n] += softmax over the rows behind the outliers, of one query head. */
static void add_head(const struct kv_rank_in *in, uint32_t h, uint32_t g, bool covariance,
                     const struct room *r, float *rank)
{
    struct kv_rank_in plain = *in; // an expectation of exponents knows no soft cap
    plain.softcap = 0;
    const struct kv_rank_head *head = &in->head[h];
    moments_of(in, h * in->group + g, r->mean, r->c);
    if (covariance)
        cholesky(r->c, in->d);
    const uint32_t n_q = probes(in, r->mean, covariance ? r->c : NULL, r->q);
    expect_scores(&plain, h, r->q, n_q, r->tile, r->s);
    for (uint32_t i = 0; i < head->n; i++)
        if (head->position[i] < KV_OUTLIERS)
            r->s[i] = -INFINITY;
    in->kern->softmax(r->s, head->n);
    in->kern->add(rank, r->s, head->n);
}

bool expected_of_head(const struct kv_rank_in *in, uint32_t h, bool covariance, bool values,
                      float *rank)
{
    const struct kv_rank_head *head = &in->head[h];
    struct room r;
    memset(rank, 0, head->n * sizeof *rank);
    if (in->n_moment == 0)
        return true; // a few tokens: nothing is known of queries
    if (!room_take(in, head->n, covariance, &r))
        return false;
    for (uint32_t g = 0; g < in->group; g++)
        add_head(in, h, g, covariance, &r, rank);
    if (values && !measure_values(in, h, false, r.s))
        return false;
    for (uint32_t i = 0; i < head->n; i++) {
        rank[i] *= values ? r.s[i] : 1;
        if (head->position[i] < KV_OUTLIERS)
            rank[i] = INFINITY;
    }
    return true;
}

static void expected_rank(const void *opt, const struct kv_rank_in *in, float *const *rank)
{
    const struct expected_options *o = opt;
    for (uint32_t h = 0; h < in->n_kv_head; h++)
        if (!expected_of_head(in, h, o->covariance, o->values, rank[h]))
            return;
}

const struct kv_policy kv_policy_expected = {
    .name = "expected",
    .source = "Devoto et al. 2025, \"Expected Attention: KV Cache Compression by Estimating "
              "Attention from Future Queries Distribution\"",
    .summary = "keeps what queries to come are expected to look at",
    .option = options,
    .n_option = sizeof options / sizeof *options,
    .options_bytes = sizeof(struct expected_options),
    .paper = { .sinks = "4" },
    .needs = expected_needs,
    .rank = expected_rank,
};
