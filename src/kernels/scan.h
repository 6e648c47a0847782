/* kernels/scan.h - what a few queries would give very many keys, from keys of 4 bits: to choose which rows are read,
 * never what they add to a result.
 *
 *   part     64 keys: codes [d / 8][64][4] of 4 bits, two a byte, code + 8: byte i holds that of element i of its
 *            eight, and above it that of element i + 4; then 64 f32 scales. key = scale * code
 *   query    codes of 8 bits, and one scale
 *   score    t = sum over j of products of codes, in integers, so its order is free;  ((float)t * key's scale) * factor
 *   mass     what runs of keys receive of a query's attention by those scores
 *
 * A scan is as long as its bytes: 3 queries over 7,936 keys of 64 from memory take 21 us, with keys of 8 bits 42 (one
 * thread, Granite Rapids); what they choose receives 0.1 to 0.2 % less of the attention (bench/TRIED.md). */
#ifndef KERNELS_SCAN_H
#define KERNELS_SCAN_H

#include <stddef.h>
#include <stdint.h>

enum { SCAN_KEYS = 64, SCAN_D_MAX = 512, SCAN_QUERIES = 4 };

struct scan_query {
    _Alignas(64) int8_t code[SCAN_D_MAX];
    int32_t sum; // of all codes
    float factor;
};

/* d: a multiple of 8, SCAN_D_MAX at most. */
size_t scan_part_bytes(uint32_t d);

/* Key `row` of a part: amax = the largest |x|, scale = amax * (1/7 as f32), code = clamp(rint(x * (7 / amax)), -7, 7).
 * A NaN gives code 0 and a NaN scale. */
void scan_store(void *part, uint32_t row, const float *k, uint32_t d);

/* code = clamp(rint(x * (127 / amax)), -127, 127), of NaN 0; factor = (amax * (1/127 as f32)) * scale. */
void scan_ask(struct scan_query *out, const float *q, uint32_t d, float scale);

/* Scores of n queries (SCAN_QUERIES at most) over n_part parts that lie one behind the other, 64-byte aligned:
 * out + i * stride is [n_part][64] of query i, 64-byte aligned; stride a multiple of 16. */
typedef void kern_scan(const struct scan_query *q, uint32_t n, uint32_t d, const void *part,
                       uint32_t n_part, float *out, size_t stride);

/* What runs of keys receive of a query, by its scores x [n] of keys base to base + n:
 *     largest = max(x, -FLT_MAX);  e = kern_exp(x - largest), so a key scored -inf receives 0
 *     out[i] = the sum of e over run i: keys from first[i] (of run 0 from base) to first[i + 1], of the last to
 *     base + n
 *     sum = that of all e
 * Each sum in lanes as rows.h has them, counted from where the run begins. x is overwritten; n >= 1, first rises. */
typedef void kern_scan_mass(float *x, uint32_t n, const uint32_t *first, uint32_t n_run,
                            uint32_t base, float *out, float *largest, float *sum);

#endif
