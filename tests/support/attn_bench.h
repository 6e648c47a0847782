/* support/attn_bench.h - times attention of every table: decode (a few queries over a cold cache)
 * and prefill.
 *
 * Arguments: names of tables to time (none: all that run here but ref). */
#ifndef SUPPORT_ATTN_BENCH_H
#define SUPPORT_ATTN_BENCH_H

int attn_bench(int n_name, char **names);

#endif
