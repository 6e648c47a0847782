/* Attention over a block is two small matrix products with a softmax between:
 *
 *     s [query][row] = q [query][d] x K [d][row]            o [query][d] += p [query][row] x V [row][d]
 *
 * Both are chains of fma whose outputs lie in lanes, so both are one tile: up to 3 queries x 4 vectors, 12 accumulators
 * that stay in registers while the inner index runs. 12 chains cover the latency of fma (4 cycles, 2 a cycle), and a vector
 * of the block is loaded and converted once for 3 queries. Half floats are converted on the way: on Zen 3 that is free (99
 * of 101 GFLOP/s). int8 is not (78), so for many queries an int8 block is widened to f32 once.
 * While a tile computes, the same part of the next block is fetched, a row's bytes a row: blocks of one layer lie a whole
 * block apart, where no hardware prefetcher follows. */
#include <stdbool.h>
#include <string.h>

#include "kernels/attn_block.h"
#include "kernels/avx2/fns.h"
#include "kernels/avx2/vec.h"
#include "kernels/lanes.h"

enum { TILE_QUERIES = 3, TILE_VECTORS = 4, WIDEN_FROM = 24 };

#define INLINE static inline __attribute__((always_inline))

/* c[q][0 .. 8 n_v) += sum over i in [first, last) of a[q][i] * b[i][0 .. 8 n_v), in that order. */
struct tile {
    float *c[TILE_QUERIES];
    const float *a[TILE_QUERIES];
    const char *b, *ahead; // row 0; `ahead` is only fetched
    size_t b_stride;
    uint32_t first, last;
};

typedef void tile_fn(const struct tile *t);

INLINE size_t bytes_of(enum kv_type type)
{
    return type == KV_F16 ? 2 : type == KV_F32 ? 4 : 1;
}

INLINE __m256 load8(enum kv_type type, const char *p)
{
    if (type == KV_F16)
        return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
    if (type == KV_F32)
        return _mm256_loadu_ps((const float *)p);
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}

/* One body for all tiles: n_q, n_v and type are constants where it is called. The pragmas unroll the two outer loops
 * before the compiler decides what lives in registers; without them every step stores 12 accumulators. */
INLINE void tile_body(const struct tile *t, uint32_t n_q, uint32_t n_v, enum kv_type type)
{
    __m256 acc[TILE_QUERIES][TILE_VECTORS];
    size_t stride = t->b_stride, step = 8 * n_v * bytes_of(type);
    const char *b = t->b + t->first * stride, *ahead = t->ahead + t->first * step;
    uint32_t last = t->last;

#pragma GCC unroll 3
    for (uint32_t q = 0; q < n_q; q++)
#pragma GCC unroll 4
        for (uint32_t v = 0; v < n_v; v++)
            acc[q][v] = _mm256_loadu_ps(t->c[q] + 8 * v);

    for (uint32_t i = t->first; i < last; i++, b += stride, ahead += step) {
        __m256 a[TILE_QUERIES];
        for (uint32_t q = 0; q < n_q; q++)
            a[q] = _mm256_broadcast_ss(t->a[q] + i);
        for (uint32_t line = 0; line < step; line += 64)
            _mm_prefetch(ahead + line, _MM_HINT_T0);
        for (uint32_t v = 0; v < n_v; v++) {
            __m256 bv = load8(type, b + 8 * v * bytes_of(type));
            for (uint32_t q = 0; q < n_q; q++)
                acc[q][v] = _mm256_fmadd_ps(a[q], bv, acc[q][v]);
        }
    }

#pragma GCC unroll 3
    for (uint32_t q = 0; q < n_q; q++)
#pragma GCC unroll 4
        for (uint32_t v = 0; v < n_v; v++)
            _mm256_storeu_ps(t->c[q] + 8 * v, acc[q][v]);
}

#define TILE(n_q, n_v, type)                                                                       \
    static void tile_##n_q##_##n_v##_##type(const struct tile *t)                                  \
    {                                                                                              \
        tile_body(t, n_q, n_v, type);                                                              \
    }
#define TILES(type)                                                                                \
    TILE(1, 1, type)                                                                               \
    TILE(1, 2, type)                                                                               \
    TILE(1, 4, type)                                                                               \
    TILE(2, 1, type)                                                                               \
    TILE(2, 2, type)                                                                               \
    TILE(2, 4, type)                                                                               \
    TILE(3, 1, type)                                                                               \
    TILE(3, 2, type)                                                                               \
    TILE(3, 4, type)
#define ROW(n_q, type)                                                                             \
    {                                                                                              \
        tile_##n_q##_1_##type, tile_##n_q##_2_##type, tile_##n_q##_4_##type                        \
    }

TILES(KV_F16)
TILES(KV_F32)
TILES(KV_INT8)

static tile_fn *const TILE_FN[3][TILE_QUERIES][3] = {
    [KV_F16] = { ROW(1, KV_F16), ROW(2, KV_F16), ROW(3, KV_F16) },
    [KV_F32] = { ROW(1, KV_F32), ROW(2, KV_F32), ROW(3, KV_F32) },
    [KV_INT8] = { ROW(1, KV_INT8), ROW(2, KV_INT8), ROW(3, KV_INT8) },
};

/* n_v 1, 2 or 4. */
static void run_tile(enum kv_type type, uint32_t n_q, uint32_t n_v, const struct tile *t)
{
    TILE_FN[type][n_q - 1][n_v / 2](t);
}

/* How many of n queries the next tile takes: two tiles of 2 are faster than 3 and a lone one. */
static uint32_t tile_queries(uint32_t n)
{
    return n == 4 ? 2 : n < TILE_QUERIES ? n : TILE_QUERIES;
}

struct block {
    enum kv_type type; // as the tiles read it: a widened one is KV_F32
    const char *k, *v, *k_ahead, *v_ahead;
    const float *k_scale, *v_scale; // [64]; NULL but for int8
    uint64_t mask;
};

/* Queries that see a row of the block, and their scores or weights. */
struct group {
    uint32_t n, query[ATTN_GROUP];
    struct row_range rows[ATTN_GROUP];
    float *p; // [n][64]
};

static void scores(const struct attn_run *run, const struct block *b, const struct group *g)
{
    size_t width = TILE_VECTORS * 8, bytes = bytes_of(b->type);
    memset(g->p, 0, (size_t)g->n * KV_BLOCK * sizeof *g->p);
    for (size_t row = 0; row < KV_BLOCK; row += width) {
        struct tile t = { .b = b->k + row * bytes,
                          .ahead = b->k_ahead + row * run->d_k * bytes,
                          .b_stride = KV_BLOCK * bytes,
                          .last = run->d_k };
        for (uint32_t i = 0, n_q; i < g->n; i += n_q) {
            n_q = tile_queries(g->n - i);
            for (uint32_t q = 0; q < n_q; q++) {
                t.a[q] = run->q + g->query[i + q] * run->q_stride;
                t.c[q] = g->p + (size_t)(i + q) * KV_BLOCK + row;
            }
            run_tile(b->type, n_q, TILE_VECTORS, &t);
        }
    }
}

/* All ones in the lanes whose bit is set. */
static inline __m256 lanes_of(uint64_t bits)
{
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    __m256i all = _mm256_set1_epi32((int)(bits & 255));
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(all, bit), bit));
}

/* Sums of products to scores: scaled, capped, -inf where a row is not seen. Answers the largest. */
static float finish_scores(const struct attn_run *run, const struct block *b, float *s,
                           uint64_t seen)
{
    const __m256 scale = _mm256_set1_ps(run->scale), none = _mm256_set1_ps(-INFINITY);
    __m256 top = none;
    for (uint32_t i = 0; i < KV_BLOCK; i += 8, seen >>= 8) {
        __m256 x = _mm256_load_ps(s + i);
        if (b->k_scale)
            x = _mm256_mul_ps(x, _mm256_load_ps(b->k_scale + i));
        x = _mm256_mul_ps(x, scale);
        if (run->softcap != 0)
            x = softcap8(x, _mm256_set1_ps(run->softcap));
        x = _mm256_blendv_ps(none, x, lanes_of(seen));
        top = _mm256_max_ps(x, top); // of a NaN and a number the number
        _mm256_store_ps(s + i, x);
    }
    return largest8(top);
}

/* Scores to weights, multiplied by V's scales. Answers the sum of those that are not. */
static float weights(const struct block *b, float *p, float m)
{
    const __m256 top = _mm256_set1_ps(m);
    __m256 sum[2] = { _mm256_setzero_ps(), _mm256_setzero_ps() };
    for (uint32_t i = 0; i < KV_BLOCK; i += 8) {
        __m256 x = exp8_low(_mm256_sub_ps(_mm256_load_ps(p + i), top));
        sum[i / 8 % 2] = _mm256_add_ps(sum[i / 8 % 2], x);
        if (b->v_scale)
            x = _mm256_mul_ps(x, _mm256_load_ps(b->v_scale + i));
        _mm256_store_ps(p + i, x);
    }
    return lanes_sum8(sum[0], sum[1]);
}

static void rescale(float *o, float a, uint32_t d)
{
    if (a != 1)
        for (uint32_t j = 0; j < d; j += 8)
            _mm256_storeu_ps(o + j, _mm256_mul_ps(_mm256_loadu_ps(o + j), _mm256_set1_ps(a)));
}

static void softmax(const struct attn_run *run, const struct block *b, const struct group *g,
                    struct attn_state out)
{
    for (uint32_t i = 0; i < g->n; i++) {
        uint32_t query = g->query[i];
        float *p = g->p + (size_t)i * KV_BLOCK;
        uint64_t seen = row_bits(g->rows[i].lo, g->rows[i].hi) & b->mask;
        float m = larger(out.m[query], finish_scores(run, b, p, seen));
        float sum = weights(b, p, m), a = exp_f32(out.m[query] - m);
        out.m[query] = m;
        out.l[query] = fmaf(out.l[query], a, sum);
        rescale(out.o + (size_t)query * run->d_v, a, run->d_v);
    }
}

/* o of n_q queries from the i-th on += p V over rows [lo, hi), all of them seen. */
static void add_run(const struct attn_run *run, const struct block *b, const struct group *g,
                    struct attn_state out, uint32_t i, uint32_t n_q, struct row_range rows)
{
    size_t bytes = bytes_of(b->type);
    struct tile t = { .b_stride = run->d_v * bytes, .first = rows.lo, .last = rows.hi };
    for (uint32_t q = 0; q < n_q; q++)
        t.a[q] = g->p + (size_t)(i + q) * KV_BLOCK;
    for (uint32_t j = 0, n_v; j < run->d_v; j += 8 * n_v) {
        uint32_t left = (run->d_v - j) / 8;
        n_v = left >= 4 ? 4 : left >= 2 ? 2 : 1;
        t.b = b->v + j * bytes;
        t.ahead = b->v_ahead + j * KV_BLOCK * bytes;
        for (uint32_t q = 0; q < n_q; q++)
            t.c[q] = out.o + (size_t)g->query[i + q] * run->d_v + j;
        run_tile(b->type, n_q, n_v, &t);
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

/* Queries of a tile may begin and end at different rows: what all of them see goes together, the rest one by one. */
static void add_values(const struct attn_run *run, const struct block *b, const struct group *g,
                       struct attn_state out)
{
    for (uint32_t i = 0, n_q; i < g->n; i += n_q) {
        struct row_range common = { 0, KV_BLOCK };
        n_q = tile_queries(g->n - i);
        for (uint32_t q = i; q < i + n_q; q++) {
            common.lo = g->rows[q].lo > common.lo ? g->rows[q].lo : common.lo;
            common.hi = g->rows[q].hi < common.hi ? g->rows[q].hi : common.hi;
        }
        if (common.lo >= common.hi)
            common.lo = common.hi = KV_BLOCK;
        for (uint32_t q = i; q < i + n_q; q++) {
            uint32_t hi = g->rows[q].hi < common.lo ? g->rows[q].hi : common.lo;
            add_rows(run, b, g, out, q, 1, (struct row_range){ g->rows[q].lo, hi });
        }
        add_rows(run, b, g, out, i, n_q, common);
        for (uint32_t q = i; q < i + n_q; q++)
            add_rows(run, b, g, out, q, 1, (struct row_range){ common.hi, g->rows[q].hi });
    }
}

static void widen(float *to, const char *from, size_t first, size_t last)
{
    for (size_t i = first; i < last; i += 8)
        _mm256_store_ps(to + i, load8(KV_INT8, from + i));
}

/* K, and V from the first to the last row that a query sees, as f32 in the scratch; the scales stay where they are. */
static void widen_block(const struct attn_run *run, struct block *b, uint32_t i, float *scratch)
{
    float *k = scratch, *v = scratch + (size_t)KV_BLOCK * run->d_k;
    struct row_range seen = { KV_BLOCK, 0 };
    for (uint32_t q = 0; q < run->n_query; q++) {
        struct row_range rows = attn_rows(run, q, i);
        if (rows.lo == rows.hi)
            continue;
        seen.lo = rows.lo < seen.lo ? rows.lo : seen.lo;
        seen.hi = rows.hi > seen.hi ? rows.hi : seen.hi;
    }
    widen(k, b->k, 0, (size_t)KV_BLOCK * run->d_k);
    for (uint32_t r = seen.lo; r < seen.hi; r++)
        if (b->mask >> r & 1)
            widen(v, b->v, (size_t)r * run->d_v, (size_t)(r + 1) * run->d_v);
    b->type = KV_F32;
    b->k = b->k_ahead = (const char *)k;
    b->v = b->v_ahead = (const char *)v;
}

static struct block open_block(const struct attn_run *run, uint32_t i)
{
    uint32_t next = i + 1 < run->last ? i + 1 : i;
    struct block b = { .type = run->type,
                       .k = attn_k(run, i),
                       .v = attn_v(run, i),
                       .k_ahead = attn_k(run, next),
                       .v_ahead = attn_v(run, next),
                       .mask = attn_mask(run, i) };
    if (run->type == KV_INT8) {
        b.k_scale = kv_scales(b.k, run->d_k);
        b.v_scale = kv_scales(b.v, run->d_v);
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
}

void avx2_attn_partial(const struct attn_run *run, struct attn_state out, void *scratch)
{
    struct group g = { .p = (float *)scratch + (size_t)KV_BLOCK * (run->d_k + run->d_v) };
    bool widens = run->type == KV_INT8 && run->n_query >= WIDEN_FROM;
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
            if (widens && b.type == KV_INT8) // on the first query that sees it
                widen_block(run, &b, i, scratch);
            g.query[g.n] = q;
            g.rows[g.n++] = rows;
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
        float m = larger(total.m[i], part.m[i]);
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
