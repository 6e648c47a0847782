#include "base/dtype.h"

static const struct dtype_info infos[DT_LIMIT] = {
    [DT_F32] = { "F32", 1, 4 },
    [DT_F16] = { "F16", 1, 2 },
    [DT_Q4_0] = { "Q4_0", 32, 18 },
    [DT_Q4_1] = { "Q4_1", 32, 20 },
    [4] = { "Q4_2", 0, 0 },
    [5] = { "Q4_3", 0, 0 },
    [DT_Q5_0] = { "Q5_0", 32, 22 },
    [DT_Q5_1] = { "Q5_1", 32, 24 },
    [DT_Q8_0] = { "Q8_0", 32, 34 },
    [9] = { "Q8_1", 0, 0 },
    [DT_Q2_K] = { "Q2_K", 256, 84 },
    [DT_Q3_K] = { "Q3_K", 256, 110 },
    [DT_Q4_K] = { "Q4_K", 256, 144 },
    [DT_Q5_K] = { "Q5_K", 256, 176 },
    [DT_Q6_K] = { "Q6_K", 256, 210 },
    [15] = { "Q8_K", 0, 0 },
    [16] = { "IQ2_XXS", 0, 0 },
    [17] = { "IQ2_XS", 0, 0 },
    [18] = { "IQ3_XXS", 0, 0 },
    [19] = { "IQ1_S", 0, 0 },
    [DT_IQ4_NL] = { "IQ4_NL", 32, 18 },
    [21] = { "IQ3_S", 0, 0 },
    [22] = { "IQ2_S", 0, 0 },
    [DT_IQ4_XS] = { "IQ4_XS", 256, 136 },
    [24] = { "I8", 0, 0 },
    [25] = { "I16", 0, 0 },
    [26] = { "I32", 0, 0 },
    [27] = { "I64", 0, 0 },
    [28] = { "F64", 0, 0 },
    [29] = { "IQ1_M", 0, 0 },
    [DT_BF16] = { "BF16", 1, 2 },
    [31] = { "Q4_0_4_4", 0, 0 },
    [32] = { "Q4_0_4_8", 0, 0 },
    [33] = { "Q4_0_8_8", 0, 0 },
    [34] = { "TQ1_0", 0, 0 },
    [35] = { "TQ2_0", 0, 0 },
    [39] = { "MXFP4", 0, 0 },
    [40] = { "NVFP4", 0, 0 },
    [41] = { "Q1_0", 0, 0 },
};

const struct dtype_info *dtype_info(uint32_t number)
{
    return number < DT_LIMIT && infos[number].name ? &infos[number] : NULL;
}

size_t dtype_bytes(uint32_t number, uint64_t n)
{
    const struct dtype_info *t = dtype_info(number);
    size_t bytes;
    if (!t || !t->block_elems || n % t->block_elems)
        return 0;
    if (__builtin_mul_overflow((size_t)(n / t->block_elems), (size_t)t->block_bytes, &bytes))
        return 0;
    return bytes;
}
