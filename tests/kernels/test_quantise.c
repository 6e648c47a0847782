/* quantise: every instruction set that runs here gives the bits of ref, for every shape, form and range of rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "kernels/kernels.h"
#include "kernels/ref/matmul_fns.h"
#include "support/guard.h"
#include "support/matmul_tables.h"
#include "support/weights.h"

static void expect_equal_codes(const struct acts_block *a, const struct acts_block *b, int lane)
{
    for (int g = 0; g < QBLOCK / 4; g++)
        assert_memory_equal(a->q[g][lane], b->q[g][lane], 4);
    assert_memory_equal(a->half[lane], b->half[lane], sizeof a->half[lane]);
    assert_int_equal(first_difference(&a->d[lane], &b->d[lane], 1), 1);
    assert_int_equal(first_difference(&a->z[lane], &b->z[lane], 1), 1);
    assert_int_equal(first_difference(&a->t[lane], &b->t[lane], 1), 1);
}

static void expect_equal_lane(const struct acts_tile *a, const struct acts_tile *b, int lane)
{
    assert_memory_equal(a->q[lane], b->q[lane], sizeof a->q[lane]);
    assert_memory_equal(a->half[lane], b->half[lane], sizeof a->half[lane]);
    assert_int_equal(first_difference(&a->d[lane], &b->d[lane], 1), 1);
    assert_int_equal(first_difference(&a->z[lane], &b->z[lane], 1), 1);
    assert_int_equal(first_difference(&a->t[lane], &b->t[lane], 1), 1);
}

/* All rows, also those that were not quantised: nobody may have touched them. */
static void expect_equal_acts(const struct acts *a, const struct acts *b)
{
    for (uint32_t r = 0; r < a->n_row; r++)
        for (uint32_t j = 0; j < a->k / QBLOCK; j++) {
            if (a->tile) {
                expect_equal_lane(acts_tile_of(a, r, j), acts_tile_of(b, r, j), r % ACTS_TILE);
                continue;
            }
            expect_equal_codes(acts_block_of(a, r, j), acts_block_of(b, r, j), r % ACTS_ROWS);
            for (enum acts_offset i = 0; i < N_OFFSET; i++)
                assert_memory_equal(acts_excess_of(a, i, r, j), acts_excess_of(b, i, r, j),
                                    acts_excess_runs(i) * sizeof(struct acts_excess));
        }
}

/* Rows [first, last) of f [n_row][k] by every table. */
static void expect_quantised_alike(const float *f, uint32_t n_row, uint32_t k, uint32_t first,
                                   uint32_t last)
{
    const size_t bytes = acts_bytes(n_row, k);
    struct acts a = { .f = f }, b = { .f = f };
    for (uint32_t t = 1; t < n_matmul_table; t++) {
        struct guarded want = guard_new(bytes, 64), got = guard_new(bytes, 64);
        acts_place(&a, n_row, k, kernels_form(&matmul_table[t], n_row), want.at);
        acts_place(&b, n_row, k, kernels_form(&matmul_table[t], n_row), got.at);
        ref_quantise(&a, first, last);
        matmul_table[t].quantise(&b, first, last);
        expect_equal_acts(&a, &b);
        guard_free(&want);
        guard_free(&got);
    }
}

static void quantise_gives_the_bits_of_ref(void **state)
{
    (void)state;
    struct rng rng = rng_seeded(11, 1);
    for (uint32_t round = 0; round < 400; round++) {
        uint32_t n_row = 1 + rng_below(&rng, round % 4 < 2 ? 5 : 40);
        uint32_t k = 32 * (1 + rng_below(&rng, 20));
        struct guarded f = guard_new((size_t)n_row * k * sizeof(float), 4);
        uint32_t first = rng_below(&rng, n_row), last = first + 1 + rng_below(&rng, n_row - first);
        random_floats(f.at, (size_t)n_row * k, &rng, round % 2);
        expect_quantised_alike(f.at, n_row, k, first, last);
        guard_free(&f);
    }
}

/* Blocks that are not like others: elements a and b, and in between `usual` of what was there. */
static const struct odd_block {
    float a, b, usual;
} odd_blocks[] = {
    { NAN, 1, 1 },                 // not a number, alone and with infinities
    { NAN, INFINITY, 1 },          //
    { NAN, NAN, 0 },               //
    { INFINITY, 1, 1 },            // no middle
    { -INFINITY, 1, 1 },           //
    { INFINITY, -INFINITY, 1 },    //
    { 3e38f, -3e38f, 1 },          // an infinite width
    { 3e38f, 2e38f, 0 },           // an infinite middle
    { -3e38f, -2e38f, 1 },         //
    { 1.5f, 1.5f, 0 },             // no width but for the zeros
    { 0.0f, -0.0f, 0 },            // no width
    { -0.0f, -0.0f, 0 },           //
    { 1e-42f, 0, 0 },              // an infinite inverse
    { 1e-38f, -1e-38f, 1e-38f },   // a large one
    { 1e6f, 1e6f + 0.0625f, 0 },   // codes far apart
    { -1e6f, -1e6f - 0.0625f, 0 }, //
};

/* One value all over, two such, or one of each among usual ones. */
static void fill_odd(float *x, const struct odd_block *odd, uint32_t form, uint32_t at)
{
    for (uint32_t i = 0; i < QBLOCK; i++)
        x[i] = form == 0 ? odd->a : form == 1 ? (i < at ? odd->a : odd->b) : x[i] * odd->usual;
    if (form == 2)
        x[at] = odd->a, x[(at + 7) % QBLOCK] = odd->b;
}

/* In each row of a tile, with usual rows around it. */
static void odd_blocks_of_a_tile_give_the_bits_of_ref(void **state)
{
    enum { K = 3 * QBLOCK, ROWS = ACTS_TILE };
    struct rng rng = rng_seeded(14, 1);
    float f[ROWS * K];
    (void)state;
    for (size_t i = 0; i < sizeof odd_blocks / sizeof *odd_blocks; i++)
        for (uint32_t row = 0; row < ROWS; row++)
            for (uint32_t form = 0; form < 3; form++) {
                random_floats(f, ROWS * K, &rng, false);
                fill_odd(f + row * K + QBLOCK, &odd_blocks[i], form, rng_below(&rng, QBLOCK));
                expect_quantised_alike(f, ROWS, K, 0, ROWS);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantise_gives_the_bits_of_ref),
        cmocka_unit_test(odd_blocks_of_a_tile_give_the_bits_of_ref),
    };
    return cmocka_run_group_tests(tests, find_matmul_tables, NULL);
}
