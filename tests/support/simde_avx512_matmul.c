#include "support/emulated_tiles.h"
#include "support/simde_avx512.h"

#include "support/simde_avx512_matmul.h"

#define amx_matmul simde_amx_matmul
#define avx512_quantise simde_avx512_quantise
#define avx512_matmul simde_avx512_matmul
#define avx512_matmul_f32 simde_matmul_f32
#define avx512_matmul_f16 simde_matmul_f16
#define avx512_matmul_bf16 simde_matmul_bf16
#define avx512_matmul_q4_0 simde_matmul_q4_0
#define avx512_matmul_q4_1 simde_matmul_q4_1
#define avx512_matmul_q5_0 simde_matmul_q5_0
#define avx512_matmul_q5_1 simde_matmul_q5_1
#define avx512_matmul_q8_0 simde_matmul_q8_0
#define avx512_matmul_q2_k simde_matmul_q2_k
#define avx512_matmul_q3_k simde_matmul_q3_k
#define avx512_matmul_q4_k simde_matmul_q4_k
#define avx512_matmul_q5_k simde_matmul_q5_k
#define avx512_matmul_q6_k simde_matmul_q6_k
#define avx512_matmul_iq4_nl simde_matmul_iq4_nl
#define avx512_matmul_iq4_xs simde_matmul_iq4_xs
#define avx512_q4_0 simde_q4_0
#define avx512_q4_1 simde_q4_1
#define avx512_q5_0 simde_q5_0
#define avx512_q5_1 simde_q5_1
#define avx512_q8_0 simde_q8_0
#define avx512_q2_k simde_q2_k
#define avx512_q3_k simde_q3_k
#define avx512_q4_k simde_q4_k
#define avx512_q5_k simde_q5_k
#define avx512_q6_k simde_q6_k
#define avx512_iq4_nl simde_iq4_nl
#define avx512_iq4_xs simde_iq4_xs

#include "kernels/avx512/matmul.c"
#include "kernels/avx512/matmul_float.c"
#include "kernels/avx512/matmul_iq4.c"
#include "kernels/avx512/matmul_q236_k.c"
#include "kernels/avx512/matmul_q4.c"
#include "kernels/avx512/matmul_q45_k.c"
#include "kernels/avx512/matmul_q5.c"
#include "kernels/avx512/matmul_q8.c"

#define types types_by_tiles
#include "kernels/amx/matmul.c"
#include "kernels/avx512/quantise.c"
