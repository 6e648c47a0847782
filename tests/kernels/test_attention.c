/* Attention: every table against ref, ref against double precision, and what the contract promises
 * of both. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/f16.h"
#include "base/mem.h"
#include "kernels/attn_block.h"
#include "kernels/tables.h"
#include "support/attn_bench.h"
#include "support/attn_case.h"
#include "support/kernel_suite.h"

#define U 0x1p-24 // one rounding, relative

static void every_table_gives_the_bits_of_ref(void **state)
{
    (void)state;
    const struct kernels *k[8];
    uint32_t n = kernels_available(k, 8);
    for (uint32_t i = 1; i < n; i++) {
        print_message("%s\n", k[i]->name);
        suite_attention(k[i], &kernels_ref, 1);
    }
}

static double element(const struct attn_run *run, const char *part, uint32_t d, size_t i,
                      uint32_t row)
{
    if (run->type == KV_INT8)
        return (double)((const int8_t *)part)[i] * kv_scales(part, d)[row];
    return run->type == KV_F16 ? f32_of_f16(((const f16 *)part)[i]) : ((const float *)part)[i];
}

/* Query i over all its rows in double precision: out [d_v], and for each output a bound of what ref
 * may differ by.
 *
 * A score of size S = scale * sum |q k| is off by at most E = (d_k + 3) U S; its difference to the
 * running maximum is rounded, exp is off by 1.82 U, and each later block multiplies the weight once
 * more by such an exp. So a weight is off by W = 2 E + (spread + 3) U + n_block (2 E + spread + 4)
 * U relatively; sums of n weights add (n + 5) U; o and l suffer both once, hence the 2. */
static void in_double(const struct attn_run *run, uint32_t i, double *out, double *bound)
{
    uint32_t n = run->last * KV_BLOCK, seen = 0;
    double *s = calloc(n, sizeof *s), top = -INFINITY, low = INFINITY, size = 0, sum = 0;
    for (uint32_t r = run->lo[i]; r < run->hi[i]; r++) {
        const char *k = attn_k(run, r / KV_BLOCK);
        double absolute = 0;
        if (!(attn_mask(run, r / KV_BLOCK) >> r % KV_BLOCK & 1))
            continue;
        for (uint32_t j = 0; j < run->d_k; j++) {
            double product =
                run->q[i * run->q_stride + j] *
                element(run, k, run->d_k, (size_t)j * KV_BLOCK + r % KV_BLOCK, r % KV_BLOCK);
            s[r] += product * run->scale;
            absolute += fabs(product) * run->scale;
        }
        if (run->softcap != 0)
            s[r] = run->softcap * tanh(s[r] / run->softcap);
        size = fmax(size, absolute);
        top = fmax(top, s[r]);
        low = fmin(low, s[r]);
        seen++;
    }
    for (uint32_t j = 0; j < run->d_v; j++)
        out[j] = bound[j] = 0;
    for (uint32_t r = run->lo[i]; r < run->hi[i]; r++) {
        const char *v = attn_v(run, r / KV_BLOCK);
        if (!(attn_mask(run, r / KV_BLOCK) >> r % KV_BLOCK & 1))
            continue;
        double p = exp(s[r] - top);
        sum += p;
        for (uint32_t j = 0; j < run->d_v; j++) {
            double x =
                element(run, v, run->d_v, (size_t)(r % KV_BLOCK) * run->d_v + j, r % KV_BLOCK);
            out[j] += p * x;
            bound[j] += p * fabs(x);
        }
    }
    double spread = top - low, e = (run->d_k + 3) * size * U + run->softcap * 4 * U;
    double weight = 2 * e + (spread + 3) * U + run->last * (2 * e + (spread + 4) * U);
    for (uint32_t j = 0; j < run->d_v; j++) {
        out[j] /= sum;
        bound[j] = bound[j] / sum * 2 * (weight + (seen + 6) * U);
    }
    free(s);
}

static void ref_is_close_to_double(void **state)
{
    (void)state;
    double tightest = 0;
    for (uint32_t seed = 1; seed <= 24; seed++) {
        struct rng rng = rng_seeded(seed, 3);
        struct attn_shape shape = { .type = seed % 3,
                                    .d_k = 64,
                                    .d_v = 32,
                                    .n_query = 3,
                                    .n_block = 1 + seed % 16,
                                    .masked = seed % 4 == 3,
                                    .softcap = seed % 5 == 4 ? 15 : 0 };
        struct attn_case c;
        struct guarded_state state_of_3 = attn_state_new(3, 32);
        struct attn_state got = state_of_3.at;
        double want[32], bound[32];
        attn_case_open(&c, &shape, &rng);
        attn_case_run(&kernels_ref, &c.run, got);
        for (uint32_t i = 0; i < 3; i++) {
            if (got.l[i] == 0)
                continue;
            in_double(&c.run, i, want, bound);
            for (uint32_t j = 0; j < 32; j++) {
                double off = fabs((double)got.o[i * 32 + j] / got.l[i] - want[j]);
                tightest = fmax(tightest, off / bound[j]);
                assert_true(off <= bound[j]);
            }
        }
        attn_case_close(&c);
        attn_state_free(&state_of_3);
    }
    print_message("at most %.4f of the bound\n", tightest);
    assert_true(tightest > 1e-4); // a bound that nothing comes near proves nothing
}

/* The shape of each case below: 7 queries over two blocks and a bit. */
static struct attn_shape any_shape(uint32_t seed)
{
    return (struct attn_shape){ .type = seed % 3,
                                .d_k = 64,
                                .d_v = 64,
                                .n_query = 7,
                                .n_block = 3,
                                .masked = seed % 2,
                                .softcap = 0,
                                .hostile = seed % 4 == 0 ? 2000 : 0 };
}

static const struct kernels *tables[8];
static uint32_t n_table;

static int find_tables(void **state)
{
    (void)state;
    n_table = kernels_available(tables, 8);
    return 0;
}

/* A query gets the bits that it gets alone. */
static void a_batch_changes_nothing(void **state)
{
    (void)state;
    for (uint32_t t = 0; t < n_table; t++)
        for (uint32_t seed = 1; seed <= 30; seed++) {
            struct rng rng = rng_seeded(seed, 4);
            struct attn_shape shape = any_shape(seed);
            struct attn_case c;
            attn_case_open(&c, &shape, &rng);
            struct guarded_state of_7 = attn_state_new(7, 64), of_1 = attn_state_new(1, 64);
            struct attn_state all = of_7.at, one = of_1.at;
            attn_case_run(tables[t], &c.run, all);
            for (uint32_t i = 0; i < 7; i++) {
                struct attn_run run = c.run;
                run.n_query = 1, run.q += i * run.q_stride, run.lo += i, run.hi += i;
                attn_case_run(tables[t], &run, one);
                expect_same_state((struct attn_state){ all.m + i, all.l + i, all.o + 64 * i }, one,
                                  1, 64, "a query in its batch");
            }
            attn_case_close(&c);
            attn_state_free(&of_7), attn_state_free(&of_1);
        }
}

/* The same blocks by table and by base; and blocks nobody sees left out or not. */
static void addresses_change_nothing(void **state)
{
    (void)state;
    for (uint32_t t = 0; t < n_table; t++)
        for (uint32_t seed = 1; seed <= 30; seed++) {
            struct rng rng = rng_seeded(seed, 5);
            struct attn_shape shape = any_shape(seed);
            struct attn_case c;
            attn_case_open(&c, &shape, &rng);
            for (uint32_t i = 0; i < 7; i++)
                c.lo[i] = c.lo[i] < KV_BLOCK ? KV_BLOCK : c.lo[i];
            struct guarded_state first = attn_state_new(7, 64), second = attn_state_new(7, 64);
            struct attn_state by_base = first.at, other = second.at;
            attn_case_run(tables[t], &c.run, by_base);
            struct attn_run run = c.run;
            run.table = c.block, run.v_offset = (size_t)(run.v - run.k), run.k = run.v = NULL;
            attn_case_run(tables[t], &run, other);
            expect_same_state(other, by_base, 7, 64, "the table form");
            run = c.run;
            run.first = 1;
            attn_case_run(tables[t], &run, other);
            expect_same_state(other, by_base, 7, 64, "a run without its unseen first block");
            attn_case_close(&c);
            attn_state_free(&first), attn_state_free(&second);
        }
}

/* What unseen rows hold does not matter: NaN everywhere gives the bits that zeros give. */
static void unseen_rows_do_not_leak(void **state)
{
    (void)state;
    for (uint32_t t = 0; t < n_table; t++)
        for (uint32_t seed = 1; seed <= 30; seed++) {
            struct guarded_state got[2] = { attn_state_new(7, 64), attn_state_new(7, 64) };
            for (int nan = 0; nan < 2; nan++) {
                struct rng rng = rng_seeded(seed, 6);
                struct attn_shape shape = any_shape(seed);
                struct attn_case c;
                float x[64];
                attn_case_open(&c, &shape, &rng);
                for (uint32_t j = 0; j < 64; j++)
                    x[j] = nan ? NAN : 0;
                for (uint32_t r = 0; r < 3 * KV_BLOCK; r++)
                    if (!(c.seen[r / KV_BLOCK] >> r % KV_BLOCK & 1)) {
                        char *block = c.block[r / KV_BLOCK];
                        kernels_ref.store_k(shape.type, block, r % KV_BLOCK, x, 64);
                        kernels_ref.store_v(shape.type, block + kv_part_bytes(shape.type, 64),
                                            r % KV_BLOCK, x, 64);
                    }
                attn_case_run(tables[t], &c.run, got[nan].at);
                attn_case_close(&c);
            }
            expect_same_state(got[1].at, got[0].at, 7, 64, "NaN in rows nobody sees");
            attn_state_free(&got[0]), attn_state_free(&got[1]);
        }
}

static void who_sees_nothing_stays_empty(void **state)
{
    (void)state;
    for (uint32_t t = 0; t < n_table; t++) {
        struct rng rng = rng_seeded(1, 7);
        struct attn_shape shape = any_shape(1);
        struct attn_case c;
        struct guarded_state first = attn_state_new(7, 64), second = attn_state_new(7, 64);
        struct attn_state part = first.at, total = second.at;
        attn_case_open(&c, &shape, &rng);
        for (uint32_t i = 0; i < 7; i++)
            c.lo[i] = 100, c.hi[i] = i % 2 ? 100 : 50;
        attn_case_run(tables[t], &c.run, part);
        for (uint32_t i = 0; i < 7; i++)
            assert_true(part.m[i] == -INFINITY && part.l[i] == 0 && part.o[64 * i + 63] == 0);

        for (uint32_t i = 0; i < 7; i++)
            total.m[i] = 3, total.l[i] = 2;
        for (uint32_t i = 0; i < 7 * 64; i++)
            total.o[i] = (float)i;
        tables[t]->attn_merge(total, part, 7, 64); // an empty part changes nothing
        assert_true(total.m[6] == 3 && total.l[6] == 2 && total.o[7 * 64 - 1] == 7 * 64 - 1);
        tables[t]->attn_merge(part, total, 7, 64); // into an empty total: a copy
        expect_same_state(part, total, 7, 64, "a part merged into nothing");
        attn_case_close(&c);
        attn_state_free(&first), attn_state_free(&second);
    }
}

/* Scores of -inf only: l and o are NaN, and a later merge must not take that for empty. */
static void infinite_scores_are_not_empty(void **state)
{
    (void)state;
    for (uint32_t t = 0; t < n_table; t++) {
        struct rng rng = rng_seeded(1, 8);
        struct attn_shape shape = {
            .type = KV_F32, .d_k = 8, .d_v = 8, .n_query = 1, .n_block = 1
        };
        struct attn_case c;
        struct guarded_state first = attn_state_new(1, 8), second = attn_state_new(1, 8);
        struct attn_state part = first.at, total = second.at;
        float minus[8] = { -INFINITY }, out[8];
        attn_case_open(&c, &shape, &rng);
        c.lo[0] = 0, c.hi[0] = 1, c.q[0] = 1;
        kernels_ref.store_k(KV_F32, c.block[0], 0, minus, 8);
        attn_case_run(tables[t], &c.run, part);
        assert_true(part.m[0] == -INFINITY && isnan(part.l[0]) && isnan(part.o[7]));
        total.m[0] = 1, total.l[0] = 1;
        tables[t]->attn_merge(total, part, 1, 8);
        tables[t]->attn_finish(out, 8, total, 1, 8);
        assert_true(isnan(total.l[0]) && isnan(out[0]));
        attn_case_close(&c);
        attn_state_free(&first), attn_state_free(&second);
    }
}

/* All 65,536 halves as V (one row with weight 1 is the output) and as K (one row's score is m). */
static void every_half_reads_as_base_says(void **state)
{
    (void)state;
    _Alignas(64) f16 k[8 * KV_BLOCK] = { 0 }, v[KV_BLOCK * 8];
    float q[KV_BLOCK * 8] = { 0 }, m[KV_BLOCK], l[KV_BLOCK], o[KV_BLOCK * 8];
    uint32_t lo[KV_BLOCK], hi[KV_BLOCK];
    for (uint32_t i = 0; i < KV_BLOCK; i++) // query i sees row i alone, and its first element
        q[i * 8] = 1, lo[i] = i, hi[i] = i + 1;
    struct attn_run run = { .type = KV_F16,
                            .d_k = 8,
                            .d_v = 8,
                            .scale = 1,
                            .q = q,
                            .q_stride = 8,
                            .lo = lo,
                            .hi = hi,
                            .last = 1,
                            .k = (char *)k,
                            .v = (char *)v };
    void *scratch = mem_new_aligned(1, attn_scratch_bytes(KV_BLOCK, 8, 8), 64);
    for (uint32_t t = 0; t < n_table; t++)
        for (run.n_query = 1; run.n_query <= KV_BLOCK;
             run.n_query += KV_BLOCK - 1) // read straight, and packed
            for (uint32_t h = 0; h < 65536; h += run.n_query) {
                for (uint32_t i = 0; i < run.n_query; i++) {
                    k[i] = (f16)(h + i);
                    for (uint32_t j = 0; j < 8; j++)
                        v[i * 8 + j] = (f16)(h + i);
                }
                tables[t]->attn_partial(&run, (struct attn_state){ m, l, o }, scratch);
                for (uint32_t i = 0; i < run.n_query; i++) {
                    float want = f32_of_f16((f16)(h + i)) + 0.0f,
                          score = isnan(want) ? -INFINITY : want;
                    bool nan = !isfinite(want); // as a score it spoils the weight
                    expect_same_floats(&m[i], &score, 1, "a half as a score");
                    for (uint32_t j = 0; j < 8; j++)
                        expect_same_floats(&o[i * 8 + j], nan ? &(float){ NAN } : &want, 1,
                                           "a half as a value");
                }
            }
    mem_free(scratch);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--bench") == 0)
        return attn_bench(argc - 2, argv + 2);

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_table_gives_the_bits_of_ref),
        cmocka_unit_test(ref_is_close_to_double),
        cmocka_unit_test(a_batch_changes_nothing),
        cmocka_unit_test(addresses_change_nothing),
        cmocka_unit_test(unseen_rows_do_not_leak),
        cmocka_unit_test(who_sees_nothing_stays_empty),
        cmocka_unit_test(infinite_scores_are_not_empty),
        cmocka_unit_test(every_half_reads_as_base_says),
    };
    return cmocka_run_group_tests(tests, find_tables, NULL);
}
