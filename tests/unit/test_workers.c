/* os/workers: every part runs once a run, results are visible, and who waits for long does not compute. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

#include "os/workers.h"
#include "support/asleep.h"

struct count {
    struct workers *w;
    uint32_t hits[8];
    _Atomic uint32_t total;
};

static void hit(void *arg, uint32_t part, uint32_t n_part)
{
    struct count *c = arg;
    c->hits[part]++;
    atomic_fetch_add(&c->total, 1);
    (void)n_part;
}

static void each_part_runs_once_a_run(void **state)
{
    (void)state;
    for (uint32_t n = 1; n <= 4; n++) {
        struct count c = { 0 };
        struct note why = { "" };
        assert_int_equal(workers_new(&c.w, n, &why), OK);
        for (uint32_t run = 1; run <= 300; run++) {
            workers_run(c.w, hit, &c);
            assert_int_equal(c.total, run * n);
            for (uint32_t part = 0; part < n; part++)
                assert_int_equal(c.hits[part], run);
        }
        workers_free(c.w);
    }
}

/* ---- a part whose processor somebody else has ---- */

static void last_part_is_gone(void *arg, uint32_t part, uint32_t n_part)
{
    (void)arg;
    if (part == n_part - 1)
        asleep_for_long();
}

static void who_waits_for_a_part_sleeps(void **state)
{
    struct workers *w;
    (void)state;
    assert_int_equal(workers_new(&w, 3, NULL), OK);
    const double before = asleep_processor_ms();
    workers_run(w, last_part_is_gone, NULL);
    assert_true(asleep_processor_ms() - before < ASLEEP_SPIN_MS);
    workers_free(w);
}

static void who_waits_for_a_run_sleeps(void **state)
{
    struct count c = { 0 };
    struct workers *w;
    (void)state;
    assert_int_equal(workers_new(&w, 4, NULL), OK);
    workers_run(w, hit, &c);
    const double before = asleep_processor_ms();
    asleep_for_long();
    assert_true(asleep_processor_ms() - before < ASLEEP_SPIN_MS);
    workers_run(w, hit, &c); // and wakes up again
    assert_int_equal(c.total, 8);
    workers_free(w);
}

/* ---- a worker that does not get a processor ---- */

static pthread_t caller, held;
static atomic_bool found, is_held, let_go;

static void hold(int signal)
{
    (void)signal;
    atomic_store(&is_held, true);
    while (!atomic_load(&let_go))
        asleep_ms(1);
}

/* Part 1 says whose it is; part 0 gives it the time to be its worker's. */
static void find_worker(void *arg, uint32_t part, uint32_t n_part)
{
    (void)arg, (void)n_part;
    if (part == 0)
        asleep_ms(5);
    if (part == 1 && !pthread_equal(pthread_self(), caller)) {
        held = pthread_self();
        atomic_store(&found, true);
    }
}

/* Whoever waits for it waits for ever: the alarm ends that. */
static void a_run_waits_for_nobody_who_has_not_begun(void **state)
{
    struct count c = { 0 };
    struct workers *w;
    (void)state;
    alarm(20);
    caller = pthread_self();
    assert_int_equal(workers_new(&w, 3, NULL), OK);
    signal(SIGUSR1, hold);
    while (!atomic_load(&found))
        workers_run(w, find_worker, NULL);
    assert_int_equal(pthread_kill(held, SIGUSR1), 0);
    while (!atomic_load(&is_held))
        asleep_for_long();
    for (uint32_t run = 1; run <= 300; run++) {
        workers_run(w, hit, &c);
        for (uint32_t part = 0; part < 3; part++)
            assert_int_equal(c.hits[part], run);
    }
    atomic_store(&let_go, true);
    for (uint32_t run = 301; run <= 600; run++) { /* somewhere in these it is there again */
        workers_run(w, hit, &c);
        assert_int_equal(c.total, 3 * run);
    }
    workers_free(w);
    alarm(0);
}

static void refuses_silly_counts(void **state)
{
    (void)state;
    struct workers *w;
    struct note why = { "" };
    assert_int_equal(workers_new(&w, 0, &why), BAD_INPUT);
    assert_string_equal(why.text, "0 threads asked for; it must be between 1 and 1024");
    assert_true(os_cpu_count() >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_part_runs_once_a_run),
        cmocka_unit_test(who_waits_for_a_part_sleeps),
        cmocka_unit_test(who_waits_for_a_run_sleeps),
        cmocka_unit_test(a_run_waits_for_nobody_who_has_not_begun),
        cmocka_unit_test(refuses_silly_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
