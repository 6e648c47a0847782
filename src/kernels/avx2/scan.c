/* Sixteen keys at a time, up to four queries: eight sums stay in registers. A byte times a byte is summed in pairs of
 * 16 bits (scan.h says why they fit), then by 64 or 1 into 32. */
#include <immintrin.h>
#include <string.h>

#include "kernels/avx2/fns.h"

enum { AT_ONCE = 16, AHEAD = 4096 }; // keys; bytes that are fetched ahead

static inline __attribute__((__always_inline__)) __m256i four_bytes(const int8_t *at)
{
    int32_t x;
    memcpy(&x, at, sizeof x);
    return _mm256_set1_epi32(x);
}

static inline __attribute__((__always_inline__)) void scan_keys(const struct scan_query *q,
                                                                uint32_t n, uint32_t d,
                                                                const uint8_t *part, uint32_t first,
                                                                float *out, size_t stride)
{
    const __m256i by_64 = _mm256_set1_epi16(64), by_1 = _mm256_set1_epi16(1);
    const float *scale = (const float *)(const void *)(part + (size_t)SCAN_KEYS * d);
    __m256i sum[SCAN_QUERIES][2];
#pragma GCC unroll 4
    for (uint32_t i = 0; i < n; i++)
        sum[i][0] = sum[i][1] = _mm256_set1_epi32(-128 * q[i].sum);
    for (uint32_t j = 0; j < d; j += 4) {
        const uint8_t *at = part + ((size_t)j / 4 * SCAN_KEYS + first) * 4;
        const __m256i k0 = _mm256_load_si256((const __m256i *)(const void *)at);
        const __m256i k1 = _mm256_load_si256((const __m256i *)(const void *)(at + 32));
        _mm_prefetch((const char *)at + AHEAD, _MM_HINT_T0);
#pragma GCC unroll 4
        for (uint32_t i = 0; i < n; i++) {
            const __m256i high = four_bytes(q[i].high + j), low = four_bytes(q[i].low + j);
            const __m256i h0 = _mm256_madd_epi16(_mm256_maddubs_epi16(k0, high), by_64);
            const __m256i h1 = _mm256_madd_epi16(_mm256_maddubs_epi16(k1, high), by_64);
            const __m256i l0 = _mm256_madd_epi16(_mm256_maddubs_epi16(k0, low), by_1);
            const __m256i l1 = _mm256_madd_epi16(_mm256_maddubs_epi16(k1, low), by_1);
            sum[i][0] = _mm256_add_epi32(sum[i][0], _mm256_add_epi32(h0, l0));
            sum[i][1] = _mm256_add_epi32(sum[i][1], _mm256_add_epi32(h1, l1));
        }
    }
#pragma GCC unroll 4
    for (uint32_t i = 0; i < n; i++) {
        const __m256 factor = _mm256_set1_ps(q[i].factor);
        for (uint32_t v = 0; v < 2; v++) {
            const __m256 s = _mm256_load_ps(scale + first + 8 * v);
            const __m256 t = _mm256_mul_ps(_mm256_cvtepi32_ps(sum[i][v]), s);
            _mm256_store_ps(out + i * stride + first + 8 * v, _mm256_mul_ps(t, factor));
        }
    }
}

static inline __attribute__((__always_inline__)) void
scan_parts(const struct scan_query *q, uint32_t n, uint32_t d, const uint8_t *part, uint32_t n_part,
           float *out, size_t stride)
{
    for (uint32_t p = 0; p < n_part; p++, part += scan_part_bytes(d), out += SCAN_KEYS)
        for (uint32_t first = 0; first < SCAN_KEYS; first += AT_ONCE)
            scan_keys(q, n, d, part, first, out, stride);
}

void avx2_scan(const struct scan_query *q, uint32_t n, uint32_t d, const void *part,
               uint32_t n_part, float *out, size_t stride)
{
    switch (n) {
    case 1:
        scan_parts(q, 1, d, part, n_part, out, stride);
        break;
    case 2:
        scan_parts(q, 2, d, part, n_part, out, stride);
        break;
    case 3:
        scan_parts(q, 3, d, part, n_part, out, stride);
        break;
    default:
        scan_parts(q, 4, d, part, n_part, out, stride);
    }
}
