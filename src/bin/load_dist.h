/* bin/load_dist.h - amounts that a load draws: lengths, times to think, gaps between arrivals.
 *
 *   128                     always that
 *   uniform:A,B             any whole number from A to B, both included
 *   lognormal:MEDIAN,SIGMA  exp(N(ln MEDIAN, SIGMA)): many short, few long, as real prompts are
 *   exponential:MEAN        gaps of a Poisson process; as think times of people
 *
 * Threads  any.  Cost  two logarithms at most. */
#ifndef BIN_LOAD_DIST_H
#define BIN_LOAD_DIST_H

#include "base/note.h"
#include "base/rng.h"
#include "base/status.h"

enum load_dist_kind { LOAD_FIXED, LOAD_UNIFORM, LOAD_LOGNORMAL, LOAD_EXPONENTIAL };

struct load_dist {
    enum load_dist_kind kind;
    double a, b;
};

/* Reads one of the texts above. BAD_INPUT: it is no amount, or outside of 0 to `most`. */
must_use enum status load_dist_parse(struct load_dist *out, const char *text, double most,
                                     struct note *why);

/* At least 0; the two with a tail may exceed `most`. */
double load_dist_draw(const struct load_dist *d, struct rng *rng);

/* A whole number from `least` to `most`. */
uint32_t load_dist_count(const struct load_dist *d, struct rng *rng, uint32_t least, uint32_t most);

#endif
