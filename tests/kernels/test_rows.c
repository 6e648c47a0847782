/* Row operations: every table against ref, ref against double precision. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>

#include "base/f16.h"
#include "base/rng.h"
#include "kernels/exp.h"
#include "kernels/tables.h"
#include "support/kernel_suite.h"

#define U 0x1p-24 // half a unit in the last place of 1.0f: one rounding

static void every_table_gives_the_bits_of_ref(void **state)
{
    (void)state;
    const struct kernels *k[8];
    uint32_t n = kernels_available(k, 8);
    for (uint32_t i = 0; i < n; i++) {
        print_message("%s\n", k[i]->name);
        suite_rows(k[i], &kernels_ref, 1);
    }
}

/* |got - want| in units of the last place of a float near want. */
static double ulps(float got, double want)
{
    int e;
    frexp(want, &e);
    return fabs(got - want) / ldexp(1, e - FLT_MANT_DIG);
}

/* A prime step through the bit patterns of all arguments; all of them, run once by hand, gave
 * 0.9091. */
static void exp_is_close(void **state)
{
    (void)state;
    double worst = 0;
    for (uint32_t u = 0x30000000; u <= bits_of_f32(EXP_MAX); u += 523) {
        float x = f32_of_bits(u);
        worst = fmax(worst, ulps(exp_f32(x), exp((double)x)));
        if (-x >= EXP_MIN)
            worst = fmax(worst, ulps(exp_f32(-x), exp(-(double)x)));
    }
    print_message("exp: %.4f ulp\n", worst);
    assert_true(worst < 0.9095);
}

static void exp_at_its_ends(void **state)
{
    (void)state;
    assert_true(exp_f32(0) == 1 && exp_f32(-0.0f) == 1 && exp_f32(1e-30f) == 1);
    assert_true(isfinite(exp_f32(EXP_MAX)) && exp_f32(nextafterf(EXP_MAX, 100)) == INFINITY);
    assert_true(exp_f32(EXP_MIN) >= FLT_MIN && exp_f32(nextafterf(EXP_MIN, -100)) == 0);
    assert_true(exp_f32(INFINITY) == INFINITY && exp_f32(-INFINITY) == 0 && isnan(exp_f32(NAN)));
}

/* One rounding each of the square, the sum (n / 16 + 4 deep), the division, + eps; half of those
 * survive the root. */
static void rms_norm_is_close(void **state)
{
    (void)state;
    struct rng rng = rng_seeded(21, 1);
    float x[1000], w[1000], y[1000];
    for (uint32_t n = 1; n <= 1000; n += 37) {
        double sum = 0;
        for (uint32_t i = 0; i < n; i++) {
            x[i] = any_float(&rng, 0);
            w[i] = any_float(&rng, 0);
            sum += (double)x[i] * x[i];
        }
        kernels_ref.rms_norm(y, x, w, n, 1e-6f);
        double s = 1 / sqrt(sum / n + (double)1e-6f),
               relative = ((n / 16 + 1 + 4 + 2) / 2.0 + 2 + 2) * U * 1.01;
        for (uint32_t i = 0; i < n; i++)
            assert_true(fabs(y[i] - x[i] * s * w[i]) <= relative * fabs(x[i] * s * w[i]) + FLT_MIN);
    }
}

/* a c - b s: the product's rounding and the fma's. */
static void rope_is_close(void **state)
{
    (void)state;
    struct rng rng = rng_seeded(22, 1);
    for (int halves = 0; halves < 2; halves++) {
        float x[64], y[64], cs[64];
        for (uint32_t i = 0; i < 64; i++)
            x[i] = y[i] = any_float(&rng, 0);
        for (uint32_t i = 0; i < 32; i++)
            cs[2 * i] = cosf((float)i), cs[2 * i + 1] = sinf((float)i);
        kernels_ref.rope(y, cs, 64, halves);
        for (uint32_t i = 0; i < 32; i++) {
            uint32_t ia = halves ? i : 2 * i, ib = halves ? i + 32 : 2 * i + 1;
            double a = x[ia], b = x[ib], c = cs[2 * i], s = cs[2 * i + 1];
            double bound = 2 * U * (fabs(a) + fabs(b));
            assert_true(fabs(y[ia] - (a * c - b * s)) <= bound);
            assert_true(fabs(y[ib] - (a * s + b * c)) <= bound);
        }
    }
}

/* Relative errors: exp 0.91 ulp (1.82 U), and amplified by the rounding of its argument; then +, /
 * and *. */
static void gates_are_close(void **state)
{
    (void)state;
    struct rng rng = rng_seeded(23, 1);
    for (int i = 0; i < 100000; i++) {
        float x = (float)(rng_unit(&rng) * 60 - 30), one = 1, y;
        kernels_ref.silu_gate(&y, &x, &one, 1);
        double want = x / (1 + exp(-(double)x));
        assert_true(fabs(y - want) <= (1.82 + 4) * U * fabs(want));

        x /= 5;
        kernels_ref.gelu_gate(&y, &x, &one, 1);
        double u = sqrt(2 / M_PI) * (x + 0.044715 * pow(x, 3));
        want = x / (1 + exp(-2 * u));
        assert_true(fabs(y - want) <= (1.82 + 4 + 5 * fabs(2 * u)) * U * fabs(want));

        kernels_ref.softcap((y = x, &y), 30, 1);
        assert_true(fabs(y - 30 * tanh(x / 30)) <= 30 * 4 * U);
    }
}

static void softmax_stats_is_close(void **state)
{
    (void)state;
    struct rng rng = rng_seeded(24, 1);
    float x[5000], largest, sum;
    for (uint32_t n = 1; n <= 5000; n = n * 3 + 1) {
        double m = -INFINITY, want = 0;
        for (uint32_t i = 0; i < n; i++)
            m = fmax(m, x[i] = 3 * any_float(&rng, 0));
        for (uint32_t i = 0; i < n; i++)
            want += exp(x[i] - m);
        kernels_ref.softmax_stats(x, n, &largest, &sum);
        assert_true(largest == m);
        assert_true(fabs(sum - want) <=
                    (1.82 + 60 + n / 16 + 5) * U * want); // 60: no x is further from m

        float y = x[n / 2];
        kernels_ref.softmax(x, n);
        assert_true(fabs(x[n / 2] - exp(y - m) / want) <= 2 * (64 + 60 + n / 16) * U * x[n / 2]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_table_gives_the_bits_of_ref),
        cmocka_unit_test(exp_is_close),
        cmocka_unit_test(exp_at_its_ends),
        cmocka_unit_test(rms_norm_is_close),
        cmocka_unit_test(rope_is_close),
        cmocka_unit_test(gates_are_close),
        cmocka_unit_test(softmax_stats_is_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
