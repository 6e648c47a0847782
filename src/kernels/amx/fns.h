/* kernels/amx/fns.h - what AMX's int8 tiles do: matmul. All else of the table is what avx512's table has: its own,
 * and some of avx2's. */
#ifndef KERNELS_AMX_FNS_H
#define KERNELS_AMX_FNS_H

#include "kernels/matmul.h"
#include "kernels/peak.h"

kern_matmul amx_matmul;
kern_peak amx_peak_int8;

#endif
