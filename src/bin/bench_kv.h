/* bin/bench_kv.h - what managed virtual KV memory costs, and what it saves: `akvifer bench kv`.
 *
 *   1  system calls   one block: memory, mapping, sealing, unmapping; with small and huge pages
 *   2  the calls      take, grow, commit, fork, free: microseconds of the engine thread
 *   3  map-ahead      what growing costs the engine thread while sequences decode: off, on, table
 *   4  memory         bytes mapped against bytes used for a mix of lengths, and what a reservation
 *                     of the whole context would hold; many sequences that share a prefix
 *
 *   5  steps          of the real model: what mapping costs of each, with map-ahead off and on, and by table
 *   6  attention      the same over a space, over a table of our blocks, over pages of 16 (bench_attn.h)
 *
 * Medians of --reps runs; steps are means, because what is rare is the matter there. */
#ifndef BIN_BENCH_KV_H
#define BIN_BENCH_KV_H

#include "bin/flags.h"

int bench_kv(int argc, char **argv); // argv[0] is "kv"; an exit status of verbs.h

extern const struct flag_table flags_of_bench_kv;

#endif
