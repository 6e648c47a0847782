/* Q2_K: d sc n - dmin mn, Q3_K: d (sc - 32) (n - 4), Q6_K: d sc (n - 32): scales of halves of 16 k.
 * The scale is the multiplier of the widening vpmaddwd, so it costs nothing. */
#include "kernels/avx2/matmul_tile.h"

/* Bytes 2 and 3 of every dword, each as a pair of equal signed 16 bits. */
always_inline void scales_of_halves(__m256i scale[2], __m256i dword)
{
    const __m128i byte_2 =
        _mm_setr_epi8(-1, 2, -1, 2, -1, 6, -1, 6, -1, 10, -1, 10, -1, 14, -1, 14);
    __m256i low = _mm256_broadcastsi128_si256(byte_2), one = _mm256_set1_epi16(0x0100);
    scale[0] = _mm256_srai_epi16(_mm256_shuffle_epi8(dword, low), 8);
    scale[1] = _mm256_srai_epi16(_mm256_shuffle_epi8(dword, _mm256_add_epi16(low, one)), 8);
}

/* The two scale bytes of block s at the top of their dword; four blocks take two dwords. */
always_inline __m256i to_top(__m256i dword, int s)
{
    return _mm256_sll_epi32(dword, _mm_cvtsi32_si128(s % 2 ? 0 : 16));
}

always_inline __m256i pair_of(const __m256i scale[2])
{
    return _mm256_blend_epi16(scale[0], scale[1], 0xaa);
}

always_inline void unpack_q2_k(struct half_block *out, const uint8_t *panel, uint32_t block, int h)
{
    const struct panel_q2_k *p = (const struct panel_q2_k *)panel + block / 8;
    int s = (int)(block % 8);
    __m256i scales = to_top(load_lanes(p->scales[s / 2], h), s), min[2];
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++)
        out->code[g] = bits(load_lanes(p->qs[s / 4][g], h), s % 4 * 2, 3);
    scales_of_halves(out->scale, bits(scales, 0, 15));
    scales_of_halves(min, bits(scales, 4, 15));
    out->mins = pair_of(min);
    out->ws = load_halves(p->d, h);
    out->wm = _mm256_xor_ps(load_halves(p->dmin, h), _mm256_set1_ps(-0.0f));
}

always_inline void unpack_q3_k(struct half_block *out, const uint8_t *panel, uint32_t block, int h)
{
    const struct panel_q3_k *p = (const struct panel_q3_k *)panel + block / 8;
    int s = (int)(block % 8);
    __m256i low = bits(load_lanes(p->scales[s / 2 % 2], h), s / 4 * 4, 15);
    __m256i high = bits(load_lanes(p->scales[2], h), s / 2 * 2, 3);
    __m256i scales = _mm256_or_si256(low, _mm256_slli_epi32(high, 4));
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++) {
        __m256i two = bits(load_lanes(p->qs[s / 4][g], h), s % 4 * 2, 3);
        __m256i third = bits(load_lanes(p->hmask[g], h), s, 1);
        out->code[g] = _mm256_or_si256(two, _mm256_slli_epi32(third, 2));
    }
    scales_of_halves(out->scale, to_top(_mm256_sub_epi8(scales, _mm256_set1_epi8(32)), s));
    out->offset = _mm256_slli_epi16(pair_of(out->scale), 2);
    out->ws = load_halves(p->d, h);
}

always_inline void unpack_q6_k(struct half_block *out, const uint8_t *panel, uint32_t block, int h)
{
    const struct panel_q6_k *p = (const struct panel_q6_k *)panel + block / 8;
    int s = (int)(block % 8), t = s % 4;
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++) {
        __m256i low = bits(load_lanes(p->ql[s / 4][t % 2][g], h), t / 2 * 4, 15);
        __m256i high = bits(load_lanes(p->qh[s / 4][g], h), 2 * t, 3);
        out->code[g] = _mm256_or_si256(low, _mm256_slli_epi32(high, 4));
    }
    scales_of_halves(out->scale, to_top(load_lanes(p->scales[s / 2], h), s));
    out->offset = _mm256_slli_epi16(pair_of(out->scale), 5);
    out->ws = load_halves(p->d, h);
}

void avx2_matmul_q2_k(const struct call *c)
{
    static const struct kind kind = { .block_bytes = sizeof(struct panel_q2_k) / 8,
                                      .depth = 4,
                                      .halves = true,
                                      .minima = MINIMA_OF_HALVES };
    matmul_of_kind(kind, unpack_q2_k, c);
}

void avx2_matmul_q3_k(const struct call *c)
{
    static const struct kind kind = {
        .block_bytes = sizeof(struct panel_q3_k) / 8, .depth = 4, .halves = true, .offset = 4
    };
    matmul_of_kind(kind, unpack_q3_k, c);
}

void avx2_matmul_q6_k(const struct call *c)
{
    static const struct kind kind = {
        .block_bytes = sizeof(struct panel_q6_k) / 8, .depth = 2, .halves = true, .offset = 32
    };
    matmul_of_kind(kind, unpack_q6_k, c);
}
