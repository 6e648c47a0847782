/* Attention (attention.h): softmax of a group of queries. Tiles are attn_tile.c's, who goes with whom is
 * attn_group.c's, and partials are merged by avx2's.
 *
 * Trees over lanes, and factors of what came before, are found for sixteen queries at once, a lane each: with tiles of
 * 6 queries, prefill went from 112 to 130 GFLOP/s a thread (Granite Rapids). */
#include "kernels/attn_group.h"
#include "kernels/avx512/attn_tile.h"
#include "kernels/avx512/fns.h"
#include "kernels/avx512/vec.h"

enum { VECTORS = KV_BLOCK / 16 };

/* Sums of products to scores: scaled, capped, -inf where a row is not seen; to `keep`, too, unless NULL. Answers lane
 * by lane the largest of them. */
static inline __m512 finish_scores(const struct attn_run *run, const struct attn_block *b, float *s,
                                   float *keep, uint64_t seen)
{
    __m512 top = _mm512_set1_ps(-INFINITY), x[VECTORS];
    for (uint32_t v = 0; v < VECTORS; v++)
        x[v] = _mm512_load_ps(s + 16 * v);
    if (b->k_scale)
        for (uint32_t v = 0; v < VECTORS; v++)
            x[v] = _mm512_mul_ps(x[v], _mm512_load_ps(b->k_scale + 16 * v));
    for (uint32_t v = 0; v < VECTORS; v++)
        x[v] = _mm512_mul_ps(x[v], _mm512_set1_ps(run->scale));
    if (run->softcap != 0)
        for (uint32_t v = 0; v < VECTORS; v++)
            x[v] = softcap16(x[v], _mm512_set1_ps(run->softcap));
    if (seen != UINT64_MAX)
        for (uint32_t v = 0; v < VECTORS; v++)
            x[v] = _mm512_mask_mov_ps(top, (__mmask16)(seen >> 16 * v), x[v]);
    for (uint32_t v = 0; v < VECTORS; v++) {
        top = _mm512_max_ps(x[v], top); // of a NaN and a number the number
        _mm512_store_ps(s + 16 * v, x[v]);
    }
    if (keep)
        for (uint32_t v = 0; v < VECTORS; v++)
            _mm512_store_ps(keep + 16 * v, x[v]);
    return top;
}

/* Scores to weights exp(s - m), times V's scales. Answers lane by lane the sum of the weights without those. */
static inline __m512 weights(const struct attn_block *b, float *p, float m)
{
    __m512 sum, x[VECTORS];
    for (uint32_t v = 0; v < VECTORS; v++)
        x[v] = _mm512_sub_ps(_mm512_load_ps(p + 16 * v), _mm512_set1_ps(m));
    exp16_low_n(x, x, VECTORS);
    sum = x[0]; // never -0, so nothing is lost by not adding it to 0
    for (uint32_t v = 1; v < VECTORS; v++)
        sum = _mm512_add_ps(sum, x[v]);
    for (uint32_t v = 0; v < VECTORS; v++) {
        if (b->v_scale)
            x[v] = _mm512_mul_ps(x[v], _mm512_load_ps(b->v_scale + 16 * v));
        _mm512_store_ps(p + 16 * v, x[v]);
    }
    return sum;
}

/* What a query's lanes hold, of sixteen queries at once: one query's tree is a chain of latencies. */
struct lanes {
    __m512 of[ATTN_GROUP];
};

static inline void lanes_pad(struct lanes *x, uint32_t n)
{
    for (; n % 16 != 0; n++)
        x->of[n] = _mm512_setzero_ps();
}

/* In passes over the group, so that one query's chain of latencies overlaps with the next one's. */
static void softmax(const struct attn_run *run, const struct attn_block *b, struct group *g,
                    struct attn_state out)
{
    struct lanes top, sum;
    for (uint32_t i = 0; i < g->n; i++) {
        uint64_t seen = row_bits(g->rows[i].lo, g->rows[i].hi) & b->mask;
        float *keep = b->keep ? b->keep + g->query[i] * run->keep_stride : NULL;
        top.of[i] = finish_scores(run, b, g->p[i], keep, seen);
        g->a[i] = out.m[g->query[i]];
    }
    lanes_pad(&top, g->n);
    for (uint32_t i = 0; i < g->n; i += 16) {
        const __m512 old = _mm512_load_ps(g->a + i);
        const __m512 m = larger16x16(old, top.of + i);
        __m512 a = _mm512_sub_ps(old, m);
        exp16_low_n(&a, &a, 1);
        _mm512_store_ps(g->m + i, m);
        _mm512_store_ps(g->a + i, a);
    }
    for (uint32_t i = 0; i < g->n; i++)
        sum.of[i] = weights(b, g->p[i], g->m[i]);
    lanes_pad(&sum, g->n);
    for (uint32_t i = 0; i < g->n; i += 16)
        _mm512_store_ps(g->sum + i, lanes_sum16x16(sum.of + i));
    group_finish(g, out, run->d_v);
}

static void finish(const struct attn_run *run, const struct attn_block *b, float *s)
{
    finish_scores(run, b, s, NULL, UINT64_MAX);
}

/* Half floats are converted on the way to the multiplier as int8 is, and that is not free (Zen 4: two vcvtph2ps beside
 * 24 fma a tenth), so both are packed from AVX2's bound for int8 on. The bound was not measured apart. */
const struct attn_leaves avx512_attn_leaves = {
    .tile_queries = AVX512_TILE_QUERIES,
    .tile_out = AVX512_TILE_OUT,
    .pack_int8 = 48,
    .pack_float = 48,
    .tiles = avx512_attn_tiles,
    .pack = avx512_attn_pack,
    .softmax = softmax,
    .finish = finish,
};

void avx512_attn_partial(const struct attn_run *run, struct attn_state out, void *scratch)
{
    attn_by_groups(&avx512_attn_leaves, run, out, scratch);
}

void avx512_attn_scores(const struct attn_run *run, uint32_t block, float *out, void *scratch)
{
    attn_scores_by_groups(&avx512_attn_leaves, run, block, out, scratch);
}
