/* What a block of a row becomes (matmul.h), plainly, in both forms of a batch: blocks of two rows, tiles of 16. */
#include <math.h>

#include "kernels/ref/matmul_fns.h"

static int8_t to_code(float x, float z, float inv)
{
    float v = (x - z) * inv;
    v = v > -127 ? v : -127; // a NaN too
    v = v < 127 ? v : 127;
    return (int8_t)rintf(v);
}

/* A row's codes of a block, in runs of four, and what belongs to them, wherever they lie. */
struct place {
    int8_t *q[QBLOCK / 4];
    float *d, *z, *t;
    int16_t *half;
};

static struct place place_of(const struct acts *a, uint32_t r, uint32_t b)
{
    struct place p;
    if (a->tile) {
        struct acts_tile *to = acts_tile_of(a, r, b);
        const uint32_t lane = r % ACTS_TILE;
        for (int g = 0; g < QBLOCK / 4; g++)
            p.q[g] = to->q[lane] + 4 * g;
        p.d = &to->d[lane], p.z = &to->z[lane], p.t = &to->t[lane], p.half = to->half[lane];
    } else {
        struct acts_block *to = acts_block_of(a, r, b);
        const uint32_t lane = r % ACTS_ROWS;
        for (int g = 0; g < QBLOCK / 4; g++)
            p.q[g] = to->q[g][lane];
        p.d = &to->d[lane], p.z = &to->z[lane], p.t = &to->t[lane], p.half = to->half[lane];
    }
    return p;
}

/* pair: sums of q over the first two of each four k, and over the last two, of both halves. */
static void store_excess(const struct acts *a, uint32_t r, uint32_t b, int16_t pair[2][2])
{
    for (enum acts_offset i = 0; i < N_OFFSET; i++) {
        if (!a->excess[i])
            continue;
        struct acts_excess *to = acts_excess_of(a, i, r, b);
        const int offset = acts_offsets[i].by;
        for (int j = 0; j < 2; j++)
            if (acts_excess_runs(i) == 1) {
                to->of[j] = (int16_t)(offset * (pair[0][j] + pair[1][j]));
            } else {
                to[0].of[j] = (int16_t)(offset * pair[0][j]);
                to[1].of[j] = (int16_t)(offset * pair[1][j]);
            }
    }
}

/* What a code is stored as: one without a sign is 128 more, which turns the upper bit. */
static int8_t stored(const struct acts *a, int8_t q)
{
    return a->raised ? (int8_t)(q ^ -128) : q;
}

/* Block b of row r. */
static void quantise_block(struct acts *a, uint32_t r, uint32_t b)
{
    const float *x = a->f + (size_t)r * a->k + b * QBLOCK;
    const struct place to = place_of(a, r, b);
    int16_t pair[2][2] = { { 0 } };

    float hi = -INFINITY, lo = INFINITY, nan = 0;
    for (int i = 0; i < QBLOCK; i++) {
        hi = x[i] > hi ? x[i] : hi;
        lo = x[i] < lo ? x[i] : lo;
        nan = x[i] != x[i] ? NAN : nan;
    }
    float width = hi - lo + nan, z = (hi + lo) * 0.5f + nan; // adding 0 also turns -0 into 0
    float inv = hi > lo ? 254.0f / width : 0;
    to.half[0] = to.half[1] = 0;
    for (int i = 0; i < QBLOCK; i++) {
        const int8_t q = to_code(x[i], z, inv);
        to.q[i / 4][i % 4] = stored(a, q);
        to.half[i / 16] = (int16_t)(to.half[i / 16] + q);
        pair[i / 16][i / 2 % 2] = (int16_t)(pair[i / 16][i / 2 % 2] + q);
    }
    *to.d = width * (1.0f / 254);
    *to.z = z;
    *to.t = *to.d * (float)(to.half[0] + to.half[1]);
    if (!a->tile)
        store_excess(a, r, b, pair);
}

void ref_quantise(struct acts *a, uint32_t first, uint32_t last)
{
    for (uint32_t r = first; r < last; r++)
        for (uint32_t b = 0; b < a->k / QBLOCK; b++)
            quantise_block(a, r, b);
}
