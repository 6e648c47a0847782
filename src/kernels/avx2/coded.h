/* kernels/avx2/coded.h - four blocks of activations quantised at once, for whoever stores them.
 *
 * What a block does alone, two trees over its lanes and a division, is a chain of latencies; four of them share the
 * trees, and the division is one (Zen 3, two rows of 1,536: 1.66 -> 1.05 us, one: 0.95 -> 0.74). Private to
 * kernels/. */
#ifndef KERNELS_AVX2_CODED_H
#define KERNELS_AVX2_CODED_H

#include <immintrin.h>
#include <math.h>

#include "kernels/inline.h"
#include "kernels/matmul.h"

enum { AT_ONCE = 4 };

static inline __m256 max_of(__m256 a, __m256 b)
{
    return _mm256_max_ps(a, b);
}

static inline __m256 min_of(__m256 a, __m256 b)
{
    return _mm256_min_ps(a, b);
}

/* Lane i: the largest, or least, of v[i]. */
always_inline __m128 over_lanes(__m256 (*of)(__m256, __m256), const __m256 v[AT_ONCE])
{
    __m256 ab = of(_mm256_unpacklo_ps(v[0], v[1]), _mm256_unpackhi_ps(v[0], v[1]));
    __m256 cd = of(_mm256_unpacklo_ps(v[2], v[3]), _mm256_unpackhi_ps(v[2], v[3]));
    __m256 all = of(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee));
    __m256 turned = _mm256_permute2f128_ps(all, all, 1);
    return _mm256_castps256_ps128(of(all, turned));
}

/* Of both halves of 16 codes of four blocks, a dword each: sums of the first two of each four, and of the last two. */
static inline __m256i sums_of_pairs(const __m256i q[AT_ONCE])
{
    __m256i s[AT_ONCE];
    for (int i = 0; i < AT_ONCE; i++)
        s[i] = _mm256_maddubs_epi16(_mm256_set1_epi8(1), q[i]);
    __m256i ab =
        _mm256_add_epi16(_mm256_unpacklo_epi32(s[0], s[1]), _mm256_unpackhi_epi32(s[0], s[1]));
    __m256i cd =
        _mm256_add_epi16(_mm256_unpacklo_epi32(s[2], s[3]), _mm256_unpackhi_epi32(s[2], s[3]));
    return _mm256_add_epi16(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
}

/* A NaN gives -127: the first operand of max is dropped then. */
static inline __m256i to_codes(__m256 x, __m256 z, __m256 inv)
{
    __m256 v = _mm256_mul_ps(_mm256_sub_ps(x, z), inv), end = _mm256_set1_ps(127);
    v = _mm256_max_ps(v, _mm256_set1_ps(-127));
    return _mm256_cvtps_epi32(_mm256_min_ps(v, end));
}

/* The 32 codes of a block in their order. */
static inline __m256i codes(const float *f, float z, float inv)
{
    __m256 vz = _mm256_set1_ps(z), vinv = _mm256_set1_ps(inv);
    __m256i q[4];
    for (int i = 0; i < 4; i++)
        q[i] = to_codes(_mm256_loadu_ps(f + 8 * i), vz, vinv);
    __m256i all =
        _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
    return _mm256_permutevar8x32_epi32(all, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/* NaN for blocks that hold one, else 0. */
static inline __m128 nans(const __m256 odd[AT_ONCE])
{
    float nan[AT_ONCE];
    if (!_mm256_movemask_ps(
            _mm256_or_ps(_mm256_or_ps(odd[0], odd[1]), _mm256_or_ps(odd[2], odd[3]))))
        return _mm_setzero_ps();
    for (int i = 0; i < AT_ONCE; i++)
        nan[i] = _mm256_movemask_ps(odd[i]) ? NAN : 0;
    return _mm_loadu_ps(nan);
}

/* Four blocks' values; half and excess as they lie in acts_block and acts_excess. */
struct coded {
    __m256i q[AT_ONCE];
    float d[AT_ONCE], z[AT_ONCE], t[AT_ONCE];
    int32_t half[AT_ONCE];
    int32_t of_8[AT_ONCE], of_16[AT_ONCE];
    int64_t of_4[AT_ONCE], of_32[AT_ONCE];
};

/* Offsets are powers of two. */
static inline __m128i times_offset(__m128i pairs, enum acts_offset i)
{
    return _mm_slli_epi16(pairs, __builtin_ctz((unsigned)acts_offsets[i].by));
}

/* Sums of pairs of the first halves, of the second ones. */
static inline void code_excess(struct coded *c, __m128i first, __m128i second)
{
    __m128i all = _mm_add_epi16(first, second), low = _mm_unpacklo_epi32(first, second),
            high = _mm_unpackhi_epi32(first, second);
    _mm_storeu_si128((__m128i *)c->of_8, times_offset(all, OFFSET_8));
    _mm_storeu_si128((__m128i *)c->of_16, times_offset(all, OFFSET_16));
    _mm_storeu_si128((__m128i *)c->of_4, times_offset(low, OFFSET_4));
    _mm_storeu_si128((__m128i *)(c->of_4 + 2), times_offset(high, OFFSET_4));
    _mm_storeu_si128((__m128i *)c->of_32, times_offset(low, OFFSET_32));
    _mm_storeu_si128((__m128i *)(c->of_32 + 2), times_offset(high, OFFSET_32));
}

static inline void code_sums(struct coded *c, __m128 d)
{
    __m256i pairs = sums_of_pairs(c->q), halves = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    __m128i low = _mm256_castsi256_si128(halves), high = _mm256_extracti128_si256(halves, 1);
    _mm_storeu_ps(c->t, _mm_mul_ps(d, _mm_cvtepi32_ps(_mm_add_epi32(low, high))));
    _mm_storeu_si128((__m128i *)c->half, _mm_blend_epi16(low, _mm_slli_epi32(high, 16), 0xaa));
    code_excess(c, _mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
}

static inline void code(struct coded *c, const float *const f[AT_ONCE])
{
    __m256 top[AT_ONCE], bottom[AT_ONCE], odd[AT_ONCE], x[4];
    float inv[AT_ONCE];
    for (int i = 0; i < AT_ONCE; i++) {
        for (int j = 0; j < 4; j++)
            x[j] = _mm256_loadu_ps(f[i] + 8 * j);
        top[i] = _mm256_max_ps(_mm256_max_ps(x[0], x[1]), _mm256_max_ps(x[2], x[3]));
        bottom[i] = _mm256_min_ps(_mm256_min_ps(x[0], x[1]), _mm256_min_ps(x[2], x[3]));
        odd[i] = _mm256_or_ps(_mm256_cmp_ps(x[0], x[1], _CMP_UNORD_Q),
                              _mm256_cmp_ps(x[2], x[3], _CMP_UNORD_Q));
    }
    __m128 hi = over_lanes(max_of, top), lo = over_lanes(min_of, bottom), nan = nans(odd);
    __m128 width = _mm_add_ps(_mm_sub_ps(hi, lo), nan),
           d = _mm_mul_ps(width, _mm_set1_ps(1.0f / 254));
    __m128 z = _mm_add_ps(_mm_mul_ps(_mm_add_ps(hi, lo), _mm_set1_ps(0.5f)), nan);
    __m128 step = _mm_div_ps(_mm_set1_ps(254), width);
    _mm_storeu_ps(inv, _mm_and_ps(step, _mm_cmpgt_ps(hi, lo)));
    _mm_storeu_ps(c->z, z);
    _mm_storeu_ps(c->d, d);
    for (int i = 0; i < AT_ONCE; i++)
        c->q[i] = codes(f[i], c->z[i], inv[i]);
    code_sums(c, d);
}

#endif
