/* kernels/avx512/attn_tile.h - the tiles of attn_group.h: up to 4 queries x 4 vectors, a whole row
 * of scores.
 *
 * 16 accumulators stay in registers while the inner index runs; a step loads and converts 4 vectors
 * for 16 fma. Packed panels are read as f32 rows 64 wide. Eight outputs left over take half a
 * vector. Private to avx512/. */
#ifndef KERNELS_AVX512_ATTN_TILE_H
#define KERNELS_AVX512_ATTN_TILE_H

#include "kernels/attn_group.h"

enum { AVX512_TILE_QUERIES = 4, AVX512_TILE_OUT = 64 };

void avx512_attn_tiles(const struct matrix *b, const struct tiles *t);
void avx512_attn_pack(const struct matrix *b, float *panels, uint32_t first, uint32_t last);

#endif
