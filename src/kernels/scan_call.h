/* kernels/scan_call.h - a scan over parts, as one body for each number of queries. Included behind what an instruction
 * set brings: AT_ONCE, keys at a time, and scan_keys, their scores. Private to kernels/. */
#ifndef KERNELS_SCAN_CALL_H
#define KERNELS_SCAN_CALL_H

#include "kernels/scan.h"

/* n is a constant where it is called. */
static inline __attribute__((__always_inline__)) void
scan_parts(const struct scan_query *q, uint32_t n, uint32_t d, const uint8_t *part, uint32_t n_part,
           float *out, size_t stride)
{
    for (uint32_t p = 0; p < n_part; p++, part += scan_part_bytes(d), out += SCAN_KEYS)
        for (uint32_t first = 0; first < SCAN_KEYS; first += AT_ONCE)
            scan_keys(q, n, d, part, first, out, stride);
}

static inline void scan_call(const struct scan_query *q, uint32_t n, uint32_t d, const void *part,
                             uint32_t n_part, float *out, size_t stride)
{
    if (n == 1)
        scan_parts(q, 1, d, part, n_part, out, stride);
    else if (n == 2)
        scan_parts(q, 2, d, part, n_part, out, stride);
    else if (n == 3)
        scan_parts(q, 3, d, part, n_part, out, stride);
    else
        scan_parts(q, 4, d, part, n_part, out, stride);
}

#endif
