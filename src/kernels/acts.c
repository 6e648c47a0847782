/* The memory around a matmul: what a batch of rows is quantised into, and a thread's scratch. */
#include "kernels/panel.h"

static size_t round_up_64(size_t n)
{
    return (n + 63) / 64 * 64;
}

/* acts: [q][half][d][z][t], each at a multiple of 64 bytes. */
static size_t bytes_of_q(uint32_t n_row, uint32_t k)
{
    return round_up_64((size_t)n_row * k);
}

static size_t bytes_of_half(uint32_t n_row, uint32_t k)
{
    return round_up_64((size_t)n_row * (k / 16) * sizeof(int16_t));
}

static size_t bytes_of_floats(uint32_t n_row, uint32_t k)
{
    return round_up_64((size_t)n_row * (k / QBLOCK) * sizeof(float));
}

size_t acts_bytes(uint32_t n_row, uint32_t k)
{
    return bytes_of_q(n_row, k) + bytes_of_half(n_row, k) + 3 * bytes_of_floats(n_row, k);
}

void acts_place(struct acts *a, uint32_t n_row, uint32_t k, void *memory)
{
    uint8_t *at = memory;
    a->n_row = n_row;
    a->k = k;
    a->q = (int8_t *)at;
    at += bytes_of_q(n_row, k);
    a->half = (int16_t *)at;
    at += bytes_of_half(n_row, k);
    a->d = (float *)at;
    at += bytes_of_floats(n_row, k);
    a->z = (float *)at;
    at += bytes_of_floats(n_row, k);
    a->t = (float *)at;
}

size_t matmul_scratch_bytes(const struct packed *w)
{
    return is_quantised(w->type) ? MATMUL_SCRATCH : 64;
}
