/* kernels/avx2/matmul_tile.h - many rows (prefill), and matmul of a type that is given as an unpack and a `kind`.
 *
 *   a range of a panel's blocks, unpacked into scratch (L1), then tiles of 3 rows x 16 outputs over it (signed 4);
 *   y waits in memory between ranges, which costs no bit
 *
 * What is read next is fetched while products are computed, a block's part at a time (Zen 3, weights from memory: 8 rows
 * 1.2 times the rate, 16 rows 1.13). On Zen 4 tiles are bound by the multipliers, which start two vectors of 256 bits a
 * cycle, integers or floats: of 6 x 32 outputs and 32 k of 4-bit codes 144 cycles, 156 with a minimum, 228 of signed codes.
 * Over whole matrices it is 162, 165 and 236. */
#ifndef KERNELS_AVX2_MATMUL_TILE_H
#define KERNELS_AVX2_MATMUL_TILE_H

#include "kernels/avx2/matmul_few.h"

/* Blocks [first, last) of a panel, unpacked; where `ahead` is not NULL, it is fetched meanwhile. */
struct range {
    const struct half_block (*w)[2];
    const struct half_signs (*signs)[2]; // of signed codes
    uint32_t first, last;
    const uint8_t *ahead;
};

/* Activations of the rows behind a tile's, a block while one is multiplied: the next tile needs them, and those of 512
 * rows are more than a second cache holds. Of the three lines of two blocks two are asked for: the third one's
 * instructions cost as much as it brings. */
always_inline void prefetch_rows(int n_row, struct tile_rows x, size_t b)
{
    const int first = (x.skip + n_row + 1) / ACTS_ROWS, last = (x.skip + 2 * n_row + 1) / ACTS_ROWS;
    UNROLL(2)
    for (int i = first; i < last; i++)
        _mm_prefetch((const char *)(x.block + (size_t)i * x.stride + b + 1) - 1, _MM_HINT_T0);
}

/* n_row rows from r + skip on over a range; r is even. */
always_inline void tile(struct kind kind, int skip, int n_row, const struct range *range,
                        const struct matmul_call *c, uint32_t r, float *y, uint32_t n)
{
    const uint32_t n_block = range->last - range->first;
    const uint8_t *ahead = range->ahead;
    struct tile_rows x = rows_of(kind, c->x, r, range->first);
    __m256 sum[4][2];
    x.skip = skip;
    y += (r + (uint32_t)skip) * c->y_stride;
    UNROLL(4)
    for (int i = 0; i < n_row; i++) // the next tile's
        _mm_prefetch((const char *)(y + (size_t)(n_row + i) * c->y_stride), _MM_HINT_T0);
    UNROLL(4)
    for (int i = 0; i < n_row; i++)
        if (range->first == 0)
            sum[i][0] = sum[i][1] = _mm256_setzero_ps();
        else
            load_row(sum[i], y + (size_t)i * c->y_stride, n);
    for (uint32_t b = 0; b < n_block; b++) {
        if (ahead)
            prefetch_block(kind, ahead + b / kind.group * kind.record_bytes, b % kind.group);
        prefetch_rows(n_row, x, b);
        add_block(kind, n_row, 2, range->w[b], kind.is_signed ? range->signs[b] : NULL, x, b, sum);
    }
    store_rows(c, y, sum, n_row, n);
}

/* Three rows at a time: their 6 sums, 6 y, 2 codes and what they are multiplied by are the 16 registers; with a fourth
 * row y wait on the stack (512 rows, Granite Rapids, three for four: Q4_1 1.05 times the rate, Q5_0 and Q4_K 1.03, Q6_K
 * 1.02). Products of signed codes need more registers than that (Q8_0, Zen 4: 0.97), and a pair of tiles ends where blocks
 * of two rows end. */
always_inline void tiles(struct kind kind, struct range range, const struct matmul_call *c,
                         float *y, uint32_t n)
{
    uint32_t r = 0, left = c->x->n_row;
    for (; !kind.is_signed && (left >= 9 || left == 6); r += 6, left -= 6) {
        tile(kind, 0, 3, &range, c, r, y, n);
        range.ahead = NULL;
        tile(kind, 3, 3, &range, c, r, y, n);
    }
    for (; left >= 4; r += 4, left -= 4, range.ahead = NULL)
        tile(kind, 0, 4, &range, c, r, y, n);
    if (left == 3)
        tile(kind, 0, 3, &range, c, r, y, n);
    else if (left == 2)
        tile(kind, 0, 2, &range, c, r, y, n);
    else if (left == 1)
        tile(kind, 0, 1, &range, c, r, y, n);
}

/* A panel's blocks and the rows that they meet share a first cache of 32 KiB: of 48 blocks three ranges of 16 are 1.03
 * times as fast as two of 24, of 18 one of 18 is as much faster than two of 9 (Q4_1, 512 rows, Zen 4). */
enum { RANGE = 20 };
struct range_scratch {
    struct half_block w[RANGE][2];
    struct half_signs signs[RANGE][2];
};
_Static_assert(sizeof(struct range_scratch) <= MATMUL_SCRATCH, "one call's scratch");

/* One panel, many rows. Ranges are equally long, RANGE blocks at most. */
always_inline void many_rows(struct kind kind, unpack_fn *unpack, const struct matmul_call *c,
                             const uint8_t *panel, float *y, uint32_t n)
{
    const uint32_t records_max = RANGE / kind.group;
    struct range_scratch *to = c->scratch;
    uint32_t n_record = c->x->k / QBLOCK / kind.group,
             n_range = (n_record + records_max - 1) / records_max;
    for (uint32_t i = 0; i < n_range; i++) {
        uint32_t first = n_record * i / n_range, last = n_record * (i + 1) / n_range;
        for (uint32_t j = first; j < last; j++)
            unpack_record(kind, unpack, &to->w[(j - first) * kind.group],
                          panel + (size_t)j * kind.record_bytes);
        for (uint32_t b = 0; kind.is_signed && b < (last - first) * kind.group; b++) {
            take_signs(&to->signs[b][0], &to->w[b][0]);
            take_signs(&to->signs[b][1], &to->w[b][1]);
        }
        const struct range range = { to->w, to->signs, first * kind.group, last * kind.group,
                                     panel + (size_t)last * kind.record_bytes };
        tiles(kind, range, c, y, n);
    }
}

always_inline void matmul_of_kind(struct kind kind, unpack_fn *unpack, const struct matmul_call *c)
{
    assert(kind.offset == NO_OFFSET || (int)acts_offsets[kind.offset].runs * kind.depth == 8);
    for (uint32_t p = c->first; p < c->last; p++) {
        const uint8_t *panel = c->w->data + p * c->w->panel_bytes;
        float *y = c->y + (size_t)p * PANEL;
        uint32_t n = c->w->n - p * PANEL;
        if (c->x->n_row <= FEW_ROWS)
            few_rows(kind, unpack, c, panel, y, n);
        else
            many_rows(kind, unpack, c, panel, y, n);
    }
}

/* ---- types ---- */

#define MATMUL_TYPE(type, unpack, ...)                                                             \
    void avx2_matmul_##type(const struct matmul_call *c)                                           \
    {                                                                                              \
        static const struct kind kind = { .record_bytes = sizeof(struct panel_##type),             \
                                          .offset = (enum acts_offset)offset_of_##type,            \
                                          __VA_ARGS__ };                                           \
        matmul_of_kind(kind, unpack, c);                                                           \
    }

#endif
