/* kernels/tables.h - the tables that exist, one a folder. Only kernels.c and the tests choose
 * between them. */
#ifndef KERNELS_TABLES_H
#define KERNELS_TABLES_H

#include "kernels/kernels.h"

extern const struct kernels kernels_ref, kernels_avx2, kernels_avx512, kernels_amx;

#endif
