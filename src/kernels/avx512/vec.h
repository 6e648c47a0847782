/* kernels/avx512/vec.h - exp and the activations of rows.h, sixteen numbers at a time.
 *
 * Each line of exp.h and activations.h is one instruction. A vector is the sixteen virtual lanes.
 * Private to avx512/. */
#ifndef KERNELS_AVX512_VEC_H
#define KERNELS_AVX512_VEC_H

#include <immintrin.h>

#include "kernels/avx2/vec.h"

/* The polynomial of exp of n vectors, at most 6, k the nearest integer to each x * log2(e): step by step together
 * (avx2/vec.h tells why). */
always_inline void exp16_poly_n(__m512 *p, const __m512 *x, const __m512 *k, int n)
{
    static const float C[] = { EXP_C5, EXP_C4, EXP_C3, EXP_C2, 1, 1 };
    const __m512 hi = _mm512_set1_ps(EXP_LN2_HI), lo = _mm512_set1_ps(EXP_LN2_LO);
    __m512 r[6];
    UNROLL(6)
    for (int i = 0; i < n; i++)
        r[i] = _mm512_fnmadd_ps(k[i], hi, x[i]);
    UNROLL(6)
    for (int i = 0; i < n; i++)
        r[i] = _mm512_fnmadd_ps(k[i], lo, r[i]);
    UNROLL(6)
    for (int i = 0; i < n; i++)
        p[i] = _mm512_set1_ps(EXP_C6);
    UNROLL(6)
    for (int c = 0; c < 6; c++)
        UNROLL(6)
    for (int i = 0; i < n; i++)
        p[i] = _mm512_fmadd_ps(p[i], r[i], _mm512_set1_ps(C[c]));
}

/* exp of n vectors, at most 4, all <= EXP_MAX or NaN. */
always_inline void exp16_low_n(__m512 *y, const __m512 *x, int n)
{
    const __m512 log2e = _mm512_set1_ps(EXP_LOG2E), least = _mm512_set1_ps(EXP_MIN);
    __m512 k[4], p[4];
    for (int i = 0; i < n; i++)
        k[i] = _mm512_mul_ps(x[i], log2e);
    for (int i = 0; i < n; i++)
        k[i] = _mm512_roundscale_ps(k[i], _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    exp16_poly_n(p, x, k, n);
    for (int i = 0; i < n; i++) {
        __mmask16 inside = _mm512_cmp_ps_mask(x[i], least, _CMP_NLT_UQ);
        __m512i power = _mm512_slli_epi32(_mm512_cvtps_epi32(k[i]), 23);
        y[i] =
            _mm512_castsi512_ps(_mm512_maskz_add_epi32(inside, _mm512_castps_si512(p[i]), power));
    }
}

static inline __m512 exp16(__m512 x)
{
    __m512 y;
    exp16_low_n(&y, &x, 1);
    return _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(x, _mm512_set1_ps(EXP_MAX), _CMP_GT_OQ),
                              _mm512_set1_ps(INFINITY));
}

static inline __m512 negated16(__m512 x)
{
    __m512i sign = _mm512_set1_epi32(INT32_MIN);
    return _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(x), sign));
}

static inline __m512 softcap16(__m512 x, __m512 cap)
{
    const __m512 one = _mm512_set1_ps(1), two = _mm512_set1_ps(2);
    __m512 e = exp16(_mm512_mul_ps(two, _mm512_div_ps(x, cap)));
    return _mm512_mul_ps(cap, _mm512_sub_ps(one, _mm512_div_ps(two, _mm512_add_ps(one, e))));
}

static inline __m512 silu16(__m512 x)
{
    return _mm512_div_ps(x, _mm512_add_ps(_mm512_set1_ps(1), exp16(negated16(x))));
}

static inline __m512 gelu16(__m512 x)
{
    __m512 w =
        _mm512_fmadd_ps(_mm512_mul_ps(x, x), _mm512_set1_ps(GELU_W3), _mm512_set1_ps(GELU_W1));
    __m512 e = exp16(_mm512_mul_ps(negated16(x), w));
    return _mm512_div_ps(x, _mm512_add_ps(_mm512_set1_ps(1), e));
}

static inline __m256 upper8(__m512 x)
{
    return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1));
}

/* The tree over all lanes. */
static inline float lanes_sum16(__m512 x)
{
    return lanes_sum8(_mm512_castps512_ps256(x), upper8(x));
}

/* The larger of m and the largest lane, none of them NaN; -0 as +0. */
static inline float larger16(float m, __m512 x)
{
    return larger8(m, _mm256_max_ps(_mm512_castps512_ps256(x), upper8(x)));
}

/* The tree over the lanes of sixteen vectors, of sums or of maxima: lane i of the answer is vector i's. */
always_inline __m512 lanes_tree16(const __m512 x[16], __m512 join(__m512, __m512))
{
    __m512 by4[4], by2[2];
    for (int i = 0; i < 4; i++) {
        const __m512 low = join(_mm512_shuffle_f32x4(x[i], x[i + 4], 0x44),
                                _mm512_shuffle_f32x4(x[i], x[i + 4], 0xee));
        const __m512 high = join(_mm512_shuffle_f32x4(x[i + 8], x[i + 12], 0x44),
                                 _mm512_shuffle_f32x4(x[i + 8], x[i + 12], 0xee));
        by4[i] = join(_mm512_shuffle_f32x4(low, high, 0x88), _mm512_shuffle_f32x4(low, high, 0xdd));
    }
    for (int i = 0; i < 2; i++)
        by2[i] = join(_mm512_shuffle_ps(by4[2 * i], by4[2 * i + 1], 0x44),
                      _mm512_shuffle_ps(by4[2 * i], by4[2 * i + 1], 0xee));
    return join(_mm512_shuffle_ps(by2[0], by2[1], 0x88), _mm512_shuffle_ps(by2[0], by2[1], 0xdd));
}

static inline __m512 sum16(__m512 x, __m512 y)
{
    return _mm512_add_ps(x, y);
}

static inline __m512 max16(__m512 x, __m512 y)
{
    return _mm512_max_ps(x, y);
}

/* The sum of each of sixteen vectors. */
static inline __m512 lanes_sum16x16(const __m512 x[16])
{
    return lanes_tree16(x, sum16);
}

/* The largest lane of each of sixteen vectors, or m's where that is larger, none of them NaN; -0 as +0. */
static inline __m512 larger16x16(__m512 m, const __m512 x[16])
{
    return _mm512_add_ps(_mm512_max_ps(lanes_tree16(x, max16), m), _mm512_setzero_ps());
}

#endif
