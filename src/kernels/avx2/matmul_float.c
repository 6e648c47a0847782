/* F32, F16 and BF16: [k][16] elements, widened as they are read, one FMA chain over k an output.
 * Tiles of 6 rows x 16 outputs: 12 accumulators, 2 vectors of weights and one of x fill the registers, and 12 chains
 * cover fma's latency (4 cycles, 2 a cycle): 95 % of fp32's roof (Zen 3). Parts of k of 128 to 512 were slower. */
#include <immintrin.h>
#include <string.h>

#include "kernels/avx2/matmul_types.h"
#include "kernels/avx2/matmul_block.h"

enum { TILE_ROWS = 6 };

/* Eight weights from `at`, which is 16-byte aligned. */
typedef __m256 widen_fn(const uint8_t *at);

always_inline __m256 widen_f32(const uint8_t *at)
{
    return _mm256_load_ps((const float *)at);
}

always_inline __m256 widen_f16(const uint8_t *at)
{
    return _mm256_cvtph_ps(_mm_load_si128((const __m128i *)at));
}

always_inline __m256 widen_bf16(const uint8_t *at)
{
    __m256i wide = _mm256_cvtepu16_epi32(_mm_load_si128((const __m128i *)at));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}

/* n_row rows of x, from row `row` on, times one panel. */
always_inline void float_tile(widen_fn *widen, size_t elem_bytes, uint32_t n_row,
                              const struct matmul_call *c, const uint8_t *panel, size_t row,
                              float *y, uint32_t n)
{
    size_t k_bytes = PANEL * elem_bytes, n_k = c->x->k;
    const float *x = c->x->f + row * n_k;
    __m256 sum[TILE_ROWS][2];
    UNROLL(6)
    for (uint32_t r = 0; r < n_row; r++)
        sum[r][0] = sum[r][1] = _mm256_setzero_ps();
    for (size_t k = 0; k < n_k; k++, panel += k_bytes) {
        __m256 w0 = widen(panel), w1 = widen(panel + k_bytes / 2);
        _mm_prefetch((const char *)panel + 4096, _MM_HINT_T0);
        UNROLL(6)
        for (uint32_t r = 0; r < n_row; r++) {
            __m256 xk = _mm256_broadcast_ss(&x[r * n_k + k]);
            sum[r][0] = _mm256_fmadd_ps(xk, w0, sum[r][0]);
            sum[r][1] = _mm256_fmadd_ps(xk, w1, sum[r][1]);
        }
    }
    UNROLL(6)
    for (uint32_t r = 0; r < n_row; r++)
        store_row(y + (row + r) * c->y_stride, sum[r], n);
}

/* What is left of the rows behind whole tiles goes together: two rows alone are four chains of fma, half of what its
 * latency takes (F16, 4 rows, two threads of Zen 3: 17 -> 24 GB/s of weights). */
#define REST(N)                                                                                    \
    case N:                                                                                        \
        float_tile(widen, elem_bytes, N, c, panel, row, y, n);                                     \
        break;
always_inline void float_rest(widen_fn *widen, size_t elem_bytes, uint32_t n_row,
                              const struct matmul_call *c, const uint8_t *panel, size_t row,
                              float *y, uint32_t n)
{
    switch (n_row) {
        REST(1)
        REST(2)
        REST(3)
        REST(4)
        REST(5)
    default:
        break;
    }
}
#undef REST

always_inline void matmul_of_floats(widen_fn *widen, size_t elem_bytes, const struct matmul_call *c)
{
    for (uint32_t p = c->first; p < c->last; p++) {
        const uint8_t *panel = c->w->data + p * c->w->panel_bytes;
        float *y = c->y + (size_t)p * PANEL;
        uint32_t n = c->w->n - p * PANEL, r = 0;
        for (; r + TILE_ROWS <= c->x->n_row; r += TILE_ROWS)
            float_tile(widen, elem_bytes, TILE_ROWS, c, panel, r, y, n);
        float_rest(widen, elem_bytes, c->x->n_row - r, c, panel, r, y, n);
    }
}

void avx2_matmul_f32(const struct matmul_call *c)
{
    matmul_of_floats(widen_f32, 4, c);
}

void avx2_matmul_f16(const struct matmul_call *c)
{
    matmul_of_floats(widen_f16, 2, c);
}

void avx2_matmul_bf16(const struct matmul_call *c)
{
    matmul_of_floats(widen_bf16, 2, c);
}
