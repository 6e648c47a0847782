/* os/workers: every part runs once a run, results are visible. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdatomic.h>

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
        cmocka_unit_test(refuses_silly_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
