/* kernels/avx512/fns.h - the functions that wider registers speed up, but for matmul
 * (matmul_fns.h); the rest of the table is avx2's. The contracts are in kernels/x.h. */
#ifndef KERNELS_AVX512_FNS_H
#define KERNELS_AVX512_FNS_H

#include "kernels/attention.h"
#include "kernels/peak.h"
#include "kernels/rows.h"
#include "kernels/scan.h"

kern_attn_partial avx512_attn_partial;
kern_attn_scores avx512_attn_scores;
kern_attn_mass avx512_attn_mass;
kern_low_rows avx512_low_rows;
kern_scan avx512_scan;
kern_scan_mass avx512_scan_mass;
kern_rms_norm avx512_rms_norm;
kern_gate avx512_silu_gate;
kern_gate avx512_gelu_gate;
kern_softcap avx512_softcap;
kern_softmax_stats avx512_softmax_stats;
kern_softmax avx512_softmax;
kern_peak avx512_peak_int8;
kern_peak avx512_peak_f32;
kern_peak_read avx512_peak_read;

#endif
