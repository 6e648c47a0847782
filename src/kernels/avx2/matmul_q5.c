/* Q5_0: d (n - 16), and Q5_1: d n + m. The nibbles of Q4 and a fifth bit, which packing put where one shift finds it.
 * Q5_0's offset comes off inside 16 bits, which then hold eight products for four (512 rows, Zen 3: 1.10 times). */
#include "kernels/avx2/matmul_tile.h"

always_inline void add_fifth_bits(__m256i code[8], const lanes32 qh, int h)
{
    __m256i high = load_lanes(qh, h);
    UNROLL(8)
    for (int g = 0; g < 8; g++)
        code[g] = _mm256_or_si256(code[g], bits(high, g, 4, 1));
}

always_inline void unpack_q5_0(struct half_block *out, const uint8_t *record, int s, int h)
{
    const struct panel_q5_0 *p = (const struct panel_q5_0 *)record + s;
    unpack_nibbles(out->code, p->qs, h);
    add_fifth_bits(out->code, p->qh, h);
    out->ws = load_halves(p->d, h);
}

always_inline void unpack_q5_1(struct half_block *out, const uint8_t *record, int s, int h)
{
    const struct panel_q5_1 *p = (const struct panel_q5_1 *)record + s;
    unpack_nibbles(out->code, p->qs, h);
    add_fifth_bits(out->code, p->qh, h);
    out->ws = load_halves(p->d, h);
    out->wm = load_halves(p->m, h);
}

MATMUL_TYPE(q5_0, unpack_q5_0, .group = 1, .depth = 8)
MATMUL_TYPE(q5_1, unpack_q5_1, .group = 1, .depth = 4, .minima = ONE_MINIMUM)
