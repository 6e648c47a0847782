/* Q4_0: d (n - 8), and Q4_1: d n + m. Both nibbles of dword g: products g and g + 4. */
#include "kernels/avx512/matmul_tile.h"

always_inline void unpack_q4_0(struct unpacked *out, const uint8_t *panel, uint32_t block)
{
    const struct panel_q4_0 *p = (const struct panel_q4_0 *)panel + block;
    unpack_nibbles(out->code, p->qs);
    out->ws = load_halves(p->d);
}

always_inline void unpack_q4_1(struct unpacked *out, const uint8_t *panel, uint32_t block)
{
    const struct panel_q4_1 *p = (const struct panel_q4_1 *)panel + block;
    unpack_nibbles(out->code, p->qs);
    out->ws = load_halves(p->d);
    out->wm = load_halves(p->m);
}

MATMUL_TYPE(q4_0, unpack_q4_0, .block_bytes = sizeof(struct panel_q4_0), .offset = 8)
MATMUL_TYPE(q4_1, unpack_q4_1, .block_bytes = sizeof(struct panel_q4_1), .minima = ONE_MINIMUM)
