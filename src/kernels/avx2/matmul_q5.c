/* Q5_0: d (n - 16), and Q5_1: d n + m. The nibbles of Q4 and a fifth bit, which packing put where one shift finds it. */
#include "kernels/avx2/matmul_tile.h"

always_inline void add_fifth_bits(__m256i code[8], const lanes32 qh, int h)
{
    __m256i high = load_lanes(qh, h), bit = _mm256_set1_epi8(16);
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++) {
        __m256i at_4 = g < 4 ? _mm256_slli_epi32(high, 4 - g) : _mm256_srli_epi32(high, g - 4);
        code[g] = _mm256_or_si256(code[g], _mm256_and_si256(at_4, bit));
    }
}

always_inline void unpack_q5_0(struct half_block *out, const uint8_t *panel, uint32_t block, int h)
{
    const struct panel_q5_0 *p = (const struct panel_q5_0 *)panel + block;
    unpack_nibbles(out->code, p->qs, h);
    add_fifth_bits(out->code, p->qh, h);
    out->ws = load_halves(p->d, h);
}

always_inline void unpack_q5_1(struct half_block *out, const uint8_t *panel, uint32_t block, int h)
{
    const struct panel_q5_1 *p = (const struct panel_q5_1 *)panel + block;
    unpack_nibbles(out->code, p->qs, h);
    add_fifth_bits(out->code, p->qh, h);
    out->ws = load_halves(p->d, h);
    out->wm = load_halves(p->m, h);
}

void avx2_matmul_q5_0(const struct call *c)
{
    static const struct kind kind = { .block_bytes = sizeof(struct panel_q5_0),
                                      .depth = 4,
                                      .offset = 16 };
    matmul_of_kind(kind, unpack_q5_0, c);
}

void avx2_matmul_q5_1(const struct call *c)
{
    static const struct kind kind = { .block_bytes = sizeof(struct panel_q5_1),
                                      .depth = 4,
                                      .minima = ONE_MINIMUM };
    matmul_of_kind(kind, unpack_q5_1, c);
}
