/* kernels/attn_block.h - what every width of attention does the same way with integers: where a
 * block lies, which of its rows a query sees, how the scratch is laid out. Private to kernels/. */
#ifndef KERNELS_ATTN_BLOCK_H
#define KERNELS_ATTN_BLOCK_H

#include "kernels/attention.h"

/* scratch = [K of a block as f32][V of a block as f32, d_v rounded up to 64][p of a group of
 * queries, 64 each] */
enum { ATTN_GROUP = 48, ATTN_PANEL = 64 };

struct attn_scratch {
    float *k, *v, *p;
};

/* In front of p. */
static inline size_t attn_scratch_floats(uint32_t d_k, uint32_t d_v)
{
    return KV_BLOCK * ((size_t)d_k + (d_v + ATTN_PANEL - 1) / ATTN_PANEL * ATTN_PANEL);
}

static inline struct attn_scratch attn_scratch_place(void *scratch, uint32_t d_k, uint32_t d_v)
{
    float *at = scratch;
    return (struct attn_scratch){ at, at + (size_t)KV_BLOCK * d_k,
                                  at + attn_scratch_floats(d_k, d_v) };
}

static inline const char *attn_k(const struct attn_run *run, uint32_t block)
{
    return run->table ? run->table[block] + run->k_offset : run->k + (size_t)block * run->stride;
}

static inline const char *attn_v(const struct attn_run *run, uint32_t block)
{
    return run->table ? run->table[block] + run->v_offset : run->v + (size_t)block * run->stride;
}

/* The scales behind an int8 part. */
static inline const float *kv_scales(const void *part, uint32_t d)
{
    return (const float *)((const char *)part + (size_t)KV_BLOCK * d);
}

/* The rows of a block that a query sees: [lo, hi) of the block's own rows, without the row mask. */
struct row_range {
    uint32_t lo, hi; // lo == hi: none
};

static inline struct row_range attn_rows(const struct attn_run *run, uint32_t query, uint32_t block)
{
    uint64_t base = (uint64_t)block * KV_BLOCK, lo = run->lo[query], hi = run->hi[query];
    if (hi <= base || lo >= base + KV_BLOCK || lo >= hi)
        return (struct row_range){ 0, 0 };
    return (struct row_range){ lo <= base ? 0 : (uint32_t)(lo - base),
                               hi >= base + KV_BLOCK ? KV_BLOCK : (uint32_t)(hi - base) };
}

static inline uint64_t attn_mask(const struct attn_run *run, uint32_t block)
{
    return run->row_mask ? run->row_mask[block] : UINT64_MAX;
}

#endif
