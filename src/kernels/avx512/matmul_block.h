/* kernels/avx512/matmul_block.h - an unpacked block of a panel: its struct and its products, as few rows, many rows
 * and amx/ share them.
 *
 *   packed panel --unpack--> blocks: 16 outputs x 32 k of unsigned byte codes, scales as floats
 *
 * Codes may be stored too large by an offset (8 for Q4_0 ... 128 for Q8_0). Few rows take them so, many signed. */
#ifndef KERNELS_AVX512_MATMUL_BLOCK_H
#define KERNELS_AVX512_MATMUL_BLOCK_H

#include <assert.h>
#include <string.h>

#include "kernels/avx512/matmul_types.h"
#include "kernels/avx512/matmul_vnni.h"
#include "kernels/panel.h"

/* Many rows have the scales of halves in the codes where a byte holds both, so that a block is one sum and not two:
 * not, as they are, or negated (-4 .. 3 times -32 .. 31 is at most 128, and negated no less than -128). */
enum fold { NO_FOLD, FOLD, FOLD_NEGATED };

/* What the compiler knows of a type: all of it folds away. */
struct kind {
    size_t block_bytes; // of 32 k of a packed panel
    bool halves;
    int offset; // what codes are stored too large by
    enum minima minima;
    enum fold fold;
};

/* Whether a block's halves are still apart behind unpacking. */
always_inline bool is_apart(struct kind kind)
{
    return kind.halves && kind.fold == NO_FOLD;
}

/* 32 k of 16 outputs. A dword of codes holds 4 k of an output. What most kinds lack comes last. */
struct unpacked {
    __m512i code[8];
    __m512 ws, W, wm;
    __m512i start; // many rows: of the sum over the block, or over its first half
    __m512 scale[2];
    union {             // halves with minima are folded
        __m512i mins;   // MINIMA_OF_HALVES: (m0, m1) as 16 bits each
        __m512i second; // start of the sum over the second half
    };
};

/* Fills all of `out` but W and the starts, and of the rest what the kind has. */
typedef void unpack_fn(struct unpacked *out, const uint8_t *panel, uint32_t block);

always_inline __m512i broadcast_4(const void *p)
{
    int32_t dword;
    memcpy(&dword, p, 4);
    return _mm512_set1_epi32(dword);
}

/* The sum of dwords [g0, g1) of codes. */
always_inline __m512i sum_of_codes(const struct unpacked *w, int g0, int g1)
{
    __m512i sum = _mm512_setzero_si512();
    UNROLL(8)
    for (int g = g0; g < g1; g++)
        sum = dot_4(sum, w->code[g], _mm512_set1_epi8(1));
    return sum;
}

/* Without the offset, as floats, which hold them exactly. */
always_inline __m512 sum_of_weights(struct kind kind, const struct unpacked *w, int g0, int g1)
{
    const __m512i excess = _mm512_set1_epi32(4 * (g1 - g0) * kind.offset);
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(sum_of_codes(w, g0, g1), excess));
}

/* I_b of the sums over both halves. From +0, as an integer is never -0. */
always_inline __m512 join_halves(const struct unpacked *w, __m512 first, __m512 second)
{
    const __m512 I = _mm512_fmadd_ps(first, w->scale[0], _mm512_setzero_ps());
    return _mm512_fmadd_ps(second, w->scale[1], I);
}

/* What a sum over codes starts at where a row's q are 128 too large (matmul_tile.h): exact. */
always_inline __m512i start_below(__m512 codes_sum)
{
    return _mm512_cvtps_epi32(_mm512_mul_ps(codes_sum, _mm512_set1_ps(-128)));
}

/* Starts, and W, which is the block times a row whose q are all 1. */
always_inline void add_up_weights(struct kind kind, struct unpacked *w)
{
    __m512 I;
    if (kind.halves) {
        const __m512 first = sum_of_weights(kind, w, 0, 4), second = sum_of_weights(kind, w, 4, 8);
        I = join_halves(w, first, second);
        if (is_apart(kind)) {
            w->start = start_below(first);
            w->second = start_below(second);
        }
    } else {
        I = sum_of_weights(kind, w, 0, 8);
    }
    if (!kind.halves || kind.fold == FOLD)
        w->start = start_below(I);
    if (kind.fold == FOLD_NEGATED)
        w->start = start_below(_mm512_sub_ps(_mm512_setzero_ps(), I));
    w->W = _mm512_mul_ps(I, w->ws);
    if (kind.minima == ONE_MINIMUM)
        w->W = _mm512_fmadd_ps(_mm512_set1_ps(32), w->wm, w->W);
    if (kind.minima == MINIMA_OF_HALVES) {
        __m512i J = _mm512_madd_epi16(w->mins, _mm512_set1_epi16(16));
        w->W = _mm512_fmadd_ps(_mm512_cvtepi32_ps(J), w->wm, w->W);
    }
}

/* What a block of a row has besides codes. */
struct row_terms {
    const float *d, *z, *t;
    const int16_t *half;
};

always_inline struct row_terms row_terms_of(const struct acts_tile *x, uint32_t lane)
{
    return (struct row_terms){ &x->d[lane], &x->z[lane], &x->t[lane], x->half[lane] };
}

/* A block's terms of one row onto y. */
always_inline __m512 add_terms(enum minima minima, const struct unpacked *w, struct row_terms x,
                               __m512 I, __m512 y)
{
    const __m512 d = _mm512_set1_ps(*x.d);
    y = _mm512_fmadd_ps(_mm512_mul_ps(I, d), w->ws, y);
    if (minima == ONE_MINIMUM)
        y = _mm512_fmadd_ps(_mm512_set1_ps(*x.t), w->wm, y);
    if (minima == MINIMA_OF_HALVES) {
        __m512 J = _mm512_cvtepi32_ps(_mm512_madd_epi16(broadcast_4(x.half), w->mins));
        y = _mm512_fmadd_ps(_mm512_mul_ps(J, d), w->wm, y);
    }
    return _mm512_fmadd_ps(_mm512_set1_ps(*x.z), w->W, y);
}

/* A line that is wanted soon, and one that is wanted after it: into the second cache, where more requests may wait than
 * in the first (Granite Rapids, 178 MB of Q8_0, two threads, GB/s of 42: 33 -> 38 for one row, 24 -> 29 for 16). Behind
 * the end of memory it is a no-op. */
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

/* A type, once for the loops here, where all of it folds away, and once as data for those who bring
 * loops of their own (amx/): they get codes as they are meant, signed. */
struct quantised {
    struct kind kind;
    void (*unpack_signed)(struct unpacked *out, uint32_t stride, const uint8_t *panel, uint32_t b0,
                          uint32_t b1);
};

#define AS_DATA(TYPE, type, offset) extern const struct quantised avx512_##type;
QUANTISED_TYPES(AS_DATA)
#undef AS_DATA

#endif
