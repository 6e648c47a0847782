/* support/simde_avx512_matmul.h - the sources of src/kernels/avx512 compiled for an emulated AVX-512. */
#ifndef SUPPORT_SIMDE_AVX512_MATMUL_H
#define SUPPORT_SIMDE_AVX512_MATMUL_H

#include "kernels/matmul.h"

kern_matmul simde_avx512_matmul;

#endif
