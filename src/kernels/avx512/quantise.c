/* The contract in plain C, compiled for this folder's instructions, until the kernels of its own replace it. */
#define ref_quantise avx512_quantise
#include "kernels/avx512/matmul_fns.h"
#include "kernels/ref/quantise.c"
