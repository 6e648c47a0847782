/* kernels/attention.h - partial attention of queries over one run of rows, and merging partials.
 *
 * The contract. Positions are cut into chunks of 1,024, at multiples of 1,024; a chunk is a
 * partial, computed over its blocks of 64 in order. For one query (others never matter to it):
 *
 *     m = -inf, l = 0, o = 0
 *     for each block that holds a row visible to it (others leave m, l, o as they are):
 *         s_i = (chain of fma from +0 over j of q[j], k[j][i]) * scale
 *                                            int8 K: (chain * kscale_i) * scale
 *         with a soft cap c:                 s_i = c * tanh(s_i / c), tanh as rows.h has it
 *         m' = max(m, max_i s_i);  a = exp(m - m');  p_i = exp(s_i - m')
 *         l = fma(l, a, sum p_i)             lane i mod 16 adds its rows in order from +0, then
 *                                            the lanes' tree 8, 4, 2, 1
 *         o = o * a
 *         for visible rows i in order:       o = fma(p_i, v[i], o)
 *                                            int8 V: p_i * vscale_i for p_i, v[i] the int8
 *     merge into the total (m, l, o) in chunk order:
 *         m' = max(m_t, m);  a = exp(m_t - m');  b = exp(m - m')
 *         l_t = fma(l_t, a, l * b);  o_t = fma(o_t, a, o * b);  m_t = m'
 *         a part with l = 0 is empty: nothing changes; into a total with l = 0 it is copied
 *     result o_t / l_t                       a query that saw nothing at all: NaN
 *
 * exp is kern_exp of rows.h. max ignores NaN and takes -0 for +0, so it has no order; m is never
 * NaN and never -0. A NaN or infinite score of a visible row makes that query's l and o NaN (a
 * score of -inf beside finite ones weighs 0), never another query's. The bits depend on the query,
 * its visible rows and their positions, on nothing else.
 *
 * Rows that are not visible (outside [lo, hi), or masked by a select policy) do not exist: their V
 * is not read, and what their lanes of K hold, NaN included, changes nothing. K of a block with a
 * visible row may be read whole, scales too; a block without one is not read at all. Reading ahead
 * is by prefetch, which cannot fault. */
#ifndef KERNELS_ATTENTION_H
#define KERNELS_ATTENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kv_rows.h"

enum { ATTN_CHUNK_BLOCKS = 16 }; // 1,024 positions

/* The running state of n queries: m [n], l [n], o [n][d_v]; empty: m = -inf, l = 0, o = 0. */
struct attn_state {
    float *m, *l, *o;
};

struct attn_run {
    enum kv_type type;
    uint32_t d_k, d_v;    // multiples of 8, 8 to 512
    float scale, softcap; // scale above 0; softcap 0: none
    uint32_t n_query;
    const float *q;       // query i at q + i * q_stride
    size_t q_stride;      // floats
    const uint32_t *lo;   // [n_query] visible rows [lo, hi), counted from the first row of
    const uint32_t *hi;   // block 0, which is at a multiple of 1,024 positions; lo >= hi: none
    uint32_t first, last; // blocks [first, last), all of one chunk of 16
    const char *k, *v;    // block b's parts at k + b * stride, v + b * stride; 64-byte aligned
    size_t stride;        // bytes
    char *const *table;   // or, when not NULL: at table[b] + k_offset, table[b] + v_offset
    size_t k_offset, v_offset;
    const char *k_next, *v_next; // parts that the caller has read next, to be fetched; NULL: none
    const uint64_t *row_mask;    // [b] bit i: row i is visible to all queries; NULL: all rows are
    /* attn_partial leaves the scores that attn_scores gives of query i and the rows of block b that it sees at keep +
     * i * keep_stride + (b - keep_first) * 64, 64-byte aligned, and anything beside them. NULL: nowhere. */
    float *keep;
    size_t keep_stride; // floats
    uint32_t keep_first;
};

/* The partial of one chunk into `out` (overwritten). Queries that see no row of it get the empty
 * state. Blocks of the chunk that no query sees may be left out of [first, last): the bits are the
 * same. scratch: at least attn_scratch_bytes, 64-byte aligned, one a thread. */
typedef void kern_attn_partial(const struct attn_run *run, struct attn_state out, void *scratch);

size_t attn_scratch_bytes(uint32_t n_query, uint32_t d_k, uint32_t d_v);

/* total = total merged with part, n queries. */
typedef void kern_attn_merge(struct attn_state total, struct attn_state part, uint32_t n_query,
                             uint32_t d_v);

/* Raw scores of all queries over one block, rows visible or not: out [n_query][64], s_i as in the contract above
 * (scaled, soft-capped); out 64-byte aligned. Reads K alone. scratch as attn_partial's. */
typedef void kern_attn_scores(const struct attn_run *run, uint32_t block, float *out,
                              void *scratch);

/* What the rows of one block receive of queries whose softmax is finished: for each query q and each row i that it sees
 *     w = rint(exp(min(s[q][i] - m[q], 0)) * (2^30 / l[q]))      0 where that is NaN or below 0, 2^30 where above
 *     mass[i] += w, or with `peak` mass[i] = max(mass[i], w)
 * s: scores of query q at s + q * s_stride, 64-byte aligned (attn_scores, or kept); final.m, final.l of the merged
 * total (o is not read). Integers, so the order is free. */
typedef void kern_attn_mass(const struct attn_run *run, uint32_t block, const float *s,
                            size_t s_stride, struct attn_state final, bool peak,
                            uint64_t mass[KV_BLOCK]);

/* Bits of a block's rows: bit i where mass[i] <= bound and first <= position[i] < first + n. */
typedef uint64_t kern_low_rows(const uint64_t mass[KV_BLOCK], uint64_t bound,
                               const uint32_t position[KV_BLOCK], uint32_t first, uint32_t n);

/* out [n][out_stride] = o / l, one division an element. */
typedef void kern_attn_finish(float *out, size_t out_stride, struct attn_state total,
                              uint32_t n_query, uint32_t d_v);

/* Writes one row (d elements, f32, already roped) as row `row` of a part. f16: round to nearest
 * even. int8: amax = the largest |x|, scale = amax * (1/127 as f32), inv = amax > 0 ? 127 / amax :
 * 0, q = clamp(rint(x * inv), -127, 127); NaN gives q = 0. A row that holds a NaN has a NaN scale,
 * one that holds an infinity an infinite one: it reads as NaN, and says so in the scores. (Rows
 * whose amax is below 127 / FLT_MAX = 3.8e-37 keep only their signs.) */
typedef void kern_store_k(enum kv_type type, void *part, uint32_t row, const float *x, uint32_t d);
typedef void kern_store_v(enum kv_type type, void *part, uint32_t row, const float *x, uint32_t d);

/* Reads row `row` of a part: x [d], exact for f16 and f32; int8: scale * int8, one rounding. */
typedef void kern_load_k(enum kv_type type, const void *part, uint32_t row, float *x, uint32_t d);
typedef void kern_load_v(enum kv_type type, const void *part, uint32_t row, float *x, uint32_t d);

#endif
