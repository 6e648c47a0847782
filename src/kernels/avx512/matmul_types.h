/* kernels/avx512/matmul_types.h - one function a weight type, behind avx512_matmul. */
#ifndef KERNELS_AVX512_MATMUL_TYPES_H
#define KERNELS_AVX512_MATMUL_TYPES_H

#include "kernels/matmul_call.h"
#include "kernels/quantised.h"

#define MATMUL_OF(TYPE, type, offset) matmul_of_type avx512_matmul_##type;
WEIGHT_TYPES(MATMUL_OF)
#undef MATMUL_OF

#endif
