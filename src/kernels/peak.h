/* kernels/peak.h - the most that a processor can do, for `bench`: products in registers and nothing else, loads and nothing else.
 *
 *   peak_int8   the products of matmul in the cheapest mix its contract allows: 4-bit codes on avx2, which
 *               widen once in 8 products (8-bit types widen each, and reach half of it); vpdpbusd on avx512; tiles of
 *               64 k on amx, where matmul can use half of each
 *   peak_f32    fused multiply-adds, in as many chains as hide their latency
 *
 *   peak_read   loads of whole registers from memory, asked for 4 KiB ahead as matmuls do; words of 8 bytes in ref
 *
 * Products touch no memory: matmul and attention come near these rates and cannot pass them. */
#ifndef KERNELS_PEAK_H
#define KERNELS_PEAK_H

#include <stddef.h>
#include <stdint.h>

/* Does n_round rounds and answers how many operations those are; a product and its addition are two. */
typedef uint64_t kern_peak(uint64_t n_round);

/* Reads n bytes, a multiple of PEAK_READ, and answers the exclusive or of their words. at: aligned to 64. */
enum { PEAK_READ = 256 };
typedef uint64_t kern_peak_read(const void *at, size_t n);

#endif
