/* Attention over a block is a product with K, a softmax and a product with V; both products are tiles (attn_tile.h). A block is
 * read straight from the cache while few queries share it (decode: memory is the limit) and packed for many (prefill: fma
 * is the limit). While tiles read a part, the next block's part is fetched, as many bytes as they read: blocks of a layer
 * lie far apart, where no hardware prefetcher follows (7.5 -> 13.2 GB/s of 18, 3 queries of 64, depth 4,096). */
#include <stdbool.h>
#include <string.h>

#include "kernels/attn_block.h"
#include "kernels/avx2/fns.h"
#include "kernels/avx2/attn_tile.h"
#include "kernels/avx2/vec.h"

/* How many of n queries the next tile takes: two tiles of 2 are faster than 3 and a lone one. */
static uint32_t tile_queries(uint32_t n)
{
    return n == 4 ? 2 : n < TILE_QUERIES ? n : TILE_QUERIES;
}

struct block {
    struct matrix k, v;             // [d_k][64] and [64][d_v]
    const float *k_scale, *v_scale; // [64]; NULL but for int8
    uint64_t mask;
};

/* Queries that see a row of the block, their scores or weights, and what their states go through. */
struct group {
    uint32_t n, query[ATTN_GROUP];
    struct row_range rows[ATTN_GROUP];
    bool ragged;                                             // not all rows[] are the same
    float *p;                                                // [n][64]
    _Alignas(32) float a[ATTN_GROUP];                        // exp(m - m')
    float m[ATTN_GROUP], scale[ATTN_GROUP], sum[ATTN_GROUP]; // m', what s lacks, sum of p
};

static void scores(const struct attn_run *run, const struct block *b, const struct group *g)
{
    struct tile t = { .n_v = TILE_VECTORS, .last = run->d_k };
    memset(g->p, 0, (size_t)g->n * KV_BLOCK * sizeof *g->p);
    for (; t.out < KV_BLOCK; t.out += 8 * TILE_VECTORS)
        for (uint32_t i = 0; i < g->n; i += t.n_q) {
            t.n_q = tile_queries(g->n - i);
            for (uint32_t q = 0; q < t.n_q; q++) {
                t.a[q] = run->q + g->query[i + q] * run->q_stride;
                t.c[q] = g->p + (size_t)(i + q) * KV_BLOCK + t.out;
            }
            avx2_tile_run(&b->k, &t);
        }
}

/* All ones in the lanes whose bit is set. */
static inline __m256 lanes_of(uint64_t bits)
{
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    __m256i all = _mm256_set1_epi32((int)(bits & 255));
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(all, bit), bit));
}

/* What only some scores need, in place: an int8 row's scale; after `scale` the soft cap, and -inf for rows not seen.
 * Answers the scale that is still to be applied. */
static float prepare_scores(const struct attn_run *run, const struct block *b, float *s,
                            uint64_t seen)
{
    if (b->k_scale)
        for (uint32_t i = 0; i < KV_BLOCK; i += 8)
            _mm256_store_ps(s + i,
                            _mm256_mul_ps(_mm256_load_ps(s + i), _mm256_load_ps(b->k_scale + i)));
    if (run->softcap == 0 && seen == UINT64_MAX)
        return run->scale;
    for (uint32_t i = 0; i < KV_BLOCK; i += 8) {
        __m256 x = _mm256_mul_ps(_mm256_load_ps(s + i), _mm256_set1_ps(run->scale));
        if (run->softcap != 0)
            x = softcap8(x, _mm256_set1_ps(run->softcap));
        _mm256_store_ps(s + i, _mm256_blendv_ps(_mm256_set1_ps(-INFINITY), x, lanes_of(seen >> i)));
    }
    return 1;
}

/* The largest of m and all s * scale. */
static float largest_score(float m, const float *s, float scale)
{
    __m256 top[2] = { _mm256_set1_ps(-INFINITY), _mm256_set1_ps(-INFINITY) }, x;
    for (uint32_t i = 0; i < KV_BLOCK; i += 8) {
        x = _mm256_mul_ps(_mm256_load_ps(s + i), _mm256_set1_ps(scale));
        top[i / 8 % 2] = _mm256_max_ps(x, top[i / 8 % 2]); // of a NaN and a number the number
    }
    return larger8(m, _mm256_max_ps(top[0], top[1]));
}

/* Scores s to weights exp(s * scale - m), times V's scales. Answers the sum of the weights without those. */
static float weights(const struct block *b, float *p, float scale, float m)
{
    const float *row_scale = b->v_scale;
    __m256 sum[2] = { _mm256_setzero_ps(), _mm256_setzero_ps() }, x[4];
    for (uint32_t i = 0; i < KV_BLOCK; i += 32) {
        for (uint32_t v = 0; v < 4; v++) {
            x[v] = _mm256_mul_ps(_mm256_load_ps(p + i + 8 * v), _mm256_set1_ps(scale));
            x[v] = _mm256_sub_ps(x[v], _mm256_set1_ps(m));
        }
        exp8_low_n(x, x, 4);
        for (uint32_t v = 0; v < 4; v++) {
            sum[v % 2] = _mm256_add_ps(sum[v % 2], x[v]);
            if (row_scale)
                x[v] = _mm256_mul_ps(x[v], _mm256_load_ps(row_scale + i + 8 * v));
            _mm256_store_ps(p + i + 8 * v, x[v]);
        }
    }
    return lanes_sum8(sum[0], sum[1]);
}

static void rescale(float *o, float a, uint32_t d)
{
    if (a != 1)
        for (uint32_t j = 0; j < d; j += 8)
            _mm256_storeu_ps(o + j, _mm256_mul_ps(_mm256_loadu_ps(o + j), _mm256_set1_ps(a)));
}

/* In passes over the group, so that one query's chain of latencies overlaps with the next one's. */
static void softmax(const struct attn_run *run, const struct block *b, struct group *g,
                    struct attn_state out)
{
    for (uint32_t i = 0; i < g->n; i++) {
        float *s = g->p + (size_t)i * KV_BLOCK, m = out.m[g->query[i]];
        g->scale[i] = prepare_scores(run, b, s, row_bits(g->rows[i].lo, g->rows[i].hi) & b->mask);
        g->m[i] = largest_score(m, s, g->scale[i]);
        g->a[i] = m - g->m[i];
    }
    for (uint32_t i = 0; i < g->n; i++)
        g->sum[i] = weights(b, g->p + (size_t)i * KV_BLOCK, g->scale[i], g->m[i]);
    for (uint32_t i = 0; i < g->n; i += 8)
        _mm256_store_ps(g->a + i, exp8_low(_mm256_load_ps(g->a + i)));
    for (uint32_t i = 0; i < g->n; i++) {
        uint32_t query = g->query[i];
        out.m[query] = g->m[i];
        out.l[query] = fmaf(out.l[query], g->a[i], g->sum[i]);
        rescale(out.o + (size_t)query * run->d_v, g->a[i], run->d_v);
    }
}

/* o of n_q queries from the i-th on += p V over rows [lo, hi), all of them seen. */
static void add_run(const struct attn_run *run, const struct block *b, const struct group *g,
                    struct attn_state out, uint32_t i, uint32_t n_q, struct row_range rows)
{
    struct tile t = { .n_q = n_q, .first = rows.lo, .last = rows.hi };
    for (uint32_t q = 0; q < n_q; q++)
        t.a[q] = g->p + (size_t)(i + q) * KV_BLOCK;
    for (; t.out < run->d_v; t.out += 8 * t.n_v) {
        uint32_t left = (run->d_v - t.out) / 8;
        t.n_v = left >= 4 ? 4 : left >= 2 ? 2 : 1;
        for (uint32_t q = 0; q < n_q; q++)
            t.c[q] = out.o + (size_t)g->query[i + q] * run->d_v + t.out;
        avx2_tile_run(&b->v, &t);
    }
}

/* The same over the rows of [lo, hi) that the mask leaves, a run of neighbours at a time. */
static void add_rows(const struct attn_run *run, const struct block *b, const struct group *g,
                     struct attn_state out, uint32_t i, uint32_t n_q, struct row_range rows)
{
    uint64_t left = rows.lo < rows.hi ? row_bits(rows.lo, rows.hi) & b->mask : 0;
    while (left) {
        uint32_t lo = (uint32_t)__builtin_ctzll(left);
        uint64_t gap = ~left & UINT64_MAX << lo;
        uint32_t hi = gap ? (uint32_t)__builtin_ctzll(gap) : KV_BLOCK;
        add_run(run, b, g, out, i, n_q, (struct row_range){ lo, hi });
        left &= ~row_bits(lo, hi);
    }
}

/* The rows that n_q queries from the i-th on all see; none: [64, 64). */
static struct row_range common_rows(const struct group *g, uint32_t i, uint32_t n_q)
{
    struct row_range common = g->rows[i];
    for (uint32_t q = i + 1; q < i + n_q; q++) {
        common.lo = g->rows[q].lo > common.lo ? g->rows[q].lo : common.lo;
        common.hi = g->rows[q].hi < common.hi ? g->rows[q].hi : common.hi;
    }
    return common.lo < common.hi ? common : (struct row_range){ KV_BLOCK, KV_BLOCK };
}

/* Queries of a tile that begin and end at different rows: what all of them see goes together, the rest one by one. */
static void add_ragged(const struct attn_run *run, const struct block *b, const struct group *g,
                       struct attn_state out, uint32_t i, uint32_t n_q)
{
    struct row_range common = common_rows(g, i, n_q);
    for (uint32_t q = i; q < i + n_q; q++) {
        uint32_t hi = g->rows[q].hi < common.lo ? g->rows[q].hi : common.lo;
        add_rows(run, b, g, out, q, 1, (struct row_range){ g->rows[q].lo, hi });
    }
    add_rows(run, b, g, out, i, n_q, common);
    for (uint32_t q = i; q < i + n_q; q++)
        add_rows(run, b, g, out, q, 1, (struct row_range){ common.hi, g->rows[q].hi });
}

static void add_values(const struct attn_run *run, const struct block *b, const struct group *g,
                       struct attn_state out)
{
    for (uint32_t i = 0, n_q; i < g->n; i += n_q) {
        n_q = tile_queries(g->n - i);
        if (g->ragged)
            add_ragged(run, b, g, out, i, n_q);
        else
            add_rows(run, b, g, out, i, n_q, g->rows[i]);
    }
}

/* Whether packing pays: writing 32 KiB of panels (d 64) costs what 24 queries gain from int8, and 190 from f16. */
static bool packs(const struct attn_run *run)
{
    return run->n_query >= (run->type == KV_INT8 ? 48 : 192);
}

/* K, and V from the first to the last row that a query sees, into panels in the scratch. */
static void pack_block(const struct attn_run *run, struct block *b, uint32_t i, float *scratch)
{
    struct attn_scratch to = attn_scratch_place(scratch, run->d_k, run->d_v);
    struct row_range seen = { KV_BLOCK, 0 };
    for (uint32_t q = 0; q < run->n_query; q++) {
        struct row_range rows = attn_rows(run, q, i);
        if (rows.lo == rows.hi)
            continue;
        seen.lo = rows.lo < seen.lo ? rows.lo : seen.lo;
        seen.hi = rows.hi > seen.hi ? rows.hi : seen.hi;
    }
    avx2_tile_pack(&b->k, to.k, 0, run->d_k);
    for (uint32_t r = seen.lo; r < seen.hi; r++)
        if (b->mask >> r & 1)
            avx2_tile_pack(&b->v, to.v, r, r + 1);
    b->k.from = b->v.from = FROM_PANELS;
    b->k.data = (const char *)to.k;
    b->v.data = (const char *)to.v;
}

static struct block open_block(const struct attn_run *run, uint32_t i)
{
    uint32_t next = i + 1 < run->last ? i + 1 : i;
    enum source from = (enum source)run->type;
    struct block b = { .k = { from, run->d_k, KV_BLOCK, attn_k(run, i), attn_k(run, next) },
                       .v = { from, KV_BLOCK, run->d_v, attn_v(run, i), attn_v(run, next) },
                       .mask = attn_mask(run, i) };
    if (run->type == KV_INT8) {
        b.k_scale = kv_scales(b.k.data, run->d_k);
        b.v_scale = kv_scales(b.v.data, run->d_v);
    }
    return b;
}

static void attend(const struct attn_run *run, const struct block *b, struct group *g,
                   struct attn_state out)
{
    scores(run, b, g);
    softmax(run, b, g, out);
    add_values(run, b, g, out);
    g->n = 0;
    g->ragged = false;
}

void avx2_attn_partial(const struct attn_run *run, struct attn_state out, void *scratch)
{
    struct group g = { .p = attn_scratch_place(scratch, run->d_k, run->d_v).p };
    const bool packing = packs(run);
    for (uint32_t q = 0; q < run->n_query; q++) {
        out.m[q] = -INFINITY;
        out.l[q] = 0;
    }
    memset(out.o, 0, (size_t)run->n_query * run->d_v * sizeof *out.o);

    for (uint32_t i = run->first; i < run->last; i++) {
        struct block b = open_block(run, i);
        for (uint32_t q = 0; q < run->n_query; q++) {
            struct row_range rows = attn_rows(run, q, i);
            if (!(row_bits(rows.lo, rows.hi) & b.mask))
                continue;
            if (packing && b.k.from != FROM_PANELS) // on the first query that sees it
                pack_block(run, &b, i, scratch);
            g.query[g.n] = q;
            g.rows[g.n++] = rows;
            g.ragged |= rows.lo != g.rows[0].lo || rows.hi != g.rows[0].hi;
            if (g.n == ATTN_GROUP)
                attend(run, &b, &g, out);
        }
        if (g.n > 0)
            attend(run, &b, &g, out);
    }
}

void avx2_attn_merge(struct attn_state total, struct attn_state part, uint32_t n_query,
                     uint32_t d_v)
{
    for (uint32_t i = 0; i < n_query; i++) {
        float *o_t = total.o + (size_t)i * d_v, *o = part.o + (size_t)i * d_v;
        if (part.l[i] == 0)
            continue;
        if (total.l[i] == 0) {
            total.m[i] = part.m[i];
            total.l[i] = part.l[i];
            memcpy(o_t, o, d_v * sizeof *o);
            continue;
        }
        float m = larger8(total.m[i], _mm256_set1_ps(part.m[i]));
        float a = exp_f32(total.m[i] - m), b = exp_f32(part.m[i] - m);
        total.m[i] = m;
        total.l[i] = fmaf(total.l[i], a, part.l[i] * b);
        for (uint32_t j = 0; j < d_v; j += 8) {
            __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(o + j), _mm256_set1_ps(b));
            _mm256_storeu_ps(o_t + j,
                             _mm256_fmadd_ps(_mm256_loadu_ps(o_t + j), _mm256_set1_ps(a), scaled));
        }
    }
}

void avx2_attn_finish(float *out, size_t out_stride, struct attn_state total, uint32_t n_query,
                      uint32_t d_v)
{
    for (uint32_t i = 0; i < n_query; i++) {
        const float *o = total.o + (size_t)i * d_v;
        __m256 l = _mm256_set1_ps(total.l[i]);
        for (uint32_t j = 0; j < d_v; j += 8)
            _mm256_storeu_ps(out + i * out_stride + j, _mm256_div_ps(_mm256_loadu_ps(o + j), l));
    }
}
