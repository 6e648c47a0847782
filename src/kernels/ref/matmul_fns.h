/* kernels/ref/matmul_fns.h - the contract of matmul.h in plain C. */
#ifndef KERNELS_REF_MATMUL_FNS_H
#define KERNELS_REF_MATMUL_FNS_H

#include "kernels/matmul.h"

kern_quantise ref_quantise;
kern_matmul ref_matmul;

#endif
