/* What rows receive (attention.h): of three queries in 32 bits, which is as far as they reach, and then in 64. */
#include "kernels/attn_block.h"
#include "kernels/avx2/fns.h"
#include "kernels/avx2/vec.h"

/* Adds what 32 rows receive of one query, 0 where a row is not seen; or raises it to that. */
static inline void mass_of_query(__m256i sum[4], const float *s, uint64_t seen, __m256 m,
                                 __m256 unit, bool peak)
{
    const __m256 zero = _mm256_setzero_ps(), most = _mm256_set1_ps(0x1p30f);
    __m256 x[4];
    for (uint32_t v = 0; v < 4; v++)
        x[v] = _mm256_min_ps(zero, _mm256_sub_ps(_mm256_load_ps(s + 8 * v), m)); // NaN stays
    exp8_low_n(x, x, 4);
    for (uint32_t v = 0; v < 4; v++) {
        x[v] = _mm256_max_ps(_mm256_mul_ps(x[v], unit), zero); // of NaN 0
        x[v] = _mm256_and_ps(_mm256_min_ps(x[v], most), lanes8_of(seen >> 8 * v));
        const __m256i w = _mm256_cvtps_epi32(x[v]);
        sum[v] = peak ? _mm256_max_epu32(sum[v], w) : _mm256_add_epi32(sum[v], w);
    }
}

static inline void mass_add(uint64_t *mass, __m128i w, bool peak)
{
    __m256i *at = (__m256i *)mass;
    const __m256i more = _mm256_cvtepu32_epi64(w), old = _mm256_loadu_si256(at);
    const __m256i larger = _mm256_blendv_epi8(old, more, _mm256_cmpgt_epi64(more, old));
    _mm256_storeu_si256(at, peak ? larger : _mm256_add_epi64(old, more));
}

/* Three queries give a row less than 2^32 units. */
enum { MASS_QUERIES = 3 };

void avx2_attn_mass(const struct attn_run *run, uint32_t block, const float *s, size_t s_stride,
                    struct attn_state final, bool peak, uint64_t mass[KV_BLOCK])
{
    for (uint32_t first = 0; first < run->n_query; first += MASS_QUERIES) {
        const uint32_t left = run->n_query - first, n = left < MASS_QUERIES ? left : MASS_QUERIES;
        uint64_t seen[MASS_QUERIES];
        for (uint32_t i = 0; i < n; i++) {
            const struct row_range rows = attn_rows(run, first + i, block);
            seen[i] = row_bits(rows.lo, rows.hi) & attn_mask(run, block);
        }
        for (uint32_t r = 0; r < KV_BLOCK; r += 32) {
            __m256i sum[4] = { 0 };
            for (uint32_t i = 0; i < n; i++)
                mass_of_query(sum, s + (first + i) * s_stride + r, seen[i] >> r,
                              _mm256_set1_ps(final.m[first + i]),
                              _mm256_set1_ps(0x1p30f / final.l[first + i]), peak);
            for (uint32_t v = 0; v < 4; v++) {
                mass_add(mass + r + 8 * v, _mm256_castsi256_si128(sum[v]), peak);
                mass_add(mass + r + 8 * v + 4, _mm256_extracti128_si256(sum[v], 1), peak);
            }
        }
    }
}

/* Of four rows; flipped signs give unsigned numbers their order. */
static inline uint64_t above(const uint64_t *mass, __m256i bound, __m256i flip)
{
    const __m256i m = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)mass), flip);
    return (uint64_t)_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(m, bound)));
}

uint64_t avx2_low_rows(const uint64_t mass[KV_BLOCK], uint64_t bound,
                       const uint32_t position[KV_BLOCK], uint32_t first, uint32_t n)
{
    const __m256i flip = _mm256_set1_epi64x(INT64_MIN), from = _mm256_set1_epi32((int32_t)first),
                  most = _mm256_xor_si256(_mm256_set1_epi64x((int64_t)bound), flip),
                  count = _mm256_set1_epi32((int32_t)n);
    uint64_t high = 0, beyond = 0;
    for (uint32_t i = 0; i < KV_BLOCK; i += 4)
        high |= above(mass + i, most, flip) << i;
    for (uint32_t i = 0; i < KV_BLOCK; i += 8) {
        const __m256i at = _mm256_loadu_si256((const __m256i *)(position + i)),
                      p = _mm256_sub_epi32(at, from),
                      out = _mm256_cmpeq_epi32(_mm256_max_epu32(p, count), p);
        beyond |= (uint64_t)(uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(out)) << i;
    }
    return ~(high | beyond);
}
