/* kernels/matmul_call.h - the arguments of a matmul as one thing, for the types of all widths. Private to kernels/. */
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

#endif
