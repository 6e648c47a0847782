/* kernels/exp.h - kern_exp of rows.h for one number, and the constants of every width of it.
 *
 * ln2 = HI + LO, HI rounded to f32: fma(-n, HI, x) is exact for every x in range, so r carries one
 * rounding. The polynomial is 1 + r + r^2 P(r), P the minimax of degree 4 for the relative error on
 * [-ln2/2, ln2/2] (Remez; 0.03 ulp before its coefficients are rounded). Measured over every f32 in
 * [-87, 88.5]: 0.91 ulp at most. The result is never subnormal, exp(0) = 1, and where n = 128 the
 * polynomial is below 1, so the exponent still fits. Private to kernels/. */
#ifndef KERNELS_EXP_H
#define KERNELS_EXP_H

#include <math.h>

#include "base/f16.h"

#define EXP_MAX 88.5f
#define EXP_MIN (-87.0f)
#define EXP_LOG2E 0x1.715476p+0f
#define EXP_LN2_HI 0x1.62e430p-1f
#define EXP_LN2_LO (-0x1.05c610p-29f)
#define EXP_C2 0x1.fffffcp-2f
#define EXP_C3 0x1.555492p-3f
#define EXP_C4 0x1.5558f2p-5f
#define EXP_C5 0x1.1239d6p-7f
#define EXP_C6 0x1.6a244ap-10f

static inline float exp_f32(float x)
{
    if (x > EXP_MAX)
        return INFINITY;
    if (x < EXP_MIN)
        return 0;
    if (x != x)
        return x;
    float n = rintf(x * EXP_LOG2E);
    float r = fmaf(-n, EXP_LN2_HI, x);
    r = fmaf(-n, EXP_LN2_LO, r);
    float p = EXP_C6;
    p = fmaf(p, r, EXP_C5);
    p = fmaf(p, r, EXP_C4);
    p = fmaf(p, r, EXP_C3);
    p = fmaf(p, r, EXP_C2);
    p = fmaf(p, r, 1);
    p = fmaf(p, r, 1);
    return f32_of_bits(bits_of_f32(p) + ((uint32_t)(int32_t)n << 23));
}

#endif
