/* What rows receive, and which receive little, as attention.h has it, plainly: what policies ask of attention. */
#include <math.h>

#include "kernels/attn_block.h"
#include "kernels/exp.h"
#include "kernels/ref/fns.h"

/* In units of 2^-30. */
static uint64_t weight(float s, float m, float l)
{
    const float most = 0x1p30f;
    float x = s - m;
    x = x > 0 ? 0 : x;
    float w = exp_f32(x) * (most / l);
    w = w > 0 ? w : 0; // not of NaN either
    return (uint64_t)rintf(w < most ? w : most);
}

void ref_attn_mass(const struct attn_run *run, uint32_t block, const float *s, size_t s_stride,
                   struct attn_state final, bool peak, uint64_t mass[KV_BLOCK])
{
    for (uint32_t i = 0; i < run->n_query; i++) {
        const struct row_range rows = attn_rows(run, i, block);
        const uint64_t visible = row_bits(rows.lo, rows.hi) & attn_mask(run, block);
        for (uint32_t r = 0; r < KV_BLOCK; r++) {
            if (!(visible >> r & 1))
                continue;
            const uint64_t w = weight(s[i * s_stride + r], final.m[i], final.l[i]);
            mass[r] = !peak ? mass[r] + w : w > mass[r] ? w : mass[r];
        }
    }
}

uint64_t ref_low_rows(const uint64_t mass[KV_BLOCK], uint64_t bound,
                      const uint32_t position[KV_BLOCK], uint32_t first, uint32_t n)
{
    uint64_t bits = 0;
    for (uint32_t i = 0; i < KV_BLOCK; i++)
        bits |= (uint64_t)(mass[i] <= bound && position[i] - first < n) << i;
    return bits;
}
