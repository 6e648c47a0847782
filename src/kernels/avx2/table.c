#include "kernels/avx2/fns.h"
#include "kernels/avx2/matmul_fns.h"
#include "kernels/tables.h"

const struct kernels kernels_avx2 = {
    .name = "avx2",
    .tiles_from = UINT32_MAX,
    .quantise = avx2_quantise,
    .matmul = avx2_matmul,
    .attn_partial = avx2_attn_partial,
    .attn_merge = avx2_attn_merge,
    .attn_finish = avx2_attn_finish,
    .attn_scores = avx2_attn_scores,
    .attn_mass = avx2_attn_mass,
    .low_rows = avx2_low_rows,
    .scan = avx2_scan,
    .scan_mass = avx2_scan_mass,
    .store_k = avx2_store_k,
    .store_v = avx2_store_v,
    .load_k = avx2_load_k,
    .load_v = avx2_load_v,
    .rms_norm = avx2_rms_norm,
    .rope = avx2_rope,
    .add = avx2_add,
    .scale = avx2_scale,
    .silu_gate = avx2_silu_gate,
    .gelu_gate = avx2_gelu_gate,
    .softcap = avx2_softcap,
    .softmax_stats = avx2_softmax_stats,
    .softmax = avx2_softmax,
    .moments = avx2_moments,
    .peak_int8 = avx2_peak_int8,
    .peak_f32 = avx2_peak_f32,
};
