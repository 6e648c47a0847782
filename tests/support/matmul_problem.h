/* support/matmul_problem.h - one random call of matmul: weights as files have them and packed, and rows for them. All that
 * is read or written ends at guard pages. */
#ifndef SUPPORT_MATMUL_PROBLEM_H
#define SUPPORT_MATMUL_PROBLEM_H

#include <stdbool.h>

#include "base/rng.h"
#include "kernels/kernels.h"
#include "support/guard.h"

struct problem {
    struct packed w;
    struct acts x;
    struct guarded rows, data, f, acts;
};

/* Weights [n][k] and n_row rows of activations, of ordinary size or hostile (support/weights.h). */
struct problem problem_new(enum dtype type, uint32_t n, uint32_t k, uint32_t n_row, struct rng *rng,
                           bool hostile);
void problem_free(struct problem *p);

/* y [n_row][stride] of panels [first, last) by a table, which the caller frees. What it does not write holds -12345. */
struct guarded problem_outputs(const struct kernels *k, struct problem *p, uint32_t first,
                               uint32_t last, size_t stride);

/* Fails the test unless two outputs of p agree, got being k's. */
void problem_expect_equal(const struct kernels *k, const struct problem *p,
                          const struct guarded *want, const struct guarded *got, size_t stride);

#endif
