/* os/loops: every step once, whoever takes it; the owner sees what all wrote, a loop begins where the one before
 * ended, and who waits for long does not compute. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdatomic.h>
#include <stdbool.h>

#include "base/mem.h"
#include "os/loops.h"
#include "os/workers.h"
#include "support/asleep.h"

enum { STEPS = 300, LOOPS = 200, WORKERS = 4 };

struct job {
    struct loops loops;
    uint32_t own[WORKERS]; // steps that a worker did
    uint32_t step[WORKERS][STEPS];
    _Atomic uint32_t n_wrong, n_owner;
};

static void count(void *arg, uint32_t step, void *own)
{
    uint32_t *done = arg; // plain memory: an owner that saw too little would be found
    done[step]++;
    ++*(uint32_t *)own;
}

static void own_loops(struct job *job, uint32_t worker)
{
    for (uint32_t i = 1; i <= LOOPS; i++) {
        const uint32_t n = i % 7 == 0 ? 0 : i % STEPS;
        loops_run(&job->loops, worker, count, job->step[worker], n);
        for (uint32_t s = 0; s < n; s++)
            if (job->step[worker][s]-- != 1)
                job->n_wrong++;
    }
}

static void part(void *arg, uint32_t worker, uint32_t n)
{
    struct job *job = arg;
    (void)n;
    if (worker < 2) {
        own_loops(job, worker);
        job->n_owner--;
    }
    while (job->n_owner > 0)
        loops_help(&job->loops, worker);
}

static void each_step_is_done_once_by_owners_and_helpers(void **state)
{
    (void)state;
    struct job *job = mem_new(1, sizeof *job);
    struct workers *w;
    job->loops = (struct loops){ mem_new_aligned(WORKERS, sizeof *job->loops.of, 64), WORKERS };
    job->n_owner = 2;
    for (uint32_t i = 0; i < WORKERS; i++)
        job->loops.of[i].own = &job->own[i];
    assert_int_equal(workers_new(&w, WORKERS, NULL), OK);
    workers_run(w, part, job);
    workers_free(w);
    uint32_t n_done = 0, n_step = 0;
    for (uint32_t i = 0; i < WORKERS; i++)
        n_done += job->own[i];
    for (uint32_t i = 1; i <= LOOPS; i++)
        n_step += i % 7 == 0 ? 0 : i % STEPS;
    assert_int_equal(job->n_wrong, 0);
    assert_int_equal(n_done, 2 * n_step);
    assert_false(loops_help(&job->loops, 0));
    mem_free(job->loops.of);
    mem_free(job);
}

/* ---- a helper whose processor somebody else has ---- */

struct gone {
    struct loops loops;
    struct loop loop[2];
    atomic_bool begun;
};

/* The owner's step lets the helper begin one; that one takes long. */
static void step_of_the_gone(void *arg, uint32_t step, void *own)
{
    struct gone *g = arg;
    (void)step;
    if (own == g->loop[1].own) {
        g->begun = true;
        asleep_for_long();
    }
    while (!g->begun)
        asleep_ms(1);
}

static void owner_and_gone(void *arg, uint32_t worker, uint32_t n)
{
    struct gone *g = arg;
    (void)n;
    if (worker == 0)
        loops_run(&g->loops, 0, step_of_the_gone, g, 2);
    else
        while (!loops_help(&g->loops, 1))
            asleep_ms(1);
}

static void who_waits_for_a_helper_sleeps(void **state)
{
    struct gone g = { .loop = { { .own = NULL }, { .own = &g } } };
    struct workers *w;
    (void)state;
    g.loops = (struct loops){ g.loop, 2 };
    assert_int_equal(workers_new(&w, 2, NULL), OK);
    const double before = asleep_processor_ms();
    workers_run(w, owner_and_gone, &g);
    assert_true(g.begun);
    assert_true(asleep_processor_ms() - before < ASLEEP_SPIN_MS);
    workers_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_step_is_done_once_by_owners_and_helpers),
        cmocka_unit_test(who_waits_for_a_helper_sleeps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
