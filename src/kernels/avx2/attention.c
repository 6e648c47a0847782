/* Attention (attention.h): softmax of a group of queries, and merging. Tiles are attn_tile.c's, and who goes with whom
 * is attn_group.c's.
 *
 * A query's softmax is a chain of latencies, so it goes in passes over the group, exp four vectors at a time: with
 * blocks packed into panels, prefill at d 64 went from 58 to 74 % of fma's peak (Zen 3). */
#include <string.h>

#include "kernels/attn_group.h"
#include "kernels/avx2/attn_tile.h"
#include "kernels/avx2/fns.h"
#include "kernels/avx2/vec.h"

/* What only some scores need, in place: an int8 row's scale; after `scale` the soft cap, and -inf
 * for rows not seen. Answers the scale that is still to be applied. */
static float prepare_scores(const struct attn_run *run, const struct attn_block *b, float *s,
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
        _mm256_store_ps(s + i,
                        _mm256_blendv_ps(_mm256_set1_ps(-INFINITY), x, lanes8_of(seen >> i)));
    }
    return 1;
}

static void keep_scores(float *keep, const float *s, float scale)
{
    for (uint32_t i = 0; i < KV_BLOCK; i += 8)
        _mm256_store_ps(keep + i, _mm256_mul_ps(_mm256_load_ps(s + i), _mm256_set1_ps(scale)));
}

/* The largest of m and all s * scale, the scale above 0: rounding keeps an order, so that of the largest s. */
static float largest_score(float m, const float *s, float scale)
{
    __m256 top[2] = { _mm256_set1_ps(-INFINITY), _mm256_set1_ps(-INFINITY) };
    for (uint32_t i = 0; i < KV_BLOCK; i += 8) // of a NaN and a number the number
        top[i / 8 % 2] = _mm256_max_ps(_mm256_load_ps(s + i), top[i / 8 % 2]);
    return larger8(m, _mm256_mul_ps(_mm256_max_ps(top[0], top[1]), _mm256_set1_ps(scale)));
}

/* Scores s to weights exp(s * scale - m), times V's scales. Answers the sum without those. */
static float weights(const struct attn_block *b, float *p, float scale, float m)
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

/* In passes over the group, so that one query's chain of latencies overlaps with the next one's. */
static void softmax(const struct attn_run *run, const struct attn_block *b, struct group *g,
                    struct attn_state out)
{
    for (uint32_t i = 0; i < g->n; i++) {
        float *s = g->p[i], m = out.m[g->query[i]];
        g->scale[i] = prepare_scores(run, b, s, row_bits(g->rows[i].lo, g->rows[i].hi) & b->mask);
        if (b->keep)
            keep_scores(b->keep + g->query[i] * run->keep_stride, s, g->scale[i]);
        g->m[i] = largest_score(m, s, g->scale[i]);
        g->a[i] = m - g->m[i];
    }
    for (uint32_t i = 0; i < g->n; i++)
        g->sum[i] = weights(b, g->p[i], g->scale[i], g->m[i]);
    for (uint32_t i = 0; i < g->n; i += 8)
        _mm256_store_ps(g->a + i, exp8_low(_mm256_load_ps(g->a + i)));
    group_finish(g, out, run->d_v);
}

static void finish(const struct attn_run *run, const struct attn_block *b, float *s)
{
    keep_scores(s, s, prepare_scores(run, b, s, UINT64_MAX));
}

/* Writing 32 KiB of panels (d 64) costs what 48 queries gain from int8. From f16 190 would on Zen 3, where it is 2 %
 * either way; Intel's processors convert half floats where they multiply, and gain more. */
const struct attn_leaves avx2_attn_leaves = {
    .tile_queries = AVX2_TILE_QUERIES,
    .tile_out = AVX2_TILE_OUT,
    .pack_int8 = 48,
    .pack_float = 96,
    .tiles = avx2_attn_tiles,
    .pack = avx2_attn_pack,
    .softmax = softmax,
    .finish = finish,
};

void avx2_attn_partial(const struct attn_run *run, struct attn_state out, void *scratch)
{
    attn_by_groups(&avx2_attn_leaves, run, out, scratch);
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

void avx2_attn_scores(const struct attn_run *run, uint32_t block, float *out, void *scratch)
{
    attn_scores_by_groups(&avx2_attn_leaves, run, block, out, scratch);
}
