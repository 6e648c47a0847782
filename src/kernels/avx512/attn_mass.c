/* What rows receive (attention.h): of three queries in 32 bits, which is as far as they reach, and then in 64. Six vectors
 * go step by step together. */
#include "kernels/attn_block.h"
#include "kernels/avx512/fns.h"
#include "kernels/avx512/vec.h"

always_inline void add_wide(uint64_t *mass, __m256i w, bool peak)
{
    const __m512i more = _mm512_cvtepu32_epi64(w), old = _mm512_loadu_si512(mass);
    _mm512_storeu_si512(mass, peak ? _mm512_max_epu64(old, more) : _mm512_add_epi64(old, more));
}

/* Three queries give a row less than 2^32 units. */
enum { MASS_QUERIES = 3, MASS_VECTORS = 2 * MASS_QUERIES };

struct mass_queries {
    const float *s[MASS_QUERIES];
    float m[MASS_QUERIES], unit[MASS_QUERIES];
    uint64_t seen[MASS_QUERIES];
};

/* Adds what 32 rows receive of n queries, step by step together: one query's chain of latencies is long. */
always_inline void mass_of_rows(const struct mass_queries *of, int n, uint32_t first, bool peak,
                                uint64_t *mass)
{
    const __m512 zero = _mm512_setzero_ps(), most = _mm512_set1_ps(0x1p30f);
    const __m512 least = _mm512_set1_ps(EXP_MIN), log2e = _mm512_set1_ps(EXP_LOG2E);
    const __m512 whole = _mm512_set1_ps(0x1.8p23f); // added and taken away: the nearest integer
    __m512 x[MASS_VECTORS], k[MASS_VECTORS], p[MASS_VECTORS];
    __m512i power[MASS_VECTORS], sum[2] = { _mm512_setzero_si512(), _mm512_setzero_si512() };
    __mmask16 rows[MASS_VECTORS];
    UNROLL(6)
    for (int i = 0; i < 2 * n; i++) {
        const uint32_t row = first + i % 2 * 16;
        x[i] = _mm512_sub_ps(_mm512_load_ps(of->s[i / 2] + row), _mm512_set1_ps(of->m[i / 2]));
        x[i] = _mm512_min_ps(zero, x[i]); // NaN stays
        k[i] = _mm512_add_ps(_mm512_mul_ps(x[i], log2e), whole);
        power[i] = _mm512_slli_epi32(_mm512_castps_si512(k[i]), 23);
        k[i] = _mm512_sub_ps(k[i], whole);
        rows[i] = (__mmask16)(of->seen[i / 2] >> row);
        rows[i] &= _mm512_cmp_ps_mask(x[i], least, _CMP_GE_OQ); // of NaN 0
    }
    exp16_poly_n(p, x, k, 2 * n);
    UNROLL(6)
    for (int i = 0; i < 2 * n; i++) {
        __m512i *to = &sum[i % 2];
        p[i] = _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p[i]), power[i]));
        p[i] = _mm512_mul_ps(p[i], _mm512_set1_ps(of->unit[i / 2]));
        const __m512i w = _mm512_cvtps_epi32(_mm512_min_ps(p[i], most));
        *to = peak ? _mm512_mask_max_epu32(*to, rows[i], *to, w)
                   : _mm512_mask_add_epi32(*to, rows[i], *to, w);
    }
    UNROLL(2)
    for (int v = 0; v < 2; v++) {
        add_wide(mass + first + 16 * v, _mm512_castsi512_si256(sum[v]), peak);
        add_wide(mass + first + 16 * v + 8, _mm512_extracti64x4_epi64(sum[v], 1), peak);
    }
}

always_inline void mass_of_block(const struct mass_queries *of, int n, bool peak, uint64_t *mass)
{
    for (uint32_t first = 0; first < KV_BLOCK; first += 32)
        mass_of_rows(of, n, first, peak, mass);
}

void avx512_attn_mass(const struct attn_run *run, uint32_t block, const float *s, size_t s_stride,
                      struct attn_state final, bool peak, uint64_t mass[KV_BLOCK])
{
    const uint64_t mask = attn_mask(run, block);
    for (uint32_t i = 0; i < run->n_query; i += MASS_QUERIES) {
        const uint32_t left = run->n_query - i;
        struct mass_queries of;
        for (uint32_t q = 0; q < MASS_QUERIES && q < left; q++) {
            const struct row_range rows = attn_rows(run, i + q, block);
            of.s[q] = s + (i + q) * s_stride;
            of.m[q] = final.m[i + q];
            of.unit[q] = 0x1p30f / final.l[i + q];
            of.seen[q] = of.unit[q] >= 0 ? row_bits(rows.lo, rows.hi) & mask : 0;
        }
        if (left >= 3)
            mass_of_block(&of, 3, peak, mass);
        else if (left == 2)
            mass_of_block(&of, 2, peak, mass);
        else
            mass_of_block(&of, 1, peak, mass);
    }
}

uint64_t avx512_low_rows(const uint64_t mass[KV_BLOCK], uint64_t bound,
                         const uint32_t position[KV_BLOCK], uint32_t first, uint32_t n)
{
    const __m512i most = _mm512_set1_epi64((int64_t)bound),
                  from = _mm512_set1_epi32((int32_t)first), count = _mm512_set1_epi32((int32_t)n);
    uint64_t low = 0, within = 0;
    for (uint32_t i = 0; i < KV_BLOCK; i += 8)
        low |= (uint64_t)_mm512_cmple_epu64_mask(_mm512_loadu_si512(mass + i), most) << i;
    for (uint32_t i = 0; i < KV_BLOCK; i += 16) {
        const __m512i p = _mm512_sub_epi32(_mm512_loadu_si512(position + i), from);
        within |= (uint64_t)_mm512_cmplt_epu32_mask(p, count) << i;
    }
    return low & within;
}
