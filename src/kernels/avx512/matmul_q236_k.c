/* Q2_K: d sc n - dmin mn, Q3_K: d (sc - 32) (n - 4), Q6_K: d sc (n - 32): scales of halves of 16 k. */
#include "kernels/avx512/matmul_tile.h"

/* The two bytes of block s in their dword, sign-extended: two blocks share a dword. */
always_inline __m512i scale_of_half(__m512i dword, int s, int half)
{
    return _mm512_srai_epi32(_mm512_sll_epi32(dword, _mm_cvtsi32_si128(24 - s % 2 * 16 - half * 8)),
                             24);
}

always_inline void scales_of_halves(__m512 scale[2], __m512i dword, int s)
{
    scale[0] = _mm512_cvtepi32_ps(scale_of_half(dword, s, 0));
    scale[1] = _mm512_cvtepi32_ps(scale_of_half(dword, s, 1));
}

always_inline void unpack_q2_k(struct unpacked *out, const uint8_t *panel, uint32_t block)
{
    const struct panel_q2_k *p = (const struct panel_q2_k *)panel + block / 8;
    int s = (int)(block % 8);
    __m512i scales = load_lanes(p->scales[s / 2]), mins = bits(scales, 4, 15);
    UNROLL(8)
    for (int g = 0; g < 8; g++)
        out->code[g] = bits(load_lanes(p->qs[s / 4][g]), s % 4 * 2, 3);
    scales_of_halves(out->scale, bits(scales, 0, 15), s);
    out->mins = _mm512_or_si512(scale_of_half(mins, s, 0),
                                _mm512_slli_epi32(scale_of_half(mins, s, 1), 16));
    out->ws = load_halves(p->d);
    out->wm = _mm512_xor_ps(load_halves(p->dmin), _mm512_set1_ps(-0.0f));
}

always_inline void unpack_q3_k(struct unpacked *out, const uint8_t *panel, uint32_t block)
{
    const struct panel_q3_k *p = (const struct panel_q3_k *)panel + block / 8;
    int s = (int)(block % 8);
    __m512i low = bits(load_lanes(p->scales[s / 2 % 2]), s / 4 * 4, 15);
    __m512i high = bits(load_lanes(p->scales[2]), s / 2 * 2, 3);
    __m512i scales = _mm512_or_si512(low, _mm512_slli_epi32(high, 4));
    UNROLL(8)
    for (int g = 0; g < 8; g++) {
        __m512i two = bits(load_lanes(p->qs[s / 4][g]), s % 4 * 2, 3);
        __m512i third = bits(load_lanes(p->hmask[g]), s, 1);
        out->code[g] = _mm512_or_si512(two, _mm512_slli_epi32(third, 2));
    }
    scales_of_halves(out->scale, _mm512_sub_epi8(scales, _mm512_set1_epi8(32)), s);
    out->ws = load_halves(p->d);
}

always_inline void unpack_q6_k(struct unpacked *out, const uint8_t *panel, uint32_t block)
{
    const struct panel_q6_k *p = (const struct panel_q6_k *)panel + block / 8;
    int s = (int)(block % 8), t = s % 4;
    UNROLL(8)
    for (int g = 0; g < 8; g++) {
        __m512i low = bits(load_lanes(p->ql[s / 4][t % 2][g]), t / 2 * 4, 15);
        __m512i high = bits(load_lanes(p->qh[s / 4][g]), 2 * t, 3);
        out->code[g] = _mm512_or_si512(low, _mm512_slli_epi32(high, 4));
    }
    scales_of_halves(out->scale, load_lanes(p->scales[s / 2]), s);
    out->ws = load_halves(p->d);
}

MATMUL_TYPE(q2_k, unpack_q2_k, .block_bytes = sizeof(struct panel_q2_k) / 8, .halves = true,
            .minima = MINIMA_OF_HALVES, .fold = FOLD)
MATMUL_TYPE(q3_k, unpack_q3_k, .block_bytes = sizeof(struct panel_q3_k) / 8, .halves = true,
            .offset = 4, .fold = FOLD_NEGATED)
MATMUL_TYPE(q6_k, unpack_q6_k, .block_bytes = sizeof(struct panel_q6_k) / 8, .halves = true,
            .offset = 32)
