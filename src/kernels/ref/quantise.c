#include <math.h>

#include "kernels/ref/matmul_fns.h"

static int8_t to_code(float x, float z, float inv)
{
    float v = (x - z) * inv;
    v = v > -127 ? v : -127; // a NaN too
    v = v < 127 ? v : 127;
    return (int8_t)rintf(v);
}

/* Block b of row r. */
static void quantise_block(struct acts *a, size_t r, uint32_t b)
{
    const float *x = a->f + r * a->k + b * QBLOCK;
    int8_t *q = a->q + r * a->k + b * QBLOCK;
    int16_t *half = a->half + r * (a->k / 16) + 2 * b;
    size_t at = r * (a->k / QBLOCK) + b;

    float hi = -INFINITY, lo = INFINITY, nan = 0;
    for (int i = 0; i < QBLOCK; i++) {
        hi = x[i] > hi ? x[i] : hi;
        lo = x[i] < lo ? x[i] : lo;
        nan = x[i] != x[i] ? NAN : nan;
    }
    float width = hi - lo + nan, z = (hi + lo) * 0.5f + nan; // adding 0 also turns -0 into 0
    float inv = hi > lo ? 254.0f / width : 0;
    half[0] = half[1] = 0;
    for (int i = 0; i < QBLOCK; i++) {
        q[i] = to_code(x[i], z, inv);
        half[i / 16] = (int16_t)(half[i / 16] + q[i]);
    }
    a->d[at] = width * (1.0f / 254);
    a->z[at] = z;
    a->t[at] = a->d[at] * (float)(half[0] + half[1]);
}

void ref_quantise(struct acts *a, uint32_t first, uint32_t last)
{
    for (uint32_t r = first; r < last; r++)
        for (uint32_t b = 0; b < a->k / QBLOCK; b++)
            quantise_block(a, r, b);
}
