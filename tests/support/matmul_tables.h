/* support/matmul_tables.h - the tables that matmul and quantise are tested with. */
#ifndef SUPPORT_MATMUL_TABLES_H
#define SUPPORT_MATMUL_TABLES_H

#include "kernels/kernels.h"

enum { MATMUL_TABLES = 5 };

/* What runs on this processor, ref first, and AVX-512 and AMX in emulation where they do not. */
extern struct kernels matmul_table[MATMUL_TABLES];
extern uint32_t n_matmul_table;

/* Finds them, as a group's setup. */
int find_matmul_tables(void **state);

#endif
