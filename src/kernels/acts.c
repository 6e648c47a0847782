/* The memory around a matmul: what a batch of rows is quantised into, and a thread's scratch. */
#include "kernels/panel.h"

static size_t n_block(uint32_t n_row, uint32_t k)
{
    const size_t n_pair = (n_row + ACTS_ROWS - 1) / ACTS_ROWS;
    return n_pair * (k / QBLOCK);
}

size_t acts_bytes(uint32_t n_row, uint32_t k)
{
    const size_t n_tile = (n_row + ACTS_TILE - 1) / ACTS_TILE;
    const size_t tiles = n_tile * (k / QBLOCK) * sizeof(struct acts_tile);
    const size_t blocks =
        n_block(n_row, k) * (sizeof(struct acts_block) + sizeof(struct acts_pairs));
    return tiles > blocks ? tiles : blocks;
}

void acts_place(struct acts *a, uint32_t n_row, uint32_t k, bool tiles, void *memory)
{
    *a = (struct acts){ .n_row = n_row, .k = k, .f = a->f };
    if (tiles) {
        a->tile = memory;
    } else {
        a->block = memory;
        a->pairs = (struct acts_pairs *)(a->block + n_block(n_row, k));
    }
}

size_t matmul_scratch_bytes(const struct packed *w)
{
    return is_quantised(w->type) ? MATMUL_SCRATCH : 64;
}
