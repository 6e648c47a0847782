/* os/portions.h - tasks dealt out to the parts of a run: neighbours stay together, and nobody waits while another has
 * some.
 *
 *   part 0   [ 0 1 2 3 4 5 )        each takes from the front of its own portion: memory is read in one stream;
 *   part 1   [ 6 7 8 9 10 11 )      who has none left takes from the back of the fullest other
 *
 * P1  Every task is taken exactly once. Who takes it never changes a result (docs/NUMERICS.md).
 * Threads  deal: one, before the run; take: each part for itself. Cost  one compare-and-swap a task. */
#ifndef OS_PORTIONS_H
#define OS_PORTIONS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct portion {
    _Alignas(64) _Atomic uint64_t range; // first << 32 | behind the last
};

/* Tasks 0 .. n_task - 1 for n_part portions. */
void portions_deal(struct portion *p, uint32_t n_part, uint32_t n_task);

/* The next task for `part`; false: none is left anywhere. */
bool portions_take(struct portion *p, uint32_t n_part, uint32_t part, uint32_t *task);

#endif
