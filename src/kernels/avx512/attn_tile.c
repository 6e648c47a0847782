#include "kernels/avx512/attn_tile.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((__always_inline__))

/* n = 8: the upper lanes are zeros. */
INLINE __m512 load16(enum source from, const char *p, uint32_t n)
{
    if (from == FROM_F16)
        return _mm512_cvtph_ps(n == 8 ? _mm256_zextsi128_si256(_mm_loadu_si128((const __m128i *)p))
                                      : _mm256_loadu_si256((const __m256i *)p));
    if (from == FROM_INT8)
        return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(
            n == 8 ? _mm_loadl_epi64((const __m128i *)p) : _mm_loadu_si128((const __m128i *)p)));
    return n == 8 ? _mm512_maskz_loadu_ps(0xff, p) : _mm512_loadu_ps(p);
}

INLINE void store16(float *c, __m512 x, uint32_t n)
{
    if (n == 8)
        _mm512_mask_storeu_ps(c, 0xff, x);
    else
        _mm512_storeu_ps(c, x);
}

/* One body for all tiles: n_q, n_out, from and listed are constants where it is called. The pragmas
 * unroll the two outer loops before the compiler decides what lives in registers; without them
 * every step stores the accumulators. */
INLINE void body(const struct tiles *t, uint32_t query, const struct strip *s, uint32_t n_q,
                 uint32_t n_out, enum source from, bool listed)
{
    const size_t step = n_out * source_bytes(from);
    const uint32_t last = t->last, n_v = (n_out + 15) / 16;
    const bool fresh = t->fresh;
    const size_t stride = s->stride, fetch = s->fetch;
    const char *b = s->b, *ahead = s->ahead;
    uint64_t rows = s->rows;
    const float *const *factor = t->a + query;
    float *const *c = t->c + query;
    __m512 acc[AVX512_TILE_QUERIES][AVX512_TILE_OUT / 16];

#pragma GCC unroll 4
    for (uint32_t q = 0; q < n_q; q++)
#pragma GCC unroll 4
        for (uint32_t v = 0; v < n_v; v++)
            acc[q][v] = fresh ? _mm512_setzero_ps()
                              : load16(FROM_F32, (const char *)(c[q] + t->out + 16 * v), n_out);

    for (uint32_t n = t->first; n < last; n++, b += stride, ahead += fetch) {
        const uint32_t i = listed ? t->row[n] : n;
        __m512 a[AVX512_TILE_QUERIES];
        for (uint32_t q = 0; q < n_q; q++)
            a[q] = _mm512_set1_ps(factor[q][i]);
        if (listed) {
            b = s->b + i * stride;
            ahead = s->ahead + (rows ? (size_t)__builtin_ctzll(rows) : 0) * fetch;
            rows &= rows - 1;
        }
        for (size_t line = 0; line < step; line += 64)
            _mm_prefetch(ahead + line, _MM_HINT_T0);
        for (uint32_t v = 0; v < n_v; v++) {
            __m512 bv = load16(from, b + 16 * v * source_bytes(from), n_out);
            for (uint32_t q = 0; q < n_q; q++)
                acc[q][v] = _mm512_fmadd_ps(a[q], bv, acc[q][v]);
        }
    }

#pragma GCC unroll 4
    for (uint32_t q = 0; q < n_q; q++)
#pragma GCC unroll 4
        for (uint32_t v = 0; v < n_v; v++)
            store16(c[q] + t->out + 16 * v, acc[q][v], n_out);
}

// listed: by all rows from the first to the last, or those of a list
#define TILE(n_q, n_out, from, listed)                                                             \
    static void tile_##n_q##_##n_out##_##from##_##listed(const struct tiles *t, uint32_t query,    \
                                                         const struct strip *s)                    \
    {                                                                                              \
        body(t, query, s, n_q, n_out, from, listed);                                               \
    }
#define TILES(n_q, from, listed)                                                                   \
    TILE(n_q, 8, from, listed)                                                                     \
    TILE(n_q, 16, from, listed)                                                                    \
    TILE(n_q, 32, from, listed)                                                                    \
    TILE(n_q, 64, from, listed)

// clang-format off
#define ROW(n_q, from, listed) \
    { tile_##n_q##_8_##from##_##listed, tile_##n_q##_16_##from##_##listed, \
      tile_##n_q##_32_##from##_##listed, tile_##n_q##_64_##from##_##listed }
#define ROWS(from, listed) \
    [from][listed] = { ROW(1, from, listed), ROW(2, from, listed), \
                       ROW(3, from, listed), ROW(4, from, listed) }

TILES(1, FROM_F16, 0)  TILES(2, FROM_F16, 0)  TILES(3, FROM_F16, 0)  TILES(4, FROM_F16, 0)
TILES(1, FROM_F32, 0)  TILES(2, FROM_F32, 0)  TILES(3, FROM_F32, 0)  TILES(4, FROM_F32, 0)
TILES(1, FROM_INT8, 0) TILES(2, FROM_INT8, 0) TILES(3, FROM_INT8, 0) TILES(4, FROM_INT8, 0)
TILES(1, FROM_F16, 1)  TILES(2, FROM_F16, 1)  TILES(3, FROM_F16, 1)  TILES(4, FROM_F16, 1)
TILES(1, FROM_F32, 1)  TILES(2, FROM_F32, 1)  TILES(3, FROM_F32, 1)  TILES(4, FROM_F32, 1)
TILES(1, FROM_INT8, 1) TILES(2, FROM_INT8, 1) TILES(3, FROM_INT8, 1) TILES(4, FROM_INT8, 1)

typedef void tile_fn(const struct tiles *t, uint32_t query, const struct strip *s);

// [from][listed][n_q - 1][log2 of n_out / 8]
static tile_fn *const TILE_FN[FROM_PANELS][2][AVX512_TILE_QUERIES][4] = {
    ROWS(FROM_F16, 0), ROWS(FROM_F32, 0), ROWS(FROM_INT8, 0),
    ROWS(FROM_F16, 1), ROWS(FROM_F32, 1), ROWS(FROM_INT8, 1),
};
// clang-format on

void avx512_attn_tiles(const struct matrix *b, const struct tiles *t)
{
    struct strip s =
        strip_of(b, t, (t->n + AVX512_TILE_QUERIES - 1) / AVX512_TILE_QUERIES, AVX512_TILE_OUT);
    const enum source from = b->from == FROM_PANELS ? FROM_F32 : b->from;
    for (uint32_t i = 0, n_q; i < t->n; i += n_q, s.ahead += s.next) {
        n_q = tile_queries(t->n - i, AVX512_TILE_QUERIES);
        TILE_FN[from][t->row != NULL][n_q - 1][__builtin_ctz(t->n_out / 8)](t, i, &s);
    }
}

INLINE void pack_row(const struct matrix *b, float *to, uint32_t i, enum source from)
{
    const char *row = b->data + (size_t)i * b->n_out * source_bytes(from);
    const size_t panel = (size_t)b->n_in * AVX512_TILE_OUT;
    to += (size_t)i * AVX512_TILE_OUT;
    for (uint32_t o = 0; o < b->n_out; o += 16) {
        uint32_t n = b->n_out - o < 16 ? 8 : 16;
        store16(to + o / AVX512_TILE_OUT * panel + o % AVX512_TILE_OUT,
                load16(from, row + o * source_bytes(from), n), n);
    }
}

void avx512_attn_pack(const struct matrix *b, float *panels, uint32_t first, uint32_t last)
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
