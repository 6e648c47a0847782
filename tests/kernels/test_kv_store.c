/* Storing rows: every table against ref, every f16, and what int8 keeps of a row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "base/f16.h"
#include "kernels/tables.h"
#include "support/kernel_suite.h"

static void every_table_gives_the_bits_of_ref(void **state)
{
    (void)state;
    const struct kernels *k[8];
    uint32_t n = kernels_available(k, 8);
    for (uint32_t i = 0; i < n; i++) {
        print_message("%s\n", k[i]->name);
        suite_store(k[i], &kernels_ref, 2);
    }
}

static void expect_f16(const struct kernels *k, const float *x, const f16 *want)
{
    _Alignas(64) f16 part[KV_BLOCK * 8];
    float back[8];
    k->store_v(KV_F16, part, 5, x, 8);
    k->load_v(KV_F16, part, 5, back, 8);
    for (int j = 0; j < 8; j++)
        assert_true(back[j] == f32_of_f16(part[5 * 8 + j]) || isnan(back[j]));
    for (int j = 0; j < 8; j++)
        if (part[5 * 8 + j] != want[j] && !isnan(x[j]))
            fail_msg("%s stores %a as %04x, not %04x", k->name, x[j], part[5 * 8 + j], want[j]);
}

/* All 65,536 halves come back, and so do their neighbours on both sides of every rounding
 * boundary. */
static void f16_rounds_as_base_says(void **state)
{
    (void)state;
    static const int32_t STEPS[] = { -0x1001, -0x1000, -0xfff, -1, 0, 1, 0xfff, 0x1000 };
    const struct kernels *k[8];
    uint32_t n = kernels_available(k, 8);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t h = 0; h < 65536; h++) {
            float exact = f32_of_f16((f16)h), x[8];
            f16 want[8];
            for (int j = 0; j < 8; j++) {
                x[j] =
                    isfinite(exact) ? f32_of_bits(bits_of_f32(exact) + (uint32_t)STEPS[j]) : exact;
                want[j] = f16_of_f32(x[j]);
            }
            assert_true(isnan(exact) || f16_of_f32(exact) == h);
            expect_f16(k[i], x, want);
        }
}

static void int8_keeps_half_a_step(void **state)
{
    (void)state;
    struct rng rng = rng_seeded(31, 1);
    _Alignas(64) char part[KV_BLOCK * 64 + KV_BLOCK * 4];
    float x[64], amax = 0;
    for (int j = 0; j < 64; j++) {
        x[j] = any_float(&rng, 0);
        amax = fmaxf(amax, fabsf(x[j]));
    }
    float back[64];
    kernels_ref.store_k(KV_INT8, part, 9, x, 64);
    kernels_ref.load_k(KV_INT8, part, 9, back, 64);
    float scale = ((float *)(part + KV_BLOCK * 64))[9];
    for (int j = 0; j < 64; j++) // half a step, and a few roundings of numbers up to 127
        assert_true(fabsf(((int8_t *)part)[j * KV_BLOCK + 9] * scale - x[j]) <=
                    (0.5 + 127 * 0x1p-22) * scale);
    for (int j = 0; j < 64; j++)
        assert_true(back[j] == ((int8_t *)part)[j * KV_BLOCK + 9] * scale);
    assert_true(fabsf(scale * 127 - amax) <= amax * 0x1p-22);
}

/* What cannot be stored must not read as an ordinary number. */
static void int8_shows_nan_and_infinity(void **state)
{
    (void)state;
    const struct kernels *k[8];
    uint32_t n = kernels_available(k, 8);
    for (uint32_t i = 0; i < n; i++) {
        _Alignas(64) char part[KV_BLOCK * 8 + KV_BLOCK * 4];
        float *scale = (float *)(part + KV_BLOCK * 8), x[8] = { 1, 2, NAN, 3 };
        k[i]->store_v(KV_INT8, part, 0, x, 8);
        assert_true(isnan(scale[0]));
        x[2] = -INFINITY;
        k[i]->store_v(KV_INT8, part, 0, x, 8);
        assert_true(isinf(scale[0]) && part[2] == 0 && part[0] == 0);
        memset(x, 0, sizeof x);
        k[i]->store_v(KV_INT8, part, 0, x, 8);
        assert_true(scale[0] == 0 && part[0] == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_table_gives_the_bits_of_ref),
        cmocka_unit_test(f16_rounds_as_base_says),
        cmocka_unit_test(int8_keeps_half_a_step),
        cmocka_unit_test(int8_shows_nan_and_infinity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
