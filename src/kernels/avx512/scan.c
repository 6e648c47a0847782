/* Half a part at a time, up to four queries: sixteen sums stay in registers, those of high codes apart from those of
 * low ones. */
#include "kernels/avx512/matmul_vnni.h"

#include <string.h>

#include "kernels/avx512/fns.h"

enum { AT_ONCE = 32, AHEAD = 8192 }; // keys; bytes that are fetched ahead

always_inline __m512i four_bytes(const int8_t *at)
{
    int32_t x;
    memcpy(&x, at, sizeof x);
    return _mm512_set1_epi32(x);
}

always_inline void scan_keys(const struct scan_query *q, uint32_t n, uint32_t d,
                             const uint8_t *part, uint32_t first, float *out, size_t stride)
{
    const float *scale = (const float *)(const void *)(part + (size_t)SCAN_KEYS * d);
    __m512i high[SCAN_QUERIES][2], low[SCAN_QUERIES][2];
    UNROLL(4)
    for (uint32_t i = 0; i < n; i++) {
        high[i][0] = high[i][1] = _mm512_setzero_si512();
        low[i][0] = low[i][1] = _mm512_set1_epi32(-128 * q[i].sum);
    }
    for (uint32_t j = 0; j < d; j += 4) {
        const uint8_t *at = part + ((size_t)j / 4 * SCAN_KEYS + first) * 4;
        const __m512i k0 = _mm512_loadu_si512(at), k1 = _mm512_loadu_si512(at + 64);
        _mm_prefetch((const char *)at + AHEAD, _MM_HINT_T0);
        _mm_prefetch((const char *)at + AHEAD + 64, _MM_HINT_T0);
        UNROLL(4)
        for (uint32_t i = 0; i < n; i++) {
            const __m512i h = four_bytes(q[i].high + j), l = four_bytes(q[i].low + j);
            high[i][0] = dot_4(high[i][0], k0, h);
            high[i][1] = dot_4(high[i][1], k1, h);
            low[i][0] = dot_4(low[i][0], k0, l);
            low[i][1] = dot_4(low[i][1], k1, l);
        }
    }
    UNROLL(4)
    for (uint32_t i = 0; i < n; i++) {
        const __m512 factor = _mm512_set1_ps(q[i].factor);
        UNROLL(2)
        for (uint32_t v = 0; v < 2; v++) {
            const __m512i t = _mm512_add_epi32(_mm512_slli_epi32(high[i][v], 6), low[i][v]);
            const __m512 s = _mm512_loadu_ps(scale + first + 16 * v);
            _mm512_storeu_ps(out + i * stride + first + 16 * v,
                             _mm512_mul_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(t), s), factor));
        }
    }
}

always_inline void scan_parts(const struct scan_query *q, uint32_t n, uint32_t d,
                              const uint8_t *part, uint32_t n_part, float *out, size_t stride)
{
    for (uint32_t p = 0; p < n_part; p++, part += scan_part_bytes(d), out += SCAN_KEYS)
        for (uint32_t first = 0; first < SCAN_KEYS; first += AT_ONCE)
            scan_keys(q, n, d, part, first, out, stride);
}

void avx512_scan(const struct scan_query *q, uint32_t n, uint32_t d, const void *part,
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
