/* Moments, squares and steps of a Cholesky factor, as rows.h has them, plainly: what policies know of rows by. */
#include <math.h>

#include "kernels/ref/fns.h"

void ref_moments(float *sum, float *outer, const float *x, size_t stride, uint32_t n, uint32_t d)
{
    for (uint32_t r = 0; r < n; r++, x += stride) {
        for (uint32_t i = 0; i < d; i++) {
            sum[i] += x[i];
            for (uint32_t j = 0; j <= (i | 7); j++)
                outer[(size_t)i * d + j] = fmaf(x[i], x[j], outer[(size_t)i * d + j]);
        }
    }
}

void ref_squares(float *sum, const float *x, uint32_t n, uint32_t d)
{
    for (uint32_t r = 0; r < n; r++, x += d)
        for (uint32_t i = 0; i < d; i++)
            sum[i] += x[i] * x[i];
}

void ref_deflate(double *row, const double *l, uint32_t n, uint32_t at, uint32_t d)
{
    for (uint32_t r = 0; r < n; r++, l += d)
        for (uint32_t i = 0; i < d; i++)
            row[i] -= l[at] * l[i];
}
