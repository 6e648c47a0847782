/* kernels/kv_rows.h - how 64 rows of one kv_head lie in a block. Private to kernels/ but for the
 * sizes.
 *
 *   K part   [d][64]   rows in lanes (element j of row i at j * 64 + i): a score is a chain over d
 *   V part   [64][d]   row after row: an output is a chain of fma over rows
 *   int8 parts end in 64 f32 scales, one a row: value = scale * int8
 *
 * Every part is a multiple of 64 bytes and starts at one. */
#ifndef KERNELS_KV_ROWS_H
#define KERNELS_KV_ROWS_H

#include <stddef.h>
#include <stdint.h>

enum { KV_BLOCK = 64 }; // rows a block

enum kv_type { KV_F16, KV_F32, KV_INT8 };

/* Bit i: row i is in [lo, hi); 0 <= lo <= hi <= 64. */
static inline uint64_t row_bits(uint32_t lo, uint32_t hi)
{
    uint64_t below_hi = hi == KV_BLOCK ? UINT64_MAX : (UINT64_C(1) << hi) - 1;
    return lo == KV_BLOCK ? 0 : below_hi & UINT64_MAX << lo;
}

/* Bytes of the K or the V part of one kv_head, d elements a row (d a multiple of 8). */
static inline size_t kv_part_bytes(enum kv_type type, uint32_t d)
{
    size_t n = (size_t)KV_BLOCK * d;
    return type == KV_F16 ? n * 2 : type == KV_F32 ? n * 4 : n + KV_BLOCK * sizeof(float);
}

#endif
