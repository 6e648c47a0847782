#include <math.h>

#include "kernels/matmul.h"
#include "kernels/ref/fns.h"

/* The inner loops of ref/matmul.c: 16 outputs side by side, as the compiler makes them of plain C. */

uint64_t ref_peak_int8(uint64_t n_round)
{
    enum { OPS = PANEL * 2 };
    volatile int first = 1;
    int code[PANEL];
    uint32_t sum[PANEL] = { 0 };
    for (int l = 0; l < PANEL; l++)
        code[l] = first + l;
    for (uint64_t i = 0; i < n_round; i++)
        for (int l = 0; l < PANEL; l++)
            sum[l] += (uint32_t)(code[l] * (int8_t)i);
    for (int l = 0; l < PANEL; l++)
        first = (int)sum[l];
    return n_round * OPS;
}

uint64_t ref_peak_f32(uint64_t n_round)
{
    enum { OPS = PANEL * 2 };
    volatile float factor = 0.5f;
    float a = factor, sum[PANEL] = { 0 };
    for (uint64_t i = 0; i < n_round; i++)
        for (int l = 0; l < PANEL; l++)
            sum[l] = fmaf(sum[l], a, 1);
    for (int l = 0; l < PANEL; l++)
        factor = sum[l];
    return n_round * OPS;
}

uint64_t ref_peak_read(const void *at, size_t n)
{
    const uint64_t *w = at;
    uint64_t sum[4] = { 0 };
    for (size_t i = 0; i < n / sizeof *w; i += 8) {
        __builtin_prefetch(w + i + 512, 0, 2);
        for (int l = 0; l < 4; l++)
            sum[l] ^= w[i + l] ^ w[i + 4 + l];
    }
    return sum[0] ^ sum[1] ^ sum[2] ^ sum[3];
}
