#include "kernels/attn_group.h"
#include "kernels/avx512/attn_tile.h"
#include "kernels/avx512/fns.h"
#include "kernels/avx512/vec.h"

enum { VECTORS = KV_BLOCK / 16 };

/* Sums of products to scores: scaled, capped, -inf where a row is not seen. Answers the largest of
 * them and m. */
static float finish_scores(const struct attn_run *run, const struct attn_block *b, float *s,
                           uint64_t seen, float m)
{
    __m512 top = _mm512_set1_ps(-INFINITY);
    for (uint32_t i = 0; i < KV_BLOCK; i += 16) {
        __m512 x = _mm512_load_ps(s + i);
        if (b->k_scale)
            x = _mm512_mul_ps(x, _mm512_load_ps(b->k_scale + i));
        x = _mm512_mul_ps(x, _mm512_set1_ps(run->scale));
        if (run->softcap != 0)
            x = softcap16(x, _mm512_set1_ps(run->softcap));
        x = _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), (__mmask16)(seen >> i), x);
        top = _mm512_max_ps(x, top); // of a NaN and a number the number
        _mm512_store_ps(s + i, x);
    }
    return larger16(m, top);
}

/* Scores to weights exp(s - m), times V's scales. Answers the sum of the weights without those. */
static float weights(const struct attn_block *b, float *p, float m)
{
    __m512 sum = _mm512_setzero_ps(), x[VECTORS];
    for (uint32_t v = 0; v < VECTORS; v++)
        x[v] = _mm512_sub_ps(_mm512_load_ps(p + 16 * v), _mm512_set1_ps(m));
    exp16_low_n(x, x, VECTORS);
    for (uint32_t v = 0; v < VECTORS; v++) {
        sum = _mm512_add_ps(sum, x[v]);
        if (b->v_scale)
            x[v] = _mm512_mul_ps(x[v], _mm512_load_ps(b->v_scale + 16 * v));
        _mm512_store_ps(p + 16 * v, x[v]);
    }
    return lanes_sum16(sum);
}

/* In passes over the group, so that one query's chain of latencies overlaps with the next one's. */
static void softmax(const struct attn_run *run, const struct attn_block *b, struct group *g,
                    struct attn_state out)
{
    for (uint32_t i = 0; i < g->n; i++) {
        uint64_t seen = row_bits(g->rows[i].lo, g->rows[i].hi) & b->mask;
        float m = out.m[g->query[i]];
        g->m[i] = finish_scores(run, b, g->p[i], seen, m);
        g->a[i] = m - g->m[i];
    }
    for (uint32_t i = 0; i < g->n; i++)
        g->sum[i] = weights(b, g->p[i], g->m[i]);
    for (uint32_t i = 0; i < g->n; i += 16) {
        __m512 a = _mm512_load_ps(g->a + i);
        exp16_low_n(&a, &a, 1);
        _mm512_store_ps(g->a + i, a);
    }
    group_finish(g, out, run->d_v);
}

static void finish(const struct attn_run *run, const struct attn_block *b, float *s)
{
    finish_scores(run, b, s, UINT64_MAX, 0);
}

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
