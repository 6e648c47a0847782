/* expected - attention that queries still to come are expected to pay, times what their rows would add.
 *
 *   queries before RoPE ~ N(mu, C) (seen so far, without the first);  R: RoPE averaged over the next positions
 *   E exp(q k)  ~  exp(s),   s = scale (R mu) k + scale^2 k' (R C R') k / 2
 *   rank = sum over the heads of the group of softmax(s) * |v|
 *
 * With C = L L' the last term is the sum of squares of scores of the columns of R L, halved: no more than dot products.
 * Columns that would add less than a thousandth are left out: queries lie near a plane.
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

/* mean [d] of query head `head`. */
static void mean_of(const struct kv_rank_in *in, uint32_t head, double *mean)
{
    const float *sum = in->sum + (size_t)head * in->d;
    for (uint32_t i = 0; i < in->d; i++)
        mean[i] = sum[i] / (double)in->n_moment;
}

/* c [d][d]: the lower triangle of its covariance. */
static void covariance_of(const struct kv_rank_in *in, uint32_t head, const double *mean, double *c)
{
    const uint32_t d = in->d;
    const float *outer = in->outer + (size_t)head * d * d;
    const double n = (double)in->n_moment;
    for (uint32_t i = 0; i < d; i++)
        for (uint32_t j = 0; j <= i; j++)
            c[(size_t)i * d + j] = outer[(size_t)i * d + j] / n - mean[i] * mean[j];
}

/* What is left of C's trace when it is as good as spent: it would move a score by a thousandth of its second term. */
#define RESIDUE 1e-3

/* l [d][d]: rows whose outer products add up to C, the largest first (Cholesky with pivots), until nearly nothing is
 * left. Answers how many. */
static uint32_t factor(const struct kernels *kern, const double *c, uint32_t d, double *left,
                       double *l)
{
    double all = 0, rest = 0;
    uint32_t n = 0;
    for (uint32_t i = 0; i < d; i++)
        all += left[i] = c[(size_t)i * d + i];
    for (rest = all; n < d && rest > RESIDUE * all; n++) {
        double *row = l + (size_t)n * d;
        uint32_t top = 0;
        for (uint32_t i = 1; i < d; i++)
            top = left[i] > left[top] ? i : top;
        for (uint32_t i = 0; i < d; i++)
            row[i] = i < top ? c[(size_t)top * d + i] : c[(size_t)i * d + top];
        kern->deflate(row, l, n, top, d);
        const double root = sqrt(left[top]);
        rest = 0;
        for (uint32_t i = 0; i < d; i++) {
            row[i] /= root;
            const double now = left[i] - row[i] * row[i];
            left[i] = i != top && now > 0 ? now : 0;
            rest += left[i];
        }
    }
    return n;
}

/* q [n][d] = x [n][d], as the positions to come rotate them. */
static void turn(const struct kv_rank_in *in, const double *x, uint32_t n, float *q)
{
    const size_t d = in->d;
    for (size_t i = 0; i < n * d; i++)
        q[i] = (float)x[i];
    for (uint32_t i = 0; i < n; i++)
        in->kern->rope(q + i * d, in->future, in->n_rot, in->rope_halves);
}

/* ---- scores ---- */

/* Room of one kv_head's rank. */
struct room {
    double *mean;         // [group][d]
    double *c, *left, *l; // of one head: [d][d], [d], [d][d]
    float *q, *column;    // what asks in place of queries to come: means [group][d]; columns [d][d]
    float *s, *of_columns; // [group][n]; [n]
};

static bool room_take(const struct kv_rank_in *in, uint32_t n, struct room *r)
{
    const size_t d = in->d, group = in->group;
    *r = (struct room){
        .mean = kv_rank_room(in, group * d, sizeof *r->mean),
        .c = kv_rank_room(in, d * d, sizeof *r->c),
        .left = kv_rank_room(in, d, sizeof *r->left),
        .l = kv_rank_room(in, d * d, sizeof *r->l),
        .q = kv_rank_room(in, group * d, sizeof *r->q),
        .column = kv_rank_room(in, d * d, sizeof *r->column),
        .s = kv_rank_room(in, group * n, sizeof *r->s),
        .of_columns = kv_rank_room(in, n, sizeof *r->of_columns),
    };
    return r->mean && r->c && r->left && r->l && r->q && r->column && r->s && r->of_columns;
}

/* s [group][n]: what the means of the group's queries score. */
static void score_means(const struct kv_rank_in *in, uint32_t h, const struct room *r)
{
    for (uint32_t g = 0; g < in->group; g++)
        mean_of(in, h * in->group + g, r->mean + (size_t)g * in->d);
    turn(in, r->mean, in->group, r->q);
    kv_rank_scores(in, h, r->q, in->group, r->s);
}

/* rank [n] += softmax over the rows behind the outliers, of one query head. */
static void add_head(const struct kv_rank_in *in, uint32_t h, uint32_t g, bool covariance,
                     const struct room *r, float *rank)
{
    const struct kv_rank_head *head = &in->head[h];
    float *s = r->s + (size_t)g * head->n;
    uint32_t n = 0;
    if (covariance) {
        covariance_of(in, h * in->group + g, r->mean + (size_t)g * in->d, r->c);
        n = factor(in->kern, r->c, in->d, r->left, r->l);
    }
    turn(in, r->l, n, r->column);
    kv_rank_squares(in, h, r->column, n, r->of_columns);
    for (uint32_t i = 0; i < head->n; i++)
        s[i] = head->position[i] < KV_OUTLIERS ? -INFINITY : s[i] + 0.5f * r->of_columns[i];
    in->kern->softmax(s, head->n);
    in->kern->add(rank, s, head->n);
}

bool expected_of_head(const struct kv_rank_in *in, uint32_t h, bool covariance, bool values,
                      float *rank)
{
    const struct kv_rank_head *head = &in->head[h];
    struct kv_rank_in plain = *in; // an expectation of exponents knows no soft cap
    struct room r;
    plain.softcap = 0;
    memset(rank, 0, head->n * sizeof *rank);
    if (in->n_moment == 0)
        return true; // a few tokens: nothing is known of queries
    if (!room_take(in, head->n, &r))
        return false;
    score_means(&plain, h, &r);
    for (uint32_t g = 0; g < in->group; g++)
        add_head(&plain, h, g, covariance, &r, rank);
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
