/* engine/candidates.h - the tokens that may be drawn, and the filters that shorten the list.
 *
 *   logits --best k, or all--> candidates --typical--> --top p--> --min p--> draw at a temperature
 *
 * A candidate is a struct akv_logprob whose `logprob` holds its logit, so that logits_best can work
 * in its caller's array.
 *
 * D1  Every candidate's logit is finite; ids are unique.
 * D2  The order of a list depends on the logits alone: by falling logit after "best" and "top p",
 *     by typicality after "typical", by id after "all"; equal ones by id. So do the sums over it.
 * D3  A filter leaves at least one candidate.
 *
 * Lifetime  the caller's array. Threads  any.
 * Cost  best: O(n + k log k) for logits in random order. A filter: an exponential a candidate and
 *       O(log n) for each that it keeps, since a heap is popped only as far as needed. */
#ifndef ENGINE_CANDIDATES_H
#define ENGINE_CANDIDATES_H

#include <stdint.h>

#include "akvifer.h"

struct candidates {
    struct akv_logprob *at;
    uint32_t n;
};

/* The k >= 1 best of the logits, best first. NaN and -inf are left out; +inf counts as the largest
 * float. c->at has room for min(k, n_vocab). */
void candidates_best(struct candidates *c, const float *logits, uint32_t n_vocab, uint32_t k);

/* All of them, by id. c->at has room for n_vocab. */
void candidates_all(struct candidates *c, const float *logits, uint32_t n_vocab);

/* Keeps the fewest, taken in order of |surprise - entropy|, whose probabilities sum to p or more.
 * Source: Meister et al. 2022, "Locally Typical Sampling". */
void candidates_keep_typical(struct candidates *c, double p);

/* Keeps the fewest of the most probable whose probabilities sum to p or more.
 * Source: Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration". */
void candidates_keep_top_p(struct candidates *c, double p);

/* Keeps those at least p times as probable as the best, 0 < p <= 1.
 * Source: Nguyen et al. 2024, "Turning Up the Heat: Min-p Sampling". */
void candidates_keep_min_p(struct candidates *c, double p);

/* Draws in proportion to exp(logit / temperature), temperature > 0, 0 <= uniform < 1. */
int32_t candidates_draw(const struct candidates *c, double temperature, double uniform);

#endif
