/* F32, F16 and BF16: [k][16] elements, widened as they are read, one FMA chain over k an output.
 * Tiles of 12 rows x 32 outputs (two panels): 24 accumulators, as many as two FMAs a cycle of latency 4 need and
 * what registers hold; 14 loads for 24 FMAs. */
#include <string.h>

#include "kernels/avx512/matmul_types.h"
#include "kernels/avx512/matmul_tile.h"

enum { FLOAT_ROWS = 12 };

/* 16 weights from `at`, which is 32-byte aligned. */
typedef __m512 widen_fn(const uint8_t *at);

always_inline __m512 widen_f32(const uint8_t *at)
{
    return _mm512_loadu_ps(at);
}

always_inline __m512 widen_f16(const uint8_t *at)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)at));
}

always_inline __m512 widen_bf16(const uint8_t *at)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)at));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

/* n_row rows of x, from row `row` on, times n_panel panels. */
always_inline void float_tile(widen_fn *widen, size_t elem_bytes, int n_row, int n_panel,
                              const struct matmul_call *c, const uint8_t *panel, size_t row,
                              float *y, uint32_t n)
{
    size_t n_k = c->x->k, panel_bytes = c->w->panel_bytes;
    const float *x = c->x->f + row * n_k;
    __m512 sum[FLOAT_ROWS][2], w[2];
    UNROLL(12)
    for (int r = 0; r < n_row; r++)
        sum[r][0] = sum[r][1] = _mm512_setzero_ps();
    for (size_t k = 0; k < n_k; k++, panel += PANEL * elem_bytes) {
        UNROLL(2)
        for (int p = 0; p < n_panel; p++) {
            w[p] = widen(panel + (size_t)p * panel_bytes);
            _mm_prefetch((const char *)panel + (size_t)p * panel_bytes + 4096, _MM_HINT_T0);
        }
        UNROLL(12)
        for (int r = 0; r < n_row; r++) {
            __m512 xk = _mm512_set1_ps(x[(size_t)r * n_k + k]);
            UNROLL(2)
            for (int p = 0; p < n_panel; p++)
                sum[r][p] = _mm512_fmadd_ps(xk, w[p], sum[r][p]);
        }
    }
    UNROLL(12)
    for (int r = 0; r < n_row; r++) {
        float *at = y + (row + (size_t)r) * c->y_stride;
        UNROLL(2)
        for (int p = 0; p < n_panel; p++)
            store_row(at + p * PANEL, sum[r][p], n - (uint32_t)p * PANEL);
    }
}

always_inline void float_panels(widen_fn *widen, size_t elem_bytes, int n_panel,
                                const struct matmul_call *c, const uint8_t *panel, float *y,
                                uint32_t n)
{
    uint32_t r = 0;
    for (; r + FLOAT_ROWS <= c->x->n_row; r += FLOAT_ROWS)
        float_tile(widen, elem_bytes, FLOAT_ROWS, n_panel, c, panel, r, y, n);
    for (; r + 4 <= c->x->n_row; r += 4)
        float_tile(widen, elem_bytes, 4, n_panel, c, panel, r, y, n);
    for (; r < c->x->n_row; r++)
        float_tile(widen, elem_bytes, 1, n_panel, c, panel, r, y, n);
}

always_inline void matmul_of_floats(widen_fn *widen, size_t elem_bytes, const struct matmul_call *c)
{
    uint32_t p = c->first;
    for (; p + 2 <= c->last; p += 2)
        float_panels(widen, elem_bytes, 2, c, c->w->data + p * c->w->panel_bytes,
                     c->y + (size_t)p * PANEL, c->w->n - p * PANEL);
    if (p < c->last)
        float_panels(widen, elem_bytes, 1, c, c->w->data + p * c->w->panel_bytes,
                     c->y + (size_t)p * PANEL, c->w->n - p * PANEL);
}

void avx512_matmul_f32(const struct matmul_call *c)
{
    matmul_of_floats(widen_f32, 4, c);
}

void avx512_matmul_f16(const struct matmul_call *c)
{
    matmul_of_floats(widen_f16, 2, c);
}

void avx512_matmul_bf16(const struct matmul_call *c)
{
    matmul_of_floats(widen_bf16, 2, c);
}
