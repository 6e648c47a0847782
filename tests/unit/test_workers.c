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
#include <time.h>
#include <unistd.h>

#include "os/workers.h"

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

enum { GONE_MS = 200, SPIN_MS_MAX = 20 }; // spinning ends after some 0.2 ms of processor time

static double processor_ms(clockid_t of)
{
    struct timespec t;
    clock_gettime(of, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void be_gone(void)
{
    nanosleep(&(struct timespec){ .tv_nsec = GONE_MS * 1000000L }, NULL);
}

static void last_part_is_gone(void *arg, uint32_t part, uint32_t n_part)
{
    (void)arg;
    if (part == n_part - 1)
        be_gone();
}

static void who_waits_for_a_part_sleeps(void **state)
{
    struct workers *w;
    (void)state;
    assert_int_equal(workers_new(&w, 3, NULL), OK);
    const double before = processor_ms(CLOCK_PROCESS_CPUTIME_ID);
    workers_run(w, last_part_is_gone, NULL);
    assert_true(processor_ms(CLOCK_PROCESS_CPUTIME_ID) - before < SPIN_MS_MAX);
    workers_free(w);
}

static void who_waits_for_a_run_sleeps(void **state)
{
    struct count c = { 0 };
    struct workers *w;
    (void)state;
    assert_int_equal(workers_new(&w, 4, NULL), OK);
    workers_run(w, hit, &c);
    const double before = processor_ms(CLOCK_PROCESS_CPUTIME_ID);
    be_gone();
    assert_true(processor_ms(CLOCK_PROCESS_CPUTIME_ID) - before < SPIN_MS_MAX);
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
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

/* Part 1 says whose it is; part 0 gives it the time to be its worker's. */
static void find_worker(void *arg, uint32_t part, uint32_t n_part)
{
    (void)arg, (void)n_part;
    if (part == 0)
        nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
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
        be_gone();
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
