/* kernels/attn_group.h - attention but for its arithmetic: which queries go over which rows.
 *
 *     for each block:  for each group of up to 48 queries that see a row of it:
 *         s [query][row]  = q [query][d] x K [d][row]        tiles
 *         s -> p, (m, l), o * a                              softmax
 *         o [query][d]   += p [query][row] x V [row][d]      tiles, over the rows that all queries
 *                                                            of a tile see; the rest one by one
 *
 * Both products are chains of fma over the inner index with outputs in lanes, so both are one tile:
 *
 *     c [query][out] += a [query][in] x b [in][out]        scores start afresh, outputs go on
 *
 * An instruction set brings the leaves: the tile, the softmax and packing. A block is read straight
 * from the cache while few queries share it (decode: memory is the limit) and packed once for many
 * (prefill: fma is the limit). While tiles read a part, the next block's part is fetched, as many
 * bytes as they read: blocks of a layer lie far apart, where no hardware prefetcher follows (7.5 ->
 * 14 GB/s of 18 on Zen 3, 3 queries of 64, depth 4,096). Private to kernels/, and to the bench that
 * compares layouts. */
#ifndef KERNELS_ATTN_GROUP_H
#define KERNELS_ATTN_GROUP_H

#include <math.h>
#include <stdbool.h>

#include "kernels/attn_block.h"

enum source { FROM_F16 = KV_F16, FROM_F32 = KV_F32, FROM_INT8 = KV_INT8, FROM_PANELS, N_SOURCE };

/* b: element (i, o) at i * n_out + o, or, packed, f32 at [o / width][i][o % width], width the
 * leaves' tile_out. */
struct matrix {
    enum source from;
    uint32_t n_in, n_out; // n_out a multiple of 8
    const char *data;
    const char
        *ahead;    // as many bytes that are wanted next; unless packed, they are fetched in step
    uint64_t idle; // bit i: nobody will read row i of the block that is ahead
};

/* Tiles of all n queries over the same strip of b. */
struct tiles {
    uint32_t n;
    const float *const *a; // [n] rows of factors
    float *const *c;       // [n] rows of outputs
    uint32_t out, n_out;   // outputs [out, out + n_out): 8, 16, 32 .. tile_out; within one panel
    uint32_t first, last;  // inner indices
    const uint8_t *row;    // or, when not NULL, what stands there in this list (first 0),
    uint64_t rows;         //   and the same as bits
    bool fresh;            // sums start at 0, whatever c holds
};

struct attn_block {
    struct matrix k, v;             // [d_k][64] and [64][d_v]
    const float *k_scale, *v_scale; // [64]; NULL but for int8
    float *keep; // query i's scores are left at keep + i * run->keep_stride, or NULL
    uint64_t mask;
};

/* Queries that see a row of the block, and what they go through. */
struct group {
    uint32_t n, query[ATTN_GROUP];
    struct row_range rows[ATTN_GROUP];
    bool ragged;                                             // not all rows[] are the same
    const float *q[ATTN_GROUP];                              // [d_k]
    float *p[ATTN_GROUP], *o[ATTN_GROUP];                    // [64] scores, then weights; [d_v]
    _Alignas(64) float a[ATTN_GROUP];                        // exp(m - m')
    float m[ATTN_GROUP], scale[ATTN_GROUP], sum[ATTN_GROUP]; // m', what s lacks, sum of p
};

struct attn_leaves {
    uint32_t tile_queries, tile_out; // the largest tile
    uint32_t pack_int8, pack_float;  // from how many queries on packing pays
    void (*tiles)(const struct matrix *b, const struct tiles *t);

    /* Inner rows [first, last) as f32 into panels [n_panel][n_in][tile_out]. */
    void (*pack)(const struct matrix *b, float *panels, uint32_t first, uint32_t last);

    /* g->p from sums of products to weights (times V's scales), and scores to b->keep; m and l; o times a. */
    void (*softmax)(const struct attn_run *run, const struct attn_block *b, struct group *g,
                    struct attn_state out);

    /* s [64] from sums of products to scores. */
    void (*finish)(const struct attn_run *run, const struct attn_block *b, float *s);
};

static inline size_t source_bytes(enum source from)
{
    return from == FROM_F16 ? 2 : from == FROM_INT8 ? 1 : 4;
}

/* What the tiles of one strip share: b, and what they fetch, from inner row `first` on. Each of
 * them fetches a part, so that memory is busy while all of them compute. */
struct strip {
    const char *b, *ahead;
    size_t stride, fetch; // bytes from row to row
    size_t next;          // and from a tile's to the next one's
    size_t turn;          // where not 0, steps fetch at `ahead` and this far behind it in turn
    uint64_t rows;        // of a list of rows: those to be fetched, counted from `ahead`
};

/* Packed: what may be fetched are its own rows, 8 further on, from the second cache to the first. */
static inline struct strip strip_of_panels(const struct matrix *b, const struct tiles *t,
                                           uint32_t tile_out)
{
    const size_t row = (size_t)(t->out / tile_out) * b->n_in + t->first;
    const size_t stride = tile_out * source_bytes(b->from);
    return (struct strip){ .b = b->data + row * stride + t->out % tile_out * source_bytes(b->from),
                           .ahead = b->data + (row + 8) * stride,
                           .stride = stride,
                           .fetch = stride };
}

/* Whether so few rows of the block ahead are wanted that they are fetched one by one. */
static inline bool is_sparse(uint64_t idle)
{
    return __builtin_popcountll(idle) > KV_BLOCK / 2;
}

static inline bool is_half_idle(uint64_t idle)
{
    return (uint32_t)idle == UINT32_MAX || idle >> 32 == UINT32_MAX;
}

/* Of a sparse block ahead the rows of V; of K the half that is wanted, whichever half this strip is. */
static inline struct strip strip_of_some(const struct matrix *b, const struct tiles *t)
{
    const size_t bytes = source_bytes(b->from), stride = b->n_out * bytes, at = t->out * bytes;
    const bool upper = (uint32_t)b->idle == UINT32_MAX && t->n_out < KV_BLOCK;
    return (struct strip){ .b = b->data + t->first * stride + at,
                           .ahead = b->ahead + (t->row  ? at
                                                : upper ? KV_BLOCK / 2 * bytes
                                                        : 0),
                           .stride = stride,
                           .fetch = stride,
                           .rows = ~b->idle };
}

static inline struct strip strip_of(const struct matrix *b, const struct tiles *t, size_t n_tile,
                                    uint32_t tile_out)
{
    const size_t bytes = source_bytes(b->from), stride = b->n_out * bytes;
    if (b->from == FROM_PANELS)
        return strip_of_panels(b, t, tile_out);
    if (t->row ? is_sparse(b->idle) : is_half_idle(b->idle))
        return strip_of_some(b, t);
    const size_t fetch = (t->n_out * bytes + n_tile - 1) / n_tile;
    return (struct strip){ .b = b->data + t->first * stride + t->out * bytes,
                           .ahead =
                               b->ahead + ((size_t)t->out * b->n_in + t->first * t->n_out) * bytes,
                           .stride = stride,
                           .fetch = fetch,
                           .next = ((t->row ? b->n_in : t->last) - t->first) * fetch,
                           .rows = t->rows };
}

/* What a block's softmax changes of the queries it is part of: m and l, and o times a. */
static inline void group_finish(const struct group *g, struct attn_state out, uint32_t d_v)
{
    for (uint32_t i = 0; i < g->n; i++) {
        const uint32_t query = g->query[i];
        const float a = g->a[i];
        float *o = g->o[i];
        out.m[query] = g->m[i];
        out.l[query] = fmaf(out.l[query], a, g->sum[i]);
        if (a != 1)
            for (uint32_t j = 0; j < d_v; j++)
                o[j] *= a;
    }
}

/* How many of n queries the next tile takes: the last two share what is left, as a lone query
 * leaves fma units idle. */
static inline uint32_t tile_queries(uint32_t n, uint32_t most)
{
    return n <= most ? n : n < 2 * most ? (n + 1) / 2 : most;
}

extern const struct attn_leaves avx2_attn_leaves, avx512_attn_leaves;

void attn_by_groups(const struct attn_leaves *leaves, const struct attn_run *run,
                    struct attn_state out, void *scratch);
void attn_scores_by_groups(const struct attn_leaves *leaves, const struct attn_run *run,
                           uint32_t block, float *out, void *scratch);

#endif
