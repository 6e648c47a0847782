/* kmeans: the same bits each time, a plain twin's clusters, and how many there should be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "base/kmeans.h"
#include "base/mem.h"
#include "base/rng.h"

enum { D = 24, N_MAX = 120 };

static float x[N_MAX * D];

/* n unit vectors around k directions. */
static void clouds(uint32_t n, uint32_t k, float wide, struct rng *rng)
{
    float middle[8][D];
    for (uint32_t c = 0; c < k; c++)
        for (uint32_t j = 0; j < D; j++)
            middle[c][j] = (float)rng_unit(rng) - 0.5f;
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t j = 0; j < D; j++)
            x[i * D + j] = middle[i % k][j] + wide * ((float)rng_unit(rng) - 0.5f);
        unit_vector(x + i * D, D);
    }
}

static void same_seed_same_bits(void **state)
{
    (void)state;
    struct rng rng = rng_seeded(1, 1);
    for (int round = 0; round < 20; round++) {
        struct kmeans a, b;
        const uint32_t n = 1 + rng_below(&rng, N_MAX), k = 1 + rng_below(&rng, 9);
        clouds(n, 1 + rng_below(&rng, 8), 1, &rng);
        assert_int_equal(kmeans_new(&a, x, n, D, k, 42), OK);
        assert_int_equal(kmeans_new(&b, x, n, D, k, 42), OK);
        assert_int_equal(a.k, b.k);
        assert_memory_equal(a.of, b.of, n * sizeof *a.of);
        assert_memory_equal(a.centroid, b.centroid, a.k * D * sizeof *a.centroid);
        kmeans_close(&a);
        kmeans_close(&b);
    }
}

/* What must hold of any result, in double precision: each vector is in the cluster of the nearest mean, clusters have
 * members and are numbered by their first. */
static void expect_settled(const struct kmeans *km)
{
    double mean[16][D] = { 0 };
    uint32_t n_of[16] = { 0 }, next = 0;
    for (uint32_t i = 0; i < km->n; i++) {
        assert_true(km->of[i] < km->k && km->of[i] <= next);
        next += km->of[i] == next;
        n_of[km->of[i]]++;
        for (uint32_t j = 0; j < D; j++)
            mean[km->of[i]][j] += (double)x[i * D + j];
    }
    assert_int_equal(next, km->k);
    for (uint32_t i = 0; i < km->n; i++) {
        double far[16];
        for (uint32_t c = 0; c < km->k; c++) {
            far[c] = 0;
            for (uint32_t j = 0; j < D; j++) {
                const double from = (double)x[i * D + j] - mean[c][j] / n_of[c];
                far[c] += from * from;
            }
        }
        for (uint32_t c = 0; c < km->k; c++)
            assert_true(far[km->of[i]] <= far[c] + 1e-5);
    }
    for (uint32_t c = 0; c < km->k; c++) {
        double length = 0;
        for (uint32_t j = 0; j < D; j++)
            length += mean[c][j] * mean[c][j];
        for (uint32_t j = 0; j < D; j++)
            assert_true(fabs((double)km->centroid[c * D + j] - mean[c][j] / sqrt(length)) < 1e-5);
    }
}

static void every_vector_is_with_its_nearest(void **state)
{
    (void)state;
    struct rng rng = rng_seeded(2, 2);
    for (int round = 0; round < 40; round++) {
        struct kmeans km;
        const uint32_t n = 1 + rng_below(&rng, N_MAX), k = 1 + rng_below(&rng, 12);
        clouds(n, 1 + rng_below(&rng, 8), 0.7f, &rng);
        assert_int_equal(kmeans_new(&km, x, n, D, k, (uint64_t)round), OK);
        expect_settled(&km);
        kmeans_close(&km);
    }
}

static void clouds_are_found(void **state)
{
    (void)state;
    struct rng rng = rng_seeded(3, 3);
    for (uint32_t k = 2; k <= 6; k++) {
        struct kmeans km;
        clouds(N_MAX, k, 0.1f, &rng);
        assert_int_equal(kmeans_best(&km, x, N_MAX, D, 2, 8, 42), OK);
        assert_int_equal(km.k, k);
        for (uint32_t i = 0; i < N_MAX; i++)
            assert_int_equal(km.of[i], i % k);
        double s;
        assert_int_equal(kmeans_silhouette(&km, x, &s), OK);
        assert_true(s > 0.5);
        kmeans_close(&km);
    }
}

static void fewer_vectors_than_clusters(void **state)
{
    (void)state;
    struct kmeans km;
    memset(x, 0, sizeof x);
    for (uint32_t i = 0; i < 9; i++)
        x[i * D + i % 3] = 1;
    assert_int_equal(kmeans_new(&km, x, 9, D, 5, 42), OK);
    assert_int_equal(km.k, 3);
    expect_settled(&km);
    kmeans_close(&km);
    memset(x, 0, sizeof x); /* texts that say nothing */
    assert_int_equal(kmeans_new(&km, x, 9, D, 4, 42), OK);
    assert_int_equal(km.k, 1);
    kmeans_close(&km);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    struct rng rng = rng_seeded(4, 4);
    struct kmeans km;
    clouds(20, 3, 0.3f, &rng);
    for (uint64_t k = 1;; k++) {
        mem_fail_at(k);
        const enum status st = kmeans_best(&km, x, 20, D, 2, 4, 42);
        mem_fail_at(0);
        if (st == OK)
            break;
        assert_int_equal(st, FULL);
        assert_null(km.of);
    }
    kmeans_close(&km);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_seed_same_bits),
        cmocka_unit_test(every_vector_is_with_its_nearest),
        cmocka_unit_test(clouds_are_found),
        cmocka_unit_test(fewer_vectors_than_clusters),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
