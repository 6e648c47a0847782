/* Scans of keys of 4 bits: every table against ref, ref against double precision, and codes at their ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "kernels/tables.h"
#include "support/kernel_suite.h"
#include "support/stored.h"

static void every_table_gives_the_bits_of_ref(void **state)
{
    (void)state;
    const struct kernels *k[8];
    const uint32_t n = kernels_available(k, 8);
    for (uint32_t i = 0; i < n; i++) {
        print_message("%s\n", k[i]->name);
        suite_scan(k[i], &kernels_ref, 2);
    }
}

/* Two parts of keys scored for each query, then the mass of runs by the first one's scores. */
static uint64_t scan_hash(uint64_t hash, const struct kernels *k, uint32_t d, uint32_t hostile,
                          struct rng *rng)
{
    enum { PARTS = 2, N = PARTS * SCAN_KEYS, RUNS = 3 };
    static const uint32_t first[RUNS] = { 0, 5, 70 };
    static _Alignas(64) char part[PARTS * SCAN_KEYS * (SCAN_D_MAX / 2 + sizeof(float))];
    static _Alignas(64) float scores[SCAN_QUERIES * N];
    float x[SCAN_D_MAX], sums[RUNS + 2];
    struct scan_query asks[SCAN_QUERIES];
    for (uint32_t row = 0; row < N; row++) {
        for (uint32_t j = 0; j < d; j++)
            x[j] = any_float(rng, hostile);
        scan_store(part + row / SCAN_KEYS * scan_part_bytes(d), row % SCAN_KEYS, x, d);
    }
    for (uint32_t i = 0; i < SCAN_QUERIES; i++) {
        for (uint32_t j = 0; j < d; j++)
            x[j] = any_float(rng, hostile);
        scan_ask(&asks[i], x, d, 0.125f);
    }
    k->scan(asks, SCAN_QUERIES, d, part, PARTS, scores, N);
    hash = stored_floats(hash, scores, SCAN_QUERIES * N);
    k->scan_mass(scores, N, first, RUNS, 0, sums, &sums[RUNS], &sums[RUNS + 1]);
    return stored_floats(hash, sums, RUNS + 2);
}

static void bits_are_those_stored(void **state)
{
    (void)state;
    const struct kernels *k[8];
    const uint32_t n = kernels_available(k, 8);
    for (uint32_t i = 0; i < n; i++) {
        struct rng rng = rng_seeded(16, 1);
        uint64_t hash = FNV1A_64_NONE;
        for (uint32_t d = 8; d <= SCAN_D_MAX; d *= 2)
            for (uint32_t hostile = 0; hostile <= 2000; hostile += 2000)
                hash = scan_hash(hash, k[i], d, hostile, &rng);
        expect_stored(hash, 0x343a0a81cddaadbe, k[i]->name, "scans");
    }
}

static float largest(const float *x, uint32_t d)
{
    float most = 0;
    for (uint32_t j = 0; j < d; j++)
        most = fmaxf(most, fabsf(x[j]));
    return most;
}

/* Half a step of a code of the key, half a step of one of the query, and their product. */
static void scores_are_close(void **state)
{
    (void)state;
    enum { D = 64 };
    struct rng rng = rng_seeded(15, 1);
    _Alignas(64) char part[SCAN_KEYS * D / 2 + SCAN_KEYS * sizeof(float)];
    _Alignas(64) float got[SCAN_KEYS];
    static float k[SCAN_KEYS][D];
    float q[D];
    struct scan_query asks;
    for (uint32_t row = 0; row < SCAN_KEYS; row++) {
        for (uint32_t j = 0; j < D; j++)
            k[row][j] = any_float(&rng, 0);
        scan_store(part, row, k[row], D);
    }
    for (int i = 0; i < 100; i++) {
        for (uint32_t j = 0; j < D; j++)
            q[j] = any_float(&rng, 0);
        scan_ask(&asks, q, D, 0.5f);
        kernels_ref.scan(&asks, 1, D, part, 1, got, SCAN_KEYS);
        const double of_q = (double)largest(q, D) / 127 / 2;
        for (uint32_t row = 0; row < SCAN_KEYS; row++) {
            const double of_k = (double)largest(k[row], D) / 7 / 2;
            double want = 0, bound = 0;
            for (uint32_t j = 0; j < D; j++) {
                want += 0.5 * q[j] * k[row][j];
                bound += 0.5 * (fabsf(q[j]) * of_k + fabsf(k[row][j]) * of_q + of_k * of_q);
            }
            assert_true(fabs(got[row] - want) <= bound * 1.0001 + fabs(want) * 1e-5);
        }
    }
}

/* The largest codes of both, of either sign: sums within 16 bits do not saturate. */
static void largest_codes_are_exact(void **state)
{
    (void)state;
    enum { D = SCAN_D_MAX };
    static _Alignas(64) char part[SCAN_KEYS * D / 2 + SCAN_KEYS * sizeof(float)];
    _Alignas(64) float got[SCAN_KEYS];
    float x[D];
    struct scan_query asks;
    const struct kernels *k[8];
    const uint32_t n = kernels_available(k, 8);
    for (uint32_t row = 0; row < SCAN_KEYS; row++) {
        for (uint32_t j = 0; j < D; j++)
            x[j] = row % 2 ? -7 : 7;
        scan_store(part, row, x, D);
    }
    for (int sign = -1; sign <= 1; sign += 2)
        for (uint32_t i = 0; i < n; i++) {
            for (uint32_t j = 0; j < D; j++)
                x[j] = (float)(sign * 127);
            scan_ask(&asks, x, D, 1);
            k[i]->scan(&asks, 1, D, part, 1, got, SCAN_KEYS);
            for (uint32_t row = 0; row < SCAN_KEYS; row++)
                assert_true(got[row] == (float)((row % 2 ? -7.0 : 7.0) * sign * 127 * D));
        }
}

/* A key that is not a number scores as none, an empty query scores 0, and no other row is touched. */
static void what_is_no_number_says_so(void **state)
{
    (void)state;
    enum { D = 8 };
    _Alignas(64) char part[SCAN_KEYS * D / 2 + SCAN_KEYS * sizeof(float)] = { 0 };
    _Alignas(64) float got[SCAN_KEYS];
    struct scan_query asks;
    scan_store(part, 0, (float[D]){ 2, NAN, 2 }, D);
    scan_store(part, 1, (float[D]){ 1, 1 }, D);
    scan_store(part, 2, (float[D]){ 0 }, D);
    scan_ask(&asks, (float[D]){ 1 }, D, 1);
    kernels_ref.scan(&asks, 1, D, part, 1, got, SCAN_KEYS);
    assert_true(isnan(got[0]) && fabsf(got[1] - 1) < 0.01f && got[2] == 0);
    scan_ask(&asks, (float[D]){ 0 }, D, 1);
    kernels_ref.scan(&asks, 1, D, part, 1, got, SCAN_KEYS);
    assert_true(isnan(got[0]) && got[1] == 0);
}

/* Runs share out what there is; a key scored -inf has nothing, and a NaN spares nobody but other runs. */
static void runs_share_the_mass(void **state)
{
    (void)state;
    enum { N = 100, RUNS = 3, BASE = 1024 };
    const uint32_t first[RUNS] = { 1000, BASE + 7, BASE + 60 };
    float x[N], out[RUNS], largest, sum;
    for (uint32_t i = 0; i < N; i++)
        x[i] = i < 60 ? 3 : 3 - logf(2);
    x[0] = -INFINITY;
    kernels_ref.scan_mass(x, N, first, RUNS, BASE, out, &largest, &sum);
    assert_true(largest == 3 && out[0] == 6 && out[1] == 53);
    assert_true(fabsf(out[2] - 20) < 1e-4f && fabsf(sum - 79) < 1e-4f);
    for (uint32_t i = 0; i < N; i++)
        x[i] = -INFINITY;
    kernels_ref.scan_mass(x, N, first, RUNS, BASE, out, &largest, &sum);
    assert_true(out[0] == 0 && out[1] == 0 && out[2] == 0 && sum == 0);
    for (uint32_t i = 0; i < N; i++)
        x[i] = i == 8 ? NAN : -INFINITY;
    kernels_ref.scan_mass(x, N, first, RUNS, BASE, out, &largest, &sum);
    assert_true(out[0] == 0 && isnan(out[1]) && out[2] == 0 && isnan(sum));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_table_gives_the_bits_of_ref),
        cmocka_unit_test(bits_are_those_stored),
        cmocka_unit_test(scores_are_close),
        cmocka_unit_test(largest_codes_are_exact),
        cmocka_unit_test(what_is_no_number_says_so),
        cmocka_unit_test(runs_share_the_mass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
