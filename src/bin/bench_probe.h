/* bin/bench_probe.h - `akvifer bench roof` (bench_probe.c). */
#ifndef BIN_BENCH_PROBE_H
#define BIN_BENCH_PROBE_H

#include "bin/flags.h"

int bench_probe(int argc, char **argv); // argv[0] is "roof"; an exit status of verbs.h

extern const struct flag_table flags_of_bench_roof;

#endif
