/* kernels/avx2/matmul_tile.h - the loops of matmul that all quantised types share; a type is an unpack and a `kind`.
 *
 *   packed panel --unpack--> half blocks: 8 outputs x 32 k of byte codes, scales as floats
 *
 *   few rows (decode)    for each block: unpack into registers, all rows                  weights read once
 *   many rows (prefill)  unpack a range of blocks into scratch (L1), then tiles of 4 rows x 16 outputs over it;
 *                        y waits in memory between ranges, which costs no bit
 *
 * Integer products without VNNI: vpmaddubsw multiplies unsigned codes by signed q and adds pairs into 16 bits, vpmaddwd
 * widens. Widening costs as much as multiplying, so as many products as 16 bits can hold are added up before:
 *
 *     codes      largest |code| * 127 * 2 a product     products added before widening (kind.depth)
 *     4 bits     15 * 254 = 3,810                       8, the whole block
 *     5 bits     31 * 254 = 7,874                       4
 *     6 bits     63 * 254 = 16,002                      2
 *     signed 8   128 * 254 = 32,512                     1, as |code| times q with the code's sign
 *
 * Codes are stored unsigned; their offset comes off as offset * sum q, an integer too. Scales of halves of 16 are
 * the multiplier of the widening. */
#ifndef KERNELS_AVX2_MATMUL_TILE_H
#define KERNELS_AVX2_MATMUL_TILE_H

#include <immintrin.h>
#include <string.h>

#include "kernels/avx2/matmul_types.h"
#include "kernels/panel.h"

#define always_inline static inline __attribute__((always_inline))

enum minima { NO_MINIMA, ONE_MINIMUM, MINIMA_OF_HALVES };

/* What the compiler knows of a type: all of it folds away. */
struct kind {
    size_t block_bytes; // of 32 k of a packed panel
    int depth;
    bool is_signed, halves;
    int offset; // what codes are stored too large by
    enum minima minima;
};

/* 32 k of 8 outputs. A dword holds 4 k of an output, a pair of 16 bits something of its two halves of 16 k. */
struct half_block {
    __m256i code[8];
    __m256 ws, wm, W;
    __m256i scale[2]; // halves: (s0, s0) and (s1, s1)
    __m256i offset;   // halves: (s0, s1) * kind.offset
    __m256i mins;     // MINIMA_OF_HALVES: (m0, m1)
};

/* Fills all of `out` but W, and of the rest what the kind has. h: outputs 8 h .. 8 h + 7 of the panel. */
typedef void unpack_fn(struct half_block *out, const uint8_t *panel, uint32_t block, int h);

/* The rows of a tile, at its first block. */
struct tile_rows {
    const int8_t *q;
    const float *d, *z, *t;
    const int16_t *half;
    size_t n_block; // of a row
};

always_inline struct tile_rows rows_at(const struct acts *x, size_t row, size_t block)
{
    size_t n_block = x->k / QBLOCK, at = row * n_block + block;
    return (struct tile_rows){ x->q + at * QBLOCK, x->d + at,        x->z + at,
                               x->t + at,          x->half + 2 * at, n_block };
}

always_inline __m256i broadcast_4(const void *p)
{
    int32_t dword;
    memcpy(&dword, p, 4);
    return _mm256_set1_epi32(dword);
}

always_inline __m256i add_pairs(__m256i pairs)
{
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

/* I_b of n_row rows and n_half halves of a panel. */
always_inline void dots(struct kind kind, int n_row, int n_half, const struct half_block *w,
                        struct tile_rows x, size_t b, __m256i I[4][2])
{
    __m256i sum[4][2];
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++)
#pragma GCC unroll 4
        for (int r = 0; r < n_row; r++) {
            __m256i q = broadcast_4(x.q + ((size_t)r * x.n_block + b) * QBLOCK + 4 * g);
#pragma GCC unroll 2
            for (int h = 0; h < n_half; h++) {
                __m256i code = w[h].code[g], p;
                if (kind.is_signed)
                    p = _mm256_maddubs_epi16(_mm256_abs_epi8(code), _mm256_sign_epi8(q, code));
                else
                    p = _mm256_maddubs_epi16(code, q);
                sum[r][h] = g % kind.depth == 0 ? p : _mm256_add_epi16(sum[r][h], p);
                if (g % kind.depth == kind.depth - 1) {
                    __m256i wide = kind.halves ? _mm256_madd_epi16(sum[r][h], w[h].scale[g / 4])
                                               : add_pairs(sum[r][h]);
                    I[r][h] = g < kind.depth ? wide : _mm256_add_epi32(I[r][h], wide);
                }
            }
        }
}

/* One block's terms onto y. */
always_inline void add_block(struct kind kind, int n_row, int n_half, const struct half_block *w,
                             struct tile_rows x, size_t b, __m256 y[4][2])
{
    __m256i I[4][2];
    dots(kind, n_row, n_half, w, x, b, I);
#pragma GCC unroll 4
    for (int r = 0; r < n_row; r++) {
        size_t at = (size_t)r * x.n_block + b;
        __m256 d = _mm256_broadcast_ss(&x.d[at]), z = _mm256_broadcast_ss(&x.z[at]);
        __m256i half = broadcast_4(&x.half[2 * at]);
#pragma GCC unroll 2
        for (int h = 0; h < n_half; h++) {
            if (kind.offset && kind.halves)
                I[r][h] = _mm256_sub_epi32(I[r][h], _mm256_madd_epi16(half, w[h].offset));
            else if (kind.offset)
                I[r][h] = _mm256_sub_epi32(
                    I[r][h], _mm256_madd_epi16(half, _mm256_set1_epi16((short)kind.offset)));
            y[r][h] =
                _mm256_fmadd_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(I[r][h]), d), w[h].ws, y[r][h]);
            if (kind.minima == ONE_MINIMUM)
                y[r][h] = _mm256_fmadd_ps(_mm256_broadcast_ss(&x.t[at]), w[h].wm, y[r][h]);
            if (kind.minima == MINIMA_OF_HALVES) {
                __m256 J = _mm256_cvtepi32_ps(_mm256_madd_epi16(half, w[h].mins));
                y[r][h] = _mm256_fmadd_ps(_mm256_mul_ps(J, d), w[h].wm, y[r][h]);
            }
            y[r][h] = _mm256_fmadd_ps(z, w[h].W, y[r][h]);
        }
    }
}

/* I for q = 1: the codes added up, in bytes as far as 255 reaches (4 x 63, 8 x 31). */
always_inline __m256i sum_of_codes(struct kind kind, const struct half_block *w)
{
    __m256i ones = _mm256_set1_epi8(1), low, high, sum;
    if (kind.is_signed) {
        sum = _mm256_maddubs_epi16(ones, w->code[0]);
        for (int g = 1; g < 8; g++)
            sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(ones, w->code[g]));
        return add_pairs(sum);
    }
    low = _mm256_add_epi8(_mm256_add_epi8(w->code[0], w->code[1]),
                          _mm256_add_epi8(w->code[2], w->code[3]));
    high = _mm256_add_epi8(_mm256_add_epi8(w->code[4], w->code[5]),
                           _mm256_add_epi8(w->code[6], w->code[7]));
    if (!kind.halves) {
        sum = add_pairs(_mm256_maddubs_epi16(_mm256_add_epi8(low, high), ones));
        return _mm256_sub_epi32(sum, _mm256_set1_epi32(32 * kind.offset));
    }
    sum = _mm256_add_epi32(_mm256_madd_epi16(_mm256_maddubs_epi16(low, ones), w->scale[0]),
                           _mm256_madd_epi16(_mm256_maddubs_epi16(high, ones), w->scale[1]));
    if (kind.offset)
        sum = _mm256_sub_epi32(sum, _mm256_madd_epi16(w->offset, _mm256_set1_epi16(16)));
    return sum;
}

always_inline void unpack_half(struct kind kind, unpack_fn *unpack, struct half_block *w,
                               const uint8_t *panel, uint32_t block, int h)
{
    unpack(w, panel, block, h);
    w->W = _mm256_mul_ps(_mm256_cvtepi32_ps(sum_of_codes(kind, w)), w->ws);
    if (kind.minima == ONE_MINIMUM)
        w->W = _mm256_fmadd_ps(_mm256_set1_ps(32), w->wm, w->W);
    if (kind.minima == MINIMA_OF_HALVES) {
        __m256i J = _mm256_madd_epi16(w->mins, _mm256_set1_epi16(16));
        w->W = _mm256_fmadd_ps(_mm256_cvtepi32_ps(J), w->wm, w->W);
    }
}

/* The memory that will be read while this block is worked on; behind the end it is a no-op. */
always_inline void prefetch_block(struct kind kind, const uint8_t *panel, uint32_t block)
{
    enum { AHEAD = 4096 };
    const uint8_t *at = panel + block * kind.block_bytes + AHEAD;
    for (size_t i = 0; i < kind.block_bytes; i += 64)
        _mm_prefetch((const char *)(at + i), _MM_HINT_T0);
}

/* The lanes that exist: all 16 but in the last panel. */
always_inline void store_row(float *y, const __m256 lanes[2], uint32_t n)
{
    if (n >= PANEL) {
        _mm256_storeu_ps(y, lanes[0]);
        _mm256_storeu_ps(y + 8, lanes[1]);
    } else { /* through a copy: an array whose address is taken would live in memory */
        __m256 copy[2] = { lanes[0], lanes[1] };
        memcpy(y, copy, n * sizeof(float));
    }
}

always_inline void load_row(__m256 lanes[2], const float *y, uint32_t n)
{
    if (n >= PANEL) {
        lanes[0] = _mm256_loadu_ps(y);
        lanes[1] = _mm256_loadu_ps(y + 8);
    } else {
        __m256 copy[2] = { _mm256_setzero_ps() };
        memcpy(copy, y, n * sizeof(float));
        lanes[0] = copy[0];
        lanes[1] = copy[1];
    }
}

/* One panel, few rows. */
always_inline void fused_panel(struct kind kind, unpack_fn *unpack, int n_row, const struct call *c,
                               const uint8_t *panel, float *y, uint32_t n)
{
    __m256 sum[4][2] = { { _mm256_setzero_ps() } };
    struct tile_rows x = rows_at(c->x, 0, 0);
    for (uint32_t b = 0; b < x.n_block; b++) {
        prefetch_block(kind, panel, b);
#pragma GCC unroll 2
        for (int h = 0; h < 2; h++) {
            struct half_block w;
            __m256 part[4][2];
            unpack_half(kind, unpack, &w, panel, b, h);
#pragma GCC unroll 4
            for (int r = 0; r < n_row; r++)
                part[r][0] = sum[r][h];
            add_block(kind, n_row, 1, &w, x, b, part);
#pragma GCC unroll 4
            for (int r = 0; r < n_row; r++)
                sum[r][h] = part[r][0];
        }
    }
    for (int r = 0; r < n_row; r++)
        store_row(y + (size_t)r * c->y_stride, sum[r], n);
}

/* n_row rows over the blocks of a range. */
always_inline void tile(struct kind kind, int n_row, const struct half_block (*w)[2],
                        uint32_t n_block, struct tile_rows x, float *y, size_t y_stride, uint32_t n,
                        bool first)
{
    __m256 sum[4][2] = { { _mm256_setzero_ps() } };
    if (!first)
        for (int r = 0; r < n_row; r++)
            load_row(sum[r], y + (size_t)r * y_stride, n);
    for (uint32_t b = 0; b < n_block; b++)
        add_block(kind, n_row, 2, w[b], x, b, sum);
    for (int r = 0; r < n_row; r++)
        store_row(y + (size_t)r * y_stride, sum[r], n);
}

enum { RANGE = MATMUL_SCRATCH / (2 * sizeof(struct half_block)) };

/* One panel, many rows. Ranges are equally long, at most RANGE blocks. */
always_inline void unpacked_panel(struct kind kind, unpack_fn *unpack, const struct call *c,
                                  const uint8_t *panel, float *y, uint32_t n)
{
    struct half_block(*w)[2] = c->scratch;
    uint32_t n_block = c->x->k / QBLOCK, n_range = (n_block + RANGE - 1) / RANGE;
    for (uint32_t i = 0; i < n_range; i++) {
        uint32_t b0 = n_block * i / n_range, b1 = n_block * (i + 1) / n_range, r = 0;
        for (uint32_t b = b0; b < b1; b++) {
            prefetch_block(kind, panel, b);
            unpack_half(kind, unpack, &w[b - b0][0], panel, b, 0);
            unpack_half(kind, unpack, &w[b - b0][1], panel, b, 1);
        }
        for (; r + 4 <= c->x->n_row; r += 4)
            tile(kind, 4, w, b1 - b0, rows_at(c->x, r, b0), y + r * c->y_stride, c->y_stride, n,
                 i == 0);
        for (; r < c->x->n_row; r++)
            tile(kind, 1, w, b1 - b0, rows_at(c->x, r, b0), y + r * c->y_stride, c->y_stride, n,
                 i == 0);
    }
}

always_inline void matmul_of_kind(struct kind kind, unpack_fn *unpack, const struct call *c)
{
    for (uint32_t p = c->first; p < c->last; p++) {
        const uint8_t *panel = c->w->data + p * c->w->panel_bytes;
        float *y = c->y + (size_t)p * PANEL;
        uint32_t n = c->w->n - p * PANEL;
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
            unpacked_panel(kind, unpack, c, panel, y, n);
        }
    }
}

/* What unpacks are made of. */

always_inline __m256i load_lanes(const lanes32 dwords, int h)
{
    return _mm256_load_si256((const __m256i *)dwords + h);
}

always_inline __m256 load_halves(const lanes16 halves, int h)
{
    return _mm256_cvtph_ps(_mm_load_si128((const __m128i *)halves + h));
}

always_inline __m256i shift_right(__m256i x, int n)
{
    return _mm256_srl_epi32(x, _mm_cvtsi32_si128(n));
}

/* Bits [shift, shift + width of mask) of every byte. */
always_inline __m256i bits(__m256i x, int shift, int mask)
{
    return _mm256_and_si256(shift_right(x, shift), _mm256_set1_epi8((char)mask));
}

/* A 32-block's nibbles: the low ones are its first half. */
always_inline void unpack_nibbles(__m256i code[8], const lanes32 qs[4], int h)
{
#pragma GCC unroll 4
    for (int g = 0; g < 4; g++) {
        __m256i both = load_lanes(qs[g], h);
        code[g] = bits(both, 0, 15);
        code[g + 4] = bits(both, 4, 15);
    }
}

#endif
