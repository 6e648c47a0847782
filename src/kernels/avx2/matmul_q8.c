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

MATMUL_TYPE(q8_0, unpack, .group = 1, .depth = 1, .is_signed = true)
