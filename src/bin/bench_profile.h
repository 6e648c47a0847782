/* bin/bench_profile.h - `bench --profile`: where a test's time went, part by part (model/profile.h).
 *
 *   part           work %   wait %        of all threads' time; what no part counts is the rest: planning, mapping,
 *   q, k, v          11.2      0.6        sampling, telling */
#ifndef BIN_BENCH_PROFILE_H
#define BIN_BENCH_PROFILE_H

#include "base/buf.h"
#include "model/profile.h"

/* Of a test on n_thread threads. All that ran while the profile was on counts, a first token that is not timed as well. */
void bench_profile_add(struct buf *to, const char *test, const struct profile *p,
                       uint32_t n_thread);

#endif
