/* kernels/avx512/matmul_types.h - one function a weight type, behind avx512_matmul. */
#ifndef KERNELS_AVX512_MATMUL_TYPES_H
#define KERNELS_AVX512_MATMUL_TYPES_H

#include "kernels/matmul_call.h"

matmul_of_type avx512_matmul_f32, avx512_matmul_f16, avx512_matmul_bf16;
matmul_of_type avx512_matmul_q4_0, avx512_matmul_q4_1, avx512_matmul_q5_0, avx512_matmul_q5_1,
    avx512_matmul_q8_0;
matmul_of_type avx512_matmul_q2_k, avx512_matmul_q3_k, avx512_matmul_q4_k, avx512_matmul_q5_k,
    avx512_matmul_q6_k;
matmul_of_type avx512_matmul_iq4_nl, avx512_matmul_iq4_xs;

#endif
