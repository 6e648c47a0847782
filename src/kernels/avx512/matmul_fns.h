/* kernels/avx512/matmul_fns.h - quantise and matmul with AVX-512 F, BW, VL, DQ and VNNI. */
#ifndef KERNELS_AVX512_MATMUL_FNS_H
#define KERNELS_AVX512_MATMUL_FNS_H

#include "kernels/matmul.h"

kern_quantise avx512_quantise;
kern_matmul avx512_matmul;

#endif
