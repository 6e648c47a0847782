#include <math.h>
#include <string.h>

#include "kernels/ref/matmul_fns.h"

static int8_t to_code(float x, float z, float inv)
{
    float v = (x - z) * inv;
    v = v > -127 ? v : -127; // a NaN too
    v = v < 127 ? v : 127;
    return (int8_t)rintf(v);
}

/* Block b of row r. */
static void quantise_block(struct acts *a, uint32_t r, uint32_t b)
{
    const float *x = a->f + (size_t)r * a->k + b * QBLOCK;
    struct acts_block *to = acts_block_of(a, r, b);
    const uint32_t lane = r % ACTS_ROWS;
    int16_t *half = to->half[lane], (*pair)[2] = acts_pairs_of(a, r, b)->sum[lane];

    float hi = -INFINITY, lo = INFINITY, nan = 0;
    for (int i = 0; i < QBLOCK; i++) {
        hi = x[i] > hi ? x[i] : hi;
        lo = x[i] < lo ? x[i] : lo;
        nan = x[i] != x[i] ? NAN : nan;
    }
    float width = hi - lo + nan, z = (hi + lo) * 0.5f + nan; // adding 0 also turns -0 into 0
    float inv = hi > lo ? 254.0f / width : 0;
    half[0] = half[1] = 0;
    memset(pair, 0, sizeof acts_pairs_of(a, r, b)->sum[lane]);
    for (int i = 0; i < QBLOCK; i++) {
        const int8_t q = to_code(x[i], z, inv);
        to->q[i / 4][lane][i % 4] = q;
        half[i / 16] = (int16_t)(half[i / 16] + q);
        for (int end = i / 16; end < 2; end++)
            pair[end][i / 2 % 2] = (int16_t)(pair[end][i / 2 % 2] + q);
    }
    to->d[lane] = width * (1.0f / 254);
    to->z[lane] = z;
    to->t[lane] = to->d[lane] * (float)(half[0] + half[1]);
}

void ref_quantise(struct acts *a, uint32_t first, uint32_t last)
{
    for (uint32_t r = first; r < last; r++)
        for (uint32_t b = 0; b < a->k / QBLOCK; b++)
            quantise_block(a, r, b);
}
