#include "kernels/attn_block.h"

size_t attn_scratch_bytes(uint32_t n_query, uint32_t d_k, uint32_t d_v)
{
    size_t group = n_query < ATTN_GROUP ? n_query : ATTN_GROUP;
    return (attn_scratch_floats(d_k, d_v) + group * KV_BLOCK) * sizeof(float);
}
