/* base/dtype.h - the number formats that tensors are stored in, numbered as GGUF numbers them. */
#ifndef BASE_DTYPE_H
#define BASE_DTYPE_H

#include <stddef.h>
#include <stdint.h>

enum dtype {
    DT_F32 = 0,
    DT_F16 = 1,
    DT_Q4_0 = 2,
    DT_Q4_1 = 3,
    DT_Q5_0 = 6,
    DT_Q5_1 = 7,
    DT_Q8_0 = 8,
    DT_Q2_K = 10,
    DT_Q3_K = 11,
    DT_Q4_K = 12,
    DT_Q5_K = 13,
    DT_Q6_K = 14,
    DT_IQ4_NL = 20,
    DT_IQ4_XS = 23,
    DT_BF16 = 30,
    DT_LIMIT = 48, // numbers from here on are nobody's
};

struct dtype_info {
    const char *name;     // "Q4_K"; for types we cannot compute with it is their name all the same
    uint32_t block_elems; // elements a block; 0 for a type we cannot compute with
    uint32_t block_bytes;
};

/* NULL for a number that names no type. Check block_elems before computing with it. */
const struct dtype_info *dtype_info(uint32_t number);

/* Bytes of n elements, n a multiple of the block; 0 when the type is not ours, n does not fit or it overflows. */
size_t dtype_bytes(uint32_t number, uint64_t n);

#endif
