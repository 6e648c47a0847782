/* Four rows' blocks at once (avx2/coded.h), into tiles; batches too small for tiles as avx2 has it. */
#include <string.h>

#include "kernels/amx/fns.h"
#include "kernels/avx2/coded.h"
#include "kernels/avx2/matmul_fns.h"

/* Block b of rows [r, r + n) of one tile. */
static void quantise_rows(struct acts *a, uint32_t r, uint32_t n, uint32_t b)
{
    const float *f[AT_ONCE];
    struct coded c;
    struct acts_tile *to = acts_tile_of(a, r, b);
    const uint32_t lane = r % ACTS_TILE;
    for (uint32_t i = 0; i < AT_ONCE; i++) // behind the last row the last one again
        f[i] = a->f + (size_t)(r + (i < n ? i : n - 1)) * a->k + (size_t)b * QBLOCK;
    code(&c, f);
    memcpy(&to->d[lane], c.d, n * sizeof *c.d);
    memcpy(&to->z[lane], c.z, n * sizeof *c.z);
    memcpy(&to->t[lane], c.t, n * sizeof *c.t);
    memcpy(to->half[lane], c.half, n * sizeof *c.half);
    for (uint32_t i = 0; i < n; i++)
        _mm256_storeu_si256((__m256i *)to->q[lane + i], c.q[i]);
}

void amx_quantise(struct acts *a, uint32_t first, uint32_t last)
{
    if (!a->tile) {
        avx2_quantise(a, first, last);
        return;
    }
    for (uint32_t r = first, n; r < last; r += n) {
        const uint32_t end = r / AT_ONCE * AT_ONCE + AT_ONCE;
        n = (end < last ? end : last) - r;
        for (uint32_t b = 0; b < a->k / QBLOCK; b++)
            quantise_rows(a, r, n, b);
    }
}
