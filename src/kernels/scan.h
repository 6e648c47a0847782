/* kernels/scan.h - what a few queries would give very many keys, from keys of 8 bits: to choose which rows are read,
 * never what they add to a result.
 *
 *   part     64 keys: codes [d / 4][64][4], one byte each, code + 128; then 64 f32 scales. key = scale * code
 *   query    codes of 13 bits in two, 64 * high + low, and one scale
 *   score    t = sum over j of products of codes, in integers, so its order is free;  ((float)t * key's scale) * factor
 *
 * Products of bytes instead of floats: 3 queries over 7,936 keys of 64 from memory take 21 us for the 33 of attn_scores
 * with int8 (AVX2 33 for 42; one thread, Granite Rapids). */
#ifndef KERNELS_SCAN_H
#define KERNELS_SCAN_H

#include <stddef.h>
#include <stdint.h>

enum { SCAN_KEYS = 64, SCAN_D_MAX = 512, SCAN_QUERIES = 4 };

/* high -63 to 63, low -32 to 31: sums of two products with a byte stay within 16 bits. */
struct scan_query {
    _Alignas(64) int8_t high[SCAN_D_MAX], low[SCAN_D_MAX];
    int32_t sum; // of all codes, 64 * high + low
    float factor;
};

/* d: a multiple of 8, SCAN_D_MAX at most. */
size_t scan_part_bytes(uint32_t d);

/* Key `row` of a part: amax = the largest |x|, scale = amax * (1/127 as f32), code = clamp(rint(x * (127 / amax)),
 * -127, 127). A NaN gives code 0 and a NaN scale. */
void scan_store(void *part, uint32_t row, const float *k, uint32_t d);

/* code = clamp(rint(x * (4032 / amax)), -4032, 4032), of NaN 0; factor = (amax * (1/4032 as f32)) * scale. */
void scan_ask(struct scan_query *out, const float *q, uint32_t d, float scale);

/* Scores of n queries (SCAN_QUERIES at most) over n_part parts that lie one behind the other, 64-byte aligned:
 * out + i * stride is [n_part][64] of query i, 64-byte aligned; stride a multiple of 16. */
typedef void kern_scan(const struct scan_query *q, uint32_t n, uint32_t d, const void *part,
                       uint32_t n_part, float *out, size_t stride);

#endif
