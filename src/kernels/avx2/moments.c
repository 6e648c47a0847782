/* Moments, squares and steps of a Cholesky factor (rows.h). */
#include <immintrin.h>

#include "kernels/avx2/fns.h"
#include "kernels/inline.h"

/* Four rows of outer, n_v vectors of each, over all rows of x: the accumulators stay in registers. */
always_inline void moments_tile(float *outer, const float *x, size_t stride, uint32_t n, uint32_t d,
                                uint32_t i, uint32_t j, uint32_t n_v)
{
    __m256 acc[4][2];
    for (uint32_t a = 0; a < 4; a++)
        for (uint32_t v = 0; v < n_v; v++)
            acc[a][v] = _mm256_loadu_ps(outer + (size_t)(i + a) * d + j + 8 * v);
    for (uint32_t r = 0; r < n; r++, x += stride) {
        for (uint32_t a = 0; a < 4; a++) {
            const __m256 xi = _mm256_broadcast_ss(x + i + a);
            for (uint32_t v = 0; v < n_v; v++)
                acc[a][v] = _mm256_fmadd_ps(xi, _mm256_loadu_ps(x + j + 8 * v), acc[a][v]);
        }
    }
    for (uint32_t a = 0; a < 4; a++)
        for (uint32_t v = 0; v < n_v; v++)
            _mm256_storeu_ps(outer + (size_t)(i + a) * d + j + 8 * v, acc[a][v]);
}

void avx2_moments(float *sum, float *outer, const float *x, size_t stride, uint32_t n, uint32_t d)
{
    for (uint32_t r = 0; r < n; r++)
        avx2_add(sum, x + r * stride, d);
    for (uint32_t i = 0; i < d; i += 4) {
        const uint32_t end = (i | 7) + 1;
        uint32_t j = 0;
        for (; j + 16 <= end; j += 16)
            moments_tile(outer, x, stride, n, d, i, j, 2);
        if (j < end)
            moments_tile(outer, x, stride, n, d, i, j, 1);
    }
}

/* Elements [0, 8 n_v) of all rows: the sums stay in registers, chain beside chain. */
always_inline void squares_tile(float *sum, const float *x, uint32_t n, uint32_t d, uint32_t n_v)
{
    __m256 acc[8];
    for (uint32_t v = 0; v < n_v; v++)
        acc[v] = _mm256_loadu_ps(sum + 8 * v);
    for (uint32_t r = 0; r < n; r++, x += d)
        for (uint32_t v = 0; v < n_v; v++) {
            const __m256 e = _mm256_loadu_ps(x + 8 * v);
            acc[v] = _mm256_add_ps(acc[v], _mm256_mul_ps(e, e));
        }
    for (uint32_t v = 0; v < n_v; v++)
        _mm256_storeu_ps(sum + 8 * v, acc[v]);
}

void avx2_squares(float *sum, const float *x, uint32_t n, uint32_t d)
{
    uint32_t i = 0;
    for (; i + 64 <= d; i += 64)
        squares_tile(sum + i, x + i, n, d, 8);
    for (; i < d; i += 8)
        squares_tile(sum + i, x + i, n, d, 1);
}

/* Elements [0, 4 n_v), as above. */
always_inline void deflate_tile(double *row, const double *l, uint32_t n, uint32_t d,
                                const double *by, uint32_t n_v)
{
    __m256d acc[8];
    for (uint32_t v = 0; v < n_v; v++)
        acc[v] = _mm256_loadu_pd(row + 4 * v);
    for (uint32_t r = 0; r < n; r++, l += d, by += d) {
        const __m256d b = _mm256_broadcast_sd(by);
        for (uint32_t v = 0; v < n_v; v++)
            acc[v] = _mm256_sub_pd(acc[v], _mm256_mul_pd(b, _mm256_loadu_pd(l + 4 * v)));
    }
    for (uint32_t v = 0; v < n_v; v++)
        _mm256_storeu_pd(row + 4 * v, acc[v]);
}

void avx2_deflate(double *row, const double *l, uint32_t n, uint32_t at, uint32_t d)
{
    uint32_t i = 0;
    for (; i + 32 <= d; i += 32)
        deflate_tile(row + i, l + i, n, d, l + at, 8);
    for (; i < d; i += 8)
        deflate_tile(row + i, l + i, n, d, l + at, 2);
}
