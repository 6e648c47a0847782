/* Q4_K and Q5_K: d sc n - dmin mn; eight blocks share d, dmin and twelve bytes of six-bit sc and mn, which are
 * found for all of them at once (Granite Rapids, weights in the cache: one row and four 1.08 times the rate). */
#include "kernels/avx2/matmul_tile.h"

/* Byte i of every dword; none is above 63. */
always_inline __m256 byte_as_float(__m256i dwords, int i)
{
    __m256i moved = i > 0 ? _mm256_srli_epi32(dwords, 8 * i) : dwords;
    return _mm256_cvtepi32_ps(i < 3 ? _mm256_and_si256(moved, _mm256_set1_epi32(255)) : moved);
}

/* Of block s they are byte s % 4 of a dword, which for s >= 4 is put together from two. */
always_inline void scales_of(struct record_scales *out, const lanes16 d, const lanes16 dmin,
                             const lanes32 packed[3])
{
    UNROLL(2)
    for (int h = 0; h < 2; h++) {
        __m256i a = load_lanes(packed[0], h), b = load_lanes(packed[1], h),
                c = load_lanes(packed[2], h);
        __m256i sc[2] = { bits(a, 0, 0, 63), _mm256_or_si256(bits(c, 0, 0, 15), bits(a, 6, 4, 3)) };
        __m256i mn[2] = { bits(b, 0, 0, 63), _mm256_or_si256(bits(c, 4, 0, 15), bits(b, 6, 4, 3)) };
        __m256 scale = load_halves(d, h),
               minus = _mm256_xor_ps(load_halves(dmin, h), _mm256_set1_ps(-0.0f));
        UNROLL(8)
        for (int s = 0; s < 8; s++) {
            out->ws[s][h] = _mm256_mul_ps(scale, byte_as_float(sc[s / 4], s % 4));
            out->wm[s][h] = _mm256_mul_ps(minus, byte_as_float(mn[s / 4], s % 4));
        }
    }
}

always_inline void scales_q4_k(struct record_scales *out, const uint8_t *record)
{
    const struct panel_q4_k *p = (const struct panel_q4_k *)record;
    scales_of(out, p->d, p->dmin, p->scales);
}

always_inline void scales_q5_k(struct record_scales *out, const uint8_t *record)
{
    const struct panel_q5_k *p = (const struct panel_q5_k *)record;
    scales_of(out, p->d, p->dmin, p->scales);
}

always_inline void unpack_q4_k(struct half_block *out, const uint8_t *record, int s, int h)
{
    const struct panel_q4_k *p = (const struct panel_q4_k *)record;
    UNROLL(8)
    for (int g = 0; g < 8; g++)
        out->code[g] = bits(load_lanes(p->qs[s / 2][g], h), s % 2 * 4, 0, 15);
}

always_inline void unpack_q5_k(struct half_block *out, const uint8_t *record, int s, int h)
{
    const struct panel_q5_k *p = (const struct panel_q5_k *)record;
    UNROLL(8)
    for (int g = 0; g < 8; g++) {
        __m256i low = bits(load_lanes(p->qs[s / 2][g], h), s % 2 * 4, 0, 15);
        out->code[g] = _mm256_or_si256(low, bits(load_lanes(p->qh[g], h), s, 4, 1));
    }
}

MATMUL_TYPE(q4_k, unpack_q4_k, .group = 8, .depth = 8, .minima = ONE_MINIMUM, .scales = scales_q4_k)
MATMUL_TYPE(q5_k, unpack_q5_k, .group = 8, .depth = 4, .minima = ONE_MINIMUM, .scales = scales_q5_k)
