/* kernels/avx512/attn_tile.h - the tiles of attn_group.h: up to 6 queries x 4 vectors, a whole row
 * of scores.
 *
 * 24 accumulators stay in registers while the inner index runs; a step loads and converts 4 vectors
 * for 24 fma (with 4 queries, 16 fma: whole attention of prefill 7 % slower, Granite
 * Rapids). Eight outputs left over take half a vector. Private to avx512/. */
#ifndef KERNELS_AVX512_ATTN_TILE_H
#define KERNELS_AVX512_ATTN_TILE_H

#include "kernels/attn_group.h"

enum { AVX512_TILE_QUERIES = 6, AVX512_TILE_OUT = 64 };

void avx512_attn_tiles(const struct matrix *b, const struct tiles *t);
void avx512_attn_pack(const struct matrix *b, float *panels, uint32_t first, uint32_t last);

#endif
