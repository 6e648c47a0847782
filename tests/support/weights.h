/* support/weights.h - random weights and activations for the tests of matmul. */
#ifndef SUPPORT_WEIGHTS_H
#define SUPPORT_WEIGHTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/dtype.h"
#include "base/rng.h"
#include "kernels/matmul.h"
#include "kernels/quantised.h"

extern const enum dtype weight_types[N_WEIGHT_TYPE];

/* File rows [n_row][k] of a type. Hostile ones have scales (or elements) that are infinite, NaN, subnormal or zero. */
void random_weights(void *rows, enum dtype type, uint64_t n_row, uint32_t k, struct rng *rng,
                    bool hostile);

/* n floats with a few outliers; hostile ones hold every odd value there is. */
void random_floats(float *x, size_t n, struct rng *rng, bool hostile);

/* Sets all codes of a block, and nothing else, to zeros or to ones. */
void set_codes(void *block, enum dtype type, bool ones);

/* Equal bits, where any NaN equals any NaN. The first difference, or n. */
size_t first_difference(const float *a, const float *b, size_t n);

#endif
