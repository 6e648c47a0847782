/* kernels/attention.h - partial attention of a few queries over one run of rows, and merging partials.
 *
 * The contract. Positions are cut into chunks of 1,024; a chunk is a partial, computed over its blocks of 64 in order:
 *
 *     m = -inf, l = 0, o = 0
 *     for each block that holds a visible row:
 *         s_i = (fma chain over j of q[j], k[j][i]) * scale          int8 K: (chain * kscale_i) * scale
 *         with a soft cap c: s_i = c * tanh(s_i / c)                 rows that are not visible do not exist
 *         m' = max(m, max_i s_i);  a = exp(m - m');  p_i = exp(s_i - m')
 *         l = fma(l, a, sum p_i)                                     16 virtual lanes (lane i mod 16, rows in order), then
 *         o = o * a;  for rows i in order: o = fma(p_i, v[i], o)     the tree 8, 4, 2, 1;  int8 V: (p_i * vscale_i) for p_i
 *     merge into the total (m, l, o) in chunk order:
 *         m' = max(m_t, m);  a = exp(m_t - m');  b = exp(m - m')
 *         l_t = fma(l_t, a, l * b);  o_t = fma(o_t, a, o * b);  m_t = m'        an empty side changes nothing
 *     result o_t / l_t
 *
 * exp is kern_exp of rows.h. The bits depend on the query, its visible rows and their positions, on nothing else.
 * A row mask (select policies) makes rows invisible; masked rows are not touched. */
#ifndef KERNELS_ATTENTION_H
#define KERNELS_ATTENTION_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/kv_rows.h"

enum { ATTN_CHUNK_BLOCKS = 16 }; // 1,024 positions

/* The running state of n queries: m [n], l [n], o [n][d_v]; an empty one has m = -inf, l = 0, o = 0. */
struct attn_state {
    float *m, *l, *o;
};

struct attn_run {
    enum kv_type type;
    uint32_t d_k, d_v;        // multiples of 8, at most 512
    float scale, softcap;     // softcap 0: none
    uint32_t n_query;
    const float *q;           // query i at q + i * q_stride
    size_t q_stride;          // floats
    const uint32_t *lo, *hi;  // [n_query] visible rows [lo, hi), counted from the first row of block 0
    uint32_t first, last;     // blocks [first, last) of the run, at most one chunk of 16, first % 16 == 0 unless lo cuts it
    const char *k, *v;        // block b's parts at k + b * stride (or table[b] + k_offset, when there is a table)
    size_t stride;
    char *const *table;
    size_t k_offset, v_offset;
    const uint64_t *row_mask; // [block] bit i set: row i visible; NULL: all. Shared by all queries of the run
};

/* The partial of one chunk into `out` (overwritten). Queries that see no row of it get the empty state.
 * scratch: at least attn_scratch_bytes(run), 64-byte aligned, one a thread. */
typedef void kern_attn_partial(const struct attn_run *run, struct attn_state out, void *scratch);

size_t attn_scratch_bytes(uint32_t n_query, uint32_t d_k, uint32_t d_v);

/* total = total merged with part, n queries. */
typedef void kern_attn_merge(struct attn_state total, struct attn_state part, uint32_t n_query, uint32_t d_v);

/* out [n][out_stride] = o / l. */
typedef void kern_attn_finish(float *out, size_t out_stride, struct attn_state total, uint32_t n_query, uint32_t d_v);

/* Writes one row (d elements, f32, already roped) as row `row` of a part. f16: round to nearest even. int8: scale =
 * amax * (1/127 as f32), q = clamp(rint(x * (127 / amax)), +-127), all zero when amax is 0. */
typedef void kern_store_k(enum kv_type type, void *part, uint32_t row, const float *x, uint32_t d);
typedef void kern_store_v(enum kv_type type, void *part, uint32_t row, const float *x, uint32_t d);

#endif
