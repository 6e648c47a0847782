#include "support/kernel_suite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "support/guard.h"

/* Every tail of 16 lanes, and rows as models have them. */
static const uint32_t SIZES[] = { 1,  2,  3,  5,  7,   8,   9,   10,  11,  12,  13, 14,
                                  15, 16, 17, 19, 23,  24,  25,  31,  32,  33,  40, 47,
                                  48, 63, 64, 65, 100, 127, 128, 576, 640, 1001 };

enum { N_SIZE = sizeof SIZES / sizeof *SIZES };

struct row_case {
    uint32_t n;
    float *x, *w, *got, *want; // [n], each before a guard page
    char name[96];
};

static void fill(struct row_case *c, struct rng *rng, uint32_t hostile)
{
    for (uint32_t i = 0; i < c->n; i++) {
        c->x[i] = any_float(rng, hostile);
        c->w[i] = any_float(rng, hostile);
        c->got[i] = c->want[i] = any_float(rng, hostile);
    }
}

static void expect_same(struct row_case *c, const char *op)
{
    snprintf(c->name, sizeof c->name, "%s, n = %u", op, c->n);
    expect_same_floats(c->got, c->want, c->n, c->name);
}

static void all_operations(struct row_case *c, struct rng *rng, uint32_t hostile,
                           const struct kernels *got, const struct kernels *want)
{
    float s = any_float(rng, hostile), cap = 1 + (float)rng_below(rng, 50);

#define BOTH(op, ...)                                                                              \
    fill(c, rng, hostile);                                                                         \
    {                                                                                              \
        float *y = c->got;                                                                         \
        got->op(__VA_ARGS__);                                                                      \
        y = c->want;                                                                               \
        want->op(__VA_ARGS__);                                                                     \
    }                                                                                              \
    expect_same(c, #op)

    BOTH(rms_norm, y, c->x, c->w, c->n, 1e-6f);
    BOTH(rms_norm, y, y, c->w, c->n, 1e-5f);
    BOTH(add, y, c->x, c->n);
    BOTH(scale, y, s, c->n);
    BOTH(silu_gate, y, c->x, c->w, c->n);
    BOTH(silu_gate, y, y, c->w, c->n);
    BOTH(gelu_gate, y, c->x, c->w, c->n);
    BOTH(gelu_gate, y, c->x, y, c->n);
    BOTH(softcap, y, cap, c->n);
    BOTH(softmax, y, c->n);
    BOTH(rope, y, c->x, c->n & ~1u, 0);
    BOTH(rope, y, c->x, c->n & ~1u, 1);
#undef BOTH
}

static void softmax_stats(struct row_case *c, const struct kernels *got, const struct kernels *want)
{
    float stats_got[2], stats_want[2];
    snprintf(c->name, sizeof c->name, "softmax_stats (largest, sum), n = %u", c->n);
    got->softmax_stats(c->x, c->n, &stats_got[0], &stats_got[1]);
    want->softmax_stats(c->x, c->n, &stats_want[0], &stats_want[1]);
    expect_same_floats(stats_got, stats_want, 2, c->name);
}

/* Chains over rows, in one call and in two. */
static void moments(uint32_t d, uint32_t n, struct rng *rng, uint32_t hostile,
                    const struct kernels *got, const struct kernels *want)
{
    const size_t stride = d + rng_below(rng, 3) * 8, n_out = d + (size_t)d * d;
    const uint32_t first = rng_below(rng, n + 1);
    struct guarded x = guard_new(((n - 1) * stride + d) * sizeof(float), 4);
    struct guarded a = guard_new(n_out * sizeof(float), 4), b = guard_new(n_out * sizeof(float), 4);
    float *rows = x.at, *y = a.at, *z = b.at;
    char name[64];
    for (size_t i = 0; i < (n - 1) * stride + d; i++)
        rows[i] = any_float(rng, hostile);
    for (size_t i = 0; i < n_out; i++)
        y[i] = z[i] = any_float(rng, hostile);
    got->moments(y, y + d, rows, stride, first, d);
    got->moments(y, y + d, rows + first * stride, stride, n - first, d);
    want->moments(z, z + d, rows, stride, n, d);
    snprintf(name, sizeof name, "moments, d = %u, n = %u", d, n);
    expect_same_floats(y, z, n_out, name);
    guard_free(&x);
    guard_free(&a);
    guard_free(&b);
}

static void squares(uint32_t d, uint32_t n, struct rng *rng, uint32_t hostile,
                    const struct kernels *got, const struct kernels *want)
{
    struct guarded x = guard_new((size_t)n * d * sizeof(float), 4);
    struct guarded a = guard_new(d * sizeof(float), 4), b = guard_new(d * sizeof(float), 4);
    float *rows = x.at, *y = a.at, *z = b.at;
    char name[64];
    for (size_t i = 0; i < (size_t)n * d; i++)
        rows[i] = any_float(rng, hostile);
    for (uint32_t i = 0; i < d; i++)
        y[i] = z[i] = any_float(rng, hostile);
    got->squares(y, rows, n, d);
    want->squares(z, rows, n, d);
    snprintf(name, sizeof name, "squares, d = %u, n = %u", d, n);
    expect_same_floats(y, z, d, name);
    guard_free(&x);
    guard_free(&a);
    guard_free(&b);
}

static void deflate(uint32_t d, uint32_t n, struct rng *rng, const struct kernels *got,
                    const struct kernels *want)
{
    struct guarded x = guard_new((size_t)n * d * sizeof(double), 8);
    struct guarded a = guard_new(d * sizeof(double), 8), b = guard_new(d * sizeof(double), 8);
    double *rows = x.at, *y = a.at, *z = b.at;
    for (size_t i = 0; i < (size_t)n * d; i++)
        rows[i] = (rng_unit(rng) - 0.5) / 4;
    for (uint32_t i = 0; i < d; i++)
        y[i] = z[i] = rng_unit(rng) - 0.5;
    const uint32_t at = rng_below(rng, d);
    got->deflate(y, rows, n, at, d);
    want->deflate(z, rows, n, at, d);
    if (memcmp(y, z, d * sizeof *y) != 0)
        fail_msg("%s: deflate, d = %u, n = %u, at = %u", got->name, d, n, at);
    guard_free(&x);
    guard_free(&a);
    guard_free(&b);
}

void suite_rows(const struct kernels *got, const struct kernels *want, uint32_t effort)
{
    struct rng rng = rng_seeded(11, 1);
    for (uint32_t d = 8; d <= 136; d += d < 32 ? 8 : 16)
        for (uint32_t n = 1; n < 40; n = n * 3 + 1) {
            moments(d, n, &rng, d % 3 ? 0 : 40, got, want);
            squares(d, n, &rng, d % 3 ? 0 : 40, got, want);
            deflate(d, n, &rng, got, want);
        }
    for (uint32_t i = 0; i < N_SIZE * effort; i++) {
        uint32_t n = SIZES[i % N_SIZE];
        struct guarded memory[4];
        for (int m = 0; m < 4; m++)
            memory[m] = guard_new(n * sizeof(float), 4);
        struct row_case c = { n, memory[0].at, memory[1].at, memory[2].at, memory[3].at, "" };
        for (uint32_t hostile = 0; hostile <= 64; hostile = hostile * 4 + 4) {
            all_operations(&c, &rng, hostile, got, want);
            softmax_stats(&c, got, want);
        }
        for (int m = 0; m < 4; m++)
            guard_free(&memory[m]);
    }
}
