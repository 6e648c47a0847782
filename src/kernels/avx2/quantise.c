/* Four blocks at once (coded.h): two of two rows, or four of one. */
#include <string.h>

#include "kernels/avx2/coded.h"
#include "kernels/avx2/matmul_fns.h"

static inline void store_sums(struct acts_block *to, struct acts_pairs *pairs, uint32_t lane,
                              const struct coded *c, int i)
{
    to->d[lane] = c->d[i];
    to->z[lane] = c->z[i];
    to->t[lane] = c->t[i];
    memcpy(to->half[lane], &c->half[i], sizeof to->half[lane]);
    memcpy(pairs->sum[lane], &c->pair[i], sizeof pairs->sum[lane]);
}

/* Codes i and i + 1 are both lanes of a block. */
static inline void store_pair(struct acts_block *to, struct acts_pairs *pairs,
                              const struct coded *c, int i)
{
    __m256i low = _mm256_unpacklo_epi32(c->q[i], c->q[i + 1]);
    __m256i high = _mm256_unpackhi_epi32(c->q[i], c->q[i + 1]);
    _mm256_storeu_si256((__m256i *)to->q[0], _mm256_permute2x128_si256(low, high, 0x20));
    _mm256_storeu_si256((__m256i *)to->q[4], _mm256_permute2x128_si256(low, high, 0x31));
    store_sums(to, pairs, 0, c, i);
    store_sums(to, pairs, 1, c, i + 1);
}

static inline void store_one(struct acts_block *to, struct acts_pairs *pairs, uint32_t lane,
                             const struct coded *c, int i)
{
    int32_t q[8];
    _mm256_storeu_si256((__m256i *)q, c->q[i]);
    for (int g = 0; g < 8; g++)
        memcpy(to->q[g][lane], &q[g], 4);
    store_sums(to, pairs, lane, c, i);
}

/* Behind the last block the last one is coded again, and forgotten. */
static const float *block_at(const float *f, uint32_t b, uint32_t n_block)
{
    return f + (size_t)(b < n_block ? b : n_block - 1) * QBLOCK;
}

static void quantise_two_rows(struct acts *a, uint32_t r)
{
    const uint32_t n_block = a->k / QBLOCK;
    const float *f = a->f + (size_t)r * a->k;
    struct acts_block *to = acts_block_of(a, r, 0);
    struct acts_pairs *pairs = acts_pairs_of(a, r, 0);
    struct coded c;
    for (uint32_t b = 0; b < n_block; b += 2) {
        const float *one = block_at(f, b, n_block), *two = block_at(f, b + 1, n_block);
        code(&c, (const float *[]){ one, one + a->k, two, two + a->k });
        store_pair(to + b, pairs + b, &c, 0);
        if (b + 1 < n_block)
            store_pair(to + b + 1, pairs + b + 1, &c, 2);
    }
}

static void quantise_one_row(struct acts *a, uint32_t r)
{
    const uint32_t n_block = a->k / QBLOCK;
    const float *f = a->f + (size_t)r * a->k;
    struct acts_block *to = acts_block_of(a, r, 0);
    struct acts_pairs *pairs = acts_pairs_of(a, r, 0);
    struct coded c;
    for (uint32_t b = 0; b < n_block; b += AT_ONCE) {
        code(&c, (const float *[]){ block_at(f, b, n_block), block_at(f, b + 1, n_block),
                                    block_at(f, b + 2, n_block), block_at(f, b + 3, n_block) });
        for (uint32_t i = 0; i < AT_ONCE && b + i < n_block; i++)
            store_one(to + b + i, pairs + b + i, r % ACTS_ROWS, &c, (int)i);
    }
}

void avx2_quantise(struct acts *a, uint32_t first, uint32_t last)
{
    for (uint32_t r = first; r < last;) {
        if (r % ACTS_ROWS == 0 && r + ACTS_ROWS <= last) {
            quantise_two_rows(a, r);
            r += ACTS_ROWS;
        } else {
            quantise_one_row(a, r++);
        }
    }
}
