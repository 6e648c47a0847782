/* kernels/matmul_call.h - what the matmuls of all widths share: the call as one thing, and where the
 * rows of a tile lie. Private to kernels/. */
#ifndef KERNELS_MATMUL_CALL_H
#define KERNELS_MATMUL_CALL_H

#include "kernels/matmul.h"

/* The arguments of kern_matmul. */
struct matmul_call {
    const struct packed *w;
    uint32_t first, last;
    const struct acts *x;
    float *y;
    size_t y_stride;
    void *scratch;
};

typedef void matmul_of_type(const struct matmul_call *c);

enum minima { NO_MINIMA, ONE_MINIMUM, MINIMA_OF_HALVES };

/* The rows of a tile, at its first block. */
struct tile_rows {
    const int8_t *q;
    const float *d, *z, *t;
    const int16_t *half;
    size_t n_block; // of a row
};

static inline struct tile_rows rows_at(const struct acts *x, size_t row, size_t block)
{
    size_t n_block = x->k / QBLOCK, at = row * n_block + block;
    return (struct tile_rows){ x->q + at * QBLOCK, x->d + at,        x->z + at,
                               x->t + at,          x->half + 2 * at, n_block };
}

#endif
