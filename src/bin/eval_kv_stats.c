#include "bin/eval_kv_stats.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"

enum { N_DRAW = 2000, STREAM = 0xb007 };

struct group {
    double sum;
    uint32_t n;
};

/* The values of each context together; returns how many contexts there are. */
static uint32_t group_values(struct group *g, const double *x, const uint32_t *group, uint32_t n)
{
    uint32_t n_group = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (i == 0 || group[i] != group[i - 1])
            g[n_group++] = (struct group){ 0 };
        g[n_group - 1].sum += x[i];
        g[n_group - 1].n++;
    }
    return n_group;
}

static double draw_mean(const struct group *g, uint32_t n_group, struct rng *rng)
{
    struct group all = { 0 };
    for (uint32_t i = 0; i < n_group; i++) {
        const struct group *one = &g[rng_below(rng, n_group)];
        all.sum += one->sum;
        all.n += one->n;
    }
    return all.sum / all.n;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

enum status eval_bootstrap(struct eval_interval *out, const double *x, const uint32_t *group,
                           uint32_t n, uint64_t seed)
{
    struct group *g = mem_new(n, sizeof *g);
    double *mean = mem_new(N_DRAW, sizeof *mean);
    struct rng rng = rng_seeded(seed, STREAM);
    struct group all = { 0 };
    if (!g || !mean || n == 0) {
        mem_free(g);
        mem_free(mean);
        *out = (struct eval_interval){ NAN, NAN, NAN };
        return n ? FULL : OK;
    }
    const uint32_t n_group = group_values(g, x, group, n);
    for (uint32_t i = 0; i < n_group; i++) {
        all.sum += g[i].sum;
        all.n += g[i].n;
    }
    for (uint32_t i = 0; i < N_DRAW; i++)
        mean[i] = draw_mean(g, n_group, &rng);
    qsort(mean, N_DRAW, sizeof *mean, by_size);
    *out = (struct eval_interval){
        .mean = all.sum / all.n,
        .low = mean[N_DRAW / 40],
        .high = mean[N_DRAW - 1 - N_DRAW / 40],
    };
    mem_free(g);
    mem_free(mean);
    return OK;
}

static double logprob_of(const struct akv_logprob *q, uint32_t n_top, int32_t id)
{
    for (uint32_t i = 0; i < n_top; i++)
        if (q[i].id == id)
            return (double)q[i].logprob;
    return (double)q[n_top - 1].logprob;
}

static double term(double p, double q)
{
    const double least = 1e-6;
    return fmax(p, least) * log(fmax(p, least) / fmax(q, least));
}

double eval_kl(const struct akv_logprob *p, const struct akv_logprob *q, uint32_t n_top)
{
    double kl = 0, rest_p = 1, rest_q = 1;
    for (uint32_t i = 0; i < EVAL_KL_TOP && i < n_top; i++) {
        const double of_p = exp((double)p[i].logprob), of_q = exp(logprob_of(q, n_top, p[i].id));
        kl += term(of_p, of_q);
        rest_p -= of_p;
        rest_q -= of_q;
    }
    return kl + term(rest_p, rest_q);
}
