/* support/simde_avx512.h - AVX-512 in emulation, for compiling src/kernels/avx512 where no processor has it.
 *
 * Include it first: it takes the place of kernels/inline.h and avx512/matmul_vnni.h. It needs AVX2, FMA and F16C, as an
 * emulated FMA is two of half the width. Source of the emulation: SIMDe (libsimde-dev); what its release lacks is added
 * here. */
#ifndef SUPPORT_SIMDE_AVX512_H
#define SUPPORT_SIMDE_AVX512_H
#define KERNELS_AVX512_MATMUL_VNNI_H
#define KERNELS_INLINE_H

#pragma GCC target("avx2,fma,f16c,bmi,bmi2,lzcnt,movbe")
#pragma GCC diagnostic ignored "-Wshadow"

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#undef _mm512_madd_epi16 /* its release 0.7.4 gives the name to the masked one */
#define _mm512_madd_epi16(a, b) simde_mm512_madd_epi16(a, b)
#undef _mm512_shuffle_f32x4 /* not aliased */
#define _mm512_shuffle_f32x4(a, b, order) simde_mm512_shuffle_f32x4(a, b, order)

static inline simde__m512 simde_halves_ps(__m256 low, __m256 high)
{
    simde__m512_private r = { .m256 = { low, high } };
    return simde__m512_from_private(r);
}

static inline simde__m512i simde_halves_si(__m256i low, __m256i high)
{
    simde__m512i_private r = { .m256i = { low, high } };
    return simde__m512i_from_private(r);
}

#define _mm512_cvtph_ps(x)                                                                         \
    simde_halves_ps(_mm256_cvtph_ps(_mm256_castsi256_si128(x)),                                    \
                    _mm256_cvtph_ps(_mm256_extracti128_si256(x, 1)))
#define _mm512_cvtepu16_epi32(x)                                                                   \
    simde_halves_si(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(x)),                              \
                    _mm256_cvtepu16_epi32(_mm256_extracti128_si256(x, 1)))

static inline simde__m512 simde_cvtepi32(simde__m512i x)
{
    simde__m512i_private p = simde__m512i_to_private(x);
    return simde_halves_ps(_mm256_cvtepi32_ps(p.m256i[0]), _mm256_cvtepi32_ps(p.m256i[1]));
}
#define _mm512_cvtepi32_ps(x) simde_cvtepi32(x)

static inline simde__m512i simde_cvtps(simde__m512 x)
{
    simde__m512_private p = simde__m512_to_private(x);
    return simde_halves_si(_mm256_cvtps_epi32(p.m256[0]), _mm256_cvtps_epi32(p.m256[1]));
}
#define _mm512_cvtps_epi32(x) simde_cvtps(x)

static inline simde__m512i simde_srai_32(simde__m512i x, int n)
{
    simde__m512i_private p = simde__m512i_to_private(x);
    return simde_halves_si(_mm256_srai_epi32(p.m256i[0], n), _mm256_srai_epi32(p.m256i[1], n));
}
#define _mm512_srai_epi32(x, n) simde_srai_32(x, n)

/* Nothing is inlined: emulated instructions are long, and a tile holds hundreds. */
#define always_inline static __attribute__((unused))
#define UNROLL(n)

static inline simde__m512i dot_4(simde__m512i sum, simde__m512i u, simde__m512i s)
{
    return simde_mm512_dpbusd_epi32(sum, u, s);
}

#endif
