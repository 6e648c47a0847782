/* bin/eval_kv_stats.h - what values of cases come to, and how sure that is.
 *
 *   values  x x x | x x | x x x x     cases by context: those of one are not independent
 *             \      |      /
 *         contexts drawn with replacement, 2,000 times --> the middle 95 % of the means
 *
 * Source: Efron 1979, "Bootstrap methods: another look at the jackknife" (the percentile interval);
 * whole contexts are drawn, as Field and Welsh 2007 do with clusters. The same seed gives the same
 * interval. */
#ifndef BIN_EVAL_KV_STATS_H
#define BIN_EVAL_KV_STATS_H

#include "akvifer.h"
#include "base/status.h"

struct eval_interval {
    double mean, low, high;
};

/* Of n values, the i-th being of context group[i], which never falls. FULL: no memory. */
must_use enum status eval_bootstrap(struct eval_interval *out, const double *x,
                                    const uint32_t *group, uint32_t n, uint64_t seed);

enum { EVAL_KL_TOP = 8 };
/* KL(p || q) in nats over nine outcomes: p's best eight tokens, and any other. p and q are the best
 * n_top of each, best first; what q does not name gets the least that q names, so this is a lower
 * bound of the KL over all tokens. Probabilities are at least 1e-6. */
double eval_kl(const struct akv_logprob *p, const struct akv_logprob *q, uint32_t n_top);

#endif
