/* kernels/avx512/matmul_vnni.h - vpdpbusd as gcc 12 must be told of it.
 *
 * With _mm512_dpbusd_epi32 gcc 12 spills the accumulators in the inner loop and loses half the peak; with "+v" it
 * keeps them. Where there is no AVX-512, tests/support/simde_avx512.h takes this header's place. */
#ifndef KERNELS_AVX512_MATMUL_VNNI_H
#define KERNELS_AVX512_MATMUL_VNNI_H

#include <immintrin.h>

#include "kernels/inline.h"

/* sum + the dot products of four unsigned bytes of u with four signed ones of s, in every dword. */
always_inline __m512i dot_4(__m512i sum, __m512i u, __m512i s)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(u), "v"(s));
    return sum;
}

#endif
