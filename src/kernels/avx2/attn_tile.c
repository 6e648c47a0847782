#include "kernels/avx2/attn_tile.h"

#include <immintrin.h>

#include "kernels/inline.h"

always_inline __m256 load8(enum source from, const char *p)
{
    if (from == FROM_F16)
        return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
    if (from == FROM_INT8)
        return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
    return _mm256_loadu_ps((const float *)p);
}

/* One body for all tiles: n_q, n_v, from and listed are constants where it is called. The pragmas
 * unroll the two outer loops before the compiler decides what lives in registers; without them
 * every step stores 12 accumulators. */
always_inline void body(const struct tiles *t, uint32_t query, const struct strip *s, uint32_t n_q,
                        uint32_t n_v, enum source from, bool listed)
{
    const size_t step = 8 * n_v * source_bytes(from);
    const uint32_t last = t->last;
    const bool fresh = t->fresh;
    const size_t stride = s->stride, fetch = s->fetch;
    const ptrdiff_t both = (ptrdiff_t)(s->turn ? fetch : 2 * fetch);
    ptrdiff_t hop = (ptrdiff_t)(s->turn ? s->turn : fetch);
    const char *b = s->b, *ahead = s->ahead;
    uint64_t rows = s->rows;
    const float *const *factor = t->a + query;
    float *const *c = t->c + query;
    __m256 acc[AVX2_TILE_QUERIES][AVX2_TILE_OUT / 8];

    UNROLL(3)
    for (uint32_t q = 0; q < n_q; q++)
        UNROLL(4)
    for (uint32_t v = 0; v < n_v; v++)
        acc[q][v] = fresh ? _mm256_setzero_ps() : _mm256_loadu_ps(c[q] + t->out + 8 * v);

    for (uint32_t n = t->first; n < last; n++, b += stride, ahead += hop, hop = both - hop) {
        const uint32_t i = listed ? t->row[n] : n;
        __m256 a[AVX2_TILE_QUERIES];
        for (uint32_t q = 0; q < n_q; q++)
            a[q] = _mm256_broadcast_ss(factor[q] + i);
        if (listed) {
            b = s->b + i * stride;
            ahead = s->ahead + (rows ? (size_t)__builtin_ctzll(rows) : 0) * fetch;
            rows &= rows - 1;
        }
        for (size_t line = 0; line < step && from != FROM_PANELS; line += 64)
            if (listed)
                _mm_prefetch(ahead + line, _MM_HINT_T0);
            else
                _mm_prefetch(ahead + line, _MM_HINT_T1);
        for (uint32_t v = 0; v < n_v; v++) {
            __m256 bv = load8(from, b + 8 * v * source_bytes(from));
            for (uint32_t q = 0; q < n_q; q++)
                acc[q][v] = _mm256_fmadd_ps(a[q], bv, acc[q][v]);
        }
    }

    UNROLL(3)
    for (uint32_t q = 0; q < n_q; q++)
        UNROLL(4)
    for (uint32_t v = 0; v < n_v; v++)
        _mm256_storeu_ps(c[q] + t->out + 8 * v, acc[q][v]);
}

// listed: by all rows from the first to the last, or those of a list
#define TILE(n_q, n_v, from, listed)                                                               \
    static void tile_##n_q##_##n_v##_##from##_##listed(const struct tiles *t, uint32_t query,      \
                                                       const struct strip *s)                      \
    {                                                                                              \
        body(t, query, s, n_q, n_v, from, listed);                                                 \
    }
#define TILES(from, listed)                                                                        \
    TILE(1, 1, from, listed)                                                                       \
    TILE(1, 2, from, listed)                                                                       \
    TILE(1, 4, from, listed)                                                                       \
    TILE(2, 1, from, listed)                                                                       \
    TILE(2, 2, from, listed)                                                                       \
    TILE(2, 4, from, listed)                                                                       \
    TILE(3, 1, from, listed)                                                                       \
    TILE(3, 2, from, listed)                                                                       \
    TILE(3, 4, from, listed)
#define ROW(n_q, from, listed)                                                                     \
    {                                                                                              \
        tile_##n_q##_1_##from##_##listed, tile_##n_q##_2_##from##_##listed,                        \
            tile_##n_q##_4_##from##_##listed                                                       \
    }
#define ROWS(from, listed)                                                                         \
    [from][listed] = { ROW(1, from, listed), ROW(2, from, listed), ROW(3, from, listed) }

// clang-format off
TILES(FROM_F16, 0)
TILES(FROM_F32, 0)
TILES(FROM_INT8, 0)
TILES(FROM_PANELS, 0)
TILES(FROM_F16, 1)
TILES(FROM_F32, 1)
TILES(FROM_INT8, 1)
TILES(FROM_PANELS, 1)

typedef void tile_fn(const struct tiles *t, uint32_t query, const struct strip *s);

// [from][listed][n_q - 1][n_out 8, 16, 32]
static tile_fn *const TILE_FN[N_SOURCE][2][AVX2_TILE_QUERIES][3] = {
    ROWS(FROM_F16, 0), ROWS(FROM_F32, 0), ROWS(FROM_INT8, 0), ROWS(FROM_PANELS, 0),
    ROWS(FROM_F16, 1), ROWS(FROM_F32, 1), ROWS(FROM_INT8, 1), ROWS(FROM_PANELS, 1),
};
// clang-format on

/* Of a whole part, of floats, the two halves in turn: so two pages of memory are under way at once, and in the second
 * cache (f16, 3 queries of 64, depth 4,096, one thread of Granite Rapids: 10.3 -> 13.9 GB/s). Those of int8 mostly lie
 * in one page. */
static void take_turns(struct strip *s, const struct matrix *b, const struct tiles *t)
{
    const size_t row = b->n_out * source_bytes(b->from);
    if (b->from == FROM_PANELS || b->from == FROM_INT8 || t->row || t->last - t->first < b->n_in ||
        b->idle)
        return;
    s->turn = b->n_in * row / 2;
    s->ahead -= (size_t)t->out * b->n_in * source_bytes(b->from) / 2;
    s->next /= 2;
}

void avx2_attn_tiles(const struct matrix *b, const struct tiles *t)
{
    struct strip s =
        strip_of(b, t, (t->n + AVX2_TILE_QUERIES - 1) / AVX2_TILE_QUERIES, AVX2_TILE_OUT);
    take_turns(&s, b, t);
    for (uint32_t i = 0, n_q; i < t->n; i += n_q, s.ahead += s.next) {
        n_q = tile_queries(t->n - i, AVX2_TILE_QUERIES);
        TILE_FN[b->from][t->row != NULL][n_q - 1][t->n_out / 16](t, i, &s);
    }
}

always_inline void pack_row(const struct matrix *b, float *to, uint32_t i, enum source from)
{
    const char *row = b->data + (size_t)i * b->n_out * source_bytes(from);
    const size_t panel = (size_t)b->n_in * AVX2_TILE_OUT;
    to += (size_t)i * AVX2_TILE_OUT;
    for (uint32_t o = 0; o < b->n_out; o += 8)
        _mm256_store_ps(to + o / AVX2_TILE_OUT * panel + o % AVX2_TILE_OUT,
                        load8(from, row + o * source_bytes(from)));
}

void avx2_attn_pack(const struct matrix *b, float *panels, uint32_t first, uint32_t last)
{
    for (uint32_t i = first; i < last; i++) {
        if (b->from == FROM_F16)
            pack_row(b, panels, i, FROM_F16);
        else if (b->from == FROM_INT8)
            pack_row(b, panels, i, FROM_INT8);
        else
            pack_row(b, panels, i, FROM_F32);
    }
}
