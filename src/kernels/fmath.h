/* kernels/fmath.h - the same double-precision exp, log, pow, sin and cos on every machine.
 *
 * libm differs between machines; these are plain C without contraction, so their bits do not. Used
 * where a number is computed once (rope tables, sampling), never in an inner loop. The errors are
 * those that tests/kernels/test_fmath.c holds them to. NaN and arguments out of range give NaN. */
#ifndef KERNELS_FMATH_H
#define KERNELS_FMATH_H

double fm_exp(double x);           // 0.75 ulp; underflows to 0, overflows to inf
double fm_log(double x);           // 0.62 ulp; x >= 0; 0 gives -inf
double fm_pow(double x, double y); // relative error 1e-15 (|y| < 64), 2e-14 else; x > 0, y finite
void fm_sincos(double x, double *sin, double *cos); // 0.79 ulp; |x| <= 2^27

#endif
