#include "kernels/avx2/fns.h"
#include "kernels/avx512/fns.h"
#include "kernels/avx512/matmul_fns.h"
#include "kernels/tables.h"

/* What memory bounds, or what is a handful of vectors, stays with AVX2. */
const struct kernels kernels_avx512 = {
    .name = "avx512",
    .raised_from = AVX512_RAISED_FROM,
    .tiles_from = UINT32_MAX,
    .quantise = avx512_quantise,
    .matmul = avx512_matmul,
    .attn_partial = avx512_attn_partial,
    .attn_merge = avx2_attn_merge,
    .attn_finish = avx2_attn_finish,
    .attn_scores = avx512_attn_scores,
    .attn_mass = avx512_attn_mass,
    .low_rows = avx512_low_rows,
    .scan = avx512_scan,
    .scan_mass = avx512_scan_mass,
    .store_k = avx2_store_k,
    .store_v = avx2_store_v,
    .load_k = avx2_load_k,
    .load_v = avx2_load_v,
    .rms_norm = avx512_rms_norm,
    .rope = avx2_rope,
    .add = avx2_add,
    .scale = avx2_scale,
    .silu_gate = avx512_silu_gate,
    .gelu_gate = avx512_gelu_gate,
    .softcap = avx512_softcap,
    .softmax_stats = avx512_softmax_stats,
    .softmax = avx512_softmax,
    .moments = avx2_moments,
    .squares = avx2_squares,
    .deflate = avx2_deflate,
    .peak_int8 = avx512_peak_int8,
    .peak_f32 = avx512_peak_f32,
    .peak_read = avx512_peak_read,
};
