/* kernels/avx2/matmul_block.h - an unpacked block of a panel: its struct, its products, and what the types' unpack
 * functions use; one row, few rows and many share them.
 *
 *   packed panel --unpack--> half blocks: 8 outputs x 32 k of byte codes, scales as floats
 *
 * Integer products without VNNI: vpmaddubsw multiplies unsigned codes by signed q and adds pairs into 16 bits, vpmaddwd
 * widens. Widening costs as much as multiplying, so as many products as 16 bits can hold are added up before:
 *
 *     codes        largest |code| * 127 * 2 a product   products added before widening (kind.depth)
 *     4 bits       15 * 254 = 3,810                     8, the whole block
 *     5 bits       31 * 254 = 7,874                     4
 *     5 bits - 16  16 * 254 = 4,064                     8
 *     6 bits - 32  32 * 254 = 8,128                     4, a half
 *     signed 8     -128 * 256 = -32,768                 1, as |code| times q with the code's sign, or (half_signs) its
 *                                                       bits turned
 *
 * Codes are stored unsigned, too large by an offset. A sum that starts from - offset * (the q that its 16 bits get,
 * acts_excess) may wrap around on its way, but ends as the sum of products without the offset, modulo 2^16, and
 * those fit: the offset costs a subtraction a run, and 16 bits hold twice as many products (512 rows, Zen 3: Q5_0
 * 1.10 times the rate, Q6_K 1.08). Scales of halves of 16 are the multiplier of the widening. On Zen 3 the tile of
 * 4-bit codes runs at 72 % of a loop of nothing but products and widenings, as fast as the same loop in assembly. */
#ifndef KERNELS_AVX2_MATMUL_BLOCK_H
#define KERNELS_AVX2_MATMUL_BLOCK_H

#include <assert.h>
#include <immintrin.h>
#include <string.h>

#include "kernels/avx2/matmul_types.h"
#include "kernels/inline.h"
#include "kernels/panel.h"

/* The rows of a tile, at its first block. */
struct tile_rows {
    const struct acts_block *block;
    size_t n_block, stride;           // of a row, and from two rows to the next two
    const struct acts_excess *excess; // of codes that are stored too large, or NULL
    int skip;                         // rows at `block` in front of the tile's first one
};

/* `row` is even. */
static inline struct tile_rows rows_at(const struct acts *x, uint32_t row, uint32_t block)
{
    return (struct tile_rows){ acts_block_of(x, row, block), x->k / QBLOCK, x->stride, NULL, 0 };
}

/* The lane of the tile's row r. */
static inline int tile_lane(struct tile_rows x, int r)
{
    return (x.skip + r) % ACTS_ROWS;
}

/* Block b of the tile's row r. */
static inline const struct acts_block *tile_block(struct tile_rows x, int r, size_t b)
{
    return x.block + (size_t)((x.skip + r) / ACTS_ROWS) * x.stride + b;
}

/* Scales and minima of eight blocks of 16 outputs. */
struct record_scales {
    __m256 ws[8][2], wm[8][2];
};
typedef void scales_fn(struct record_scales *out, const uint8_t *record);

/* What the compiler knows of a type: all of it folds away. */
struct kind {
    uint32_t record_bytes; // what the file's block takes in a packed panel,
    uint32_t group;        // and how many blocks of 32 it is: 1 or 8
    int depth;
    bool is_signed, halves;
    enum acts_offset offset; // what codes are stored too large by
    enum minima minima;
    scales_fn *scales; // of a whole record at once, or NULL: unpack finds ws and wm
};

/* 32 k of 8 outputs. A dword holds 4 k of an output, a pair of 16 bits something of its two halves of 16 k. What most
 * kinds lack comes last, two vectors a cache line: a line that nobody reads takes no room in the cache. */
struct half_block {
    __m256i code[8];
    __m256 ws, W;
    __m256i scale[2]; // halves: (s0, s0) and (s1, s1)
    __m256 wm;
    __m256i mins; // MINIMA_OF_HALVES: (m0, m1)
};

/* Signs of signed codes, for many rows: then `code` has magnitudes. ~q is -q - 1, so q with its bits turned where a code
 * is negative makes the sum too small by those codes' magnitudes, which are the weights' alone: a sum starts from them.
 * vpsignb goes to the multipliers, where all else waits (Zen 4, 512 rows of Q8_0: 1.28 times the rate). */
struct half_signs {
    __m256i sign[8]; // 0 or ~0 for each code
    __m256i start;
};

/* Block s of the record, outputs 8 h .. 8 h + 7: fills the codes and what else the kind has, but not W, nor ws and wm
 * where the kind has `scales`. */
typedef void unpack_fn(struct half_block *out, const uint8_t *record, int s, int h);

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

/* Keeps the compiler from adding up in another order: it would hold all products at once and spill half of them. */
always_inline __m256i in_order(__m256i x)
{
    __asm__("" : "+x"(x));
    return x;
}

/* signs: NULL, or those of the codes. */
always_inline __m256i product(struct kind kind, __m256i code, const struct half_signs *signs, int g,
                              __m256i q)
{
    if (signs)
        return _mm256_maddubs_epi16(code, _mm256_xor_si256(q, signs->sign[g]));
    if (kind.is_signed)
        return _mm256_maddubs_epi16(_mm256_abs_epi8(code), _mm256_sign_epi8(q, code));
    return _mm256_maddubs_epi16(code, q);
}

always_inline struct tile_rows rows_of(struct kind kind, const struct acts *x, uint32_t row,
                                       uint32_t block)
{
    struct tile_rows rows = rows_at(x, row, block);
    if (kind.offset != NO_OFFSET)
        rows.excess = acts_excess_of(x, kind.offset, row, block);
    return rows;
}

/* offset * q added up over the 16 bits of a run of kind.depth dwords: what the run's sum is too large by. */
always_inline __m256i excess(struct kind kind, struct tile_rows x, int r, size_t b, int run)
{
    const size_t n_run = acts_excess_runs(kind.offset);
    const size_t block = (size_t)((x.skip + r) / ACTS_ROWS) * x.stride + b;
    return broadcast_4(x.excess + (block * ACTS_ROWS + (size_t)tile_lane(x, r)) * n_run +
                       (size_t)run);
}

/* I_b of n_row rows and n_half halves of a panel. */
always_inline void dots(struct kind kind, int n_row, int n_half, const struct half_block *w,
                        const struct half_signs *signs, struct tile_rows x, size_t b,
                        __m256i I[4][2])
{
    __m256i sum[4][2];
    UNROLL(8)
    for (int g = 0; g < 8; g++) {
        int step = g % kind.depth;
        UNROLL(4)
        for (int r = 0; r < n_row; r++) {
            const struct acts_block *a = tile_block(x, r, b);
            __m256i q = broadcast_4(a->q[g][tile_lane(x, r)]), start = _mm256_setzero_si256();
            if (kind.offset != NO_OFFSET && step == 0)
                start = excess(kind, x, r, b, g / kind.depth);
            UNROLL(2)
            for (int h = 0; h < n_half; h++) {
                __m256i p = product(kind, w[h].code[g], signs ? &signs[h] : NULL, g, q);
                if (step > 0)
                    p = in_order(_mm256_add_epi16(sum[r][h], p));
                else if (kind.offset != NO_OFFSET)
                    p = _mm256_sub_epi16(p, start);
                sum[r][h] = p;
                if (step < kind.depth - 1)
                    continue;
                p = kind.halves ? _mm256_madd_epi16(sum[r][h], w[h].scale[g / 4])
                                : add_pairs(sum[r][h]);
                if (signs && g == 0)
                    p = _mm256_add_epi32(signs[h].start, p);
                I[r][h] = g < kind.depth ? p : in_order(_mm256_add_epi32(I[r][h], p));
            }
        }
    }
}

/* One block's terms onto y. */
always_inline void add_block(struct kind kind, int n_row, int n_half, const struct half_block *w,
                             const struct half_signs *signs, struct tile_rows x, size_t b,
                             __m256 y[4][2])
{
    __m256i I[4][2];
    dots(kind, n_row, n_half, w, signs, x, b, I);
    UNROLL(4)
    for (int r = 0; r < n_row; r++) {
        const struct acts_block *a = tile_block(x, r, b);
        const int lane = tile_lane(x, r);
        __m256 d = _mm256_broadcast_ss(&a->d[lane]), z = _mm256_broadcast_ss(&a->z[lane]);
        __m256i half = broadcast_4(a->half[lane]);
        UNROLL(2)
        for (int h = 0; h < n_half; h++) {
            __m256 f = _mm256_mul_ps(_mm256_cvtepi32_ps(I[r][h]), d);
            f = _mm256_fmadd_ps(f, w[h].ws, y[r][h]);
            if (kind.minima == ONE_MINIMUM)
                f = _mm256_fmadd_ps(_mm256_broadcast_ss(&a->t[lane]), w[h].wm, f);
            if (kind.minima == MINIMA_OF_HALVES) {
                __m256 J = _mm256_cvtepi32_ps(_mm256_madd_epi16(half, w[h].mins));
                f = _mm256_fmadd_ps(_mm256_mul_ps(J, d), w[h].wm, f);
            }
            y[r][h] = _mm256_fmadd_ps(z, w[h].W, f);
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
        return _mm256_sub_epi32(sum, _mm256_set1_epi32(32 * acts_offsets[kind.offset].by));
    }
    const __m256i start = _mm256_set1_epi16((short)(8 * acts_offsets[kind.offset].by));
    low = _mm256_sub_epi16(_mm256_maddubs_epi16(low, ones), start);
    high = _mm256_sub_epi16(_mm256_maddubs_epi16(high, ones), start);
    return _mm256_add_epi32(_mm256_madd_epi16(low, w->scale[0]),
                            _mm256_madd_epi16(high, w->scale[1]));
}

always_inline void take_signs(struct half_signs *signs, struct half_block *w)
{
    const __m256i ones = _mm256_set1_epi8(1);
    __m256i negative = _mm256_setzero_si256();
    UNROLL(8)
    for (int g = 0; g < 8; g++) {
        const __m256i code = w->code[g], sign = _mm256_cmpgt_epi8(_mm256_setzero_si256(), code);
        negative =
            _mm256_sub_epi16(negative, _mm256_maddubs_epi16(ones, _mm256_and_si256(code, sign)));
        signs->sign[g] = sign;
        w->code[g] = _mm256_abs_epi8(code);
    }
    signs->start = add_pairs(negative);
}

always_inline void unpack_half(struct kind kind, unpack_fn *unpack, struct half_block *w,
                               const uint8_t *record, const struct record_scales *scales, int s,
                               int h)
{
    __asm__ volatile(
        ""
        :
        :
        : "memory"); /* or loads of all 16 half blocks of a super-block move up here, and spill */
    unpack(w, record, s, h);
    if (kind.scales) {
        w->ws = scales->ws[s][h];
        w->wm = scales->wm[s][h];
    }
    w->W = _mm256_mul_ps(_mm256_cvtepi32_ps(sum_of_codes(kind, w)), w->ws);
    if (kind.minima == ONE_MINIMUM)
        w->W = _mm256_fmadd_ps(_mm256_set1_ps(32), w->wm, w->W);
    if (kind.minima == MINIMA_OF_HALVES) {
        __m256i J = _mm256_madd_epi16(w->mins, _mm256_set1_epi16(16));
        w->W = _mm256_fmadd_ps(_mm256_cvtepi32_ps(J), w->wm, w->W);
    }
}

/* Fetches block s of a record, as far as it has whole lines. Behind the end it is a no-op. */
always_inline void prefetch_block(struct kind kind, const uint8_t *record, uint32_t s)
{
    const uint32_t first = kind.record_bytes * s / kind.group,
                   last = kind.record_bytes * (s + 1) / kind.group;
    UNROLL(16)
    for (uint32_t i = first / 64 * 64; i < last / 64 * 64; i += 64)
        _mm_prefetch((const char *)record + i, _MM_HINT_T0);
}

always_inline void unpack_record(struct kind kind, unpack_fn *unpack, struct half_block (*w)[2],
                                 const uint8_t *record)
{
    struct record_scales scales;
    if (kind.scales)
        kind.scales(&scales, record);
    UNROLL(8)
    for (uint32_t s = 0; s < kind.group; s++) {
        unpack_half(kind, unpack, &w[s][0], record, &scales, (int)s, 0);
        unpack_half(kind, unpack, &w[s][1], record, &scales, (int)s, 1);
    }
    __asm__ volatile(""
                     :
                     :
                     : "memory"); /* there are more codes than registers: they are read back */
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

always_inline void clear_rows(__m256 sum[4][2], int n_row)
{
    UNROLL(4)
    for (int r = 0; r < n_row; r++)
        sum[r][0] = sum[r][1] = _mm256_setzero_ps();
}

always_inline void store_rows(const struct matmul_call *c, float *y, __m256 sum[4][2], int n_row,
                              uint32_t n)
{
    UNROLL(4)
    for (int r = 0; r < n_row; r++)
        store_row(y + (size_t)r * c->y_stride, sum[r], n);
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

/* Bits [from, from + width of mask) of every byte, at [to, ...): one shift, or none, and one mask. */
always_inline __m256i bits(__m256i x, int from, int to, int mask)
{
    __m256i moved = from > to   ? _mm256_srli_epi32(x, from - to)
                    : from < to ? _mm256_slli_epi32(x, to - from)
                                : x;
    return _mm256_and_si256(moved, _mm256_set1_epi8((char)(mask << to)));
}

/* A 32-block's nibbles: the low ones are its first half. */
always_inline void unpack_nibbles(__m256i code[8], const lanes32 qs[4], int h)
{
    UNROLL(4)
    for (int g = 0; g < 4; g++) {
        __m256i both = load_lanes(qs[g], h);
        code[g] = bits(both, 0, 0, 15);
        code[g + 4] = bits(both, 4, 0, 15);
    }
}

#endif
