/* A tile of 16 rows at once; ends of a range that fill no tile by four rows (avx2/coded.h); batches too small for tiles
 * as avx2 has it.
 *
 * Trees over the lanes of 16 rows turn the rows into lanes, so what a block has one of is a vector of the tile. Codes
 * are not clamped: what saturates to 127 is right, and what is -128 was below -127, or NaN, or too large for an
 * integer. One such code sends the tile to the code for four rows, which also knows blocks with a NaN. A block of
 * a row takes 11.5 cycles for 49 by four rows (Granite Rapids, x in the second cache). */
#include <string.h>

#include "kernels/avx2/coded.h"
#include "kernels/avx2/matmul_fns.h"
#include "kernels/avx512/matmul_fns.h"
#include "kernels/avx512/matmul_vnni.h"

/* Block b of rows [r, r + n) of one tile. */
static void quantise_rows(struct acts *a, uint32_t r, uint32_t n, uint32_t b)
{
    const float *f[AT_ONCE];
    struct coded c;
    struct acts_tile *to = acts_tile_of(a, r, b);
    const uint32_t lane = r % ACTS_TILE;
    for (uint32_t i = 0; i < AT_ONCE; i++) // behind the last row the last one again
        f[i] = a->f + (size_t)(r + (i < n ? i : n - 1)) * a->k + (size_t)b * QBLOCK;
    code(&c, f);
    memcpy(&to->d[lane], c.d, n * sizeof *c.d);
    memcpy(&to->z[lane], c.z, n * sizeof *c.z);
    memcpy(&to->t[lane], c.t, n * sizeof *c.t);
    memcpy(to->half[lane], c.half, n * sizeof *c.half);
    const __m256i raise = _mm256_set1_epi8(a->raised ? -128 : 0);
    for (uint32_t i = 0; i < n; i++)
        _mm256_storeu_si256((__m256i *)to->q[lane + i], _mm256_xor_si256(c.q[i], raise));
}

/* The largest and the least of some elements of some rows. */
struct ends {
    __m512 hi, lo;
};

always_inline struct ends ends_of_row(const float *x)
{
    const __m512 first = _mm512_loadu_ps(x), second = _mm512_loadu_ps(x + QBLOCK / 2);
    return (struct ends){ _mm512_max_ps(first, second), _mm512_min_ps(first, second) };
}

/* A level of both trees: of each a and b one half, and under it the other. */
#define ENDS_LEVEL(name, one, other)                                                               \
    always_inline struct ends name(struct ends a, struct ends b)                                   \
    {                                                                                              \
        return (struct ends){ _mm512_max_ps(one(a.hi, b.hi), other(a.hi, b.hi)),                   \
                              _mm512_min_ps(one(a.lo, b.lo), other(a.lo, b.lo)) };                 \
    }

/* In every quarter a a b b, then, of two such pairs, a b c d. The blends are there as only one port shuffles. */
#define STRAIGHT_PAIRS(a, b) _mm512_mask_blend_ps(0xcccc, a, b)
#define CROSSED_PAIRS(a, b) _mm512_shuffle_ps(a, b, 0x4e)
#define EVENS(a, b) _mm512_shuffle_ps(a, b, 0x88)
#define ODDS(a, b) _mm512_shuffle_ps(a, b, 0xdd)
ENDS_LEVEL(ends_in_pairs, STRAIGHT_PAIRS, CROSSED_PAIRS)
ENDS_LEVEL(ends_in_lanes, EVENS, ODDS)

/* The same of quarters. */
#define STRAIGHT_HALVES(a, b) _mm512_mask_blend_ps(0xff00, a, b)
#define CROSSED_HALVES(a, b) _mm512_shuffle_f32x4(a, b, 0x4e)
#define EVEN_QUARTERS(a, b) _mm512_shuffle_f32x4(a, b, 0x88)
#define ODD_QUARTERS(a, b) _mm512_shuffle_f32x4(a, b, 0xdd)
ENDS_LEVEL(ends_in_halves, STRAIGHT_HALVES, CROSSED_HALVES)
ENDS_LEVEL(ends_in_quarters, EVEN_QUARTERS, ODD_QUARTERS)

always_inline struct ends ends_of_2(const float *x, size_t k)
{
    return ends_in_pairs(ends_of_row(x), ends_of_row(x + k));
}

always_inline struct ends ends_of_8(const float *x, size_t k)
{
    return ends_in_lanes(ends_in_halves(ends_of_2(x, k), ends_of_2(x + 4 * k, k)),
                         ends_in_halves(ends_of_2(x + 2 * k, k), ends_of_2(x + 6 * k, k)));
}

always_inline struct ends ends_of_16(const float *x, size_t k)
{
    return ends_in_quarters(ends_of_8(x, k), ends_of_8(x + 8 * k, k));
}

/* A row's codes as words: in every quarter four of the first half, four of the second. */
always_inline __m512i words_of_row(const float *x, float z, float inv)
{
    const __m512 vz = _mm512_set1_ps(z), vinv = _mm512_set1_ps(inv);
    const __m512 first = _mm512_sub_ps(_mm512_loadu_ps(x), vz);
    const __m512 second = _mm512_sub_ps(_mm512_loadu_ps(x + QBLOCK / 2), vz);
    return _mm512_packs_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(first, vinv)),
                              _mm512_cvtps_epi32(_mm512_mul_ps(second, vinv)));
}

always_inline __m512i add_halves(__m512i a, __m512i b)
{
    return _mm512_add_epi32(_mm512_mask_blend_epi32(0xff00, a, b),
                            _mm512_shuffle_i32x4(a, b, 0x4e));
}

/* The sums over quarters of a, b, c and d, a quarter each. */
always_inline __m512i sums_over_quarters(__m512i a, __m512i b, __m512i c, __m512i d)
{
    const __m512i ab = add_halves(a, b), cd = add_halves(c, d);
    return _mm512_add_epi32(_mm512_shuffle_i32x4(ab, cd, 0x88), _mm512_shuffle_i32x4(ab, cd, 0xdd));
}

/* d and z of a block of a tile, and what its codes are made with; k: from one row of x to the next. */
always_inline void scale_tile(struct acts_tile *to, float inv[ACTS_TILE], const float *x, size_t k)
{
    const struct ends e = ends_of_16(x, k);
    const __m512 width = _mm512_sub_ps(e.hi, e.lo);
    const __m512 z = _mm512_mul_ps(_mm512_add_ps(e.hi, e.lo), _mm512_set1_ps(0.5f));
    const __m512 step = _mm512_div_ps(_mm512_set1_ps(254), width);
    const __mmask16 wide = _mm512_cmp_ps_mask(e.hi, e.lo, _CMP_GT_OQ);
    _mm512_storeu_ps(inv, _mm512_maskz_mov_ps(wide, step));
    _mm512_storeu_ps(to->d, _mm512_mul_ps(width, _mm512_set1_ps(1.0f / 254)));
    _mm512_storeu_ps(to->z, _mm512_add_ps(z, _mm512_setzero_ps())); // -0 is 0
}

/* The codes, with their upper bits turned where `raise` has them, and their sums. False: a code is -128. */
always_inline bool code_tile(struct acts_tile *to, const float inv[ACTS_TILE], const float *x,
                             size_t k, __m512i raise)
{
    const __m512i ones = _mm512_set1_epi8(1);
    // four k of two rows, from all over the quarters
    const __m512i in_order =
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i least = ones, sums[ACTS_TILE / 2];
    UNROLL(8)
    for (int i = 0; i < ACTS_TILE / 2; i++) {
        const int r = 2 * i;
        const __m512i q =
            _mm512_packs_epi16(words_of_row(x + r * k, to->z[r], inv[r]),
                               words_of_row(x + (r + 1) * k, to->z[r + 1], inv[r + 1]));
        least = _mm512_min_epi8(least, q);
        sums[i] = dot_4(_mm512_setzero_si512(), ones, q);
        _mm512_storeu_si512(to->q[r],
                            _mm512_xor_si512(_mm512_permutexvar_epi32(in_order, q), raise));
    }
    const __m512i half = _mm512_packs_epi32(sums_over_quarters(sums[0], sums[2], sums[4], sums[6]),
                                            sums_over_quarters(sums[1], sums[3], sums[5], sums[7]));
    const __m512 whole = _mm512_cvtepi32_ps(_mm512_madd_epi16(half, _mm512_set1_epi16(1)));
    _mm512_storeu_si512(to->half, half);
    _mm512_storeu_ps(to->t, _mm512_mul_ps(_mm512_loadu_ps(to->d), whole));
    return !_mm512_cmpeq_epi8_mask(least, _mm512_set1_epi8(-128));
}

/* Rows [r, r + ACTS_TILE), r a multiple of it. While a block is coded, the trees and the division of the next one
 * run. */
static void quantise_tiles(struct acts *a, uint32_t r)
{
    const uint32_t n_block = a->k / QBLOCK;
    const float *x = a->f + (size_t)r * a->k;
    const __m512i raise = _mm512_set1_epi8(a->raised ? -128 : 0);
    struct acts_tile *to = acts_tile_of(a, r, 0);
    float inv[2][ACTS_TILE];
    scale_tile(to, inv[0], x, a->k);
    for (uint32_t b = 0; b < n_block; b++, x += QBLOCK) {
        if (b + 1 < n_block)
            scale_tile(to + b + 1, inv[(b + 1) % 2], x + QBLOCK, a->k);
        if (code_tile(to + b, inv[b % 2], x, a->k, raise))
            continue;
        for (uint32_t i = 0; i < ACTS_TILE; i += AT_ONCE)
            quantise_rows(a, r + i, AT_ONCE, b);
    }
}

void avx512_quantise(struct acts *a, uint32_t first, uint32_t last)
{
    if (!a->tile) {
        avx2_quantise(a, first, last);
        return;
    }
    for (uint32_t r = first, n; r < last; r += n) {
        if (r % ACTS_TILE == 0 && last - r >= ACTS_TILE) {
            quantise_tiles(a, r);
            n = ACTS_TILE;
            continue;
        }
        const uint32_t end = r / AT_ONCE * AT_ONCE + AT_ONCE;
        n = (end < last ? end : last) - r;
        for (uint32_t b = 0; b < a->k / QBLOCK; b++)
            quantise_rows(a, r, n, b);
    }
}
