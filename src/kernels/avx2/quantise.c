#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "kernels/avx2/matmul_fns.h"

static inline float largest(__m256 v)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

static inline float least(__m256 v)
{
    __m128 m = _mm_min_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_min_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_min_ss(m, _mm_movehdup_ps(m)));
}

/* A NaN gives -127: the first operand of max is dropped then. */
static inline __m256i to_codes(__m256 x, __m256 z, __m256 inv)
{
    __m256 v = _mm256_mul_ps(_mm256_sub_ps(x, z), inv), end = _mm256_set1_ps(127);
    v = _mm256_max_ps(v, _mm256_set1_ps(-127));
    return _mm256_cvtps_epi32(_mm256_min_ps(v, end));
}

/* Of both halves of 16 codes, a dword each: sums of the first two of each four, and of the last two. */
static inline __m128i sums_of_pairs(__m256i q)
{
    __m256i s = _mm256_maddubs_epi16(_mm256_set1_epi8(1), q);
    s = _mm256_add_epi16(s, _mm256_shuffle_epi32(s, 0x4e));
    s = _mm256_add_epi16(s, _mm256_shuffle_epi32(s, 0xb1));
    return _mm_unpacklo_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
}

/* One row's 32 values. */
struct coded {
    __m256i q;
    float d, z, t;
    int64_t pairs;     // acts_block.pair
    int32_t low, high; // sums of halves
};

static inline struct coded code(const float *f)
{
    __m256 x[4];
    for (int i = 0; i < 4; i++)
        x[i] = _mm256_loadu_ps(f + 8 * i);
    float hi = largest(_mm256_max_ps(_mm256_max_ps(x[0], x[1]), _mm256_max_ps(x[2], x[3])));
    float lo = least(_mm256_min_ps(_mm256_min_ps(x[0], x[1]), _mm256_min_ps(x[2], x[3])));
    __m256 odd = _mm256_or_ps(_mm256_cmp_ps(x[0], x[1], _CMP_UNORD_Q),
                              _mm256_cmp_ps(x[2], x[3], _CMP_UNORD_Q));
    float nan = _mm256_movemask_ps(odd) ? NAN : 0;
    float width = hi - lo + nan, z = (hi + lo) * 0.5f + nan;
    float inv = hi > lo ? 254.0f / width : 0;

    __m256 vz = _mm256_set1_ps(z), vinv = _mm256_set1_ps(inv);
    __m256i q01 = _mm256_packs_epi32(to_codes(x[0], vz, vinv), to_codes(x[1], vz, vinv));
    __m256i q23 = _mm256_packs_epi32(to_codes(x[2], vz, vinv), to_codes(x[3], vz, vinv));
    __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    __m256i q = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(q01, q23), order);
    __m128i pairs = sums_of_pairs(q), s = _mm_madd_epi16(pairs, _mm_set1_epi16(1));
    int32_t low = _mm_cvtsi128_si32(s), high = _mm_extract_epi32(s, 1);
    float d = width * (1.0f / 254);
    pairs = _mm_add_epi16(pairs, _mm_slli_epi64(pairs, 32)); // first half, both
    return (struct coded){ q, d, z, d * (float)(low + high), _mm_cvtsi128_si64(pairs), low, high };
}

static inline void store_scales(struct acts_block *to, uint32_t lane, const struct coded *c)
{
    to->d[lane] = c->d;
    to->z[lane] = c->z;
    to->t[lane] = c->t;
    to->half[lane][0] = (int16_t)c->low;
    to->half[lane][1] = (int16_t)c->high;
    memcpy(to->pair[lane], &c->pairs, sizeof to->pair[lane]);
}

static inline void quantise_pair(struct acts_block *to, const float *f, uint32_t k)
{
    struct coded a = code(f), b = code(f + k);
    __m256i low = _mm256_unpacklo_epi32(a.q, b.q), high = _mm256_unpackhi_epi32(a.q, b.q);
    _mm256_storeu_si256((__m256i *)to->q[0], _mm256_permute2x128_si256(low, high, 0x20));
    _mm256_storeu_si256((__m256i *)to->q[4], _mm256_permute2x128_si256(low, high, 0x31));
    store_scales(to, 0, &a);
    store_scales(to, 1, &b);
}

static inline void quantise_one(struct acts_block *to, uint32_t lane, const float *f)
{
    struct coded c = code(f);
    int32_t q[8];
    _mm256_storeu_si256((__m256i *)q, c.q);
    for (int g = 0; g < 8; g++)
        memcpy(to->q[g][lane], &q[g], 4);
    store_scales(to, lane, &c);
}

void avx2_quantise(struct acts *a, uint32_t first, uint32_t last)
{
    const uint32_t n_block = a->k / QBLOCK;
    for (uint32_t r = first, n; r < last; r += n) {
        const float *f = a->f + (size_t)r * a->k;
        n = r % 2 == 0 && r + 2 <= last ? 2 : 1;
        for (uint32_t b = 0; b < n_block; b++)
            if (n == 2)
                quantise_pair(acts_block_of(a, r, b), f + b * QBLOCK, a->k);
            else
                quantise_one(acts_block_of(a, r, b), r % 2, f + b * QBLOCK);
    }
}
