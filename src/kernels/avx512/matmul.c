#include "kernels/avx512/matmul_fns.h"
#include "kernels/avx512/matmul_types.h"

#define MATMUL(TYPE, type, offset) [DT_##TYPE] = avx512_matmul_##type,
static matmul_of_type *const types[DT_LIMIT] = { WEIGHT_TYPES(MATMUL) };
#undef MATMUL

void avx512_matmul(const struct packed *w, uint32_t first, uint32_t last, const struct acts *x,
                   float *y, size_t y_stride, void *scratch)
{
    types[w->type](&(struct matmul_call){ w, first, last, x, y, y_stride, scratch });
}
