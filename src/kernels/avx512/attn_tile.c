#include "kernels/avx512/attn_tile.h"

#include <immintrin.h>

#include "kernels/inline.h"

/* n = 8: the upper lanes are zeros. */
always_inline __m512 load16(enum source from, const char *p, uint32_t n)
{
    if (from == FROM_F16)
        return _mm512_cvtph_ps(n == 8 ? _mm256_zextsi128_si256(_mm_loadu_si128((const __m128i *)p))
                                      : _mm256_loadu_si256((const __m256i *)p));
    if (from == FROM_INT8)
        return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(
            n == 8 ? _mm_loadl_epi64((const __m128i *)p) : _mm_loadu_si128((const __m128i *)p)));
    return n == 8 ? _mm512_maskz_loadu_ps(0xff, p) : _mm512_loadu_ps(p);
}

always_inline void store16(float *c, __m512 x, uint32_t n)
{
    if (n == 8)
        _mm512_mask_storeu_ps(c, 0xff, x);
    else
        _mm512_storeu_ps(c, x);
}

/* What a step fetches of the part ahead. Rows of a list one by one; else line i of each 64 bytes x steps: so several
 * pages of memory are under way at once, and in the second cache, from where 3 queries of 64 read 26 GB/s instead of 20
 * (f16, 2 threads of Granite Rapids, depth 4,096). Panels are in a cache already. */
always_inline void fetch_ahead(const char *ahead, size_t step, size_t far, enum source from,
                               bool listed)
{
    for (size_t line = 0; from != FROM_PANELS && line < step; line += 64)
        if (listed)
            _mm_prefetch(ahead + line, _MM_HINT_T0);
        else
            _mm_prefetch(ahead + line / 64 * far, _MM_HINT_T1);
}

/* One body for all tiles: n_q, n_out, from and listed are constants where it is called. The pragmas
 * unroll the two outer loops before the compiler decides what lives in registers; without them
 * every step stores the accumulators. */
always_inline void body(const struct tiles *t, uint32_t query, const struct strip *s, uint32_t n_q,
                        uint32_t n_out, enum source from, bool listed)
{
    const size_t step = n_out * source_bytes(from);
    const uint32_t last = t->last, n_v = (n_out + 15) / 16;
    const bool fresh = t->fresh;
    const size_t fetch = listed || step <= 64 || s->fetch < 64 ? s->fetch : 64;
    const size_t far = s->fetch > 64 ? (size_t)(last - t->first) * 64 : 0;
    const size_t stride = from == FROM_PANELS ? AVX512_TILE_OUT * sizeof(float) : s->stride;
    const char *b = s->b, *ahead = s->ahead;
    uint64_t rows = s->rows;
    const float *const *factor = t->a + query;
    float *const *c = t->c + query;
    __m512 acc[AVX512_TILE_QUERIES][AVX512_TILE_OUT / 16];

    UNROLL(6)
    for (uint32_t q = 0; q < n_q; q++)
        UNROLL(4)
    for (uint32_t v = 0; v < n_v; v++)
        acc[q][v] = fresh ? _mm512_setzero_ps()
                          : load16(FROM_F32, (const char *)(c[q] + t->out + 16 * v), n_out);

    for (uint32_t n = t->first; n < last; n++, b += stride, ahead += fetch) {
        const uint32_t i = listed ? t->row[n] : n;
        __m512 bv[AVX512_TILE_OUT / 16], a[AVX512_TILE_QUERIES];
        UNROLL(6)
        for (uint32_t q = 0; q < n_q && from != FROM_PANELS; q++)
            a[q] = _mm512_set1_ps(factor[q][i]);
        if (listed) {
            b = s->b + i * stride;
            ahead = s->ahead + (rows ? (size_t)__builtin_ctzll(rows) : 0) * fetch;
            rows &= rows - 1;
        }
        fetch_ahead(ahead, step, far, from, listed);
        // panels query by query: 905 -> 865 cycles a whole tile of 64 steps (Granite Rapids); else a vector is used as
        // it is converted
        UNROLL(4)
        for (uint32_t v = 0; v < n_v; v++) {
            bv[v] = load16(from, b + 16 * v * source_bytes(from), n_out);
            UNROLL(6)
            for (uint32_t q = 0; q < n_q && from != FROM_PANELS; q++)
                acc[q][v] = _mm512_fmadd_ps(a[q], bv[v], acc[q][v]);
        }
        UNROLL(6)
        for (uint32_t q = 0; q < n_q && from == FROM_PANELS; q++) {
            a[q] = _mm512_set1_ps(factor[q][i]);
            UNROLL(4)
            for (uint32_t v = 0; v < n_v; v++)
                acc[q][v] = _mm512_fmadd_ps(a[q], bv[v], acc[q][v]);
        }
    }

    UNROLL(6)
    for (uint32_t q = 0; q < n_q; q++)
        UNROLL(4)
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
    [from][listed] = { ROW(1, from, listed), ROW(2, from, listed), ROW(3, from, listed), \
                       ROW(4, from, listed), ROW(5, from, listed), ROW(6, from, listed) }
#define TILES_OF(from, listed) \
    TILES(1, from, listed) TILES(2, from, listed) TILES(3, from, listed) \
    TILES(4, from, listed) TILES(5, from, listed) TILES(6, from, listed)

TILES_OF(FROM_F16, 0) TILES_OF(FROM_F32, 0) TILES_OF(FROM_INT8, 0) TILES_OF(FROM_PANELS, 0)
TILES_OF(FROM_F16, 1) TILES_OF(FROM_F32, 1) TILES_OF(FROM_INT8, 1) TILES_OF(FROM_PANELS, 1)

typedef void tile_fn(const struct tiles *t, uint32_t query, const struct strip *s);

// [from][listed][n_q - 1][log2 of n_out / 8]
static tile_fn *const TILE_FN[N_SOURCE][2][AVX512_TILE_QUERIES][4] = {
    ROWS(FROM_F16, 0), ROWS(FROM_F32, 0), ROWS(FROM_INT8, 0), ROWS(FROM_PANELS, 0),
    ROWS(FROM_F16, 1), ROWS(FROM_F32, 1), ROWS(FROM_INT8, 1), ROWS(FROM_PANELS, 1),
};
// clang-format on

void avx512_attn_tiles(const struct matrix *b, const struct tiles *t)
{
    struct strip s =
        strip_of(b, t, (t->n + AVX512_TILE_QUERIES - 1) / AVX512_TILE_QUERIES, AVX512_TILE_OUT);
    for (uint32_t i = 0, n_q; i < t->n; i += n_q, s.ahead += s.next) {
        n_q = tile_queries(t->n - i, AVX512_TILE_QUERIES);
        TILE_FN[b->from][t->row != NULL][n_q - 1][__builtin_ctz(t->n_out / 8)](t, i, &s);
    }
}

always_inline void pack_row(const struct matrix *b, float *to, uint32_t i, enum source from)
{
    const size_t at = (size_t)i * b->n_out * source_bytes(from);
    const size_t panel = (size_t)b->n_in * AVX512_TILE_OUT;
    const char *row = b->data + at, *ahead = b->ahead + at;
    uint32_t left = b->n_out;
    to += (size_t)i * AVX512_TILE_OUT;
    for (; left >= AVX512_TILE_OUT; left -= AVX512_TILE_OUT, to += panel) {
        for (uint32_t o = 0; o < AVX512_TILE_OUT; o += 16, row += 16 * source_bytes(from))
            store16(to + o, load16(from, row, 16), 16);
        for (uint32_t line = 0; line < AVX512_TILE_OUT * source_bytes(from);
             line += 64, ahead += 64)
            _mm_prefetch(ahead, _MM_HINT_T1);
    }
    for (uint32_t o = 0; o < left; o += 16, row += 16 * source_bytes(from)) {
        const uint32_t n = left - o < 16 ? 8 : 16;
        store16(to + o, load16(from, row, n), n);
    }
}

always_inline void pack_rows(const struct matrix *b, float *panels, uint32_t first, uint32_t last,
                             enum source from)
{
    for (uint32_t i = first; i < last; i++)
        pack_row(b, panels, i, from);
}

void avx512_attn_pack(const struct matrix *b, float *panels, uint32_t first, uint32_t last)
{
    if (b->from == FROM_F16)
        pack_rows(b, panels, first, last, FROM_F16);
    else if (b->from == FROM_INT8)
        pack_rows(b, panels, first, last, FROM_INT8);
    else
        pack_rows(b, panels, first, last, FROM_F32);
}
