/* The contract of scan.h, plainly: one query, one key at a time. */
#include <float.h>
#include <string.h>

#include "kernels/exp.h"
#include "kernels/lanes.h"
#include "kernels/ref/fns.h"

static float score(const struct scan_query *q, uint32_t d, const uint8_t *part, uint32_t row)
{
    int32_t t = 0;
    float scale;
    for (uint32_t j = 0; j < d; j++) {
        const uint32_t two = part[((size_t)j / 8 * SCAN_KEYS + row) * 4 + j % 4];
        t += ((int32_t)(j % 8 < 4 ? two & 15 : two >> 4) - 8) * q->code[j];
    }
    memcpy(&scale, part + (size_t)SCAN_KEYS * d / 2 + row * sizeof scale, sizeof scale);
    return (float)t * scale * q->factor;
}

void ref_scan(const struct scan_query *q, uint32_t n, uint32_t d, const void *part, uint32_t n_part,
              float *out, size_t stride)
{
    const uint8_t *at = part;
    for (uint32_t p = 0; p < n_part; p++, at += scan_part_bytes(d))
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t row = 0; row < SCAN_KEYS; row++)
                out[i * stride + (size_t)p * SCAN_KEYS + row] = score(&q[i], d, at, row);
}

static float sum_of(const float *x, uint32_t n)
{
    float lane[LANES] = { 0 };
    for (uint32_t i = 0; i < n; i++)
        lane[i % LANES] += x[i];
    return lanes_sum(lane);
}

void ref_scan_mass(float *x, uint32_t n, const uint32_t *first, uint32_t n_run, uint32_t base,
                   float *out, float *largest, float *sum)
{
    float m = -FLT_MAX;
    for (uint32_t i = 0; i < n; i++)
        m = larger(m, x[i]);
    for (uint32_t i = 0; i < n; i++)
        x[i] = exp_f32(x[i] - m);
    for (uint32_t i = 0; i < n_run; i++) {
        const uint32_t from = i > 0 ? first[i] - base : 0;
        out[i] = sum_of(x + from, (i + 1 < n_run ? first[i + 1] - base : n) - from);
    }
    *largest = m;
    *sum = sum_of(x, n);
}
