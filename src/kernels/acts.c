/* The memory around a matmul: what a batch of rows is quantised into, and a thread's scratch. */
#include <assert.h>

#include "kernels/panel.h"
#include "kernels/quantised.h"

static size_t n_block(uint32_t n_row, uint32_t k)
{
    const size_t n_pair = (n_row + ACTS_ROWS - 1) / ACTS_ROWS;
    return n_pair * (k / QBLOCK);
}

static size_t excess_of_block(enum acts_offset i)
{
    return (size_t)ACTS_ROWS * acts_excess_runs(i);
}

size_t acts_bytes(uint32_t n_row, uint32_t k)
{
    const size_t n_tile = (n_row + ACTS_TILE - 1) / ACTS_TILE;
    const size_t tiles = n_tile * (k / QBLOCK) * sizeof(struct acts_tile);
    size_t block = sizeof(struct acts_block);
    for (enum acts_offset i = 0; i < N_OFFSET; i++)
        block += excess_of_block(i) * sizeof(struct acts_excess);
    const size_t blocks = n_block(n_row, k) * block;
    return tiles > blocks ? tiles : blocks;
}

void acts_place(struct acts *a, uint32_t n_row, uint32_t k, enum acts_form form, void *memory)
{
    *a = (struct acts){
        .n_row = n_row, .k = k, .stride = k / QBLOCK, .raised = form == ACTS_RAISED_TILES, .f = a->f
    };
    if (form != ACTS_BLOCKS) {
        a->tile = memory;
    } else {
        a->block = memory;
        struct acts_excess *at = (struct acts_excess *)(a->block + n_block(n_row, k));
        for (enum acts_offset i = 0; i < N_OFFSET; i++) {
            a->excess[i] = at;
            at += n_block(n_row, k) * excess_of_block(i);
        }
    }
}

uint32_t acts_offsets_of(enum dtype type)
{
#define OFFSET(TYPE, type, offset) [DT_##TYPE] = offset,
    static const uint8_t offset_of[DT_LIMIT] = { WEIGHT_TYPES(OFFSET) };
#undef OFFSET
    return offset_of[type] == NO_OFFSET ? 0 : 1u << offset_of[type];
}

void acts_leave_out(struct acts *a, uint32_t offsets)
{
    for (enum acts_offset i = 0; i < N_OFFSET; i++)
        if (!(offsets >> i & 1))
            a->excess[i] = NULL;
}

/* From block b of row `first` on. */
static struct acts part_of(const struct acts *a, uint32_t first, uint32_t n, uint32_t b)
{
    struct acts x = *a;
    assert(first % ACTS_TILE == 0);
    x.n_row = n;
    if (a->tile)
        x.tile = acts_tile_of(a, first, b);
    if (a->block)
        x.block = acts_block_of(a, first, b);
    for (enum acts_offset i = 0; i < N_OFFSET; i++)
        if (a->excess[i])
            x.excess[i] = acts_excess_of(a, i, first, b);
    return x;
}

struct acts acts_slice(const struct acts *a, uint32_t first, uint32_t n)
{
    struct acts x = part_of(a, first, n, 0);
    x.f += (size_t)first * a->k;
    return x;
}

struct acts acts_column(const struct acts *a, uint32_t first, uint32_t n, uint32_t b,
                        const float *f)
{
    struct acts x = part_of(a, first, n, b);
    x.k = QBLOCK;
    x.f = f;
    return x;
}

size_t matmul_scratch_bytes(const struct packed *w)
{
    const uint32_t k = w->k < MATMUL_WIDE ? w->k : MATMUL_WIDE;
    if (w->type == DT_F32) // as it is
        return 64;
    return is_quantised(w->type) ? MATMUL_SCRATCH : WIDE_PANELS * PANEL * sizeof(float) * (size_t)k;
}
