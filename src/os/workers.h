/* os/workers.h - a few threads that run one function together, inside a step.
 *
 *   caller: run(fn) = part 0 -----.          parts 1..n-1 wait at a gate for the next run (os/gate.h):
 *   worker 1:          part 1 -----+-- all   they spin for a bounded time, then sleep
 *   worker 2:          part 2 -----'  done
 *
 * W1  workers_run returns after every part returned; what parts wrote is visible to the caller.
 * W2  Which part computes what never changes a result (docs/NUMERICS.md); only speed depends on n.
 * W3  Each part of a run is taken once: by its own worker, or by the caller once its own is done. So a run waits for no
 *     worker that has not begun it. (On a busy machine a thread that sleeps gets a processor again after milliseconds,
 *     and a step is some two hundred runs.)
 * Threads  one caller at a time.
 * Cost     0.15 to 0.2 us a run while workers spin: two cores of a Zen 4, parts that all wait for each other and do nothing
 *          else (`akvifer bench roof` says it of this machine); where somebody sleeps, a wake-up. */
#ifndef OS_WORKERS_H
#define OS_WORKERS_H

#include <stdint.h>

#include "base/note.h"
#include "base/status.h"

struct workers;

typedef void workers_fn(void *arg, uint32_t part, uint32_t n_part);

enum { WORKERS_MAX = 1024 };

/* 1 <= n <= WORKERS_MAX parts: the caller and n-1 threads. */
must_use enum status workers_new(struct workers **out, uint32_t n, struct note *why);
void workers_free(struct workers *w);
uint32_t workers_count(const struct workers *w);

void workers_run(struct workers *w, workers_fn *fn, void *arg);

/* Processors this process may use (affinity and cgroup quotas), at least 1; no more than workers_new takes. */
uint32_t os_cpu_count(void);

#endif
