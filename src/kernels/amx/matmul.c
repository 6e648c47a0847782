/* Matmul of quantised weights with 16 rows or more: integer sums by tiles, the rest as avx512/ has it.
 *
 *   unpacked range of a panel (avx512/matmul_tile.h), rows packed 16 at a time:
 *
 *     block b + 1:  zero, load x and w, multiply, store 16 x 16 sums       tiles
 *     block b:      sums -> floats, scales, minima, fma onto y             vectors; y stays in 16 registers
 *
 * A block's code dwords are what a tile of weights is, 8 rows of 16 outputs; a block is a product of its own, as its
 * scales are. The chain of load, multiply, store and reload is some 150 cycles long, so the tiles work a block ahead
 * of the vectors, in the other of two buffers. Types with scales for halves of 16 k take two products. Fewer rows leave
 * tiles idle: they, and float types, go to avx512. */
#include "kernels/amx/fns.h"
#include "kernels/amx/tiles.h"
#include "kernels/avx512/matmul_fns.h"
#include "kernels/avx512/matmul_tile.h"

enum { AMX_ROWS = 16, HALF = QBLOCK / 2 };

/* Tiles by number; of a whole block, of a half. */
#define SUM 0
#define SUM_HIGH 1
#define ROWS 2
#define WEIGHTS 3
#define ROWS_HALF 4
#define WEIGHTS_HALF 5

static const struct tile_shapes shapes = {
    .palette = 1,
    .row_bytes = { [SUM] = 64,
                   [SUM_HIGH] = 64,
                   [ROWS] = QBLOCK,
                   [WEIGHTS] = 64,
                   [ROWS_HALF] = HALF,
                   [WEIGHTS_HALF] = 64 },
    .n_row = { [SUM] = AMX_ROWS,
               [SUM_HIGH] = AMX_ROWS,
               [ROWS] = AMX_ROWS,
               [WEIGHTS] = QBLOCK / 4,
               [ROWS_HALF] = AMX_ROWS,
               [WEIGHTS_HALF] = HALF / 4 },
};

/* Types that have tiles: NULL for floats. */
static const struct quantised *const types[DT_LIMIT] = {
    [DT_Q4_0] = &avx512_q4_0, [DT_Q4_1] = &avx512_q4_1,     [DT_Q5_0] = &avx512_q5_0,
    [DT_Q5_1] = &avx512_q5_1, [DT_Q8_0] = &avx512_q8_0,     [DT_Q2_K] = &avx512_q2_k,
    [DT_Q3_K] = &avx512_q3_k, [DT_Q4_K] = &avx512_q4_k,     [DT_Q5_K] = &avx512_q5_k,
    [DT_Q6_K] = &avx512_q6_k, [DT_IQ4_NL] = &avx512_iq4_nl, [DT_IQ4_XS] = &avx512_iq4_xs,
};

/* q of 16 rows, block after block. */
typedef int8_t packed_rows[RANGE][AMX_ROWS][QBLOCK];

/* Sums of one block, 16 rows x 16 outputs; of each half where there are halves. */
struct block_sums {
    _Alignas(64) int32_t part[2][AMX_ROWS][PANEL];
};

/* n_row rows from `row` on, blocks [b0, b1); the other rows' sums are not looked at. Two rows lie dword by dword. */
static void pack_rows(packed_rows out, const struct acts *x, uint32_t row, uint32_t n_row,
                      uint32_t b0, uint32_t b1)
{
    const __m512i order = _mm512_set_epi32(15, 13, 11, 9, 7, 5, 3, 1, 14, 12, 10, 8, 6, 4, 2, 0);
    for (uint32_t r = 0; r < n_row; r += ACTS_ROWS)
        for (uint32_t b = b0; b < b1; b++)
            _mm512_storeu_si512(out[b - b0][r],
                                _mm512_permutexvar_epi32(
                                    order, _mm512_loadu_si512(acts_block_of(x, row + r, b)->q)));
}

always_inline void multiply_block(struct kind kind, const struct unpacked *w,
                                  const int8_t x[AMX_ROWS][QBLOCK], struct block_sums *out)
{
    if (!kind.halves) {
        tile_zero(SUM);
        tile_load(ROWS, x, QBLOCK);
        tile_load(WEIGHTS, w->code, 64);
        tile_multiply(SUM, ROWS, WEIGHTS);
        tile_store(SUM, out->part[0], 64);
        return;
    }
    tile_zero(SUM);
    tile_load(ROWS_HALF, x, QBLOCK);
    tile_load(WEIGHTS_HALF, w->code, 64);
    tile_multiply(SUM, ROWS_HALF, WEIGHTS_HALF);
    tile_store(SUM, out->part[0], 64);
    tile_zero(SUM_HIGH);
    tile_load(ROWS_HALF, x[0] + HALF, QBLOCK);
    tile_load(WEIGHTS_HALF, w->code + 4, 64);
    tile_multiply(SUM_HIGH, ROWS_HALF, WEIGHTS_HALF);
    tile_store(SUM_HIGH, out->part[1], 64);
}

/* I_b of one row, as dots() of avx512 gives it. */
always_inline __m512 sum_of_row(struct kind kind, const struct unpacked *w,
                                const struct block_sums *sums, int row, const int16_t *half)
{
    __m512 I = _mm512_setzero_ps();
    for (int i = 0; i < (kind.halves ? 2 : 1); i++) {
        __m512i start = start_of_sum(kind, half, kind.halves ? i : 2);
        __m512 f =
            _mm512_cvtepi32_ps(_mm512_add_epi32(start, _mm512_loadu_si512(sums->part[i][row])));
        I = kind.halves ? _mm512_fmadd_ps(f, w->scale[i], I) : f;
    }
    return I;
}

/* n_row rows over the n_block blocks of a range of one panel. */
always_inline void amx_tile(struct kind kind, int n_row, const struct unpacked *w, uint32_t n_block,
                            packed_rows q, struct tile_rows x, float *y, size_t y_stride,
                            uint32_t n, bool first)
{
    struct block_sums sums[2];
    __m512 sum[AMX_ROWS];
    UNROLL(16)
    for (int r = 0; r < n_row; r++)
        sum[r] = first ? _mm512_setzero_ps() : load_row(y + (size_t)r * y_stride, n);
    multiply_block(kind, w, q[0], &sums[0]);
    for (uint32_t b = 0; b < n_block; b++) {
        if (b + 1 < n_block)
            multiply_block(kind, w + b + 1, q[b + 1], &sums[(b + 1) % 2]);
        UNROLL(16)
        for (int r = 0; r < n_row; r++) {
            const struct acts_block *a = tile_block(x, r, b);
            __m512 I = sum_of_row(kind, w + b, &sums[b % 2], r, a->half[r % ACTS_ROWS]);
            sum[r] = add_terms(kind, w + b, a, r % ACTS_ROWS, I, sum[r]);
        }
    }
    UNROLL(16)
    for (int r = 0; r < n_row; r++)
        store_row(y + (size_t)r * y_stride, sum[r], n);
}

/* One range of n_panel panels, unpacked, and all rows. */
always_inline void all_rows(struct kind kind, uint32_t n_panel, const struct unpacked (*w)[RANGE],
                            uint32_t b0, uint32_t b1, const struct matmul_call *c, uint32_t panel)
{
    _Alignas(64) packed_rows q;
    for (uint32_t row = 0; row < c->x->n_row; row += AMX_ROWS) {
        const uint32_t left = c->x->n_row - row, n_row = left < AMX_ROWS ? left : AMX_ROWS;
        const struct tile_rows x = rows_at(c->x, row, b0);
        pack_rows(q, c->x, row, n_row, b0, b1);
        for (uint32_t p = 0; p < n_panel; p++) {
            const uint32_t n = c->w->n - (panel + p) * PANEL;
            float *y = c->y + row * c->y_stride + (size_t)(panel + p) * PANEL;
            if (n_row == AMX_ROWS)
                amx_tile(kind, AMX_ROWS, w[p], b1 - b0, q, x, y, c->y_stride, n, b0 == 0);
            else
                amx_tile(kind, (int)n_row, w[p], b1 - b0, q, x, y, c->y_stride, n, b0 == 0);
        }
    }
}

/* What folds away is how sums and minima are made; what codes are too large by does not matter to the loops. */
static void rows_of_kind(struct kind k, uint32_t n_panel, const struct unpacked (*w)[RANGE],
                         uint32_t b0, uint32_t b1, const struct matmul_call *c, uint32_t panel)
{
    const struct kind plain = { .offset = k.offset };
    const struct kind minima = { .minima = ONE_MINIMUM, .offset = k.offset };
    const struct kind halves = { .halves = true, .offset = k.offset };
    const struct kind both = { .halves = true, .minima = MINIMA_OF_HALVES, .offset = k.offset };
    if (k.halves && k.minima == MINIMA_OF_HALVES)
        all_rows(both, n_panel, w, b0, b1, c, panel);
    else if (k.halves)
        all_rows(halves, n_panel, w, b0, b1, c, panel);
    else if (k.minima == ONE_MINIMUM)
        all_rows(minima, n_panel, w, b0, b1, c, panel);
    else
        all_rows(plain, n_panel, w, b0, b1, c, panel);
}

static void matmul_by_tiles(const struct quantised *type, const struct matmul_call *c)
{
    struct unpacked(*w)[RANGE] = c->scratch;
    const uint32_t n_block = c->x->k / QBLOCK, n_range = (n_block + RANGE - 1) / RANGE;
    for (uint32_t p = c->first, step; p < c->last; p += step) {
        step = p + TILE_PANELS <= c->last ? TILE_PANELS : 1;
        for (uint32_t i = 0; i < n_range; i++) {
            const uint32_t b0 = n_block * i / n_range, b1 = n_block * (i + 1) / n_range;
            for (uint32_t j = 0; j < step; j++)
                type->unpack_blocks(w[j], c->w->data + (p + j) * c->w->panel_bytes, b0, b1);
            rows_of_kind(type->kind, step, (const struct unpacked(*)[RANGE])w, b0, b1, c, p);
        }
    }
}

void amx_matmul(const struct packed *w, uint32_t first, uint32_t last, const struct acts *x,
                float *y, size_t y_stride, void *scratch)
{
    const struct quantised *type = types[w->type];
    if (!type || x->n_row < AMX_ROWS) {
        avx512_matmul(w, first, last, x, y, y_stride, scratch);
        return;
    }
    tiles_begin(&shapes);
    matmul_by_tiles(type, &(struct matmul_call){ w, first, last, x, y, y_stride, scratch });
    tiles_end();
}
