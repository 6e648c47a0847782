/* kernels/ref/fns.h - the plain table's functions but for matmul (matmul_fns.h). The contracts are
 * in kernels/x.h. */
#ifndef KERNELS_REF_FNS_H
#define KERNELS_REF_FNS_H

#include "kernels/attention.h"
#include "kernels/peak.h"
#include "kernels/rows.h"
#include "kernels/scan.h"

kern_attn_partial ref_attn_partial;
kern_attn_merge ref_attn_merge;
kern_attn_finish ref_attn_finish;
kern_attn_scores ref_attn_scores;
kern_attn_mass ref_attn_mass;
kern_low_rows ref_low_rows;
kern_scan ref_scan;
kern_scan_mass ref_scan_mass;
kern_store_k ref_store_k;
kern_store_v ref_store_v;
kern_load_k ref_load_k;
kern_load_v ref_load_v;
kern_rms_norm ref_rms_norm;
kern_rope ref_rope;
kern_add ref_add;
kern_scale ref_scale;
kern_gate ref_silu_gate;
kern_gate ref_gelu_gate;
kern_softcap ref_softcap;
kern_softmax_stats ref_softmax_stats;
kern_softmax ref_softmax;
kern_moments ref_moments;
kern_squares ref_squares;
kern_deflate ref_deflate;
kern_peak ref_peak_int8;
kern_peak ref_peak_f32;
kern_peak_read ref_peak_read;

#endif
