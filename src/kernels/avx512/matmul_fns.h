/* kernels/avx512/matmul_fns.h - matmul, and what it multiplies, with AVX-512 F, BW, VL, DQ and VNNI. */
#ifndef KERNELS_AVX512_MATMUL_FNS_H
#define KERNELS_AVX512_MATMUL_FNS_H

#include "kernels/matmul.h"

kern_quantise avx512_quantise;
kern_matmul avx512_matmul;

/* Rows from which batches lie in tiles: fewer are multiplied as weights are unpacked. */
enum { AVX512_RAISED_FROM = 5 };

#endif
