/* kernels/ref/unpack.h - a block of 32 k of 16 outputs in the one form that all quantised types share.
 *
 *     I = s[0] sum_lo c q + s[1] sum_hi c q          J = m[0] sum_lo q + m[1] sum_hi q
 *
 * c holds the codes with their offset taken off, so a weight is ws s c + wm m. Only types with
 * minima have m, and the term t wm with it. */
#ifndef KERNELS_REF_UNPACK_H
#define KERNELS_REF_UNPACK_H

#include "kernels/panel.h"

struct ref_block {
    int8_t c[QBLOCK][PANEL];
    int32_t s[2][PANEL], m[2][PANEL];
    float ws[PANEL], wm[PANEL];
    bool minima;
};

/* Into zeros. */
typedef void ref_unpack(struct ref_block *out, const uint8_t *panel, uint32_t block);

/* NULL for float types. */
ref_unpack *ref_unpack_of(enum dtype type);

#endif
