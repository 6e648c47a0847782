/* bin/bench_attn.h - the same attention over four ways to lay out KV in memory: `akvifer bench
 * attention`.
 *
 *   space   blocks of 64 positions x all layers, anywhere in the pool, mapped in order
 *   flat    the same blocks, one behind the other in the pool
 *   table   the same blocks, anywhere in the pool, found by a table of addresses
 *   paged   pages of 16 positions x one layer, anywhere in the layer's pool, found by a table
 *
 * All four run the same tiles and the same softmax, and give the same bits, which is checked.
 * Medians of interleaved repetitions, in processor time of one thread. No model is read: the shape
 * comes from flags. */
#ifndef BIN_BENCH_ATTN_H
#define BIN_BENCH_ATTN_H

#include "bin/flags.h"

int bench_attention(int argc, char **argv); // argv[0] is "attention"; an exit status of verbs.h

extern const struct flag_table flags_of_bench_attention;

#endif
