/* kernels/avx2/matmul_fns.h - quantise and matmul with AVX2, FMA and F16C. */
#ifndef KERNELS_AVX2_MATMUL_FNS_H
#define KERNELS_AVX2_MATMUL_FNS_H

#include "kernels/matmul.h"

kern_quantise avx2_quantise;
kern_matmul avx2_matmul;

#endif
