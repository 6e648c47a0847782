#include "kernels/avx2/matmul_fns.h"
#include "kernels/avx2/matmul_types.h"

static matmul_of_type *const types[DT_LIMIT] = {
    [DT_F32] = avx2_matmul_f32,       [DT_F16] = avx2_matmul_f16,
    [DT_BF16] = avx2_matmul_bf16,     [DT_Q4_0] = avx2_matmul_q4_0,
    [DT_Q4_1] = avx2_matmul_q4_1,     [DT_Q5_0] = avx2_matmul_q5_0,
    [DT_Q5_1] = avx2_matmul_q5_1,     [DT_Q8_0] = avx2_matmul_q8_0,
    [DT_Q2_K] = avx2_matmul_q2_k,     [DT_Q3_K] = avx2_matmul_q3_k,
    [DT_Q4_K] = avx2_matmul_q4_k,     [DT_Q5_K] = avx2_matmul_q5_k,
    [DT_Q6_K] = avx2_matmul_q6_k,     [DT_IQ4_NL] = avx2_matmul_iq4_nl,
    [DT_IQ4_XS] = avx2_matmul_iq4_xs,
};

void avx2_matmul(const struct packed *w, uint32_t first, uint32_t last, const struct acts *x,
                 float *y, size_t y_stride, void *scratch)
{
    types[w->type](&(struct matmul_call){ w, first, last, x, y, y_stride, scratch });
}
