/* bin/bench_test.h - one test of `akvifer bench`: so many tokens read, so many generated, on top of what is in the
 * cache.
 *
 *     depth tokens are read and kept      not timed, once a sequence
 *     n_prompt are read, n_gen generated  timed, by all sequences at once
 *
 * A policy that drops rows does so behind the depth; one that selects does so in what is generated.
 *
 * B1  What is timed reuses exactly `depth` positions: `cached` is checked.
 * Time of one sequence is the engine's own, of its prompt and its answer; of several it is the clock's, from the first
 * request to the last one's end, and their tokens count together. */
#ifndef BIN_BENCH_TEST_H
#define BIN_BENCH_TEST_H

#include "akvifer.h"
#include "base/note.h"
#include "base/status.h"
#include "bin/samples.h"
#include "model/profile.h"

enum { BENCH_SEQS_MAX = 64 };

struct bench_test {
    uint32_t n_prompt, n_gen, depth, n_seq; // of each sequence
    const char *policy;                     // of KV, as akv_request.kv_policy; NULL: full
};

/* Tokens that all sequences' requests are made of. */
uint32_t bench_test_ids(const struct bench_test *t);

/* Runs each of n tests once unmeasured, then all in turn, `reps` times; profile: NULL, or it runs while they do. ids
 * [bench_test_ids] of the longest; ns [n]. CORRUPT: the cache had not what it was to have. Others: what the engine
 * said. */
must_use enum status bench_tests_run(akv_engine *engine, const struct bench_test *t, uint32_t n,
                                     const int32_t *ids, uint32_t reps, struct profile *profile,
                                     struct samples *ns, struct note *why);

#endif
