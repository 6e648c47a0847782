/* bin/bench_profile.h - `bench --profile`: where a test's time went, part by part (model/profile.h).
 *
 *   part           work %   wait %        of all threads' time; what no part counts is the rest: planning, mapping,
 *   q, k, v          11.2      0.6        sampling, telling */
#ifndef BIN_BENCH_PROFILE_H
#define BIN_BENCH_PROFILE_H

#include "base/buf.h"
#include "model/profile.h"

/* Of a test that took `ns` on n_thread threads. */
void bench_profile_add(struct buf *to, const char *test, const struct profile *p, double ns,
                       uint32_t n_thread);

#endif
