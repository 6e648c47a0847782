/* Four blocks at once (coded.h): one of four rows, two of two, or four of one. */
#include <string.h>

#include "kernels/avx2/coded.h"
#include "kernels/avx2/matmul_fns.h"

static inline void store_excess(const struct acts *a, enum acts_offset offset, uint32_t r,
                                uint32_t b, const void *of)
{
    if (a->excess[offset])
        memcpy(acts_excess_of(a, offset, r, b), of,
               acts_excess_runs(offset) * sizeof(struct acts_excess));
}

/* Code i is block b of row r. */
static inline void store_sums(const struct acts *a, uint32_t r, uint32_t b, const struct coded *c,
                              int i)
{
    struct acts_block *to = acts_block_of(a, r, b);
    const uint32_t lane = r % ACTS_ROWS;
    to->d[lane] = c->d[i];
    to->z[lane] = c->z[i];
    to->t[lane] = c->t[i];
    memcpy(to->half[lane], &c->half[i], sizeof to->half[lane]);
    store_excess(a, OFFSET_8, r, b, &c->of_8[i]);
    store_excess(a, OFFSET_16, r, b, &c->of_16[i]);
    store_excess(a, OFFSET_4, r, b, &c->of_4[i]);
    store_excess(a, OFFSET_32, r, b, &c->of_32[i]);
}

/* Codes i and i + 1 are block b of rows r and r + 1. */
static inline void store_pair(const struct acts *a, uint32_t r, uint32_t b, const struct coded *c,
                              int i)
{
    struct acts_block *to = acts_block_of(a, r, b);
    __m256i low = _mm256_unpacklo_epi32(c->q[i], c->q[i + 1]);
    __m256i high = _mm256_unpackhi_epi32(c->q[i], c->q[i + 1]);
    _mm256_storeu_si256((__m256i *)to->q[0], _mm256_permute2x128_si256(low, high, 0x20));
    _mm256_storeu_si256((__m256i *)to->q[4], _mm256_permute2x128_si256(low, high, 0x31));
    store_sums(a, r, b, c, i);
    store_sums(a, r + 1, b, c, i + 1);
}

static inline void store_one(const struct acts *a, uint32_t r, uint32_t b, const struct coded *c,
                             int i)
{
    struct acts_block *to = acts_block_of(a, r, b);
    int32_t q[8];
    _mm256_storeu_si256((__m256i *)q, c->q[i]);
    for (int g = 0; g < 8; g++)
        memcpy(to->q[g][r % ACTS_ROWS], &q[g], 4);
    store_sums(a, r, b, c, i);
}

/* Behind the last block the last one is coded again, and forgotten. */
static const float *block_at(const float *f, uint32_t b, uint32_t n_block)
{
    return f + (size_t)(b < n_block ? b : n_block - 1) * QBLOCK;
}

/* Of rows whose blocks are an odd number, or one alone (acts_column), nothing is coded twice. */
static void quantise_four_rows(struct acts *a, uint32_t r)
{
    const float *f = a->f + (size_t)r * a->k;
    struct coded c;
    for (uint32_t b = 0; b < a->k / QBLOCK; b++, f += QBLOCK) {
        code(&c, (const float *[]){ f, f + a->k, f + 2 * (size_t)a->k, f + 3 * (size_t)a->k });
        store_pair(a, r, b, &c, 0);
        store_pair(a, r + ACTS_ROWS, b, &c, 2);
    }
}

static void quantise_two_rows(struct acts *a, uint32_t r)
{
    const uint32_t n_block = a->k / QBLOCK;
    const float *f = a->f + (size_t)r * a->k;
    struct coded c;
    for (uint32_t b = 0; b < n_block; b += 2) {
        const float *one = block_at(f, b, n_block), *two = block_at(f, b + 1, n_block);
        code(&c, (const float *[]){ one, one + a->k, two, two + a->k });
        store_pair(a, r, b, &c, 0);
        if (b + 1 < n_block)
            store_pair(a, r, b + 1, &c, 2);
    }
}

static void quantise_one_row(struct acts *a, uint32_t r)
{
    const uint32_t n_block = a->k / QBLOCK;
    const float *f = a->f + (size_t)r * a->k;
    struct coded c;
    for (uint32_t b = 0; b < n_block; b += AT_ONCE) {
        code(&c, (const float *[]){ block_at(f, b, n_block), block_at(f, b + 1, n_block),
                                    block_at(f, b + 2, n_block), block_at(f, b + 3, n_block) });
        for (uint32_t i = 0; i < AT_ONCE && b + i < n_block; i++)
            store_one(a, r, b + i, &c, (int)i);
    }
}

void avx2_quantise(struct acts *a, uint32_t first, uint32_t last)
{
    for (uint32_t r = first; r < last;) {
        if (r % ACTS_ROWS == 0 && r + AT_ONCE <= last) {
            quantise_four_rows(a, r);
            r += AT_ONCE;
        } else if (r % ACTS_ROWS == 0 && r + ACTS_ROWS <= last) {
            quantise_two_rows(a, r);
            r += ACTS_ROWS;
        } else {
            quantise_one_row(a, r++);
        }
    }
}
