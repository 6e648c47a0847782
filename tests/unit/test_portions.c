/* Every task is taken exactly once, whoever takes it, and neighbours go to the same part. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "os/portions.h"
#include "os/workers.h"

enum { N_PART = 4, N_TASK_MAX = 5000 };

struct taking {
    struct portion portion[N_PART];
    _Atomic uint32_t taken[N_TASK_MAX];
};

static void take_all(void *arg, uint32_t part, uint32_t n_part)
{
    struct taking *t = arg;
    uint32_t task;
    while (portions_take(t->portion, n_part, part, &task))
        atomic_fetch_add(&t->taken[task], 1);
}

static void threads_take_every_task_once(void **state)
{
    static const uint32_t sizes[] = { 0, 1, 3, 4, 5, 100, N_TASK_MAX };
    static struct taking t;
    struct workers *w;
    struct note why;
    (void)state;
    assert_int_equal(workers_new(&w, N_PART, &why), OK);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int round = 0; round < 50; round++) {
            memset(t.taken, 0, sizeof t.taken);
            portions_deal(t.portion, N_PART, sizes[s]);
            workers_run(w, take_all, &t);
            for (uint32_t i = 0; i < N_TASK_MAX; i++)
                assert_int_equal(t.taken[i], i < sizes[s]);
        }
    workers_free(w);
}

static void a_part_walks_its_own_and_helps_from_behind(void **state)
{
    struct portion p[2];
    uint32_t task;
    (void)state;
    portions_deal(p, 2, 6);
    for (uint32_t expected = 0; expected < 3; expected++) {
        assert_true(portions_take(p, 2, 0, &task));
        assert_int_equal(task, expected);
    }
    assert_true(portions_take(p, 2, 0, &task));
    assert_int_equal(task, 5); // of part 1, from the back
    assert_true(portions_take(p, 2, 1, &task));
    assert_int_equal(task, 3);
    assert_true(portions_take(p, 2, 1, &task));
    assert_int_equal(task, 4);
    assert_false(portions_take(p, 2, 0, &task));
    assert_false(portions_take(p, 2, 1, &task));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_take_every_task_once),
        cmocka_unit_test(a_part_walks_its_own_and_helps_from_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
