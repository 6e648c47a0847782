/* What a stored weight is, what a quantised activation is, and that the contract of matmul multiplies them. */
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
#include "kernels/ref/matmul_fns.h"
#include "support/weights.h"

enum { K = 1024, N = 20, N_ROW = 3 };

/* tests/data/quants/TYPE.bin: 1,024 weights as blocks, then as the floats that the gguf package makes of them. */
static void dequant_agrees_with_the_gguf_package(void **state)
{
    (void)state;
    for (int t = 0; t < N_WEIGHT_TYPE; t++) {
        const struct dtype_info *info = dtype_info(weight_types[t]);
        size_t bytes = dtype_bytes(weight_types[t], K);
        uint8_t rows[4 * K];
        float expected[K], got[K];
        char path[64];

        if (info->block_elems == 1)
            continue;
        snprintf(path, sizeof path, "tests/data/quants/%s.bin", info->name);
        FILE *f = fopen(path, "rb");
        assert_non_null(f);
        assert_int_equal(fread(rows, 1, bytes, f), bytes);
        assert_int_equal(fread(expected, 4, K, f), K);
        fclose(f);
        dequant_row(weight_types[t], rows, K, got);
        for (int i = 0; i < K;
             i++) /* a zero may differ in its sign: 0 * -d is -0 or, after a sum, 0 */
            if (got[i] != expected[i])
                fail_msg("%s, weight %d: %a, not %a", info->name, i, got[i], expected[i]);
    }
}

static void dequant_widens_floats_exactly(void **state)
{
    (void)state;
    static const f16 halves[] = { 0x3c00, 0xc000, 0x0001, 0x7bff, 0x8000, 0x7c00 };
    static const float of_f16[] = { 1, -2, 0x1p-24f, 65504, -0.0f, INFINITY };
    static const bf16 brains[] = { 0x3f80, 0xc000, 0x0001, 0x7f7f, 0x8000, 0x7f80 };
    static const float of_bf16[] = { 1, -2, 0x1p-133f, 0x1.fep127f, -0.0f, INFINITY };
    float out[6];
    dequant_row(DT_F16, halves, 6, out);
    assert_memory_equal(out, of_f16, sizeof out);
    dequant_row(DT_BF16, brains, 6, out);
    assert_memory_equal(out, of_bf16, sizeof out);
    dequant_row(DT_F32, of_f16, 6, out);
    assert_memory_equal(out, of_f16, sizeof out);
}

static void packed_shape_takes_whole_blocks_only(void **state)
{
    (void)state;
    struct packed w;
    assert_true(packed_shape(&w, DT_Q4_1, 17, 64));
    assert_int_equal(w.n_panel, 2);
    assert_int_equal(w.panel_bytes, 2 * 16 * 20);
    assert_true(packed_shape(&w, DT_Q8_0, 16, 32));
    assert_int_equal(w.panel_bytes, 576); /* 544 and the rest of a cache line */
    assert_true(packed_shape(&w, DT_F16, 1, 3));
    assert_true(packed_shape(&w, DT_Q6_K, 1u << 31, 1u << 31));
    assert_int_equal(w.n_panel, 1u << 27);
    assert_false(packed_shape(&w, DT_Q4_1, 16, 33));
    assert_false(packed_shape(&w, DT_Q4_K, 16, 128));
    assert_false(packed_shape(&w, DT_Q4_K, 0, 256));
    assert_false(packed_shape(&w, DT_Q4_K, 16, 0));
    assert_false(packed_shape(&w, 24, 16, 32));  /* I8: has a name, is not ours */
    assert_false(packed_shape(&w, 200, 16, 32)); /* nobody's */
}

static int code_of(const struct acts *a, uint32_t r, uint32_t i)
{
    return acts_block_of(a, r, i / QBLOCK)->q[i % QBLOCK / 4][r % ACTS_ROWS][i % 4];
}

/* |x - (d q + z)| <= d / 2 and what rounding adds: x - z, its product with inv and d itself are off by at most 3 units
 * in the last place of |x - z| <= 127 d, and z by one of itself. */
static void expect_near_codes(const struct acts *a, uint32_t r, uint32_t b)
{
    const struct acts_block *block = acts_block_of(a, r, b);
    const uint32_t lane = r % ACTS_ROWS;
    const double d = block->d[lane], z = block->z[lane];
    int sum[2] = { 0, 0 };
    for (uint32_t i = b * QBLOCK; i < (b + 1) * QBLOCK; i++) {
        const int q = code_of(a, r, i);
        const double bound = d / 2 + (4 * 127 * d + fabs(z)) * 0x1p-24;
        assert_true(fabs(a->f[r * K + i] - (d * q + z)) <= bound);
        sum[i % QBLOCK / 16] += q;
    }
    assert_int_equal(block->half[lane][0], sum[0]);
    assert_int_equal(block->half[lane][1], sum[1]);
    assert_true(block->t[lane] == block->d[lane] * (float)(sum[0] + sum[1]));
}

static void quantised_blocks_are_near(void **state)
{
    (void)state;
    struct rng rng = rng_seeded(7, 1);
    float *x = malloc(N_ROW * K * sizeof *x);
    struct acts a = { .f = x };
    void *memory = mem_new_aligned(1, acts_bytes(N_ROW, K), 64);
    random_floats(x, N_ROW * K, &rng, false);
    acts_place(&a, N_ROW, K, ACTS_BLOCKS, memory);
    ref_quantise(&a, 0, N_ROW);
    for (uint32_t r = 0; r < N_ROW; r++)
        for (uint32_t b = 0; b < K / QBLOCK; b++)
            expect_near_codes(&a, r, b);
    mem_free(memory);
    free(x);
}

static void quantise_one(const float x[32], struct acts *a, void *memory)
{
    a->f = x;
    acts_place(a, 1, 32, ACTS_BLOCKS, memory);
    ref_quantise(a, 0, 1);
}

static void odd_blocks_quantise_as_promised(void **state)
{
    (void)state;
    float x[32];
    struct acts a;
    void *memory = mem_new_aligned(1, acts_bytes(1, 32), 64);

    for (int i = 0; i < 32; i++)
        x[i] = 1.5f;
    quantise_one(x, &a, memory); /* all alike: exact */
    assert_true(a.block->z[0] == 1.5f && a.block->d[0] == 0 && code_of(&a, 0, 31) == 0);

    x[3] = NAN;
    quantise_one(x, &a, memory); /* a NaN is not lost: every output becomes one */
    assert_true(isnan(a.block->z[0]) && isnan(a.block->d[0]));

    x[3] = INFINITY;
    quantise_one(x, &a, memory);
    assert_false(isfinite(a.block->z[0]));
    mem_free(memory);
}

/* For the bound: |offset part| + |largest code part| of every weight of a row, from the row with all codes 0 and all
 * 1. */
static void largest_parts(enum dtype type, const uint8_t *row, double part[K])
{
    const struct dtype_info *t = dtype_info(type);
    size_t bytes = dtype_bytes(type, K);
    float w[K], least[K], most[K];
    uint8_t *copy = malloc(bytes);
    dequant_row(type, row, K, w);
    memcpy(copy, row, bytes);
    for (size_t i = 0; t->block_elems > 1 && i < bytes; i += t->block_bytes)
        set_codes(copy + i, type, false);
    dequant_row(type, copy, K, least);
    for (size_t i = 0; t->block_elems > 1 && i < bytes; i += t->block_bytes)
        set_codes(copy + i, type, true);
    dequant_row(type, copy, K, most);
    for (int i = 0; i < K; i++)
        part[i] =
            t->block_elems == 1 ? fabs(w[i]) : fabs(least[i]) + fabs((double)most[i] - least[i]);
    free(copy);
}

/* One output against doubles. Every FMA of its chain (at most three a block of 32, or one a k) errs by at most 2^-24 of
 * the terms so far, and a term's own factors by at most three roundings more (I d or J d; W: two and the FMA). */
static void expect_near(enum dtype type, const uint8_t *row, const struct acts *a, uint32_t r,
                        float y)
{
    static float w[K];
    static double part[K];
    double exact = 0, terms = 0;
    bool quantised = dtype_info(type)->block_elems > 1;
    double n_rounding = quantised ? 3 * (K / 32) + 3 : K;

    dequant_row(type, row, K, w);
    largest_parts(type, row, part);
    for (int i = 0; i < K; i++) {
        const struct acts_block *b = acts_block_of(a, r, (uint32_t)i / QBLOCK);
        const uint32_t lane = r % ACTS_ROWS;
        double q = quantised ? (double)b->d[lane] * code_of(a, r, (uint32_t)i) : a->f[r * K + i];
        double z = quantised ? b->z[lane] : 0;
        exact += (q + z) * w[i];
        terms += (fabs(q) + fabs(z)) * part[i];
    }
    double weights = terms * 0x1p-23; /* w itself is rounded to f32 by dequant_row, twice at most */
    double bound = weights + terms * n_rounding * 0x1p-24 / (1 - n_rounding * 0x1p-24);
    if (!(fabs(y - exact) <= bound))
        fail_msg("%s: %.9g, not %.9g +- %.2g", dtype_info(type)->name, y, exact, bound);
}

static void ref_matmul_agrees_with_doubles(void **state)
{
    (void)state;
    struct rng rng = rng_seeded(7, 2);
    float *x = malloc(N_ROW * K * sizeof *x), y[N_ROW][N];
    void *memory = mem_new_aligned(1, acts_bytes(N_ROW, K), 64);
    struct acts a = { .f = x };
    random_floats(x, N_ROW * K, &rng, false);
    acts_place(&a, N_ROW, K, ACTS_BLOCKS, memory);
    ref_quantise(&a, 0, N_ROW);
    for (int t = 0; t < N_WEIGHT_TYPE; t++) {
        struct packed w;
        assert_true(packed_shape(&w, weight_types[t], N, K));
        size_t row_bytes = dtype_bytes(w.type, K);
        uint8_t *rows = malloc(N * row_bytes);
        uint8_t *data = mem_new_aligned(w.n_panel, w.panel_bytes, 64);
        random_weights(rows, w.type, N, K, &rng, false);
        packed_fill(&w, rows, data, 0, w.n_panel);
        w.data = data;
        ref_matmul(&w, 0, w.n_panel, &a, &y[0][0], N, NULL);
        for (uint32_t r = 0; r < N_ROW; r++)
            for (uint32_t o = 0; o < N; o++)
                expect_near(w.type, rows + o * row_bytes, &a, r, y[r][o]);
        free(rows);
        mem_free(data);
    }
    mem_free(memory);
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dequant_agrees_with_the_gguf_package),
        cmocka_unit_test(dequant_widens_floats_exactly),
        cmocka_unit_test(packed_shape_takes_whole_blocks_only),
        cmocka_unit_test(quantised_blocks_are_near),
        cmocka_unit_test(odd_blocks_quantise_as_promised),
        cmocka_unit_test(ref_matmul_agrees_with_doubles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
