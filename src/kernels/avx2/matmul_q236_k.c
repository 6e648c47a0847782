/* Q2_K: d sc n - dmin mn, Q3_K: d (sc - 32) (n - 4), Q6_K: d sc (n - 32): scales of halves of 16 k.
 * The scale is the multiplier of the widening vpmaddwd, so it costs nothing; offsets come off inside 16 bits, which
 * then hold twice the products (matmul_block.h; 512 rows of Q6_K, Zen 3: 1.08 times the rate). */
#include "kernels/avx2/matmul_tile.h"

/* Byte i of every dword as a pair of equal signed 16 bits. */
always_inline __m256i pair_of_byte(__m256i dwords, int i)
{
    __m128i at = _mm_setr_epi8(-1, 0, -1, 0, -1, 4, -1, 4, -1, 8, -1, 8, -1, 12, -1, 12);
    at = _mm_add_epi16(at, _mm_set1_epi16((short)(i << 8)));
    return _mm256_srai_epi16(_mm256_shuffle_epi8(dwords, _mm256_broadcastsi128_si256(at)), 8);
}

/* The two scales of block s, which shares their dword with another. */
always_inline void pairs_of_halves(__m256i pair[2], __m256i dwords, int s)
{
    pair[0] = pair_of_byte(dwords, s % 2 * 2);
    pair[1] = pair_of_byte(dwords, s % 2 * 2 + 1);
}

/* (first half's, second half's) 16 bits. */
always_inline __m256i both(const __m256i pair[2])
{
    return _mm256_blend_epi16(pair[0], pair[1], 0xaa);
}

always_inline void unpack_q2_k(struct half_block *out, const uint8_t *record, int s, int h)
{
    const struct panel_q2_k *p = (const struct panel_q2_k *)record;
    __m256i scales = load_lanes(p->scales[s / 2], h), mins[2];
    UNROLL(8)
    for (int g = 0; g < 8; g++)
        out->code[g] = bits(load_lanes(p->qs[s / 4][g], h), s % 4 * 2, 0, 3);
    pairs_of_halves(out->scale, bits(scales, 0, 0, 15), s);
    pairs_of_halves(mins, bits(scales, 4, 0, 15), s);
    out->mins = both(mins);
    out->ws = load_halves(p->d, h);
    out->wm = _mm256_xor_ps(load_halves(p->dmin, h), _mm256_set1_ps(-0.0f));
}

always_inline void unpack_q3_k(struct half_block *out, const uint8_t *record, int s, int h)
{
    const struct panel_q3_k *p = (const struct panel_q3_k *)record;
    __m256i low = bits(load_lanes(p->scales[s / 2 % 2], h), s / 4 * 4, 0, 15);
    __m256i scales = _mm256_or_si256(low, bits(load_lanes(p->scales[2], h), s / 2 * 2, 4, 3));
    UNROLL(8)
    for (int g = 0; g < 8; g++) {
        __m256i two = bits(load_lanes(p->qs[s / 4][g], h), s % 4 * 2, 0, 3);
        out->code[g] = _mm256_or_si256(two, bits(load_lanes(p->hmask[g], h), s, 2, 1));
    }
    pairs_of_halves(out->scale, _mm256_sub_epi8(scales, _mm256_set1_epi8(32)), s);
    out->ws = load_halves(p->d, h);
}

always_inline void unpack_q6_k(struct half_block *out, const uint8_t *record, int s, int h)
{
    const struct panel_q6_k *p = (const struct panel_q6_k *)record;
    int t = s % 4;
    UNROLL(8)
    for (int g = 0; g < 8; g++) {
        __m256i low = bits(load_lanes(p->ql[s / 4][t % 2][g], h), t / 2 * 4, 0, 15);
        out->code[g] = _mm256_or_si256(low, bits(load_lanes(p->qh[s / 4][g], h), 2 * t, 4, 3));
    }
    pairs_of_halves(out->scale, load_lanes(p->scales[s / 2], h), s);
    out->ws = load_halves(p->d, h);
}

MATMUL_TYPE(q2_k, unpack_q2_k, .group = 8, .depth = 4, .halves = true, .minima = MINIMA_OF_HALVES)
MATMUL_TYPE(q3_k, unpack_q3_k, .group = 8, .depth = 4, .halves = true)
MATMUL_TYPE(q6_k, unpack_q6_k, .group = 8, .depth = 4, .halves = true)
