/* kernels/avx512/matmul_tile.h - the loops of matmul that all quantised types share; a type is an unpack and a `kind`.
 *
 *   packed panel --unpack--> blocks: 16 outputs x 32 k of unsigned byte codes, scales as floats
 *
 *   few rows (decode)    for each block: unpack into registers, all rows                     weights read once
 *   many rows (prefill)  unpack a range of blocks of two panels into scratch (L1), then tiles of 6 rows x 32
 *                        outputs over it; y waits in memory between ranges, which costs no bit
 *
 * One vpdpbusd is 4 k of 16 outputs, exact. Codes are unsigned; their offset (8 for Q4_0 ... 128 for Q8_0) comes off
 * where the sum starts: not at 0 but at -offset * sum q. Scales of halves of 16 k: two sums, each below 2^23 when
 * scaled and |I| < 2^24, so floats put them together exactly. Two panels share every broadcast of q: 8 loads for
 * 12 vpdpbusd. */
#ifndef KERNELS_AVX512_MATMUL_TILE_H
#define KERNELS_AVX512_MATMUL_TILE_H

#include <string.h>

#include "kernels/avx512/matmul_types.h"
#include "kernels/avx512/matmul_vnni.h"
#include "kernels/panel.h"

/* What the compiler knows of a type: all of it folds away. */
struct kind {
    size_t block_bytes; // of 32 k of a packed panel
    bool halves;
    int offset; // what codes are stored too large by
    enum minima minima;
};

/* 32 k of 16 outputs. A dword of codes holds 4 k of an output. */
struct unpacked {
    __m512i code[8];
    __m512 ws, wm, W;
    __m512 scale[2]; // halves only
    __m512i mins;    // MINIMA_OF_HALVES: (m0, m1) as 16 bits each
};

/* Fills all of `out` but W, and of the rest what the kind has. */
typedef void unpack_fn(struct unpacked *out, const uint8_t *panel, uint32_t block);

enum {
    TILE_ROWS = 6,
    TILE_PANELS = 2,
    RANGE = MATMUL_SCRATCH / (TILE_PANELS * sizeof(struct unpacked))
};

always_inline __m512i broadcast_4(const void *p)
{
    int32_t dword;
    memcpy(&dword, p, 4);
    return _mm512_set1_epi32(dword);
}

/* Where the sum over a block, or over its first or second half, starts: what the offset takes off it. */
always_inline __m512i start_of_sum(struct kind kind, const int16_t *half, int which)
{
    uint32_t low = which == 1 ? 0 : (uint16_t)-kind.offset,
             high = which == 0 ? 0 : (uint16_t)-kind.offset;
    if (!kind.offset)
        return _mm512_setzero_si512();
    return _mm512_madd_epi16(broadcast_4(half), _mm512_set1_epi32((int)(high << 16 | low)));
}

/* Sums over dwords [g0, g1) of codes; rows x panels of them. */
always_inline void sums(int n_row, int n_panel, const struct unpacked *const w[TILE_PANELS],
                        struct tile_rows x, size_t b, int g0, int g1,
                        __m512i sum[TILE_ROWS][TILE_PANELS])
{
    UNROLL(8)
    for (int g = g0; g < g1; g++) {
        UNROLL(6)
        for (int r = 0; r < n_row; r++) {
            __m512i q = broadcast_4(tile_block(x, r, b)->q[g][r % ACTS_ROWS]);
            UNROLL(2)
            for (int p = 0; p < n_panel; p++)
                sum[r][p] = dot_4(sum[r][p], w[p]->code[g], q);
        }
    }
}

always_inline void start_sums(struct kind kind, int n_row, int n_panel, struct tile_rows x,
                              size_t b, int which, __m512i sum[TILE_ROWS][TILE_PANELS])
{
    UNROLL(6)
    for (int r = 0; r < n_row; r++) {
        __m512i start = start_of_sum(kind, tile_block(x, r, b)->half[r % ACTS_ROWS], which);
        UNROLL(2)
        for (int p = 0; p < n_panel; p++)
            sum[r][p] = start;
    }
}

/* I_b as floats, which hold it exactly. A sum that starts at +0 is never -0, as an integer is not. */
always_inline void dots(struct kind kind, int n_row, int n_panel,
                        const struct unpacked *const w[TILE_PANELS], struct tile_rows x, size_t b,
                        __m512 I[TILE_ROWS][TILE_PANELS])
{
    __m512i sum[TILE_ROWS][TILE_PANELS];
    int n_part = kind.halves ? 2 : 1;
    UNROLL(2)
    for (int i = 0; i < n_part; i++) {
        start_sums(kind, n_row, n_panel, x, b, kind.halves ? i : 2, sum);
        sums(n_row, n_panel, w, x, b, kind.halves ? 4 * i : 0, kind.halves ? 4 * i + 4 : 8, sum);
        UNROLL(6)
        for (int r = 0; r < n_row; r++) {
            UNROLL(2)
            for (int p = 0; p < n_panel; p++) {
                __m512 f = _mm512_cvtepi32_ps(sum[r][p]),
                       before = i ? I[r][p] : _mm512_setzero_ps();
                I[r][p] = kind.halves ? _mm512_fmadd_ps(f, w[p]->scale[i], before) : f;
            }
        }
    }
}

/* One block's terms of one row and one panel onto y. */
always_inline __m512 add_terms(struct kind kind, const struct unpacked *w,
                               const struct acts_block *a, int lane, __m512 I, __m512 y)
{
    __m512 d = _mm512_set1_ps(a->d[lane]), z = _mm512_set1_ps(a->z[lane]);
    y = _mm512_fmadd_ps(_mm512_mul_ps(I, d), w->ws, y);
    if (kind.minima == ONE_MINIMUM)
        y = _mm512_fmadd_ps(_mm512_set1_ps(a->t[lane]), w->wm, y);
    if (kind.minima == MINIMA_OF_HALVES) {
        __m512 J = _mm512_cvtepi32_ps(_mm512_madd_epi16(broadcast_4(a->half[lane]), w->mins));
        y = _mm512_fmadd_ps(_mm512_mul_ps(J, d), w->wm, y);
    }
    return _mm512_fmadd_ps(z, w->W, y);
}

/* One block's terms onto y. */
always_inline void add_block(struct kind kind, int n_row, int n_panel,
                             const struct unpacked *const w[TILE_PANELS], struct tile_rows x,
                             size_t b, __m512 y[TILE_ROWS][TILE_PANELS])
{
    __m512 I[TILE_ROWS][TILE_PANELS];
    dots(kind, n_row, n_panel, w, x, b, I);
    UNROLL(6)
    for (int r = 0; r < n_row; r++) {
        UNROLL(2)
        for (int p = 0; p < n_panel; p++)
            y[r][p] = add_terms(kind, w[p], tile_block(x, r, b), r % ACTS_ROWS, I[r][p], y[r][p]);
    }
}

/* W is the block times a row whose q are all 1. */
always_inline void add_up_weights(struct kind kind, struct unpacked *w)
{
#define ONES                                                                                       \
    {                                                                                              \
        {                                                                                          \
            1, 1, 1, 1                                                                             \
        }                                                                                          \
    }
    static const struct acts_block ones = { .q = { ONES, ONES, ONES, ONES, ONES, ONES, ONES, ONES },
                                            .half = { { 16, 16 } } };
#undef ONES
    struct tile_rows x = { .block = &ones };
    __m512 I[TILE_ROWS][TILE_PANELS];
    dots(kind, 1, 1, (const struct unpacked *const[]){ w, NULL }, x, 0, I);
    w->W = _mm512_mul_ps(I[0][0], w->ws);
    if (kind.minima == ONE_MINIMUM)
        w->W = _mm512_fmadd_ps(_mm512_set1_ps(32), w->wm, w->W);
    if (kind.minima == MINIMA_OF_HALVES) {
        __m512i J = _mm512_madd_epi16(w->mins, _mm512_set1_epi16(16));
        w->W = _mm512_fmadd_ps(_mm512_cvtepi32_ps(J), w->wm, w->W);
    }
}

/* A line that is wanted soon, and one that is wanted after it: into the second cache, where more requests may wait than
 * in the first (178 MB of Q8_0, two threads, GB/s of 42: 33 -> 38 for one row, 24 -> 29 for 16). Behind the end of
 * memory it is a no-op. */
always_inline void prefetch_line(const uint8_t *at)
{
    enum { FURTHER = 4096 };
    _mm_prefetch((const char *)at, _MM_HINT_T0);
    _mm_prefetch((const char *)at + FURTHER, _MM_HINT_T1);
}

/* Block b from `at` on. */
always_inline void prefetch_block(size_t block_bytes, const uint8_t *at, uint32_t b)
{
    for (size_t i = 0; i < block_bytes; i += 64)
        prefetch_line(at + b * block_bytes + i);
}

/* The lanes that exist: all 16 but in the last panel. Through a copy: an array whose address is taken lives in
 * memory. */
always_inline void store_row(float *y, __m512 lanes, uint32_t n)
{
    if (n >= PANEL)
        _mm512_storeu_ps(y, lanes);
    else
        memcpy(y, &(__m512[]){ lanes }, n * sizeof(float));
}

always_inline __m512 load_row(const float *y, uint32_t n)
{
    __m512 copy[] = { _mm512_setzero_ps() };
    if (n >= PANEL)
        return _mm512_loadu_ps(y);
    memcpy(copy, y, n * sizeof(float));
    return copy[0];
}

/* One panel, few rows. */
always_inline void fused_panel(struct kind kind, unpack_fn *unpack, int n_row,
                               const struct matmul_call *c, const uint8_t *panel, float *y,
                               uint32_t n)
{
    enum { AHEAD = 1024 };
    __m512 sum[TILE_ROWS][TILE_PANELS];
    struct tile_rows x = rows_at(c->x, 0, 0);
    UNROLL(4)
    for (int r = 0; r < n_row; r++)
        sum[r][0] = _mm512_setzero_ps();
    for (uint32_t b = 0; b < c->x->k / QBLOCK; b++) {
        struct unpacked w;
        prefetch_block(kind.block_bytes, panel + AHEAD, b);
        unpack(&w, panel, b);
        add_up_weights(kind, &w);
        add_block(kind, n_row, 1, (const struct unpacked *const[]){ &w, NULL }, x, b, sum);
    }
    UNROLL(4)
    for (int r = 0; r < n_row; r++)
        store_row(y + (size_t)r * c->y_stride, sum[r][0], n);
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

/* Rows r .. r + n_row over a range; n: outputs from y on. */
always_inline void tile(struct kind kind, int n_row, int n_panel, const struct range *range,
                        const struct matmul_call *c, uint32_t r0, float *y, uint32_t n)
{
    const struct unpacked *const w[TILE_PANELS] = { range->w[0], range->w[1] };
    const uint32_t n_block = range->last - range->first;
    const uint8_t *const ahead[TILE_PANELS] = { range->ahead[0], range->ahead[1] };
    const bool first = range->first == 0;
    const size_t y_stride = c->y_stride;
    struct tile_rows x = rows_at(c->x, r0, range->first);
    __m512 sum[TILE_ROWS][TILE_PANELS];
    y += r0 * y_stride;
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
        add_block(kind, n_row, n_panel, (const struct unpacked *const[]){ w[0] + b, w[1] + b }, x,
                  b, sum);
    }
    UNROLL(6)
    for (int r = 0; r < n_row; r++) {
        UNROLL(2)
        for (int p = 0; p < n_panel; p++)
            store_row(y + (size_t)r * y_stride + p * PANEL, sum[r][p], n - (uint32_t)p * PANEL);
    }
}

/* All rows over a range. Halves need two sums more a row, so their tiles are shorter. */
always_inline void tiles(struct kind kind, int n_panel, struct range range,
                         const struct matmul_call *c, float *y, uint32_t n)
{
    const uint32_t rows = kind.halves ? 4 : TILE_ROWS;
    uint32_t r = 0;
    for (; r + rows <= c->x->n_row; r += rows, range.ahead[0] = NULL)
        tile(kind, (int)rows, n_panel, &range, c, r, y, n);
    for (; r + 2 <= c->x->n_row; r += 2, range.ahead[0] = NULL)
        tile(kind, 2, n_panel, &range, c, r, y, n);
    if (r < c->x->n_row)
        tile(kind, 1, n_panel, &range, c, r, y, n);
}

/* Blocks [b0, b1) of a panel, for many rows. */
always_inline void unpack_blocks(struct kind kind, unpack_fn *unpack, struct unpacked *out,
                                 const uint8_t *panel, uint32_t b0, uint32_t b1)
{
    for (uint32_t b = b0; b < b1; b++) {
        unpack(&out[b - b0], panel, b);
        add_up_weights(kind, &out[b - b0]);
    }
}

/* n_panel panels from the p-th on, many rows. Ranges are equally long, at most RANGE blocks. */
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

always_inline void matmul_of_kind(struct kind kind, unpack_fn *unpack, const struct matmul_call *c)
{
    for (uint32_t p = c->first, step; p < c->last; p += step) {
        const uint8_t *panel = c->w->data + p * c->w->panel_bytes;
        float *y = c->y + (size_t)p * PANEL;
        uint32_t n = c->w->n - p * PANEL;
        step = 1;
        switch (c->x->n_row) {
        case 0:
            break;
        case 1:
            fused_panel(kind, unpack, 1, c, panel, y, n);
            break;
        case 2:
            fused_panel(kind, unpack, 2, c, panel, y, n);
            break;
        case 3:
            fused_panel(kind, unpack, 3, c, panel, y, n);
            break;
        case 4:
            fused_panel(kind, unpack, 4, c, panel, y, n);
            break;
        default:
            if (p + TILE_PANELS <= c->last)
                unpacked_panels(kind, unpack, step = TILE_PANELS, c, p);
            else
                unpacked_panels(kind, unpack, 1, c, p);
        }
    }
}

/* A type, once for the loops here, where all of it folds away, and once as data for those who bring
 * loops of their own (amx/): they get codes as they are meant, signed. */
struct quantised {
    struct kind kind;
    void (*unpack_signed)(struct unpacked *out, uint32_t stride, const uint8_t *panel, uint32_t b0,
                          uint32_t b1);
};

/* In registers until all of it is there: written once (16 rows of Q8_0: 52 -> 47 ns a block). */
always_inline void unpack_signed(struct kind kind, unpack_fn *unpack, struct unpacked *out,
                                 uint32_t stride, const uint8_t *panel, uint32_t b0, uint32_t b1)
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
        if (kind.minima != NO_MINIMA)
            out->wm = w.wm;
        if (kind.minima == MINIMA_OF_HALVES)
            out->mins = w.mins;
        if (kind.halves) {
            out->scale[0] = w.scale[0];
            out->scale[1] = w.scale[1];
        }
    }
}

#define MATMUL_TYPE(name, unpack, ...)                                                             \
    static const struct kind kind_##name = { __VA_ARGS__ };                                        \
    static void unpack_signed_##name(struct unpacked *out, uint32_t stride, const uint8_t *panel,  \
                                     uint32_t b0, uint32_t b1)                                     \
    {                                                                                              \
        unpack_signed(kind_##name, unpack, out, stride, panel, b0, b1);                            \
    }                                                                                              \
    const struct quantised avx512_##name = { { __VA_ARGS__ }, unpack_signed_##name };              \
    void avx512_matmul_##name(const struct matmul_call *c)                                         \
    {                                                                                              \
        matmul_of_kind(kind_##name, unpack, c);                                                    \
    }

extern const struct quantised avx512_q4_0, avx512_q4_1, avx512_q5_0, avx512_q5_1, avx512_q8_0,
    avx512_q2_k, avx512_q3_k, avx512_q4_k, avx512_q5_k, avx512_q6_k, avx512_iq4_nl, avx512_iq4_xs;

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
