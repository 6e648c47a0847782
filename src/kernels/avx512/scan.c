/* Half a part at a time, up to four queries: sixteen sums stay in registers, those of elements above in a byte apart
 * from those below. */
#include "kernels/avx512/matmul_vnni.h"

#include <float.h>
#include <string.h>

#include "kernels/avx512/fns.h"
#include "kernels/avx512/vec.h"
#include "kernels/scan_parts.h"

enum { AT_ONCE = 32, NEAR = 2048, PAGE = 4096 }; // keys; bytes

/* 128 bytes for each 128 that are read: lines of four pages of memory in turn into the second cache, 16 KiB ahead, and
 * from there what is near into the first. 7,936 keys of 64 from memory: 21 us, in order 8 KiB ahead into the first
 * 25.5 (one thread, Granite Rapids). */
always_inline void fetch_pages(const void *at)
{
    const uintptr_t a = (uintptr_t)at, line = a / 256 % 64, pair = a / 128 % 2;
    const uintptr_t page = (a / (4 * PAGE) + 1) * (4 * PAGE) + pair * 2 * PAGE;
    _mm_prefetch((const char *)(page + 64 * line), _MM_HINT_T1);
    _mm_prefetch((const char *)(page + PAGE + 64 * line), _MM_HINT_T1);
    _mm_prefetch((const char *)at + NEAR, _MM_HINT_T0);
    _mm_prefetch((const char *)at + NEAR + 64, _MM_HINT_T0);
}

always_inline __m512i four_bytes(const int8_t *at)
{
    int32_t x;
    memcpy(&x, at, sizeof x);
    return _mm512_set1_epi32(x);
}

always_inline void scan_keys(const struct scan_query *q, uint32_t n, uint32_t d,
                             const uint8_t *part, uint32_t first, float *out, size_t stride)
{
    const float *scale = (const float *)(const void *)(part + (size_t)SCAN_KEYS * d / 2);
    const __m512i code = _mm512_set1_epi8(15);
    __m512i low[SCAN_QUERIES][2], high[SCAN_QUERIES][2];
    UNROLL(4)
    for (uint32_t i = 0; i < n; i++) {
        low[i][0] = low[i][1] = _mm512_set1_epi32(-8 * q[i].sum);
        high[i][0] = high[i][1] = _mm512_setzero_si512();
    }
    fetch_pages(scale + first);
    for (uint32_t j = 0; j < d; j += 8) {
        const uint8_t *at = part + ((size_t)j / 8 * SCAN_KEYS + first) * 4;
        const __m512i k0 = _mm512_loadu_si512(at), k1 = _mm512_loadu_si512(at + 64);
        const __m512i l0 = _mm512_and_si512(k0, code), l1 = _mm512_and_si512(k1, code);
        const __m512i h0 = _mm512_and_si512(_mm512_srli_epi16(k0, 4), code);
        const __m512i h1 = _mm512_and_si512(_mm512_srli_epi16(k1, 4), code);
        fetch_pages(at);
        UNROLL(4)
        for (uint32_t i = 0; i < n; i++) {
            const __m512i l = four_bytes(q[i].code + j), h = four_bytes(q[i].code + j + 4);
            low[i][0] = dot_4(low[i][0], l0, l);
            low[i][1] = dot_4(low[i][1], l1, l);
            high[i][0] = dot_4(high[i][0], h0, h);
            high[i][1] = dot_4(high[i][1], h1, h);
        }
    }
    UNROLL(4)
    for (uint32_t i = 0; i < n; i++) {
        const __m512 factor = _mm512_set1_ps(q[i].factor);
        UNROLL(2)
        for (uint32_t v = 0; v < 2; v++) {
            const __m512i t = _mm512_add_epi32(high[i][v], low[i][v]);
            const __m512 s = _mm512_loadu_ps(scale + first + 16 * v);
            _mm512_storeu_ps(out + i * stride + first + 16 * v,
                             _mm512_mul_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(t), s), factor));
        }
    }
}

void avx512_scan(const struct scan_query *q, uint32_t n, uint32_t d, const void *part,
                 uint32_t n_part, float *out, size_t stride)
{
    scan_parts(scan_keys, AT_ONCE, q, n, d, part, n_part, out, stride);
}

enum { TOGETHER = 4 }; // vectors whose chains of latencies overlap

always_inline __mmask16 lanes_of(uint32_t n)
{
    return n < 16 ? (__mmask16)((1u << n) - 1) : 0xffff;
}

static float largest_of(const float *x, uint32_t n)
{
    const __m512 least = _mm512_set1_ps(-FLT_MAX);
    __m512 top[TOGETHER] = { least, least, least, least };
    uint32_t i = 0;
    for (; i + 16 * TOGETHER <= n; i += 16 * TOGETHER)
        for (uint32_t v = 0; v < TOGETHER; v++) // of a NaN and a number the number
            top[v] = _mm512_max_ps(_mm512_loadu_ps(x + i + 16 * v), top[v]);
    for (; i < n; i += 16)
        top[0] = _mm512_max_ps(_mm512_mask_mov_ps(least, lanes_of(n - i),
                                                  _mm512_maskz_loadu_ps(lanes_of(n - i), x + i)),
                               top[0]);
    top[0] = _mm512_max_ps(_mm512_max_ps(top[0], top[1]), _mm512_max_ps(top[2], top[3]));
    return larger16(-FLT_MAX, top[0]);
}

/* x becomes exp(x - largest). Answers their sum. */
static float to_exps(float *x, uint32_t n, float largest)
{
    const __m512 top = _mm512_set1_ps(largest);
    __m512 e[TOGETHER], sum = _mm512_setzero_ps();
    uint32_t i = 0;
    for (; i + 16 * TOGETHER <= n; i += 16 * TOGETHER) {
        for (uint32_t v = 0; v < TOGETHER; v++)
            e[v] = _mm512_sub_ps(_mm512_loadu_ps(x + i + 16 * v), top);
        exp16_low_n(e, e, TOGETHER);
        for (uint32_t v = 0; v < TOGETHER; v++) {
            sum = _mm512_add_ps(sum, e[v]);
            _mm512_storeu_ps(x + i + 16 * v, e[v]);
        }
    }
    for (; i < n; i += 16) {
        const __mmask16 lanes = lanes_of(n - i);
        e[0] = _mm512_sub_ps(_mm512_maskz_loadu_ps(lanes, x + i), top);
        exp16_low_n(e, e, 1);
        sum = _mm512_add_ps(sum, _mm512_mask_mov_ps(_mm512_setzero_ps(), lanes, e[0]));
        _mm512_mask_storeu_ps(x + i, lanes, e[0]);
    }
    return lanes_sum16(sum);
}

/* Lane by lane. Most runs have two vectors or fewer, and how many is hard to foretell. */
always_inline __m512 lanes_of_run(const float *x, uint32_t n)
{
    const uint32_t more = n > 16 ? n - 16 : 0;
    __m512 sum = _mm512_add_ps(_mm512_maskz_loadu_ps(lanes_of(n), x),
                               _mm512_maskz_loadu_ps(lanes_of(more), x + 16));
    for (uint32_t i = 32; i < n; i += 16)
        sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(lanes_of(n - i), x + i));
    return sum;
}

void avx512_scan_mass(float *x, uint32_t n, const uint32_t *first, uint32_t n_run, uint32_t base,
                      float *out, float *largest, float *sum)
{
    __m512 of[16];
    *largest = largest_of(x, n);
    *sum = to_exps(x, n, *largest);
    for (uint32_t run = 0, from = 0; run < n_run; run += 16) {
        const uint32_t left = n_run - run, n_of = left < 16 ? left : 16;
        for (uint32_t i = 0; i < n_of; i++) {
            const uint32_t to = run + i + 1 < n_run ? first[run + i + 1] - base : n;
            of[i] = lanes_of_run(x + from, to - from);
            from = to;
        }
        for (uint32_t i = n_of; i < 16; i++)
            of[i] = _mm512_setzero_ps();
        _mm512_mask_storeu_ps(out + run, lanes_of(n_of), lanes_sum16x16(of));
    }
}
