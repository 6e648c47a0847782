#include <string.h>

#include "kernels/ref/fns.h"

static float score(const struct scan_query *q, uint32_t d, const uint8_t *part, uint32_t row)
{
    int32_t t = 0;
    float scale;
    for (uint32_t j = 0; j < d; j++) {
        const int32_t key = part[((size_t)j / 4 * SCAN_KEYS + row) * 4 + j % 4] - 128;
        t += key * (64 * q->high[j] + q->low[j]);
    }
    memcpy(&scale, part + (size_t)SCAN_KEYS * d + row * sizeof scale, sizeof scale);
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
