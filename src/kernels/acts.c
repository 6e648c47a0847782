/* The memory around a matmul: what a batch of rows is quantised into, and a thread's scratch. */
#include "kernels/panel.h"

static size_t n_block(uint32_t n_row, uint32_t k)
{
    const size_t n_pair = (n_row + ACTS_ROWS - 1) / ACTS_ROWS;
    return n_pair * (k / QBLOCK);
}

size_t acts_bytes(uint32_t n_row, uint32_t k)
{
    return n_block(n_row, k) * (sizeof(struct acts_block) + sizeof(struct acts_pairs));
}

void acts_place(struct acts *a, uint32_t n_row, uint32_t k, void *memory)
{
    a->n_row = n_row;
    a->k = k;
    a->block = memory;
    a->pairs = (struct acts_pairs *)(a->block + n_block(n_row, k));
}

size_t matmul_scratch_bytes(const struct packed *w)
{
    return is_quantised(w->type) ? MATMUL_SCRATCH : 64;
}
