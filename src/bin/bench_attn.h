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
 * comes from flags; `bench kv` compares with the shape of its model. */
#ifndef BIN_BENCH_ATTN_H
#define BIN_BENCH_ATTN_H

#include "base/note.h"
#include "base/status.h"
#include "bin/flags.h"

struct bench_attn_options {
    int64_t n_layer, n_kv_head, n_share, d_head, n_ctx, n_rep; // share: heads that ask a kv_head
    uint32_t kv_type;                                          // of enum kv_type, but not int8
    const char *cpu;
};

/* Prints the comparison. BAD_INPUT: a shape or kernels that it cannot be made with. */
must_use enum status bench_attn_compare(const struct bench_attn_options *o, struct note *why);

int bench_attention(int argc, char **argv); // argv[0] is "attention"; an exit status of verbs.h

extern const struct flag_table flags_of_bench_attention;

#endif
