#include <immintrin.h>

#include "kernels/avx2/fns.h"
#include "kernels/inline.h"

/* The compiler may neither know a value nor drop it: else it would multiply once, or never. */
always_inline void hide(__m256i *x)
{
    __asm__ volatile("" : "+x"(*x));
}

always_inline void hide_f32(__m256 *x)
{
    __asm__ volatile("" : "+x"(*x));
}

/* Products as matmul_block.h has them for a depth of 8, of four rows side by side. */
uint64_t avx2_peak_int8(uint64_t n_round)
{
    enum { ROWS = 4, DEPTH = 8, OPS = ROWS * DEPTH * 32 * 2 };
    __m256i code = _mm256_set1_epi8(15), q = _mm256_set1_epi8(1), ones = _mm256_set1_epi16(1);
    __m256i total[ROWS] = { _mm256_setzero_si256() };
    for (uint64_t i = 0; i < n_round; i++) {
        __m256i sum[ROWS] = { _mm256_setzero_si256() };
        for (int g = 0; g < DEPTH; g++)
            for (int r = 0; r < ROWS; r++) {
                hide(&code);
                sum[r] = _mm256_add_epi16(sum[r], _mm256_maddubs_epi16(code, q));
                hide(&sum[r]);
            }
        for (int r = 0; r < ROWS; r++)
            total[r] = _mm256_add_epi32(total[r], _mm256_madd_epi16(sum[r], ones));
    }
    for (int r = 0; r < ROWS; r++)
        hide(&total[r]);
    return n_round * OPS;
}

uint64_t avx2_peak_f32(uint64_t n_round)
{
    enum { CHAINS = 10, OPS = CHAINS * 8 * 2 };
    __m256 a = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(1), sum[CHAINS];
    for (int c = 0; c < CHAINS; c++)
        sum[c] = _mm256_set1_ps((float)c);
    for (uint64_t i = 0; i < n_round; i++)
        for (int c = 0; c < CHAINS; c++) {
            sum[c] = _mm256_fmadd_ps(sum[c], a, b); /* towards 2: never subnormal, never infinite */
            hide_f32(&sum[c]);
        }
    return n_round * OPS;
}

/* Wide loads, as the sums of words leave a core no room to see far enough ahead. */
uint64_t avx2_peak_read(const void *at, size_t n)
{
    const __m256i *v = at;
    __m256i a = _mm256_setzero_si256(), b = a;
    for (size_t i = 0; i < n / sizeof *v; i += 4) {
        __builtin_prefetch(v + i + 128, 0, 2);
        __builtin_prefetch(v + i + 130, 0, 2);
        a = _mm256_xor_si256(
            a, _mm256_xor_si256(_mm256_load_si256(v + i), _mm256_load_si256(v + i + 1)));
        b = _mm256_xor_si256(
            b, _mm256_xor_si256(_mm256_load_si256(v + i + 2), _mm256_load_si256(v + i + 3)));
    }
    uint64_t word[4];
    _mm256_storeu_si256((__m256i *)word, _mm256_xor_si256(a, b));
    return word[0] ^ word[1] ^ word[2] ^ word[3];
}
