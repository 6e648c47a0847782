#include "support/kernel_suite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support/guard.h"

static const uint32_t WIDTHS[] = { 8, 16, 24, 64, 80, 96, 128, 256, 512 };

enum { PARTS = 3 };

static void scan_case(const struct kernels *got, const struct kernels *want, uint32_t d, uint32_t n,
                      struct rng *rng, uint32_t hostile)
{
    const uint32_t n_part = 1 + rng_below(rng, PARTS);
    const size_t stride = (size_t)n_part * SCAN_KEYS + 16 * rng_below(rng, 3);
    const size_t floats = (n - 1) * stride + (size_t)n_part * SCAN_KEYS;
    struct guarded part = guard_new(n_part * scan_part_bytes(d), 64);
    struct guarded out = guard_new(floats * sizeof(float), 64);
    static float x[SCAN_D_MAX], same[SCAN_QUERIES * (PARTS * SCAN_KEYS + 32)];
    struct scan_query q[SCAN_QUERIES];
    char what[96];
    for (uint32_t row = 0; row < n_part * SCAN_KEYS; row++) {
        for (uint32_t j = 0; j < d; j++)
            x[j] = row % 7 == 6 ? 0 : any_float(rng, hostile);
        scan_store((char *)part.at + row / SCAN_KEYS * scan_part_bytes(d), row % SCAN_KEYS, x, d);
    }
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t j = 0; j < d; j++)
            x[j] = any_float(rng, hostile) * (rng_below(rng, 2) ? 1 : 1e-3f);
        scan_ask(&q[i], x, d, 0.125f);
    }
    want->scan(q, n, d, part.at, n_part, same, stride);
    got->scan(q, n, d, part.at, n_part, out.at, stride);
    snprintf(what, sizeof what, "scan, d = %u, %u queries, %u parts", d, n, n_part);
    for (uint32_t i = 0; i < n; i++)
        expect_same_floats((float *)out.at + i * stride, same + i * stride,
                           (size_t)n_part * SCAN_KEYS, what);
    guard_free(&part);
    guard_free(&out);
}

/* Runs of any length, the first begun before the base. */
static void mass_case(const struct kernels *got, const struct kernels *want, uint32_t n,
                      struct rng *rng, uint32_t hostile)
{
    enum { MOST = 1024, BASE = 64 };
    static float x[MOST], same[MOST + 2];
    uint32_t first[MOST], n_run = 0, longest = 1 + rng_below(rng, 70);
    struct guarded y = guard_new(n * sizeof(float), 4);
    for (uint32_t i = 0; i < n; i++)
        x[i] = rng_below(rng, 20) ? any_float(rng, hostile) : -INFINITY;
    memcpy(y.at, x, n * sizeof *x);
    for (uint32_t at = 0; at < n; at += 1 + rng_below(rng, longest))
        first[n_run++] = BASE + at;
    first[0] = rng_below(rng, BASE + 1);
    struct guarded out = guard_new((n_run + 2) * sizeof(float), 4);
    float *sums = out.at;
    want->scan_mass(x, n, first, n_run, BASE, same, &same[n_run], &same[n_run + 1]);
    got->scan_mass(y.at, n, first, n_run, BASE, sums, &sums[n_run], &sums[n_run + 1]);
    expect_same_floats(sums, same, n_run + 2, "scan_mass");
    guard_free(&out);
    guard_free(&y);
}

void suite_scan(const struct kernels *got, const struct kernels *want, uint32_t effort)
{
    struct rng rng = rng_seeded(14, 1);
    for (uint32_t e = 0; e < effort; e++)
        for (uint32_t i = 0; i < sizeof WIDTHS / sizeof *WIDTHS; i++)
            for (uint32_t n = 1; n <= SCAN_QUERIES; n++) {
                scan_case(got, want, WIDTHS[i], n, &rng, 0);
                scan_case(got, want, WIDTHS[i], n, &rng, 40);
            }
    for (uint32_t i = 0; i < 60 * effort; i++)
        mass_case(got, want, i % 3 ? 1 + rng_below(&rng, 1024) : 1024, &rng, i % 2 ? 40 : 0);
}
