/* fmath: against 80-bit long double, and the ends of each range. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdio.h>

#include "base/rng.h"
#include "kernels/fmath.h"

enum { N = 300000 };

static double uniform(struct rng *rng, double lo, double hi)
{
    return lo + (hi - lo) * rng_unit(rng);
}

/* |got - want| in units of the last place of a double near want. */
static double ulps(double got, long double want)
{
    int e;
    frexpl(want, &e);
    return (double)(fabsl(got - want) / ldexpl(1, (e < -1021 ? -1021 : e) - DBL_MANT_DIG));
}

static void expect_below(const char *what, double worst, double bound)
{
    print_message("%-12s %.3g, bound %.3g\n", what, worst, bound);
    if (!(worst < bound))
        fail_msg("%s is off by %g, more than %g", what, worst, bound);
}

static void exp_is_close(void **state)
{
    (void)state;
    struct rng rng = rng_seeded(1, 1);
    double worst = 0, subnormal = 0;
    for (int i = 0; i < N; i++) {
        double x = i & 1 ? uniform(&rng, -708, 709.7) : uniform(&rng, -2, 2);
        worst = fmax(worst, ulps(fm_exp(x), expl(x)));
        x = uniform(&rng, -745, -708);
        subnormal = fmax(subnormal, ulps(fm_exp(x), expl(x)));
    }
    expect_below("exp, ulp", worst, 0.76);
    expect_below("subnormal", subnormal, 1.3);
    assert_true(fm_exp(0) == 1 && fm_exp(-0.0) == 1);
    assert_true(fm_exp(710) == INFINITY && fm_exp(INFINITY) == INFINITY && fm_exp(-746) == 0);
    assert_true(fm_exp(-INFINITY) == 0 && isnan(fm_exp(NAN)));
}

static void log_is_close(void **state)
{
    (void)state;
    struct rng rng = rng_seeded(2, 1);
    double worst = 0;
    for (int i = 0; i < N; i++) {
        double far = i % 3, x = far == 0   ? uniform(&rng, 0.4, 1.6)
                                : far == 1 ? 1 + uniform(&rng, -1e-6, 1e-6)
                                           : exp(uniform(&rng, -744, 709));
        worst = fmax(worst, ulps(fm_log(x), logl(x)));
    }
    expect_below("log, ulp", worst, 0.62);
    assert_true(fm_log(1) == 0 && fm_log(0) == -INFINITY && fm_log(INFINITY) == INFINITY);
    assert_true(isnan(fm_log(-1)) && isnan(fm_log(NAN)));
}

static void pow_is_close(void **state)
{
    (void)state;
    struct rng rng = rng_seeded(3, 1);
    double worst = 0, wide = 0;
    for (int i = 0; i < N; i++) {
        double x = exp(uniform(&rng, -10, 15)), y = uniform(&rng, -40, 40);
        worst = fmax(worst, (double)fabsl(fm_pow(x, y) / powl(x, y) - 1));
        x = uniform(&rng, 0.7, 1.45), y = uniform(&rng, -700, 700) / fabs(log(x));
        if (isfinite(y))
            wide = fmax(wide, (double)fabsl(fm_pow(x, y) / powl(x, y) - 1));
    }
    expect_below("pow", worst, 1e-15);
    expect_below("pow, any y", wide, 2e-14);
    assert_true(fm_pow(2, 10) == 1024 && fm_pow(2, -1074) == 0x1p-1074 && fm_pow(5, 0) == 1);
    assert_true(fm_pow(10, 400) == INFINITY && fm_pow(10, -400) == 0 && fm_pow(1, 1e300) == 1);
    assert_true(fm_pow(1 + 0x1p-52, 1e300) == INFINITY && isnan(fm_pow(-1, 2)) &&
                isnan(fm_pow(2, INFINITY)));
}

static void sincos_is_close(void **state)
{
    (void)state;
    struct rng rng = rng_seeded(4, 1);
    double worst = 0, s, c;
    for (int i = 0; i < N; i++) {
        double x = i % 3 == 0 ? uniform(&rng, -8, 8)
                   : i % 3 == 1
                       ? uniform(&rng, -0x1p27, 0x1p27)
                       : nearbyint(uniform(&rng, 0, 0x1p26)) * M_PI_2; // where almost all cancels
        fm_sincos(x, &s, &c);
        worst = fmax(worst, fmax(ulps(s, sinl(x)), ulps(c, cosl(x))));
    }
    expect_below("sincos, ulp", worst, 0.80);
    fm_sincos(0, &s, &c);
    assert_true(s == 0 && c == 1);
    fm_sincos(0x1p28, &s, &c);
    assert_true(isnan(s) && isnan(c));
}

/* A few results that every machine must give, to the bit. */
static void bits_are_fixed(void **state)
{
    (void)state;
    double s, c;
    fm_sincos(12345.678, &s, &c);
    assert_true(fm_exp(-3.25) == 0x1.3da368521902dp-5);
    assert_true(fm_log(7.75) == 0x1.061acc9140e62p+1);
    assert_true(fm_pow(10000, -0.28125) == 0x1.33281b6744ae1p-4);
    assert_true(s == -0x1.687d5890974a5p-1 && c == 0x1.6b94c3bbe24b8p-1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_close),   cmocka_unit_test(log_is_close),
        cmocka_unit_test(pow_is_close),   cmocka_unit_test(sincos_is_close),
        cmocka_unit_test(bits_are_fixed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
