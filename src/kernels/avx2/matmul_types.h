/* kernels/avx2/matmul_types.h - one function a weight type, behind avx2_matmul. */
#ifndef KERNELS_AVX2_MATMUL_TYPES_H
#define KERNELS_AVX2_MATMUL_TYPES_H

#include "kernels/matmul_call.h"
#include "kernels/quantised.h"

#define MATMUL_OF(TYPE, type, offset) matmul_of_type avx2_matmul_##type;
WEIGHT_TYPES(MATMUL_OF)
#undef MATMUL_OF

#endif
