/* Q8_0: d n, n signed. */
#include "kernels/avx2/matmul_tile.h"

always_inline void unpack(struct half_block *out, const uint8_t *record, int s, int h)
{
    const struct panel_q8_0 *p = (const struct panel_q8_0 *)record + s;
    UNROLL(8)
    for (int g = 0; g < 8; g++)
        out->code[g] = load_lanes(p->qs[g], h);
    out->ws = load_halves(p->d, h);
}

void avx2_matmul_q8_0(const struct matmul_call *c)
{
    static const struct kind kind = { sizeof(struct panel_q8_0), 1, .depth = 1, .is_signed = true };
    matmul_of_kind(kind, unpack, c);
}
