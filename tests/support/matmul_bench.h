/* support/matmul_bench.h - times packing, quantising and matmul of every table and weight type.
 *
 * Arguments: names of tables and types to time (none: all that run here but ref, and all types). */
#ifndef SUPPORT_MATMUL_BENCH_H
#define SUPPORT_MATMUL_BENCH_H

int matmul_bench(int n_name, char **names);

#endif
