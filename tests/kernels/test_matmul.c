/* quantise and matmul: every instruction set that runs here gives the bits of ref, for every weight type, shape, batch
 * and range of panels, with nothing read or written outside; `--bench` times them instead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/avx512/matmul_fns.h"
#include "kernels/kernels.h"
#include "kernels/panel.h"
#include "kernels/ref/matmul_fns.h"
#include "support/guard.h"
#include "support/matmul_bench.h"
#include "support/simde_avx512_matmul.h"
#include "support/weights.h"

static struct kernels table[5];
static uint32_t n_table;

static bool is_there(const char *name)
{
    for (uint32_t i = 0; i < n_table; i++)
        if (strcmp(table[i].name, name) == 0)
            return true;
    return false;
}

static void emulate(const char *name, const char *shown, uint32_t tiles_from, kern_matmul *matmul)
{
    if (n_table < 2 || is_there(name)) // emulation stands on avx2
        return;
    table[n_table] = table[1];
    table[n_table].name = shown;
    table[n_table].raised_from = AVX512_RAISED_FROM;
    table[n_table].tiles_from = tiles_from;
    table[n_table].reads_excess = false;
    table[n_table].quantise = simde_avx512_quantise;
    table[n_table++].matmul = matmul;
}

/* What runs on this processor, and AVX-512 and AMX in emulation where they do not. */
static int find_tables(void **state)
{
    const struct kernels *available[4];
    (void)state;
    n_table = kernels_available(available, 4);
    for (uint32_t i = 0; i < n_table; i++)
        table[i] = *available[i];
    emulate("avx512", "avx512 in emulation", UINT32_MAX, simde_avx512_matmul);
    emulate("amx", "amx in emulation", ACTS_TILE, simde_amx_matmul);
    return 0;
}

/* Weights and activations of one case; inputs end at guard pages. */
struct problem {
    struct packed w;
    struct acts x;
    struct guarded rows, data, f, acts;
};

/* The rows of p in the form that the table wants, as ref quantises them. */
static void problem_aim(struct problem *p, const struct kernels *k)
{
    acts_place(&p->x, p->x.n_row, p->x.k, kernels_form(k, p->x.n_row), p->acts.at);
    if (p->x.k % QBLOCK == 0)
        ref_quantise(&p->x, 0, p->x.n_row);
    acts_leave_out(&p->x, k->reads_excess ? acts_offsets_of(p->w.type) : 0);
}

static struct problem problem_new(enum dtype type, uint32_t n, uint32_t k, uint32_t n_row,
                                  struct rng *rng, bool hostile)
{
    struct problem p = { 0 };
    assert_true(packed_shape(&p.w, type, n, k));
    p.rows = guard_new(n * dtype_bytes(type, k), 1);
    p.data = guard_new(p.w.n_panel * p.w.panel_bytes, 64);
    random_weights(p.rows.at, type, n, k, rng, hostile);
    packed_fill(&p.w, p.rows.at, p.data.at, 0, p.w.n_panel);
    p.w.data = p.data.at;

    p.f = guard_new((size_t)n_row * k * sizeof(float), 4);
    p.acts = guard_new(acts_bytes(n_row, k), 64);
    random_floats(p.f.at, (size_t)n_row * k, rng, hostile);
    p.x = (struct acts){ .n_row = n_row, .k = k, .f = p.f.at };
    return p;
}

static void problem_free(struct problem *p)
{
    guard_free(&p->rows);
    guard_free(&p->data);
    guard_free(&p->f);
    guard_free(&p->acts);
}

static const float UNWRITTEN = -12345.0f;

/* y [n_row][stride] of panels [first, last), written at the end of a guarded page; the rest of it stays UNWRITTEN. */
static struct guarded outputs(const struct kernels *k, struct problem *p, uint32_t first,
                              uint32_t last, size_t stride)
{
    problem_aim(p, k);
    size_t n = (p->x.n_row - 1) * stride + p->w.n;
    struct guarded y = guard_new(n * sizeof(float), 4);
    struct guarded scratch = guard_new(matmul_scratch_bytes(&p->w), 64);
    float *at = y.at;
    for (size_t i = 0; i < n; i++)
        at[i] = UNWRITTEN;
    k->matmul(&p->w, first, last, &p->x, at, stride, scratch.at);
    guard_free(&scratch);
    return y;
}

static void expect_equal(const struct kernels *k, const struct problem *p,
                         const struct guarded *want, const struct guarded *got, size_t stride)
{
    size_t n = (p->x.n_row - 1) * stride + p->w.n;
    size_t i = first_difference(want->at, got->at, n);
    if (i < n)
        fail_msg("%s, %s [%u][%u], %u rows: row %zu, output %zu is %a, not %a", k->name,
                 dtype_info(p->w.type)->name, p->w.n, p->w.k, p->x.n_row, i / stride, i % stride,
                 ((float *)got->at)[i], ((float *)want->at)[i]);
}

static void check_panels(struct problem *p, uint32_t first, uint32_t last, size_t stride)
{
    struct guarded want = outputs(&table[0], p, first, last, stride);
    for (uint32_t t = 1; t < n_table; t++) {
        struct guarded got = outputs(&table[t], p, first, last, stride);
        expect_equal(&table[t], p, &want, &got, stride);
        guard_free(&got);
    }
    guard_free(&want);
}

static void check(enum dtype type, uint32_t n, uint32_t k, uint32_t n_row, struct rng *rng,
                  bool hostile)
{
    struct problem p = problem_new(type, n, k, n_row, rng, hostile);
    size_t stride = n + rng_below(rng, 3);
    uint32_t first = rng_below(rng, p.w.n_panel),
             last = first + 1 + rng_below(rng, p.w.n_panel - first);
    check_panels(&p, first, last, stride);
    problem_free(&p);
}

static void all_tables_agree(bool hostile)
{
    static const uint32_t some_n[] = { 1, 15, 16, 17, 40 };
    static const uint32_t some_rows[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 19, 33 };
    static const uint32_t some_k[] = { 32, 64, 96, 256, 576, 1056, 2048 };
    struct rng rng = rng_seeded(9, hostile);
    for (int t = 0; t < N_WEIGHT_TYPE; t++) {
        uint32_t block = dtype_info(weight_types[t])->block_elems;
        for (size_t i = 0; i < sizeof some_rows / sizeof *some_rows; i++)
            for (int j = 0; j < 5; j++) {
                uint32_t k = some_k[rng_below(&rng, 7)];
                k = block == 1 ? k - rng_below(&rng, 32) : (k + block - 1) / block * block;
                check(weight_types[t], some_n[j], k, some_rows[i], &rng, hostile);
            }
    }
}

/* All panels: of a batch from which on they are widened, and one less; of one range of k, and more (panel.h). */
static void wide_floats_give_the_bits_of_ref(void **state)
{
    static const enum dtype types[] = { DT_F32, DT_F16, DT_BF16 };
    static const uint32_t some_rows[] = { 23, 24, 29, 33 }, some_n[] = { 32, 40 },
                          some_k[] = { MATMUL_WIDE - 1, MATMUL_WIDE, MATMUL_WIDE + 1,
                                       2 * MATMUL_WIDE + 1 };
    struct rng rng = rng_seeded(15, 1);
    (void)state;
    for (size_t t = 0; t < 3; t++)
        for (size_t i = 0; i < 4 * 2 * 4; i++) {
            struct problem p = problem_new(types[t], some_n[i / 4 % 2], some_k[i / 8],
                                           some_rows[i % 4], &rng, i % 3 == 0);
            check_panels(&p, 0, p.w.n_panel, p.w.n);
            problem_free(&p);
        }
}

static void usual_values_give_the_bits_of_ref(void **state)
{
    (void)state;
    all_tables_agree(false);
}

static void hostile_values_give_the_bits_of_ref(void **state)
{
    (void)state;
    all_tables_agree(true);
}

/* Where the floats of a file's block lie: its first bytes, or its last. All else are codes and integer scales. */
static const struct floats {
    enum dtype type;
    uint8_t first, last;
} floats_of[] = {
    { DT_Q4_0, 2, 0 }, { DT_Q4_1, 4, 0 }, { DT_Q5_0, 2, 0 },   { DT_Q5_1, 4, 0 },
    { DT_Q8_0, 2, 0 }, { DT_Q2_K, 0, 4 }, { DT_Q3_K, 0, 2 },   { DT_Q4_K, 4, 0 },
    { DT_Q5_K, 4, 0 }, { DT_Q6_K, 0, 2 }, { DT_IQ4_NL, 2, 0 }, { DT_IQ4_XS, 2, 0 },
};

_Static_assert(sizeof floats_of / sizeof *floats_of == N_QUANTISED, "a line a type");

static void fill_codes(struct problem *p, const struct floats *f, uint8_t byte)
{
    const struct dtype_info *t = dtype_info(f->type);
    char *block = p->rows.at;
    for (size_t i = 0; i < (size_t)p->w.n * p->w.k / t->block_elems; i++, block += t->block_bytes)
        memset(block + f->first, byte, t->block_bytes - f->first - f->last);
    packed_fill(&p->w, p->rows.at, p->data.at, 0, p->w.n_panel);
}

/* Every q is 127 or -127, by the parity of some bits of k. */
static void fill_signs(struct problem *p, uint32_t bits)
{
    float *x = p->f.at;
    for (uint32_t i = 0; i < p->x.n_row * p->x.k; i++)
        x[i] = __builtin_parity(i & bits) ? -1 : 1;
}

/* The largest codes times the largest q, of one sign in all that is added up before it is widened. */
static void largest_sums_give_the_bits_of_ref(void **state)
{
    static const uint8_t bytes[] = { 0x00, 0xff, 0x80, 0x7f };
    static const uint32_t bits[] = { 1, 2, 16, 18 };
    enum { N = 16, K = 256, ROWS = 17 };
    struct rng rng = rng_seeded(13, 1);
    (void)state;
    for (size_t i = 0; i < 16 * sizeof floats_of / sizeof *floats_of; i++) {
        const struct floats *f = &floats_of[i / 16];
        struct problem p = problem_new(f->type, N, K, ROWS, &rng, false);
        fill_codes(&p, f, bytes[i / 4 % 4]);
        fill_signs(&p, bits[i % 4]);
        struct guarded want = outputs(&table[0], &p, 0, 1, N);
        for (uint32_t t = 1; t < n_table; t++) {
            struct guarded got = outputs(&table[t], &p, 0, 1, N);
            expect_equal(&table[t], &p, &want, &got, N);
            guard_free(&got);
        }
        guard_free(&want);
        problem_free(&p);
    }
}

/* Row r of a batch has the bits it has alone. */
static void rows_do_not_know_their_batch(void **state)
{
    (void)state;
    enum { N_ROW = 21, K = 512, N = 48 };
    struct rng rng = rng_seeded(10, 1);
    for (int t = 0; t < N_WEIGHT_TYPE; t++) {
        struct problem p = problem_new(weight_types[t], N, K, N_ROW, &rng, false);
        for (uint32_t i = 0; i < n_table; i++) {
            struct guarded want = outputs(&table[i], &p, 0, 3, N);
            for (uint32_t r = 0, n; r < N_ROW; r += n) {
                struct problem part = p;
                n = 1 + rng_below(&rng, N_ROW - r);
                part.acts = guard_new(acts_bytes(n, K), 64);
                part.x.f += r * K;
                part.x.n_row = n;
                struct guarded got = outputs(&table[i], &part, 0, 3, N);
                struct guarded same = { .at = (float *)want.at + r * N };
                expect_equal(&table[i], &part, &same, &got, N);
                guard_free(&got);
                guard_free(&part.acts);
            }
            guard_free(&want);
        }
        problem_free(&p);
    }
}

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
    for (uint32_t t = 1; t < n_table; t++) {
        struct guarded want = guard_new(bytes, 64), got = guard_new(bytes, 64);
        acts_place(&a, n_row, k, kernels_form(&table[t], n_row), want.at);
        acts_place(&b, n_row, k, kernels_form(&table[t], n_row), got.at);
        ref_quantise(&a, first, last);
        table[t].quantise(&b, first, last);
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

/* Rows [first, first + n) of a batch block by block, as who computes some columns at a time has them. */
static void quantise_columns(const struct kernels *k, const struct acts *a, uint32_t first,
                             uint32_t n)
{
    struct guarded f = guard_new((size_t)n * QBLOCK * sizeof(float), 4);
    for (uint32_t b = 0; b < a->k / QBLOCK; b++) {
        for (uint32_t r = 0; r < n; r++)
            memcpy((float *)f.at + r * QBLOCK, a->f + (size_t)(first + r) * a->k + b * QBLOCK,
                   QBLOCK * sizeof(float));
        struct acts column = acts_column(a, first, n, b, f.at);
        k->quantise(&column, 0, n);
    }
    guard_free(&f);
}

/* A batch that lies as the whole one does, quantised and multiplied by slices. */
static void expect_parts_alike(const struct kernels *k, struct problem *p, uint32_t rows_of_slice)
{
    struct guarded want = outputs(k, p, 0, p->w.n_panel, p->w.n);
    struct guarded got = guard_new((size_t)p->x.n_row * p->w.n * sizeof(float), 4);
    struct guarded scratch = guard_new(matmul_scratch_bytes(&p->w), 64);
    memset(p->acts.at, 0xaa, acts_bytes(p->x.n_row, p->x.k));
    for (uint32_t r = 0, n; r < p->x.n_row; r += n) {
        n = p->x.n_row - r < rows_of_slice ? p->x.n_row - r : rows_of_slice;
        quantise_columns(k, &p->x, r, n);
        const struct acts slice = acts_slice(&p->x, r, n);
        k->matmul(&p->w, 0, p->w.n_panel, &slice, (float *)got.at + (size_t)r * p->w.n, p->w.n,
                  scratch.at);
    }
    expect_equal(k, p, &want, &got, p->w.n);
    guard_free(&want);
    guard_free(&got);
    guard_free(&scratch);
}

static void parts_of_a_batch_are_the_batch(void **state)
{
    (void)state;
    struct rng rng = rng_seeded(16, 1);
    for (int t = 0; t < N_WEIGHT_TYPE; t++) {
        if (dtype_info(weight_types[t])->block_elems == 1)
            continue;
        for (uint32_t i = 0; i < n_table; i++) {
            const uint32_t n_row = 40 + rng_below(&rng, 20);
            struct problem p = problem_new(weight_types[t], 40, 512, n_row, &rng, false);
            expect_parts_alike(&table[i], &p, ACTS_TILE * (1 + rng_below(&rng, 3)));
            problem_free(&p);
        }
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

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantise_gives_the_bits_of_ref),
        cmocka_unit_test(odd_blocks_of_a_tile_give_the_bits_of_ref),
        cmocka_unit_test(usual_values_give_the_bits_of_ref),
        cmocka_unit_test(wide_floats_give_the_bits_of_ref),
        cmocka_unit_test(hostile_values_give_the_bits_of_ref),
        cmocka_unit_test(largest_sums_give_the_bits_of_ref),
        cmocka_unit_test(rows_do_not_know_their_batch),
        cmocka_unit_test(parts_of_a_batch_are_the_batch),
    };
    if (argc > 1 && strcmp(argv[1], "--bench") == 0)
        return matmul_bench(argc - 2, argv + 2);
    return cmocka_run_group_tests(tests, find_tables, NULL);
}
