/* Q5_0: d (n - 16), and Q5_1: d n + m. The nibbles of Q4 and a fifth bit, which packing put where one shift finds
 * it. */
#include "kernels/avx512/matmul_tile.h"

always_inline void add_fifth_bits(__m512i code[8], const lanes32 qh)
{
    __m512i high = load_lanes(qh), bit = _mm512_set1_epi8(16);
    UNROLL(8)
    for (int g = 0; g < 8; g++) {
        __m512i at_4 = g < 4 ? _mm512_slli_epi32(high, 4 - g) : _mm512_srli_epi32(high, g - 4);
        code[g] = _mm512_or_si512(code[g], _mm512_and_si512(at_4, bit));
    }
}

always_inline void unpack_q5_0(struct unpacked *out, const uint8_t *panel, uint32_t block)
{
    const struct panel_q5_0 *p = (const struct panel_q5_0 *)panel + block;
    unpack_nibbles(out->code, p->qs);
    add_fifth_bits(out->code, p->qh);
    out->ws = load_halves(p->d);
}

always_inline void unpack_q5_1(struct unpacked *out, const uint8_t *panel, uint32_t block)
{
    const struct panel_q5_1 *p = (const struct panel_q5_1 *)panel + block;
    unpack_nibbles(out->code, p->qs);
    add_fifth_bits(out->code, p->qh);
    out->ws = load_halves(p->d);
    out->wm = load_halves(p->m);
}

MATMUL_TYPE(q5_0, unpack_q5_0, .block_bytes = sizeof(struct panel_q5_0), .offset = 16)
MATMUL_TYPE(q5_1, unpack_q5_1, .block_bytes = sizeof(struct panel_q5_1), .minima = ONE_MINIMUM)
