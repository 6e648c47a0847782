/* kernels/avx2/attn_tile.h - the one small matrix product that attention is made of, twice:
 *
 *     s [query][row] = q [query][d] x K [d][row]            o [query][d] += p [query][row] x V [row][d]
 *     c [query][out] += a [query][in] x b [in][out]         chains of fma over `in`, outputs in lanes
 *
 * A tile is up to 3 queries x 4 vectors: 12 accumulators that stay in registers while the inner index runs. 12 chains cover
 * the latency of fma (4 cycles, 2 a cycle), and a vector of b is loaded and converted once for 3 queries. On Zen 3 converting
 * half floats on the way is free (99 of 101 GFLOP/s), int8 is not (78). For many queries a block is therefore packed once
 * into panels of f32, 32 outputs wide, whose rows are neighbours in the cache (8 % at d 256: rows of V 512 bytes apart
 * compete for 8 of its 64 sets). Private to avx2/. */
#ifndef KERNELS_AVX2_ATTN_TILE_H
#define KERNELS_AVX2_ATTN_TILE_H

#include "kernels/attn_block.h"

enum { TILE_QUERIES = 3, TILE_VECTORS = 4, PANEL_OUT = ATTN_PANEL };

enum source { FROM_F16 = KV_F16, FROM_F32 = KV_F32, FROM_INT8 = KV_INT8, FROM_PANELS, N_SOURCE };

/* b: element (i, o) at i * n_out + o, or, packed: [o / 32][i][o % 32] f32. */
struct matrix {
    enum source from;
    uint32_t n_in, n_out; // n_out a multiple of 8
    const char *data;
    const char
        *ahead; // as many bytes that are wanted next; unless packed, they are fetched in step
};

struct tile {
    uint32_t n_q;                 // 1 to 3
    float *c[TILE_QUERIES];       // the row of outputs that each query adds to, from `out` on
    const float *a[TILE_QUERIES]; // the row of factors
    uint32_t out, n_v;            // outputs [out, out + 8 n_v); n_v 1, 2 or 4; within one panel
    uint32_t first, last;         // inner indices
};

void avx2_tile_run(const struct matrix *b, const struct tile *t);

/* Inner rows [first, last) as f32 into panels [round_up(n_out, 32) / 32][n_in][32]. */
void avx2_tile_pack(const struct matrix *b, float *panels, uint32_t first, uint32_t last);

#endif
