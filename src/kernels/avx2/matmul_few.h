/* kernels/avx2/matmul_few.h - up to four rows (decode): weights are read once.
 *
 *   one row        a block is unpacked into registers, multiplied, forgotten
 *   two to four    a record is unpacked into scratch (L1), a tile over it, and the next record; y stays in registers
 *
 * What is read next is fetched while products are computed, a block's part at a time: fetched while it is unpacked, it
 * kept the misses' buffers full and the products waiting (Zen 3, weights from memory: 4 rows 1.4 times the rate). */
#ifndef KERNELS_AVX2_MATMUL_FEW_H
#define KERNELS_AVX2_MATMUL_FEW_H

#include "kernels/avx2/matmul_block.h"

enum { FEW_ROWS = 4 };
enum { AHEAD = 4096 }; // bytes from where weights are read to where they are fetched

/* One panel, one row. */
always_inline void one_row(struct kind kind, unpack_fn *unpack, const struct matmul_call *c,
                           const uint8_t *record, float *y, uint32_t n)
{
    __m256 sum[2] = { _mm256_setzero_ps(), _mm256_setzero_ps() };
    struct tile_rows x = rows_of(kind, c->x, 0, 0);
    for (uint32_t b = 0; b < x.n_block; b += kind.group, record += kind.record_bytes) {
        struct record_scales scales;
        if (kind.scales)
            kind.scales(&scales, record);
        UNROLL(8)
        for (uint32_t s = 0; s < kind.group; s++) {
            prefetch_block(kind, record + AHEAD, s);
            UNROLL(2)
            for (int h = 0; h < 2; h++) {
                struct half_block w;
                __m256 part[4][2];
                unpack_half(kind, unpack, &w, record, &scales, (int)s, h);
                part[0][0] = sum[h];
                add_block(kind, 1, 1, &w, NULL, x, b + s, part);
                sum[h] = part[0][0];
            }
        }
    }
    store_row(y, sum, n);
}

/* One panel, two to four rows. */
always_inline void two_to_four_rows(struct kind kind, unpack_fn *unpack, int n_row,
                                    const struct matmul_call *c, const uint8_t *record, float *y,
                                    uint32_t n)
{
    struct half_block(*w)[2] = c->scratch;
    struct tile_rows x = rows_of(kind, c->x, 0, 0);
    __m256 sum[4][2];
    clear_rows(sum, n_row);
    for (uint32_t b = 0; b < x.n_block; b += kind.group, record += kind.record_bytes) {
        unpack_record(kind, unpack, w, record);
        for (uint32_t s = 0; s < kind.group; s++) {
            prefetch_block(kind, record + AHEAD, s);
            add_block(kind, n_row, 2, w[s], NULL, x, b + s, sum);
        }
    }
    store_rows(c, y, sum, n_row, n);
}

always_inline void few_rows(struct kind kind, unpack_fn *unpack, const struct matmul_call *c,
                            const uint8_t *panel, float *y, uint32_t n)
{
    if (c->x->n_row == 1)
        one_row(kind, unpack, c, panel, y, n);
    else if (c->x->n_row == 2)
        two_to_four_rows(kind, unpack, 2, c, panel, y, n);
    else if (c->x->n_row == 3)
        two_to_four_rows(kind, unpack, 3, c, panel, y, n);
    else
        two_to_four_rows(kind, unpack, 4, c, panel, y, n);
}

#endif
