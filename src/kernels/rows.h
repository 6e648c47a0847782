/* kernels/rows.h - what is done to one row of floats: norms, activations, rope, sums.
 *
 * Sums run in 16 virtual lanes (element i goes to lane i mod 16, in order, from +0), then the tree
 * 8, 4, 2, 1: lane i + lane i + 8, then i + 4, i + 2, i + 1. Largest elements ignore NaN and take
 * -0 for +0, so they have no order.
 *
 * kern_exp, the one exp of the engine (exp.h):   x > 88.5: +inf;  x < -87: 0;  NaN: NaN;  else
 *     n = rint(x * log2(e)), ties to even;  r = fma(-n, ln2_lo, fma(-n, ln2_hi, x))
 *     p = 1 + r + c2 r^2 .. c6 r^6 by Horner with fma
 *     p * 2^n (n added to the exponent bits)
 * At most 0.91 ulp from the true value, measured over all arguments; exp(0) = 1.
 *
 *     silu(x) = x / (1 + exp(-x))
 *     gelu(x) = x / (1 + exp(-x * w)),  w = fma(x * x, 2 sqrt(2/pi) 0.044715, 2 sqrt(2/pi))
 *     tanh(x) = 1 - 2 / (1 + exp(2x))          (absolute error 1.2e-7)
 * Infinities: silu and gelu of -inf are NaN, of +inf are +inf. y may be x or another operand, not
 * overlap it otherwise. The exact order of roundings of each is written in ref/rows.c and
 * ref/moments.c, which are the contract. n >= 1, any alignment. */
#ifndef KERNELS_ROWS_H
#define KERNELS_ROWS_H

#include <stddef.h>
#include <stdint.h>

/* y[i] = (x[i] * s) * w[i],  s = 1 / sqrtf(sum(x^2) / n + eps); squares by fma into the lanes. */
typedef void kern_rms_norm(float *y, const float *x, const float *w, uint32_t n, float eps);

/* Rotates the first n_rot (even) elements: a' = fma(a, c, -(b * s)), b' = fma(a, s, b * c).
 * cs: [n_rot / 2] pairs (cos, sin), already scaled. Pairs (a, b) are elements (2i, 2i + 1) or, with
 * `halves`, (i, i + n_rot / 2). */
typedef void kern_rope(float *x, const float *cs, uint32_t n_rot, int halves);

/* y += x;  y *= s;  y = silu or gelu(gate) * up;  y = cap * tanh(y / cap). */
typedef void kern_add(float *y, const float *x, uint32_t n);
typedef void kern_scale(float *y, float s, uint32_t n);
typedef void kern_gate(float *y, const float *gate, const float *up, uint32_t n);
typedef void kern_softcap(float *y, float cap, uint32_t n);

/* Largest element and sum of exp(x - largest) in the lanes' order; for log-probabilities. */
typedef void kern_softmax_stats(const float *x, uint32_t n, float *largest, float *sum);

/* y[i] = exp(y[i] - largest) / sum, of its own softmax_stats. */
typedef void kern_softmax(float *y, uint32_t n);

/* sum [d] += x, outer [d][d] += x x^T, of n rows x [n][stride] in order: one add and one fma an element and row. Of
 * outer's row i elements j <= (i | 7) alone: the lower triangle, rounded up to 8. d a multiple of 8. */
typedef void kern_moments(float *sum, float *outer, const float *x, size_t stride, uint32_t n,
                          uint32_t d);

/* sum [d] += x^2, of n rows x [n][d] in order: one product and one add an element and row. d a multiple of 8. */
typedef void kern_squares(float *sum, const float *x, uint32_t n, uint32_t d);

/* row [d] -= l[i][at] * l[i], of n rows l [n][d] in order: one product and one difference an element and row, of
 * doubles. A step of a Cholesky factor. d a multiple of 8. */
typedef void kern_deflate(double *row, const double *l, uint32_t n, uint32_t at, uint32_t d);

#endif
