#include "kernels/ref/fns.h"
#include "kernels/ref/matmul_fns.h"
#include "kernels/tables.h"

const struct kernels kernels_ref = {
    .name = "ref",
    .tiles_from = UINT32_MAX,
    .quantise = ref_quantise,
    .matmul = ref_matmul,
    .attn_partial = ref_attn_partial,
    .attn_merge = ref_attn_merge,
    .attn_finish = ref_attn_finish,
    .attn_scores = ref_attn_scores,
    .attn_mass = ref_attn_mass,
    .low_rows = ref_low_rows,
    .scan = ref_scan,
    .scan_mass = ref_scan_mass,
    .store_k = ref_store_k,
    .store_v = ref_store_v,
    .load_k = ref_load_k,
    .load_v = ref_load_v,
    .rms_norm = ref_rms_norm,
    .rope = ref_rope,
    .add = ref_add,
    .scale = ref_scale,
    .silu_gate = ref_silu_gate,
    .gelu_gate = ref_gelu_gate,
    .softcap = ref_softcap,
    .softmax_stats = ref_softmax_stats,
    .softmax = ref_softmax,
    .moments = ref_moments,
    .peak_int8 = ref_peak_int8,
    .peak_f32 = ref_peak_f32,
};
