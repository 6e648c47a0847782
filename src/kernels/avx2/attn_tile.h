/* kernels/avx2/attn_tile.h - the tile of attn_group.h: up to 3 queries x 4 vectors.
 *
 * 12 accumulators stay in registers while the inner index runs. 12 chains cover the latency of fma
 * (4 cycles, 2 a cycle), and a vector of b is loaded and converted once for 3 queries. On Zen 3
 * converting half floats on the way is free (99 of 101 GFLOP/s), int8 is not (78). Packing also
 * makes neighbours of rows that compete for few sets of the cache when they lie 512 bytes apart (V
 * of d 256: 6 %). Private to avx2/. */
#ifndef KERNELS_AVX2_ATTN_TILE_H
#define KERNELS_AVX2_ATTN_TILE_H

#include "kernels/attn_group.h"

enum { AVX2_TILE_QUERIES = 3, AVX2_TILE_OUT = 32 };

void avx2_attn_tiles(const struct matrix *b, const struct tiles *t);
void avx2_attn_pack(const struct matrix *b, float *panels, uint32_t first, uint32_t last);

#endif
