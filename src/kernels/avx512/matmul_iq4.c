/* IQ4_NL: d c[n], and IQ4_XS: d (sc - 32) c[n]: a byte shuffle is the code book, unsigned by 128 more. */
#include "kernels/avx512/matmul_tile.h"
#include "kernels/quants.h"

always_inline void look_up(__m512i code[8])
{
    __m512i book = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)iq4_values));
    book = _mm512_xor_si512(book, _mm512_set1_epi8(-128));
    UNROLL(8)
    for (int g = 0; g < 8; g++)
        code[g] = _mm512_shuffle_epi8(book, code[g]);
}

always_inline void unpack_nl(struct unpacked *out, const uint8_t *panel, uint32_t block)
{
    const struct panel_iq4_nl *p = (const struct panel_iq4_nl *)panel + block;
    unpack_nibbles(out->code, p->qs);
    look_up(out->code);
    out->ws = load_halves(p->d);
}

always_inline void unpack_xs(struct unpacked *out, const uint8_t *panel, uint32_t block)
{
    const struct panel_iq4_xs *p = (const struct panel_iq4_xs *)panel + block / 8;
    int s = (int)(block % 8);
    __m512i upper = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p->scales_h));
    __m512i low =
        _mm512_and_si512(shift_right(load_lanes(p->scales_l), 4 * s), _mm512_set1_epi32(15));
    __m512i high = _mm512_and_si512(shift_right(upper, 2 * s), _mm512_set1_epi32(3));
    __m512i scale =
        _mm512_sub_epi32(_mm512_or_si512(low, _mm512_slli_epi32(high, 4)), _mm512_set1_epi32(32));
    unpack_nibbles(out->code, p->qs[s]);
    look_up(out->code);
    out->ws = _mm512_mul_ps(load_halves(p->d), _mm512_cvtepi32_ps(scale));
}

MATMUL_TYPE(iq4_nl, unpack_nl, .block_bytes = sizeof(struct panel_iq4_nl), .offset = 128)
MATMUL_TYPE(iq4_xs, unpack_xs, .block_bytes = sizeof(struct panel_iq4_xs) / 8, .offset = 128)
