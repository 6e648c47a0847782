/* The contract in plain C, compiled for this folder's instructions, until the kernels of its own replace it. */
#define ref_matmul avx2_matmul
#include "kernels/avx2/matmul_fns.h"
#include "kernels/ref/matmul.c"
