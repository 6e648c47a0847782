/* kernels/peak.h - the most that the arithmetic units can do: products in registers and nothing else, for `bench`.
 *
 *   peak_int8   the products of matmul in the cheapest mix its contract allows: 4-bit codes on avx2, which
 *               widen once in 8 products (8-bit types widen each, and reach half of it); vpdpbusd on avx512; tiles of
 *               64 k on amx, where matmul can use half of each
 *   peak_f32    fused multiply-adds, in as many chains as hide their latency
 *
 * No memory is touched: matmul and attention come near these rates and cannot pass them. */
#ifndef KERNELS_PEAK_H
#define KERNELS_PEAK_H

#include <stdint.h>

/* Does n_round rounds and answers how many operations those are; a product and its addition are two. */
typedef uint64_t kern_peak(uint64_t n_round);

#endif
