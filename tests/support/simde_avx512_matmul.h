/* support/simde_avx512_matmul.h - the matmuls of src/kernels/avx512 and amx, and their quantise, compiled for an
 * emulated AVX-512 and emulated tiles. */
#ifndef SUPPORT_SIMDE_AVX512_MATMUL_H
#define SUPPORT_SIMDE_AVX512_MATMUL_H

#include "kernels/matmul.h"

kern_matmul simde_avx512_matmul, simde_amx_matmul;
kern_quantise simde_avx512_quantise;

#endif
