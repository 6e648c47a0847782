/* bin/bench_stream.h - how evenly an answer streams while long prompts arrive: `akvifer bench stream`.
 *
 *   alone     one stream, nothing beside it
 *   beside    the same while a prompt arrives, is read, answers one token, and after --pause the next one comes
 *
 * for --step-stretch, and again without a bound. Shown are the time between two tokens of the stream (median, 99th
 * percentile, their ratio) and the prompts' time to the first token, as the reader of the engine's events sees them. */
#ifndef BIN_BENCH_STREAM_H
#define BIN_BENCH_STREAM_H

#include "bin/flags.h"

int bench_stream(int argc, char **argv); // argv[0] is "stream"; an exit status of verbs.h

extern const struct flag_table flags_of_bench_stream;

#endif
