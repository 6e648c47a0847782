/* Q4_0: d (n - 8), and Q4_1: d n + m. Both nibbles of dword g: products g and g + 4. */
#include "kernels/avx2/matmul_tile.h"

always_inline void unpack_q4_0(struct half_block *out, const uint8_t *record, int s, int h)
{
    const struct panel_q4_0 *p = (const struct panel_q4_0 *)record + s;
    unpack_nibbles(out->code, p->qs, h);
    out->ws = load_halves(p->d, h);
}

always_inline void unpack_q4_1(struct half_block *out, const uint8_t *record, int s, int h)
{
    const struct panel_q4_1 *p = (const struct panel_q4_1 *)record + s;
    unpack_nibbles(out->code, p->qs, h);
    out->ws = load_halves(p->d, h);
    out->wm = load_halves(p->m, h);
}

MATMUL_TYPE(q4_0, unpack_q4_0, .group = 1, .depth = 8)
MATMUL_TYPE(q4_1, unpack_q4_1, .group = 1, .depth = 8, .minima = ONE_MINIMUM)
