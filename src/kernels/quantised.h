/* kernels/quantised.h - the quantised weight types, a line each: what declarations and tables of types are made of.
 *
 *     X(TYPE, type, offset)      DT_TYPE is its number; names of structs and functions end in `type`; the offset is by how
 *                                much codes are too large where AVX2 sums them up in 16 bits (acts_offset of matmul.h)
 *
 * A new type is its line here, and
 *
 *     base/dtype.[ch]               its number, its name and its block, as GGUF has them
 *     kernels/quants.h, panel.h     struct block_type and struct panel_type: its block in the file, and packed
 *     kernels/pack.c                layout_type: which piece of the one goes where in the other
 *     kernels/dequant.c             from_type: what a block's weights are
 *     kernels/ref/unpack.c          of_type: the same of a packed block, in the form of the contract (matmul.h)
 *     kernels/avx2/matmul_*.c       MATMUL_TYPE(type, ..) of what unpacks it; amx/ takes avx512's as it is
 *     kernels/avx512/matmul_*.c
 *     tests/support/weights.c, tests/kernels/test_matmul.c, tools/random_model.py     where its scales and codes are
 *
 * What is forgotten of kernels/ does not compile. Private to kernels/ and its tests. */
#ifndef KERNELS_QUANTISED_H
#define KERNELS_QUANTISED_H

#include "kernels/matmul.h"

#define QUANTISED_TYPES(X)                                                                         \
    X(Q8_0, q8_0, NO_OFFSET)                                                                       \
    X(Q4_0, q4_0, OFFSET_8)                                                                        \
    X(Q4_1, q4_1, NO_OFFSET)                                                                       \
    X(Q5_0, q5_0, OFFSET_16)                                                                       \
    X(Q5_1, q5_1, NO_OFFSET)                                                                       \
    X(Q2_K, q2_k, NO_OFFSET)                                                                       \
    X(Q3_K, q3_k, OFFSET_4)                                                                        \
    X(Q4_K, q4_k, NO_OFFSET)                                                                       \
    X(Q5_K, q5_k, NO_OFFSET)                                                                       \
    X(Q6_K, q6_k, OFFSET_32)                                                                       \
    X(IQ4_NL, iq4_nl, NO_OFFSET)                                                                   \
    X(IQ4_XS, iq4_xs, NO_OFFSET)

#define OFFSET_OF_TYPE(TYPE, type, offset) offset_of_##type = offset,
enum offset_of_type { QUANTISED_TYPES(OFFSET_OF_TYPE) };
#undef OFFSET_OF_TYPE

/* All that weights can be: first those that are multiplied as they are. */
#define WEIGHT_TYPES(X)                                                                            \
    X(F32, f32, NO_OFFSET) X(F16, f16, NO_OFFSET) X(BF16, bf16, NO_OFFSET) QUANTISED_TYPES(X)

#define COUNT_TYPE(TYPE, type, offset) +1
enum {
    N_QUANTISED = 0 QUANTISED_TYPES(COUNT_TYPE),
    N_WEIGHT_TYPE = 0 WEIGHT_TYPES(COUNT_TYPE),
};
#undef COUNT_TYPE

#endif
