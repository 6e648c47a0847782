/* kernels/avx512/matmul_fns.h - matmul with AVX-512 F, BW, VL, DQ and VNNI. */
#ifndef KERNELS_AVX512_MATMUL_FNS_H
#define KERNELS_AVX512_MATMUL_FNS_H

#include "kernels/matmul.h"

kern_matmul avx512_matmul;

#endif
