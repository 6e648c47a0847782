/* kernels/rows.h - what is done to one row of floats: norms, activations, rope, sums.
 *
 * Sums run in 16 virtual lanes (element i goes to lane i mod 16, in order), then the tree 8, 4, 2, 1: lane i + lane i + 8 ...
 *
 * kern_exp, the one exp of the engine:   x > 88.5: +inf;  x < -87.0: 0;  NaN: NaN;  else
 *     n = rint(x * log2(e)),  r = fma(-n, ln2_hi, x), r = fma(-n, ln2_lo, r),
 *     p = the degree-6 polynomial of exp on [-ln2/2, ln2/2] by Horner with fma,   result p * 2^n (exponent bits)
 * sigmoid(x) = 1 / (1 + exp(-x));  silu = x * sigmoid(x) computed as x / (1 + exp(-x));
 * gelu (tanh form) = x / (1 + exp(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3);  tanh(x) = 1 - 2 / (1 + exp(2x)).
 * The exact order of roundings of each is written in ref/rows.c, which is the contract. */
#ifndef KERNELS_ROWS_H
#define KERNELS_ROWS_H

#include <stdint.h>

/* y[i] = (x[i] * s) * w[i],  s = 1 / sqrtf(sum(x^2) / n + eps); the squares by fma into the lanes. x == y allowed. */
typedef void kern_rms_norm(float *y, const float *x, const float *w, uint32_t n, float eps);

/* Rotates the first n_rot elements of a head: a' = fma(a, c, -(b * s)), b' = fma(a, s, b * c).
 * cs: [n_rot / 2] pairs (cos, sin), already scaled. Pairs are (2i, 2i + 1) or, `halves`, (i, i + n_rot / 2). */
typedef void kern_rope(float *x, const float *cs, uint32_t n_rot, int halves);

typedef void kern_add(float *y, const float *x, uint32_t n);                              // y += x
typedef void kern_scale(float *y, float s, uint32_t n);                                   // y *= s
typedef void kern_gate(float *y, const float *gate, const float *up, uint32_t n);         // silu or gelu(gate) * up
typedef void kern_softcap(float *y, float cap, uint32_t n);                               // y = cap * tanh(y / cap)

/* Largest element and sum of exp(x - largest), both in the lanes' order; for log-probabilities. n >= 1. */
typedef void kern_softmax_stats(const float *x, uint32_t n, float *largest, float *sum);

#endif
