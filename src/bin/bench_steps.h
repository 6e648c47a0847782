/* bin/bench_steps.h - where a step's time goes besides computing: `akvifer bench steps`.
 *
 *   plan     who gets rows, what is evicted for them       sample   logits, drawing from them
 *   map      blocks taken and mapped                       keep     blocks into the index, events out, figures published
 *   forward  the pass
 *
 * for a few loads, as the engine's own clock sums it up (akv_stats). The last column is plan, map and keep together. */
#ifndef BIN_BENCH_STEPS_H
#define BIN_BENCH_STEPS_H

#include "bin/flags.h"

int bench_steps(int argc, char **argv); // argv[0] is "steps"; an exit status of verbs.h

extern const struct flag_table flags_of_bench_steps;

#endif
