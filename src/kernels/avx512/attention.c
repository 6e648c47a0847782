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

always_inline void add_wide(uint64_t *mass, __m256i w, bool peak)
{
    const __m512i more = _mm512_cvtepu32_epi64(w), old = _mm512_loadu_si512(mass);
    _mm512_storeu_si512(mass, peak ? _mm512_max_epu64(old, more) : _mm512_add_epi64(old, more));
}

/* Three queries give a row less than 2^32 units. */
enum { MASS_QUERIES = 3, MASS_VECTORS = 2 * MASS_QUERIES };

struct mass_queries {
    const float *s[MASS_QUERIES];
    float m[MASS_QUERIES], unit[MASS_QUERIES];
    uint64_t seen[MASS_QUERIES];
};

/* Adds what 32 rows receive of n queries, step by step together: one query's chain of latencies is long. */
always_inline void mass_of_rows(const struct mass_queries *of, int n, uint32_t first, bool peak,
                                uint64_t *mass)
{
    const __m512 zero = _mm512_setzero_ps(), most = _mm512_set1_ps(0x1p30f);
    const __m512 least = _mm512_set1_ps(EXP_MIN), log2e = _mm512_set1_ps(EXP_LOG2E);
    const __m512 whole = _mm512_set1_ps(0x1.8p23f); // added and taken away: the nearest integer
    __m512 x[MASS_VECTORS], k[MASS_VECTORS], p[MASS_VECTORS];
    __m512i power[MASS_VECTORS], sum[2] = { _mm512_setzero_si512(), _mm512_setzero_si512() };
    __mmask16 rows[MASS_VECTORS];
    UNROLL(6)
    for (int i = 0; i < 2 * n; i++) {
        const uint32_t row = first + i % 2 * 16;
        x[i] = _mm512_sub_ps(_mm512_load_ps(of->s[i / 2] + row), _mm512_set1_ps(of->m[i / 2]));
        x[i] = _mm512_min_ps(zero, x[i]); // NaN stays
        k[i] = _mm512_add_ps(_mm512_mul_ps(x[i], log2e), whole);
        power[i] = _mm512_slli_epi32(_mm512_castps_si512(k[i]), 23);
        k[i] = _mm512_sub_ps(k[i], whole);
        rows[i] = (__mmask16)(of->seen[i / 2] >> row);
        rows[i] &= _mm512_cmp_ps_mask(x[i], least, _CMP_GE_OQ); // of NaN 0
    }
    exp16_poly_n(p, x, k, 2 * n);
    UNROLL(6)
    for (int i = 0; i < 2 * n; i++) {
        __m512i *to = &sum[i % 2];
        p[i] = _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p[i]), power[i]));
        p[i] = _mm512_mul_ps(p[i], _mm512_set1_ps(of->unit[i / 2]));
        const __m512i w = _mm512_cvtps_epi32(_mm512_min_ps(p[i], most));
        *to = peak ? _mm512_mask_max_epu32(*to, rows[i], *to, w)
                   : _mm512_mask_add_epi32(*to, rows[i], *to, w);
    }
    UNROLL(2)
    for (int v = 0; v < 2; v++) {
        add_wide(mass + first + 16 * v, _mm512_castsi512_si256(sum[v]), peak);
        add_wide(mass + first + 16 * v + 8, _mm512_extracti64x4_epi64(sum[v], 1), peak);
    }
}

always_inline void mass_of_block(const struct mass_queries *of, int n, bool peak, uint64_t *mass)
{
    for (uint32_t first = 0; first < KV_BLOCK; first += 32)
        mass_of_rows(of, n, first, peak, mass);
}

void avx512_attn_mass(const struct attn_run *run, uint32_t block, const float *s, size_t s_stride,
                      struct attn_state final, bool peak, uint64_t mass[KV_BLOCK])
{
    const uint64_t mask = attn_mask(run, block);
    for (uint32_t i = 0; i < run->n_query; i += MASS_QUERIES) {
        const uint32_t left = run->n_query - i;
        struct mass_queries of;
        for (uint32_t q = 0; q < MASS_QUERIES && q < left; q++) {
            const struct row_range rows = attn_rows(run, i + q, block);
            of.s[q] = s + (i + q) * s_stride;
            of.m[q] = final.m[i + q];
            of.unit[q] = 0x1p30f / final.l[i + q];
            of.seen[q] = of.unit[q] >= 0 ? row_bits(rows.lo, rows.hi) & mask : 0;
        }
        if (left >= 3)
            mass_of_block(&of, 3, peak, mass);
        else if (left == 2)
            mass_of_block(&of, 2, peak, mass);
        else
            mass_of_block(&of, 1, peak, mass);
    }
}

uint64_t avx512_low_rows(const uint64_t mass[KV_BLOCK], uint64_t bound,
                         const uint32_t position[KV_BLOCK], uint32_t first, uint32_t n)
{
    const __m512i most = _mm512_set1_epi64((int64_t)bound),
                  from = _mm512_set1_epi32((int32_t)first), count = _mm512_set1_epi32((int32_t)n);
    uint64_t low = 0, within = 0;
    for (uint32_t i = 0; i < KV_BLOCK; i += 8)
        low |= (uint64_t)_mm512_cmple_epu64_mask(_mm512_loadu_si512(mass + i), most) << i;
    for (uint32_t i = 0; i < KV_BLOCK; i += 16) {
        const __m512i p = _mm512_sub_epi32(_mm512_loadu_si512(position + i), from);
        within |= (uint64_t)_mm512_cmplt_epu32_mask(p, count) << i;
    }
    return low & within;
}
