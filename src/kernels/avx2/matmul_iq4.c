/* IQ4_NL: d c[n], and IQ4_XS: d (sc - 32) c[n]: a byte shuffle is the code book. */
#include "kernels/avx2/matmul_tile.h"
#include "kernels/quants.h"

always_inline void look_up(__m256i code[8])
{
    __m256i book = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)iq4_values));
    UNROLL(8)
    for (int g = 0; g < 8; g++)
        code[g] = _mm256_shuffle_epi8(book, code[g]);
}

always_inline void unpack_nl(struct half_block *out, const uint8_t *record, int s, int h)
{
    const struct panel_iq4_nl *p = (const struct panel_iq4_nl *)record + s;
    unpack_nibbles(out->code, p->qs, h);
    look_up(out->code);
    out->ws = load_halves(p->d, h);
}

always_inline void unpack_xs(struct half_block *out, const uint8_t *record, int s, int h)
{
    const struct panel_iq4_xs *p = (const struct panel_iq4_xs *)record;
    __m256i upper = _mm256_cvtepu16_epi32(_mm_load_si128((const __m128i *)p->scales_h + h));
    __m256i low = _mm256_srli_epi32(load_lanes(p->scales_l, h), 4 * s),
            high = _mm256_srli_epi32(upper, 2 * s);
    __m256i scale =
        _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi32(15)),
                        _mm256_slli_epi32(_mm256_and_si256(high, _mm256_set1_epi32(3)), 4));
    unpack_nibbles(out->code, p->qs[s], h);
    look_up(out->code);
    scale = _mm256_sub_epi32(scale, _mm256_set1_epi32(32));
    out->ws = _mm256_mul_ps(load_halves(p->d, h), _mm256_cvtepi32_ps(scale));
}

MATMUL_TYPE(iq4_nl, unpack_nl, .group = 1, .depth = 1, .is_signed = true)
MATMUL_TYPE(iq4_xs, unpack_xs, .group = 8, .depth = 1, .is_signed = true)
