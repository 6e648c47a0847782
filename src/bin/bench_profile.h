/* bin/bench_profile.h - `bench --profile`: where a test's time went, part by part (model/profile.h).
 *
 *   part           work %   wait %     work     wait     the latter two in thousands of cycles a step, of all threads;
 *   q, k, v          11.2      0.6   145000     8000     what no part counts is the rest: planning, mapping, telling */
#ifndef BIN_BENCH_PROFILE_H
#define BIN_BENCH_PROFILE_H

#include "base/buf.h"
#include "model/profile.h"

/* Of a test on n_thread threads. All that ran while the profile was on counts, a first token that is not timed as well. */
void bench_profile_add(struct buf *to, const char *test, const struct profile *p,
                       uint32_t n_thread);

#endif
