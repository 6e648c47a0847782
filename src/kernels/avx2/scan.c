/* Sixteen keys at a time, up to four queries: eight sums stay in registers. Products of eight elements are
 * summed in 16 bits, where four of them fit (4 x 15 x 127 = 7,620), then into 32: a widening for two multiplications. A
 * scan is as long as its bytes (scan.h), so they are fetched ahead. */
#include <immintrin.h>
#include <float.h>
#include <string.h>

#include "kernels/avx2/fns.h"
#include "kernels/avx2/vec.h"
#include "kernels/lanes.h"
#include "kernels/scan_parts.h"

enum { AT_ONCE = 16, AHEAD = 4096 }; // keys; bytes that are fetched ahead

always_inline __m256i four_bytes(const int8_t *at)
{
    int32_t x;
    memcpy(&x, at, sizeof x);
    return _mm256_set1_epi32(x);
}

always_inline void scan_keys(const struct scan_query *q, uint32_t n, uint32_t d,
                             const uint8_t *part, uint32_t first, float *out, size_t stride)
{
    const __m256i code = _mm256_set1_epi8(15), by_1 = _mm256_set1_epi16(1);
    const float *scale = (const float *)(const void *)(part + (size_t)SCAN_KEYS * d / 2);
    __m256i sum[SCAN_QUERIES][2];
    UNROLL(4)
    for (uint32_t i = 0; i < n; i++)
        sum[i][0] = sum[i][1] = _mm256_set1_epi32(-8 * q[i].sum);
    for (uint32_t j = 0; j < d; j += 8) {
        const uint8_t *at = part + ((size_t)j / 8 * SCAN_KEYS + first) * 4;
        const __m256i k0 = _mm256_load_si256((const __m256i *)(const void *)at);
        const __m256i k1 = _mm256_load_si256((const __m256i *)(const void *)(at + 32));
        const __m256i l0 = _mm256_and_si256(k0, code), l1 = _mm256_and_si256(k1, code);
        const __m256i h0 = _mm256_and_si256(_mm256_srli_epi16(k0, 4), code);
        const __m256i h1 = _mm256_and_si256(_mm256_srli_epi16(k1, 4), code);
        _mm_prefetch((const char *)at + AHEAD, _MM_HINT_T0);
        UNROLL(4)
        for (uint32_t i = 0; i < n; i++) {
            const __m256i l = four_bytes(q[i].code + j), h = four_bytes(q[i].code + j + 4);
            const __m256i t0 =
                _mm256_add_epi16(_mm256_maddubs_epi16(l0, l), _mm256_maddubs_epi16(h0, h));
            const __m256i t1 =
                _mm256_add_epi16(_mm256_maddubs_epi16(l1, l), _mm256_maddubs_epi16(h1, h));
            sum[i][0] = _mm256_add_epi32(sum[i][0], _mm256_madd_epi16(t0, by_1));
            sum[i][1] = _mm256_add_epi32(sum[i][1], _mm256_madd_epi16(t1, by_1));
        }
    }
    UNROLL(4)
    for (uint32_t i = 0; i < n; i++) {
        const __m256 factor = _mm256_set1_ps(q[i].factor);
        for (uint32_t v = 0; v < 2; v++) {
            const __m256 s = _mm256_load_ps(scale + first + 8 * v);
            const __m256 t = _mm256_mul_ps(_mm256_cvtepi32_ps(sum[i][v]), s);
            _mm256_store_ps(out + i * stride + first + 8 * v, _mm256_mul_ps(t, factor));
        }
    }
}

void avx2_scan(const struct scan_query *q, uint32_t n, uint32_t d, const void *part,
               uint32_t n_part, float *out, size_t stride)
{
    scan_parts(scan_keys, AT_ONCE, q, n, d, part, n_part, out, stride);
}

static void exps(float *x, uint32_t n, float largest)
{
    const __m256 top = _mm256_set1_ps(largest);
    uint32_t i = 0;
    for (; i + 32 <= n; i += 32) {
        __m256 e[4];
        for (uint32_t v = 0; v < 4; v++)
            e[v] = _mm256_sub_ps(_mm256_loadu_ps(x + i + 8 * v), top);
        exp8_low_n(e, e, 4);
        for (uint32_t v = 0; v < 4; v++)
            _mm256_storeu_ps(x + i + 8 * v, e[v]);
    }
    for (; i < n; i++)
        x[i] = exp_f32(x[i] - largest);
}

static float sum_of(const float *x, uint32_t n)
{
    __m256 low = _mm256_setzero_ps(), high = _mm256_setzero_ps();
    float lane[LANES];
    uint32_t i = 0;
    for (; i + 16 <= n; i += 16) {
        low = _mm256_add_ps(low, _mm256_loadu_ps(x + i));
        high = _mm256_add_ps(high, _mm256_loadu_ps(x + i + 8));
    }
    _mm256_storeu_ps(lane, low);
    _mm256_storeu_ps(lane + 8, high);
    for (; i < n; i++)
        lane[i % LANES] += x[i];
    return lanes_sum(lane);
}

void avx2_scan_mass(float *x, uint32_t n, const uint32_t *first, uint32_t n_run, uint32_t base,
                    float *out, float *largest, float *sum)
{
    *largest = largest8_of(-FLT_MAX, x, n);
    exps(x, n, *largest);
    for (uint32_t i = 0; i < n_run; i++) {
        const uint32_t from = i > 0 ? first[i] - base : 0;
        out[i] = sum_of(x + from, (i + 1 < n_run ? first[i + 1] - base : n) - from);
    }
    *sum = sum_of(x, n);
}
