/* kernels/avx512/matmul_tile.h - many rows (prefill), and what makes a type of an unpack and a `kind`.
 *
 *   a range of blocks of two panels, unpacked into scratch (L1), then tiles of up to 6 rows x 32 outputs over it;
 *   y waits in memory between ranges, which costs no bit
 *
 * One vpdpbusd is 4 k of 16 outputs, exact: unsigned bytes times signed ones. Here the unsigned ones are the rows', which
 * are stored 128 too large (raised tiles), so codes are signed and a sum is too large by 128 times its codes. That is
 * the weights' own, so it is a sum's start, loaded once for all rows; an offset of the codes would cost each row a
 * multiplication.
 *
 * What is left is bound by the multipliers, which on Zen 4 start one vector a cycle, integers or floats: a block of
 * 6 x 32 outputs is 96 products and 36 terms, 48 of types with a minimum, 60 where halves stay apart, 72 of Q2_K. From
 * the first cache tiles take just these 132, 144 and 156 cycles; over whole matrices it is 138 to 146, 147 to 152, 165
 * and 179.
 *
 * Two panels share every broadcast of q: 8 loads for 12 vpdpbusd. */
#ifndef KERNELS_AVX512_MATMUL_TILE_H
#define KERNELS_AVX512_MATMUL_TILE_H

#include "kernels/avx512/matmul_few.h"

/* Two panels of 12 blocks leave room in a first cache of 32 KiB for rows that come and go; 9 are as good, 17 are not
 * (Zen 4, Q5_0: 137, 138 and 142 cycles a block). */
enum { TILE_ROWS = 6, TILE_PANELS = 2, RANGE = 12 };
_Static_assert(sizeof(struct unpacked[TILE_PANELS][RANGE]) <= MATMUL_SCRATCH, "one call's scratch");

/* ---- unpacking ---- */

/* In registers until all of it is there: written once (Granite Rapids, 16 rows of Q8_0: 52 -> 47 ns a block). */
always_inline void unpack_signed(struct kind kind, unpack_fn *unpack, bool starts,
                                 struct unpacked *out, uint32_t stride, const uint8_t *panel,
                                 uint32_t b0, uint32_t b1)
{
    const __m512i offset = _mm512_set1_epi8((char)kind.offset);
    for (uint32_t b = b0; b < b1; b++, out += stride) {
        struct unpacked w;
        unpack(&w, panel, b);
        add_up_weights(kind, &w);
        UNROLL(8)
        for (int g = 0; g < 8; g++)
            out->code[g] = kind.offset ? _mm512_sub_epi8(w.code[g], offset) : w.code[g];
        out->ws = w.ws;
        out->W = w.W;
        if (starts)
            out->start = w.start;
        if (kind.minima != NO_MINIMA)
            out->wm = w.wm;
        if (kind.minima == MINIMA_OF_HALVES)
            out->mins = w.mins;
        if (kind.halves) {
            out->scale[0] = w.scale[0];
            out->scale[1] = w.scale[1];
        }
        if (starts && is_apart(kind))
            out->second = w.second;
    }
}

/* Scale h of each output, twice: as words. */
always_inline __m512i scale_words(const struct unpacked *w, int h)
{
    const __m512i scale = _mm512_cvtps_epi32(w->scale[h]);
    return _mm512_or_si512(_mm512_slli_epi32(scale, 16),
                           _mm512_and_si512(scale, _mm512_set1_epi32(0xffff)));
}

/* Bytes times words, of which a byte is enough. */
always_inline __m512i times_words(__m512i bytes, __m512i words)
{
    const __m512i upper = _mm512_set1_epi16((short)0xff00);
    return _mm512_or_si512(_mm512_andnot_si512(upper, _mm512_mullo_epi16(bytes, words)),
                           _mm512_mullo_epi16(_mm512_and_si512(bytes, upper), words));
}

always_inline void fold_scales(enum fold fold, struct unpacked *w)
{
    const __m512i zero = _mm512_setzero_si512();
    __m512i scale[] = { scale_words(w, 0), scale_words(w, 1) };
    for (int h = 0; h < 2 && fold == FOLD_NEGATED; h++)
        scale[h] = _mm512_sub_epi16(zero, scale[h]);
    UNROLL(8)
    for (int g = 0; g < 8; g++)
        w->code[g] = times_words(w->code[g], scale[g / 4]);
}

/* Blocks [b0, b1) of a panel. */
always_inline void unpack_blocks(struct kind kind, unpack_fn *unpack, struct unpacked *out,
                                 const uint8_t *panel, uint32_t b0, uint32_t b1)
{
    unpack_signed(kind, unpack, true, out, 1, panel, b0, b1);
    for (uint32_t b = b0; kind.fold != NO_FOLD && b < b1; b++)
        fold_scales(kind.fold, out++);
}

/* ---- tiles ---- */

/* Rows of a tile of acts, at a range's first block. */
struct rows {
    const struct acts_tile *x;
    uint32_t lane; // of the first row
};

/* Sums over dwords [g0, g1) of codes; rows x panels of them. */
always_inline void sums(int n_row, int n_panel, const struct unpacked *const w[TILE_PANELS],
                        struct rows rows, size_t b, int g0, int g1,
                        __m512i sum[TILE_ROWS][TILE_PANELS])
{
    const int8_t(*q)[QBLOCK] = rows.x[b].q + rows.lane;
    UNROLL(8)
    for (int g = g0; g < g1; g++) {
        UNROLL(6)
        for (int r = 0; r < n_row; r++) {
            __m512i four = broadcast_4(q[r] + 4 * g);
            UNROLL(2)
            for (int p = 0; p < n_panel; p++)
                sum[r][p] = dot_4(sum[r][p], four, w[p]->code[g]);
        }
    }
}

/* The same as floats, from the start of each on. */
always_inline void dots(int n_row, int n_panel, const struct unpacked *const w[TILE_PANELS],
                        struct rows rows, size_t b, int g0, int g1, bool negated,
                        __m512 I[TILE_ROWS][TILE_PANELS])
{
    __m512i sum[TILE_ROWS][TILE_PANELS];
    UNROLL(6)
    for (int r = 0; r < n_row; r++) {
        UNROLL(2)
        for (int p = 0; p < n_panel; p++)
            sum[r][p] = g0 == 0 ? w[p]->start : w[p]->second;
    }
    sums(n_row, n_panel, w, rows, b, g0, g1, sum);
    UNROLL(6)
    for (int r = 0; r < n_row; r++) {
        UNROLL(2)
        for (int p = 0; p < n_panel; p++)
            I[r][p] = _mm512_cvtepi32_ps(
                negated ? _mm512_sub_epi32(_mm512_setzero_si512(), sum[r][p]) : sum[r][p]);
    }
}

/* One block's terms onto y. */
always_inline void add_block(struct kind kind, int n_row, int n_panel,
                             const struct unpacked *const w[TILE_PANELS], struct rows rows,
                             size_t b, __m512 y[TILE_ROWS][TILE_PANELS])
{
    const bool apart = is_apart(kind);
    __m512 I[TILE_ROWS][TILE_PANELS], second[TILE_ROWS][TILE_PANELS];
    dots(n_row, n_panel, w, rows, b, 0, apart ? 4 : 8, kind.fold == FOLD_NEGATED, I);
    if (apart)
        dots(n_row, n_panel, w, rows, b, 4, 8, false, second);
    UNROLL(6)
    for (int r = 0; r < n_row; r++) {
        UNROLL(2)
        for (int p = 0; p < n_panel; p++) {
            if (apart)
                I[r][p] = join_halves(w[p], I[r][p], second[r][p]);
            y[r][p] =
                add_terms(kind.minima, w[p], row_terms_of(&rows.x[b], rows.lane + (uint32_t)r),
                          I[r][p], y[r][p]);
        }
    }
}

/* Blocks [first, last) of n_panel panels, unpacked. Meanwhile as many blocks at `ahead` are fetched, unless it is NULL:
 * they come next, and fetched by those who unpack they would come in bursts, which few requests can be in flight
 * for. */
struct range {
    const struct unpacked *w[TILE_PANELS];
    uint32_t first, last;
    const uint8_t *ahead[TILE_PANELS];
};

/* What comes behind blocks [.., b1) of n_panel panels from the p-th on. */
static inline void aim_ahead(const uint8_t *ahead[TILE_PANELS], const struct packed *w,
                             size_t block_bytes, uint32_t p, uint32_t n_panel, uint32_t b1)
{
    const bool over = b1 == w->k / QBLOCK;
    for (uint32_t i = 0; i < n_panel; i++)
        ahead[i] = w->data + (p + i + (over ? n_panel : 0)) * w->panel_bytes +
                   (over ? 0 : b1 * block_bytes);
}

/* What the next rows of a range read, behind the last ones the first ones of the next range: three lines of codes a
 * block, and four of the rest where a tile of acts begins. */
struct next_rows {
    const uint8_t *codes, *rest; // of the range's first block; rest: NULL where it is there already
};

always_inline struct next_rows next_rows_at(const struct acts *x, uint32_t row, uint32_t block)
{
    const struct acts_tile *t = acts_tile_of(x, row, block);
    const uint32_t lane = row % ACTS_TILE;
    return (struct next_rows){ (const uint8_t *)t->q[lane], lane ? NULL : (const uint8_t *)t->d };
}

always_inline void fetch_next(struct next_rows next, size_t b)
{
    for (int line = 0; line < 3; line++)
        _mm_prefetch((const char *)next.codes + b * sizeof(struct acts_tile) + 64 * line,
                     _MM_HINT_T0);
    for (int line = 0; next.rest && line < 4; line++)
        _mm_prefetch((const char *)next.rest + b * sizeof(struct acts_tile) + 64 * line,
                     _MM_HINT_T0);
}

/* Rows r0 .. r0 + n_row, of one tile of acts, over a range; n: outputs from y on. */
always_inline void tile(struct kind kind, int n_row, int n_panel, const struct range *range,
                        const struct matmul_call *c, uint32_t r0, float *y, uint32_t n)
{
    const struct unpacked *const w[TILE_PANELS] = { range->w[0], range->w[1] };
    const uint32_t n_block = range->last - range->first;
    const uint8_t *const ahead[TILE_PANELS] = { range->ahead[0], range->ahead[1] };
    const struct rows rows = { acts_tile_of(c->x, r0, range->first), r0 % ACTS_TILE };
    const bool first = range->first == 0;
    const size_t y_stride = c->y_stride;
    const uint32_t r1 = r0 + (uint32_t)n_row, n_next = c->x->n_row - r1;
    const struct next_rows next = next_rows_at(c->x, n_next ? r1 : 0,
                                               n_next                           ? range->first
                                               : range->last < c->x->k / QBLOCK ? range->last
                                                                                : 0);
    __m512 sum[TILE_ROWS][TILE_PANELS];
    y += r0 * y_stride;
    for (int r = n_row; r < n_row + (n_next < TILE_ROWS ? (int)n_next : TILE_ROWS); r++)
        for (int p = 0; p < n_panel; p++)
            __builtin_prefetch(y + (size_t)r * y_stride + p * PANEL, 1);
    UNROLL(6)
    for (int r = 0; r < n_row; r++) {
        UNROLL(2)
        for (int p = 0; p < n_panel; p++) {
            const float *at = y + (size_t)r * y_stride + p * PANEL;
            sum[r][p] = first ? _mm512_setzero_ps() : load_row(at, n - (uint32_t)p * PANEL);
        }
    }
    for (uint32_t b = 0; b < n_block; b++) {
        for (int p = 0; ahead[0] && p < n_panel; p++)
            prefetch_block(kind.block_bytes, ahead[p], b);
        fetch_next(next, b);
        add_block(kind, n_row, n_panel, (const struct unpacked *const[]){ w[0] + b, w[1] + b },
                  rows, b, sum);
    }
    UNROLL(6)
    for (int r = 0; r < n_row; r++) {
        UNROLL(2)
        for (int p = 0; p < n_panel; p++)
            store_row(y + (size_t)r * y_stride + p * PANEL, sum[r][p], n - (uint32_t)p * PANEL);
    }
}

/* How many of `left` rows go next: 16 are 6, 5 and 5. Halves need two sums more a row, so their tiles are shorter. */
always_inline uint32_t rows_of_next(bool apart, uint32_t left)
{
    if (apart)
        return left >= 4 ? 4 : left >= 2 ? 2 : 1;
    return left >= 12 || left == 8 || left == 6 ? 6 : left >= 5 ? 5 : left >= 2 ? 2 : 1;
}

/* All rows over a range. */
always_inline void tiles(struct kind kind, int n_panel, struct range range,
                         const struct matmul_call *c, float *y, uint32_t n)
{
    const bool apart = is_apart(kind);
    for (uint32_t r = 0, step; r < c->x->n_row; r += step, range.ahead[0] = NULL) {
        const uint32_t left = c->x->n_row - r, in_tile = ACTS_TILE - r % ACTS_TILE;
        step = rows_of_next(apart, left < in_tile ? left : in_tile);
        if (!apart && step == 6)
            tile(kind, 6, n_panel, &range, c, r, y, n);
        else if (!apart && step == 5)
            tile(kind, 5, n_panel, &range, c, r, y, n);
        else if (apart && step == 4)
            tile(kind, 4, n_panel, &range, c, r, y, n);
        else if (step == 2)
            tile(kind, 2, n_panel, &range, c, r, y, n);
        else
            tile(kind, 1, n_panel, &range, c, r, y, n);
    }
}

/* n_panel panels from the p-th on. Ranges are equally long, at most RANGE blocks. */
always_inline void unpacked_panels(struct kind kind, unpack_fn *unpack, int n_panel,
                                   const struct matmul_call *c, uint32_t p)
{
    struct unpacked(*scratch)[RANGE] = c->scratch;
    uint32_t n_block = c->x->k / QBLOCK, n_range = (n_block + RANGE - 1) / RANGE;
    for (uint32_t i = 0; i < n_range; i++) {
        struct range range = { .w = { scratch[0], scratch[1] },
                               .first = n_block * i / n_range,
                               .last = n_block * (i + 1) / n_range };
        for (int j = 0; j < n_panel; j++)
            unpack_blocks(kind, unpack, scratch[j],
                          c->w->data + (p + (uint32_t)j) * c->w->panel_bytes, range.first,
                          range.last);
        aim_ahead(range.ahead, c->w, kind.block_bytes, p, (uint32_t)n_panel, range.last);
        tiles(kind, n_panel, range, c, c->y + (size_t)p * PANEL, c->w->n - p * PANEL);
    }
}

always_inline void many_rows(struct kind kind, unpack_fn *unpack, const struct matmul_call *c)
{
    uint32_t p = c->first;
    for (; p + TILE_PANELS <= c->last; p += TILE_PANELS)
        unpacked_panels(kind, unpack, TILE_PANELS, c, p);
    if (p < c->last)
        unpacked_panels(kind, unpack, 1, c, p);
}

/* ---- types ---- */

#define MATMUL_TYPE(name, unpack, ...)                                                             \
    static const struct kind kind_##name = { __VA_ARGS__ };                                        \
    static void unpack_signed_##name(struct unpacked *out, uint32_t stride, const uint8_t *panel,  \
                                     uint32_t b0, uint32_t b1)                                     \
    {                                                                                              \
        unpack_signed(kind_##name, unpack, false, out, stride, panel, b0, b1);                     \
    }                                                                                              \
    const struct quantised avx512_##name = { { __VA_ARGS__ }, unpack_signed_##name };              \
    void avx512_matmul_##name(const struct matmul_call *c)                                         \
    {                                                                                              \
        assert(c->x->tile ? c->x->raised : c->x->n_row <= FEW_ROWS);                               \
        if (c->x->tile)                                                                            \
            many_rows(kind_##name, unpack, c);                                                     \
        else                                                                                       \
            few_rows(kind_##name, unpack, c);                                                      \
    }

/* What unpacks are made of. */

always_inline __m512i load_lanes(const lanes32 dwords)
{
    return _mm512_loadu_si512(dwords);
}

always_inline __m512 load_halves(const lanes16 halves)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)halves));
}

always_inline __m512i shift_right(__m512i x, int n)
{
    return _mm512_srl_epi32(x, _mm_cvtsi32_si128(n));
}

/* Bits [shift, shift + width of mask) of every byte. */
always_inline __m512i bits(__m512i x, int shift, int mask)
{
    return _mm512_and_si512(shift_right(x, shift), _mm512_set1_epi8((char)mask));
}

/* A 32-block's nibbles: the low ones are its first half. */
always_inline void unpack_nibbles(__m512i code[8], const lanes32 qs[4])
{
    UNROLL(4)
    for (int g = 0; g < 4; g++) {
        __m512i both = load_lanes(qs[g]);
        code[g] = bits(both, 0, 15);
        code[g + 4] = bits(both, 4, 15);
    }
}

#endif
