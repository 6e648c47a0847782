/* support/kernel_suite.h - holds one table of kernels against another: equal bits, any NaN equal to
 * any NaN.
 *
 * What is said to differ in a failure: the operation, the shape and the seed of the case. */
#ifndef SUPPORT_KERNEL_SUITE_H
#define SUPPORT_KERNEL_SUITE_H

#include <stddef.h>

#include "base/rng.h"
#include "kernels/kernels.h"

/* Random cases of the operations of rows.h, kv stores, attention and scans; `effort` scales their number
 * (1: quick). */
void suite_rows(const struct kernels *got, const struct kernels *want, uint32_t effort);
void suite_store(const struct kernels *got, const struct kernels *want, uint32_t effort);
void suite_attention(const struct kernels *got, const struct kernels *want, uint32_t effort);
void suite_scan(const struct kernels *got, const struct kernels *want, uint32_t effort);

/* Fails the test, naming `what`, unless n floats agree. */
void expect_same_floats(const float *got, const float *want, size_t n, const char *what);

/* A float: mostly of ordinary size; one in `hostile` (0: never) an infinity, NaN, subnormal, zero
 * of either sign or a number near the ends of the range. */
float any_float(struct rng *rng, uint32_t hostile);

#endif
