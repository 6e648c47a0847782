/* kernels/avx512/matmul_few.h - up to 4 rows (decode): each block is unpacked into registers, for all rows, and
 * forgotten, so weights are read once.
 *
 * One vpdpbusd is 4 k of 16 outputs, exact. Codes are unsigned; their offset comes off where the sum starts: not at 0
 * but at -offset * sum q. Scales of halves of 16 k: two sums, each below 2^23 when scaled and |I| < 2^24, so floats put
 * them together exactly. */
#ifndef KERNELS_AVX512_MATMUL_FEW_H
#define KERNELS_AVX512_MATMUL_FEW_H

#include "kernels/avx512/matmul_block.h"
#include "kernels/avx512/matmul_fns.h"

enum { FEW_ROWS = AVX512_RAISED_FROM - 1 };
_Static_assert(FEW_ROWS == 4, "a case for each count");

/* Where the sum of a row over a block, or over its first or second half, starts: what the offset takes off it. */
always_inline __m512i start_of_sum(struct kind kind, const int16_t half[2], int which)
{
    uint32_t low = which == 1 ? 0 : (uint16_t)-kind.offset,
             high = which == 0 ? 0 : (uint16_t)-kind.offset;
    if (!kind.offset)
        return _mm512_setzero_si512();
    return _mm512_madd_epi16(broadcast_4(half), _mm512_set1_epi32((int)(high << 16 | low)));
}

/* The sum over dwords [g0, g1) of codes, as floats. */
always_inline __m512 dot_of_row(struct kind kind, const struct unpacked *w,
                                const struct acts_block *a, int lane, int which, int g0, int g1)
{
    __m512i sum = start_of_sum(kind, a->half[lane], which);
    UNROLL(8)
    for (int g = g0; g < g1; g++)
        sum = dot_4(sum, w->code[g], broadcast_4(a->q[g][lane]));
    return _mm512_cvtepi32_ps(sum);
}

/* I_b of one row. */
always_inline __m512 dots_of_row(struct kind kind, const struct unpacked *w,
                                 const struct acts_block *a, int lane)
{
    if (kind.halves)
        return join_halves(w, dot_of_row(kind, w, a, lane, 0, 0, 4),
                           dot_of_row(kind, w, a, lane, 1, 4, 8));
    return dot_of_row(kind, w, a, lane, 2, 0, 8);
}

/* One panel. */
always_inline void fused_panel(struct kind kind, unpack_fn *unpack, int n_row,
                               const struct matmul_call *c, uint32_t p)
{
    enum { AHEAD = 1024 }; // bytes; prefetch_line asks for what is further, too, and has the number
    const uint8_t *panel = c->w->data + p * c->w->panel_bytes;
    float *y = c->y + (size_t)p * PANEL;
    const uint32_t n_block = c->x->k / QBLOCK;
    __m512 sum[FEW_ROWS];
    UNROLL(4)
    for (int r = 0; r < n_row; r++)
        sum[r] = _mm512_setzero_ps();
    for (uint32_t b = 0; b < n_block; b++) {
        struct unpacked w;
        prefetch_block(kind.block_bytes, panel + AHEAD, b);
        unpack(&w, panel, b);
        add_up_weights(kind, &w);
        UNROLL(4)
        for (int r = 0; r < n_row; r++) {
            const struct acts_block *a = acts_block_of(c->x, (uint32_t)r, b);
            const int lane = r % ACTS_ROWS;
            const struct row_terms of = { &a->d[lane], &a->z[lane], &a->t[lane], a->half[lane] };
            sum[r] = add_terms(kind.minima, &w, of, dots_of_row(kind, &w, a, lane), sum[r]);
        }
    }
    UNROLL(4)
    for (int r = 0; r < n_row; r++)
        store_row(y + (size_t)r * c->y_stride, sum[r], c->w->n - p * PANEL);
}

always_inline void few_rows(struct kind kind, unpack_fn *unpack, const struct matmul_call *c)
{
    for (uint32_t p = c->first; p < c->last; p++)
        switch (c->x->n_row) {
        case 1:
            fused_panel(kind, unpack, 1, c, p);
            break;
        case 2:
            fused_panel(kind, unpack, 2, c, p);
            break;
        case 3:
            fused_panel(kind, unpack, 3, c, p);
            break;
        case 4:
            fused_panel(kind, unpack, 4, c, p);
            break;
        }
}

#endif
