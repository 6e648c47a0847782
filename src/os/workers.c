#include "os/workers.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"
#include "os/cpu_limit.h"

/* A pause is 40 to 140 cycles: this is 50 to 200 us, several wake-ups' worth. */
enum { SPINS = 4000, PARTS_MAX = 1024 };

/* One word that is waited on: spin first, then sleep. `sleepers` saves the wake-up call when nobody sleeps. */
struct gate {
    _Atomic uint32_t word;
    _Atomic uint32_t sleepers;
};

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

/* What it is then. */
static uint32_t gate_wait_while(struct gate *g, uint32_t value)
{
    uint32_t now;
    for (uint32_t i = 0; i < SPINS; i++) {
        if ((now = atomic_load_explicit(&g->word, memory_order_acquire)) != value)
            return now;
        __builtin_ia32_pause();
    }
    atomic_fetch_add(&g->sleepers, 1);
    while ((now = atomic_load(&g->word)) == value)
        syscall(SYS_futex, &g->word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
    atomic_fetch_sub(&g->sleepers, 1);
    return now;
}

/* After the word was changed. Sequential consistency orders it against `sleepers`: no wake-up is lost. */
static void gate_wake(struct gate *g)
{
    if (atomic_load(&g->sleepers))
        syscall(SYS_futex, &g->word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

static void part_done(struct workers *w)
{
    if (atomic_fetch_sub(&w->done.word, 1) == 1)
        gate_wake(&w->done);
}

/* W3. A run's parts are all taken before the next one begins: who comes late to an old run finds that number passed. */
static bool part_take(struct worker *of, uint32_t run)
{
    uint32_t before = run - 1;
    return atomic_compare_exchange_strong(&of->taken, &before, run);
}

static void part_run(struct workers *w, uint32_t part)
{
    w->fn(w->arg, part, w->n);
    part_done(w);
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

static uint32_t next_run(struct workers *w)
{
    const uint32_t run = atomic_fetch_add(&w->run.word, 1) + 1;
    gate_wake(&w->run);
    return run;
}

void workers_run(struct workers *w, workers_fn *fn, void *arg)
{
    if (w->n == 1) {
        fn(arg, 0, 1);
        return;
    }
    w->fn = fn;
    w->arg = arg;
    atomic_store_explicit(&w->done.word, w->n, memory_order_relaxed);
    const uint32_t run = next_run(w);
    part_run(w, 0);
    for (uint32_t part = 1; part < w->n; part++) {
        if (part_take(&w->worker[part], run))
            part_run(w, part);
    }
    for (uint32_t left; (left = atomic_load_explicit(&w->done.word, memory_order_acquire)) != 0;)
        gate_wait_while(&w->done, left);
}

enum status workers_new(struct workers **out, uint32_t n, struct note *why)
{
    if (n < 1 || n > PARTS_MAX) {
        note_set(why, "%u threads asked for; it must be between 1 and %d", n, PARTS_MAX);
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
    next_run(w);
    for (uint32_t i = 1; i <= w->n_started; i++)
        pthread_join(w->worker[i].thread, NULL);
    mem_free(w);
}

uint32_t workers_count(const struct workers *w)
{
    return w->n;
}

uint32_t os_cpu_count(void)
{
    cpu_set_t set;
    uint32_t n = sched_getaffinity(0, sizeof set, &set) == 0 ? (uint32_t)CPU_COUNT(&set) : 1;
    uint32_t quota = cpu_limit_read("");
    if (quota < n)
        n = quota;
    return n ? n : 1;
}
