/* support/matmul_tables.h - the tables that matmul and quantise are tested with. */
#ifndef SUPPORT_MATMUL_TABLES_H
#define SUPPORT_MATMUL_TABLES_H

#include "kernels/kernels.h"

enum { MATMUL_TABLES = 5 };

/* What runs on this processor, ref first, and AVX-512 and AMX in emulation where they do not. Answers how many. */
uint32_t matmul_tables(struct kernels out[MATMUL_TABLES]);

#endif
