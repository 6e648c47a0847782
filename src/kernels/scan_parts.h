/* kernels/scan_parts.h - a scan of parts (scan.h), of what a width does with some keys of one. Private to kernels/. */
#ifndef KERNELS_SCAN_PARTS_H
#define KERNELS_SCAN_PARTS_H

#include "kernels/inline.h"
#include "kernels/scan.h"

/* Scores of n queries and of as many keys as the width takes at once, from key `first` of the part on. */
typedef void scan_keys_fn(const struct scan_query *q, uint32_t n, uint32_t d, const uint8_t *part,
                          uint32_t first, float *out, size_t stride);

always_inline void scan_all_keys(scan_keys_fn *scan_keys, uint32_t at_once,
                                 const struct scan_query *q, uint32_t n, uint32_t d,
                                 const uint8_t *part, uint32_t n_part, float *out, size_t stride)
{
    for (uint32_t p = 0; p < n_part; p++, part += scan_part_bytes(d), out += SCAN_KEYS)
        for (uint32_t first = 0; first < SCAN_KEYS; first += at_once)
            scan_keys(q, n, d, part, first, out, stride);
}

/* kern_scan, with a body for each n: its sums stay in registers. */
always_inline void scan_parts(scan_keys_fn *scan_keys, uint32_t at_once, const struct scan_query *q,
                              uint32_t n, uint32_t d, const uint8_t *part, uint32_t n_part,
                              float *out, size_t stride)
{
    switch (n) {
    case 1:
        scan_all_keys(scan_keys, at_once, q, 1, d, part, n_part, out, stride);
        break;
    case 2:
        scan_all_keys(scan_keys, at_once, q, 2, d, part, n_part, out, stride);
        break;
    case 3:
        scan_all_keys(scan_keys, at_once, q, 3, d, part, n_part, out, stride);
        break;
    default:
        scan_all_keys(scan_keys, at_once, q, 4, d, part, n_part, out, stride);
    }
}

#endif
