/* Q8_0: d n, n signed: stored with its upper bit turned, it is n + 128 unsigned. */
#include "kernels/avx512/matmul_tile.h"

always_inline void unpack(struct unpacked *out, const uint8_t *panel, uint32_t block)
{
    const struct panel_q8_0 *p = (const struct panel_q8_0 *)panel + block;
    UNROLL(8)
    for (int g = 0; g < 8; g++)
        out->code[g] = _mm512_xor_si512(load_lanes(p->qs[g]), _mm512_set1_epi8(-128));
    out->ws = load_halves(p->d);
}

MATMUL_TYPE(q8_0, unpack, .block_bytes = sizeof(struct panel_q8_0), .offset = 128)
