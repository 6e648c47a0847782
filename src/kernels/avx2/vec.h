/* kernels/avx2/vec.h - exp, the activations and the tree of rows.h, eight numbers at a time.
 *
 * Each line of exp.h and activations.h is one instruction. Private to avx2/ and avx512/. */
#ifndef KERNELS_AVX2_VEC_H
#define KERNELS_AVX2_VEC_H

#include <immintrin.h>

#include "kernels/activations.h"
#include "kernels/inline.h"
#include "kernels/lanes.h"

/* All ones in the lanes whose bit is set. */
static inline __m256 lanes8_of(uint64_t bits)
{
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    __m256i all = _mm256_set1_epi32((int)(bits & 255));
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(all, bit), bit));
}

/* exp of n vectors, all <= EXP_MAX or NaN, step by step together: one chain of it takes some 45
 * cycles and the processor looks 64 instructions ahead, so alone it would take 13 cycles a vector;
 * four together take 5. (A NaN's n converts to 0x80000000, whose shift is 0: it survives in p.) */
always_inline void exp8_low_n(__m256 *y, const __m256 *x, int n)
{
    static const float C[] = { EXP_C5, EXP_C4, EXP_C3, EXP_C2, 1, 1 };
    const __m256 log2e = _mm256_set1_ps(EXP_LOG2E), least = _mm256_set1_ps(EXP_MIN);
    const __m256 hi = _mm256_set1_ps(EXP_LN2_HI), lo = _mm256_set1_ps(EXP_LN2_LO);
    __m256 k[4], r[4], p[4];
    __m256i n_of[4];
    for (int i = 0; i < n; i++)
        k[i] = _mm256_mul_ps(x[i], log2e);
    for (int i = 0; i < n; i++) // and back: vroundps is two instructions on Intel's, this one
        n_of[i] = _mm256_cvtps_epi32(k[i]);
    for (int i = 0; i < n; i++)
        k[i] = _mm256_cvtepi32_ps(n_of[i]);
    for (int i = 0; i < n; i++)
        r[i] = _mm256_fnmadd_ps(k[i], hi, x[i]);
    for (int i = 0; i < n; i++)
        r[i] = _mm256_fnmadd_ps(k[i], lo, r[i]);
    for (int i = 0; i < n; i++)
        p[i] = _mm256_set1_ps(EXP_C6);
    for (int c = 0; c < 6; c++)
        for (int i = 0; i < n; i++)
            p[i] = _mm256_fmadd_ps(p[i], r[i], _mm256_set1_ps(C[c]));
    for (int i = 0; i < n; i++) {
        __m256i power = _mm256_slli_epi32(n_of[i], 23);
        __m256 e = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p[i]), power));
        y[i] = _mm256_andnot_ps(_mm256_cmp_ps(x[i], least, _CMP_LT_OQ), e);
    }
}

static inline __m256 exp8_low(__m256 x)
{
    __m256 y;
    exp8_low_n(&y, &x, 1);
    return y;
}

always_inline void exp8_n(__m256 *y, const __m256 *x, int n)
{
    exp8_low_n(y, x, n);
    for (int i = 0; i < n; i++) {
        __m256 above = _mm256_cmp_ps(x[i], _mm256_set1_ps(EXP_MAX), _CMP_GT_OQ);
        y[i] = _mm256_blendv_ps(y[i], _mm256_set1_ps(INFINITY), above);
    }
}

static inline __m256 exp8(__m256 x)
{
    __m256 y;
    exp8_n(&y, &x, 1);
    return y;
}

static inline __m256 softcap8(__m256 x, __m256 cap)
{
    const __m256 one = _mm256_set1_ps(1), two = _mm256_set1_ps(2);
    __m256 e = exp8(_mm256_mul_ps(two, _mm256_div_ps(x, cap)));
    return _mm256_mul_ps(cap, _mm256_sub_ps(one, _mm256_div_ps(two, _mm256_add_ps(one, e))));
}

/* x / (1 + exp(t)) of n vectors, at most 4. */
always_inline void over_exp8_n(__m256 *y, const __m256 *x, const __m256 *t, int n)
{
    __m256 e[4];
    exp8_n(e, t, n);
    for (int i = 0; i < n; i++)
        y[i] = _mm256_div_ps(x[i], _mm256_add_ps(_mm256_set1_ps(1), e[i]));
}

always_inline void silu8_n(__m256 *y, const __m256 *x, int n)
{
    __m256 t[4];
    for (int i = 0; i < n; i++)
        t[i] = _mm256_xor_ps(x[i], _mm256_set1_ps(-0.0f));
    over_exp8_n(y, x, t, n);
}

always_inline void gelu8_n(__m256 *y, const __m256 *x, int n)
{
    const __m256 w1 = _mm256_set1_ps(GELU_W1), w3 = _mm256_set1_ps(GELU_W3);
    __m256 t[4];
    for (int i = 0; i < n; i++) {
        __m256 w = _mm256_fmadd_ps(_mm256_mul_ps(x[i], x[i]), w3, w1);
        t[i] = _mm256_mul_ps(_mm256_xor_ps(x[i], _mm256_set1_ps(-0.0f)), w);
    }
    over_exp8_n(y, x, t, n);
}

/* The tree over lanes 0..7 (low) and 8..15 (high). */
static inline float lanes_sum8(__m256 low, __m256 high)
{
    __m256 by8 = _mm256_add_ps(low, high);
    __m128 by4 = _mm_add_ps(_mm256_castps256_ps128(by8), _mm256_extractf128_ps(by8, 1));
    __m128 by2 = _mm_add_ps(by4, _mm_movehl_ps(by4, by4));
    return _mm_cvtss_f32(_mm_add_ss(by2, _mm_movehdup_ps(by2)));
}

/* The larger of m and the largest of eight, none of them NaN; -0 as +0. Without a branch: which one
 * wins is chance. */
static inline float larger8(float m, __m256 x)
{
    __m128 by4 = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    __m128 by2 = _mm_max_ps(by4, _mm_movehl_ps(by4, by4));
    __m128 one = _mm_max_ss(_mm_max_ss(by2, _mm_movehdup_ps(by2)), _mm_set_ss(m));
    return _mm_cvtss_f32(_mm_add_ss(one, _mm_setzero_ps()));
}

/* The largest of m and x [n], numbers alone. */
static inline float largest8_of(float m, const float *x, uint32_t n)
{
    __m256 top = _mm256_set1_ps(m);
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8)
        top = _mm256_max_ps(_mm256_loadu_ps(x + i),
                            top); // of two operands the second where one is NaN
    m = larger8(m, top);
    for (; i < n; i++)
        m = larger(m, x[i]);
    return m;
}

#endif
