/* support/pruned.h - a sequence that is pruned on a schedule, for tests of pasts under a policy.
 *
 * At each multiple of PRUNED_EVERY positions it drops some rows, of each list a share of its own, and settles: a
 * function of its seed and its position, whatever its chunks. */
#ifndef SUPPORT_PRUNED_H
#define SUPPORT_PRUNED_H

#include "support/runner.h"

enum { PRUNED_POSITIONS = 2048, PRUNED_EVERY = 150, PRUNED_RUNS = 4 };

struct pruned {
    struct run run;
    struct kv_excerpt *excerpt;
    uint64_t seed; // 0: nothing is dropped, though there is an excerpt
};

void pruned_open(struct runner *r, struct pruned *p, const int32_t *ids, uint64_t seed);
void pruned_close(struct pruned *p);

/* Drops some rows now: of each list a share between one in 16 and nearly half. */
void pruned_drop(struct runner *r, struct pruned *p);

/* All read up to `to`, each in chunks of its own; between two multiples of PRUNED_EVERY they go on together. */
void pruned_run(struct runner *r, struct pruned *p, const uint32_t *chunk, uint32_t n_run,
                uint32_t to);

#endif
