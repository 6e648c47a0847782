/* kernels/lanes.h - the virtual lanes of rows.h, one number at a time: the meaning of every sum.
 * Private to kernels/. */
#ifndef KERNELS_LANES_H
#define KERNELS_LANES_H

#include <stdint.h>

enum { LANES = 16 };

/* The tree 8, 4, 2, 1. */
static inline float lanes_sum(const float lane[LANES])
{
    float t[LANES];
    for (uint32_t i = 0; i < LANES; i++)
        t[i] = lane[i];
    for (uint32_t half = LANES / 2; half > 0; half /= 2)
        for (uint32_t i = 0; i < half; i++)
            t[i] += t[i + half];
    return t[0];
}

/* The larger one: NaN is ignored (m is never NaN), -0 counts as +0. */
static inline float larger(float m, float x)
{
    return (x > m ? x : m) + 0.0f;
}

#endif
