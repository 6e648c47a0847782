/* block_set: runs against a search bit by bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/rng.h"
#include "kv/block_set.h"

static uint32_t run_from(const struct block_set *s, uint32_t i)
{
    uint32_t n = 0;
    while (block_set_has(s, i + n))
        n++;
    return n;
}

static uint32_t longest(const struct block_set *s)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < s->n_max; i++)
        most = run_from(s, i) > most ? run_from(s, i) : most;
    return most;
}

static void runs_are_the_longest(void **state)
{
    (void)state;
    struct rng rng = rng_seeded(7, 7);
    for (int round = 0; round < 300; round++) {
        struct block_set s;
        uint32_t n_max = 1 + rng_below(&rng, 700), density = 1 + rng_below(&rng, 12), n = 0;
        assert_int_equal(block_set_open(&s, n_max), OK);
        assert_int_equal(block_set_run(&s).n, 0);
        for (uint32_t i = 0; i < n_max; i++) {
            if (rng_below(&rng, density + 1) == 0)
                continue;
            block_set_add(&s, i);
            n++;
        }
        assert_int_equal(s.n, n);
        while (s.n) {
            struct block_run run = block_set_run(&s);
            uint32_t most = longest(&s);
            assert_true(run.n >= 1);
            assert_true(run.n >= (most < 64 ? most : 64));
            assert_true(run_from(&s, run.first) >= run.n);
            for (uint32_t i = 0; i < run.n; i++)
                block_set_remove(&s, run.first + i);
        }
        block_set_close(&s);
    }
}

static void any_member_is_one(void **state)
{
    (void)state;
    struct rng rng = rng_seeded(7, 8);
    struct block_set s;
    assert_int_equal(block_set_open(&s, 300), OK);
    for (uint32_t i = 0; i < 2000; i++) {
        const uint32_t block = rng_below(&rng, 300);
        if (!block_set_has(&s, block))
            block_set_add(&s, block);
        const uint32_t any = block_set_any(&s);
        assert_true(block_set_has(&s, any));
        if (rng_below(&rng, 3))
            block_set_remove(&s, any);
    }
    block_set_close(&s);
}

static void far_members_are_found(void **state)
{
    (void)state;
    struct block_set s;
    assert_int_equal(block_set_open(&s, 1 << 20), OK);
    block_set_add(&s, (1 << 20) - 1); // thousands of words behind where the search begins
    struct block_run run = block_set_run(&s);
    assert_int_equal(run.first, (1 << 20) - 1);
    assert_int_equal(run.n, 1);
    assert_false(block_set_has(&s, 1 << 20));
    assert_false(block_set_has(&s, UINT32_MAX));
    block_set_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_are_the_longest),
        cmocka_unit_test(any_member_is_one),
        cmocka_unit_test(far_members_are_found),
    };
    return cmocka_run_group_tests_name("block_set", tests, NULL, NULL);
}
