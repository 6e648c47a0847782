#include "os/workers.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "os/cpu_limit.h"
#include "os/gate.h"

struct worker {
    struct workers *all;
    pthread_t thread;
    uint32_t part;
    _Alignas(64) _Atomic uint32_t taken; // the last run whose part somebody took: W3
};

struct workers {
    uint32_t n;
    uint32_t n_started; // threads that exist
    workers_fn *fn;     // written before `run` changes, read by who took a part of it
    void *arg;
    _Atomic bool quit;
    _Alignas(64) struct gate run;  // counts runs
    _Alignas(64) struct gate done; // parts that have not finished the run yet
    struct worker worker[];
};

/* W3. A run's parts are all taken before the next one begins: who comes late to an old run finds that number passed. */
static bool part_take(struct worker *of, uint32_t run)
{
    uint32_t before = run - 1;
    return atomic_compare_exchange_strong(&of->taken, &before, run);
}

static void part_run(struct workers *w, uint32_t part)
{
    w->fn(w->arg, part, w->n);
    gate_count_down(&w->done);
}

static void *worker_main(void *arg)
{
    struct worker *self = arg;
    struct workers *w = self->all;
    for (uint32_t run = 0;;) {
        run = gate_wait_while(&w->run, run);
        if (w->quit)
            return NULL;
        if (part_take(self, run))
            part_run(w, self->part);
    }
}

void workers_run(struct workers *w, workers_fn *fn, void *arg)
{
    if (w->n == 1) {
        fn(arg, 0, 1);
        return;
    }
    w->fn = fn;
    w->arg = arg;
    gate_set(&w->done, w->n);
    const uint32_t run = gate_count_up(&w->run);
    part_run(w, 0);
    for (uint32_t part = 1; part < w->n; part++) {
        if (part_take(&w->worker[part], run))
            part_run(w, part);
    }
    gate_wait_zero(&w->done);
}

enum status workers_new(struct workers **out, uint32_t n, struct note *why)
{
    if (n < 1 || n > WORKERS_MAX) {
        note_set(why, "%u threads asked for; it must be between 1 and %d", n, WORKERS_MAX);
        return BAD_INPUT;
    }
    struct workers *w = mem_new_aligned(1, sizeof *w + n * sizeof w->worker[0], 64);
    if (!w) {
        note_set(why, "no memory for %u worker threads", n);
        return FULL;
    }
    w->n = n;
    for (uint32_t i = 1; i < n; i++) {
        w->worker[i] = (struct worker){ .all = w, .part = i };
        int err = pthread_create(&w->worker[i].thread, NULL, worker_main, &w->worker[i]);
        if (err) {
            note_set(why, "cannot start worker thread %u of %u: %s; try fewer (-t)", i, n,
                     strerror(err));
            workers_free(w);
            return FULL;
        }
        w->n_started++;
    }
    *out = w;
    return OK;
}

void workers_free(struct workers *w)
{
    if (!w)
        return;
    w->quit = true;
    gate_count_up(&w->run);
    for (uint32_t i = 1; i <= w->n_started; i++)
        pthread_join(w->worker[i].thread, NULL);
    mem_free(w);
}

uint32_t workers_count(const struct workers *w)
{
    return w->n;
}

/* The system refuses a set that has no room for every id it may give. */
static uint32_t count_allowed(void)
{
    enum { IDS_LEAST = CPU_SETSIZE, IDS_MOST = 1 << 20 };
    bool small = true;
    uint32_t n = 0;
    for (size_t n_id = IDS_LEAST; small && n_id <= IDS_MOST; n_id *= 2) {
        cpu_set_t *set = CPU_ALLOC(n_id);
        if (!set)
            break;
        const size_t bytes = CPU_ALLOC_SIZE(n_id);
        const bool told = sched_getaffinity(0, bytes, set) == 0;
        small = !told && errno == EINVAL;
        n = told ? (uint32_t)CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
    }
    const long online = n ? 0 : sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (uint32_t)online : n;
}

uint32_t os_cpu_count(void)
{
    uint32_t n = count_allowed();
    const uint32_t quota = cpu_limit_read("");
    if (quota < n)
        n = quota;
    return n < 1 ? 1 : n < WORKERS_MAX ? n : WORKERS_MAX;
}
