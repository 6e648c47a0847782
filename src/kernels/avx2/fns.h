/* kernels/avx2/fns.h - the avx2 table's functions but for matmul (matmul_fns.h). The contracts are
 * in kernels/x.h. */
#ifndef KERNELS_AVX2_FNS_H
#define KERNELS_AVX2_FNS_H

#include "kernels/attention.h"
#include "kernels/peak.h"
#include "kernels/rows.h"
#include "kernels/scan.h"

kern_attn_partial avx2_attn_partial;
kern_attn_merge avx2_attn_merge;
kern_attn_finish avx2_attn_finish;
kern_attn_scores avx2_attn_scores;
kern_attn_mass avx2_attn_mass;
kern_low_rows avx2_low_rows;
kern_scan avx2_scan;
kern_scan_mass avx2_scan_mass;
kern_store_k avx2_store_k;
kern_store_v avx2_store_v;
kern_load_k avx2_load_k;
kern_load_v avx2_load_v;
kern_rms_norm avx2_rms_norm;
kern_rope avx2_rope;
kern_add avx2_add;
kern_scale avx2_scale;
kern_gate avx2_silu_gate;
kern_gate avx2_gelu_gate;
kern_softcap avx2_softcap;
kern_softmax_stats avx2_softmax_stats;
kern_softmax avx2_softmax;
kern_moments avx2_moments;
kern_squares avx2_squares;
kern_deflate avx2_deflate;
kern_peak avx2_peak_int8;
kern_peak avx2_peak_f32;
kern_peak_read avx2_peak_read;

#endif
