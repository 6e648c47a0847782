/* os/loops.h - loops of one worker whose steps are also taken by those who have nothing else to do.
 *
 *   owner:  loops_run    takes steps until none is left, then waits for those that others have taken (os/gate.h)
 *   idle:   loops_help   takes one step of anybody's loop
 *
 * For work that a part of a run (os/workers.h) meets in its middle: nobody is called, and who is busy is not disturbed.
 *
 * O1  Each step is done once; what steps wrote is visible to the owner when loops_run returns.
 * O2  loops_run waits for nobody who has not begun a step.
 * O3  Who does a step must not change what comes of it: all that a worker adds is `own`, such as a scratch.
 * Threads  one loop a worker at a time; helpers any. Cost  an atomic exchange a step. */
#ifndef OS_LOOPS_H
#define OS_LOOPS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "os/gate.h"

typedef void loops_fn(void *arg, uint32_t step, void *own);

/* A worker's, all zero but for `own` when it is new. */
struct loop {
    _Alignas(
        64) _Atomic uint64_t left; // which loop it is << 32, and its steps that nobody has taken
    struct gate not_done;          // its steps that have not returned
    loops_fn *fn;
    void *arg;
    void *own;
};

struct loops {
    struct loop *of; // [n] a worker each
    uint32_t n;
};

/* Steps 0 .. n - 1, in any order. */
void loops_run(struct loops *l, uint32_t worker, loops_fn *fn, void *arg, uint32_t n);

/* False: there is none. */
bool loops_help(struct loops *l, uint32_t worker);

#endif
