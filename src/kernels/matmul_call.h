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
    const struct acts_block *block;
    size_t n_block;                   // of a row
    const struct acts_excess *excess; // of codes that are stored too large, or NULL
    int skip;                         // rows at `block` in front of the tile's first one
};

/* `row` is even. */
static inline struct tile_rows rows_at(const struct acts *x, uint32_t row, uint32_t block)
{
    return (struct tile_rows){ acts_block_of(x, row, block), x->k / QBLOCK, NULL, 0 };
}

/* The lane of the tile's row r. */
static inline int tile_lane(struct tile_rows x, int r)
{
    return (x.skip + r) % ACTS_ROWS;
}

/* Block b of the tile's row r. */
static inline const struct acts_block *tile_block(struct tile_rows x, int r, size_t b)
{
    return x.block + (size_t)((x.skip + r) / ACTS_ROWS) * x.n_block + b;
}

#endif
