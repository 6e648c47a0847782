/* kernels/inline.h - what kernels ask of the compiler: a body that is constants where it is called, and loops without a
 * loop, so that what lives in registers is decided behind both. Private to kernels/.
 *
 * Where AVX-512 is emulated, tests/support/simde_avx512.h takes this header's place, and nothing is inlined. */
#ifndef KERNELS_INLINE_H
#define KERNELS_INLINE_H

#define always_inline static inline __attribute__((__always_inline__))
#define PRAGMA(text) _Pragma(#text)
#define UNROLL(n) PRAGMA(GCC unroll n)

#endif
