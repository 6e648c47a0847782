/* kernels/fmath.h - the same double-precision exp, log, pow, sin and cos on every machine.
 *
 * libm differs between machines; these are plain C without contraction, so their bits do not. Errors below 2 ulp in the
 * ranges stated. Used where a number is computed once (rope tables, sampling), never in an inner loop. */
#ifndef KERNELS_FMATH_H
#define KERNELS_FMATH_H

double fm_exp(double x);            // underflows to 0, overflows to inf
double fm_log(double x);            // x > 0; 0 gives -inf
double fm_pow(double x, double y);  // x > 0, relative error < 1e-13
void fm_sincos(double x, double *sin, double *cos); // |x| <= 2^27

#endif
