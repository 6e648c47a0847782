/* matmul: every instruction set that runs here gives the bits of ref, for every weight type, shape, batch
 * and range of panels, with nothing read or written outside; `--bench` times them instead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "kernels/kernels.h"
#include "kernels/panel.h"
#include "support/guard.h"
#include "support/matmul_bench.h"
#include "support/matmul_problem.h"
#include "support/matmul_tables.h"
#include "support/stored.h"
#include "support/weights.h"

static void check_panels(struct problem *p, uint32_t first, uint32_t last, size_t stride)
{
    struct guarded want = problem_outputs(&matmul_table[0], p, first, last, stride);
    for (uint32_t t = 1; t < n_matmul_table; t++) {
        struct guarded got = problem_outputs(&matmul_table[t], p, first, last, stride);
        problem_expect_equal(&matmul_table[t], p, &want, &got, stride);
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
        struct guarded want = problem_outputs(&matmul_table[0], &p, 0, 1, N);
        for (uint32_t t = 1; t < n_matmul_table; t++) {
            struct guarded got = problem_outputs(&matmul_table[t], &p, 0, 1, N);
            problem_expect_equal(&matmul_table[t], &p, &want, &got, N);
            guard_free(&got);
        }
        guard_free(&want);
        problem_free(&p);
    }
}

/* Rows [first, first + n) of p, alone. The caller frees its acts. */
static struct problem rows_of(const struct problem *p, uint32_t first, uint32_t n)
{
    struct problem part = *p;
    part.acts = guard_new(acts_bytes(n, p->x.k), 64);
    part.x.f += (size_t)first * p->x.k;
    part.x.n_row = n;
    return part;
}

/* Row r of a batch has the bits it has alone. */
static void rows_do_not_know_their_batch(void **state)
{
    (void)state;
    enum { N_ROW = 21, K = 512, N = 48 };
    struct rng rng = rng_seeded(10, 1);
    for (int t = 0; t < N_WEIGHT_TYPE; t++) {
        struct problem p = problem_new(weight_types[t], N, K, N_ROW, &rng, false);
        for (uint32_t i = 0; i < n_matmul_table; i++) {
            struct guarded want = problem_outputs(&matmul_table[i], &p, 0, 3, N);
            for (uint32_t r = 0, n; r < N_ROW; r += n) {
                n = 1 + rng_below(&rng, N_ROW - r);
                struct problem part = rows_of(&p, r, n);
                struct guarded got = problem_outputs(&matmul_table[i], &part, 0, 3, N);
                struct guarded same = { .at = (float *)want.at + r * N };
                problem_expect_equal(&matmul_table[i], &part, &same, &got, N);
                guard_free(&got);
                guard_free(&part.acts);
            }
            guard_free(&want);
        }
        problem_free(&p);
    }
}

/* Hashes of all outputs of a problem of usual values and of a hostile one, as a batch and row by row. */
static const uint64_t stored[DT_LIMIT] = {
    [DT_F32] = 0x77bd8e9b46ca62e3,    [DT_F16] = 0x01b5d7316f1c2f46,
    [DT_BF16] = 0xd0093a34ae84aba5,   [DT_Q8_0] = 0x40d7ba9e7268d7f2,
    [DT_Q4_0] = 0xc45472c839373dfd,   [DT_Q4_1] = 0xb536c8b30da1acc3,
    [DT_Q5_0] = 0xabf8a03fb47686ab,   [DT_Q5_1] = 0xec6cb2d18e2f9bcd,
    [DT_Q2_K] = 0x14da6da8a8fa6994,   [DT_Q3_K] = 0xdcd3c25d03801a55,
    [DT_Q4_K] = 0x34b5492dd1e7f2e0,   [DT_Q5_K] = 0x2151022f2d88159b,
    [DT_Q6_K] = 0x99628bd452f4d3e0,   [DT_IQ4_NL] = 0x2256c9567c03e0cf,
    [DT_IQ4_XS] = 0xeaf92ca0ac2c2cc0,
};

static uint64_t hash_of(const struct kernels *k, enum dtype type, uint32_t rows_at_once)
{
    enum { N = 40, K = 512, N_ROW = 33 };
    uint64_t hash = FNV1A_64_NONE;
    for (uint32_t hostile = 0; hostile < 2; hostile++) {
        struct rng rng = rng_seeded(17, type);
        struct problem p = problem_new(type, N, K, N_ROW, &rng, hostile);
        for (uint32_t r = 0; r < N_ROW; r += rows_at_once) {
            struct problem part = rows_of(&p, r, rows_at_once);
            struct guarded y = problem_outputs(k, &part, 0, p.w.n_panel, N);
            hash = stored_floats(hash, y.at, (size_t)rows_at_once * N);
            guard_free(&y);
            guard_free(&part.acts);
        }
        problem_free(&p);
    }
    return hash;
}

static void bits_are_those_stored(void **state)
{
    (void)state;
    for (int t = 0; t < N_WEIGHT_TYPE; t++) {
        const enum dtype type = weight_types[t];
        for (uint32_t i = 0; i < n_matmul_table; i++)
            for (uint32_t rows_at_once = 1; rows_at_once <= 33; rows_at_once += 32)
                expect_stored(hash_of(&matmul_table[i], type, rows_at_once), stored[type],
                              matmul_table[i].name, dtype_info(type)->name);
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
    struct guarded want = problem_outputs(k, p, 0, p->w.n_panel, p->w.n);
    struct guarded got = guard_new((size_t)p->x.n_row * p->w.n * sizeof(float), 4);
    struct guarded scratch = guard_new(matmul_scratch_bytes(&p->w), 64);
    memset(p->acts.at, 0xaa, acts_bytes(p->x.n_row, p->x.k));
    memset(scratch.at, 0xff, matmul_scratch_bytes(&p->w));
    for (uint32_t r = 0, n; r < p->x.n_row; r += n) {
        n = p->x.n_row - r < rows_of_slice ? p->x.n_row - r : rows_of_slice;
        quantise_columns(k, &p->x, r, n);
        const struct acts slice = acts_slice(&p->x, r, n);
        k->matmul(&p->w, 0, p->w.n_panel, &slice, (float *)got.at + (size_t)r * p->w.n, p->w.n,
                  scratch.at);
    }
    problem_expect_equal(k, p, &want, &got, p->w.n);
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
        for (uint32_t i = 0; i < n_matmul_table; i++) {
            const uint32_t n_row = 40 + rng_below(&rng, 20);
            struct problem p = problem_new(weight_types[t], 40, 512, n_row, &rng, false);
            expect_parts_alike(&matmul_table[i], &p, ACTS_TILE * (1 + rng_below(&rng, 3)));
            problem_free(&p);
        }
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usual_values_give_the_bits_of_ref),
        cmocka_unit_test(wide_floats_give_the_bits_of_ref),
        cmocka_unit_test(hostile_values_give_the_bits_of_ref),
        cmocka_unit_test(largest_sums_give_the_bits_of_ref),
        cmocka_unit_test(bits_are_those_stored),
        cmocka_unit_test(rows_do_not_know_their_batch),
        cmocka_unit_test(parts_of_a_batch_are_the_batch),
    };
    if (argc > 1 && strcmp(argv[1], "--bench") == 0)
        return matmul_bench(argc - 2, argv + 2);
    return cmocka_run_group_tests(tests, find_matmul_tables, NULL);
}
