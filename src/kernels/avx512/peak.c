#include "kernels/avx512/fns.h"
#include "kernels/avx512/matmul_vnni.h"

enum { CHAINS = 16 };

/* The chains start apart, or the compiler would see that they are one. */
uint64_t avx512_peak_int8(uint64_t n_round)
{
    enum { OPS = CHAINS * 64 * 2 };
    __m512i code = _mm512_set1_epi8(15), q = _mm512_set1_epi8(1), sum[CHAINS];
    UNROLL(16)
    for (int c = 0; c < CHAINS; c++)
        sum[c] = _mm512_set1_epi32(c);
    for (uint64_t i = 0; i < n_round; i++) {
        UNROLL(16)
        for (int c = 0; c < CHAINS; c++)
            sum[c] = dot_4(sum[c], code, q);
    }
    UNROLL(16)
    for (int c = 0; c < CHAINS; c++)
        __asm__ volatile("" : "+v"(sum[c]));
    return n_round * OPS;
}

/* Every loop over the chains is unrolled: where one is not, gcc 12 keeps the sums in memory. The asm keeps it from
 * multiplying once or never. */
uint64_t avx512_peak_f32(uint64_t n_round)
{
    enum { OPS = CHAINS * 16 * 2 };
    __m512 a = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(1), sum[CHAINS];
    UNROLL(16)
    for (int c = 0; c < CHAINS; c++)
        sum[c] = _mm512_set1_ps((float)c);
    for (uint64_t i = 0; i < n_round; i++) {
        UNROLL(16)
        for (int c = 0; c < CHAINS; c++) /* towards 2: never subnormal, never infinite */
            __asm__("vfmadd213ps %2, %1, %0" : "+v"(sum[c]) : "v"(a), "v"(b));
    }
    UNROLL(16)
    for (int c = 0; c < CHAINS; c++)
        __asm__ volatile("" : "+v"(sum[c]));
    return n_round * OPS;
}

/* Wide loads: where words of 8 bytes are summed, the core sees 30 lines ahead, and an AMX machine reads 36 GB/s for 53. */
uint64_t avx512_peak_read(const void *at, size_t n)
{
    const __m512i *v = at;
    __m512i a = _mm512_setzero_si512(), b = a;
    for (size_t i = 0; i < n / sizeof *v; i += 4) {
        UNROLL(4)
        for (int l = 0; l < 4; l++)
            __builtin_prefetch(v + i + 64 + l, 0, 2);
        a = _mm512_xor_si512(
            a, _mm512_xor_si512(_mm512_load_si512(v + i), _mm512_load_si512(v + i + 1)));
        b = _mm512_xor_si512(
            b, _mm512_xor_si512(_mm512_load_si512(v + i + 2), _mm512_load_si512(v + i + 3)));
    }
    uint64_t word[8], all = 0;
    _mm512_storeu_si512(word, _mm512_xor_si512(a, b));
    for (int l = 0; l < 8; l++)
        all ^= word[l];
    return all;
}
