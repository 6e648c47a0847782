/* bin/bench_taps.h - what it costs to write down what policies ask of a pass: `akvifer bench taps`.
 *
 *     step i of the prompt:   nothing | mass | peak | queries | moments      each over a past of its own
 *     step i of generating:   the same
 *
 * Every kind takes each step right after the others, so that what disturbs the machine disturbs all of them. Shown are
 * means of whole prompts, and of generated tokens the median of each one's ratio to the plain one beside it; with one
 * thread in its processor time. */
#ifndef BIN_BENCH_TAPS_H
#define BIN_BENCH_TAPS_H

#include "bin/flags.h"

int bench_taps(int argc, char **argv); // argv[0] is "taps"; an exit status of verbs.h

extern const struct flag_table flags_of_bench_taps;

#endif
