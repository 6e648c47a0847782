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
#include "support/stored.h"

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

enum operation {
    RMS_NORM,
    ROPE,
    ROPE_HALVES,
    ADD,
    SCALE,
    SILU_GATE,
    GELU_GATE,
    SOFTCAP,
    SOFTMAX_STATS,
    SOFTMAX,
    MOMENTS,
    SQUARES,
    DEFLATE,
    N_OPERATION
};

/* Hashes of what each does to rows of many lengths, of usual values and of hostile ones. */
static const struct {
    const char *name;
    uint64_t hash;
} stored[N_OPERATION] = {
    [RMS_NORM] = { "rms_norm", 0xf2b69db82f88f785 },
    [ROPE] = { "rope", 0xa1936eb1626c7333 },
    [ROPE_HALVES] = { "rope by halves", 0x471988e1d8a83617 },
    [ADD] = { "add", 0xae7958f058378ade },
    [SCALE] = { "scale", 0x62d930eb766a750b },
    [SILU_GATE] = { "silu_gate", 0x151c39372e56d2ed },
    [GELU_GATE] = { "gelu_gate", 0x19dcd98bf10051be },
    [SOFTCAP] = { "softcap", 0xb42833dba9d08ff3 },
    [SOFTMAX_STATS] = { "softmax_stats", 0xd87c91718f2e0695 },
    [SOFTMAX] = { "softmax", 0x7759d3892fb9e259 },
    [MOMENTS] = { "moments", 0x3533c21221ade1b5 },
    [SQUARES] = { "squares", 0xa68d0c14ce62b2d8 },
    [DEFLATE] = { "deflate", 0xa71aa984005f230b },
};

enum { LONGEST = 1001, WIDEST = 40 };

/* y = an operation on y, x and w, [n] each; where it gives two numbers, y[n] and y[0]. */
static void do_row(const struct kernels *k, enum operation op, float *y, const float *x,
                   const float *w, uint32_t n)
{
    switch (op) {
    case RMS_NORM:
        k->rms_norm(y, x, w, n, 1e-6f);
        break;
    case ROPE:
    case ROPE_HALVES:
        k->rope(y, x, n & ~1u, op == ROPE_HALVES);
        break;
    case ADD:
        k->add(y, x, n);
        break;
    case SCALE:
        k->scale(y, x[0], n);
        break;
    case SILU_GATE:
        k->silu_gate(y, x, w, n);
        break;
    case GELU_GATE:
        k->gelu_gate(y, x, w, n);
        break;
    case SOFTCAP:
        k->softcap(y, 30, n);
        break;
    case SOFTMAX_STATS:
        k->softmax_stats(x, n, &y[n], &y[0]);
        break;
    default:
        k->softmax(y, n);
    }
}

static uint64_t rows_hash(const struct kernels *k, enum operation op)
{
    static const uint32_t lengths[] = { 1, 2, 7, 8, 15, 16, 17, 31, 33, 64, 100, 576, LONGEST };
    struct rng rng = rng_seeded(25, op);
    uint64_t hash = FNV1A_64_NONE;
    float x[LONGEST], w[LONGEST], y[LONGEST + 1];
    for (uint32_t i = 0; i < 2 * sizeof lengths / sizeof *lengths; i++) {
        const uint32_t n = lengths[i / 2];
        for (uint32_t j = 0; j < n; j++) {
            x[j] = any_float(&rng, i % 2 * 50);
            w[j] = any_float(&rng, i % 2 * 50);
            y[j] = any_float(&rng, i % 2 * 50);
        }
        y[n] = 0;
        do_row(k, op, y, x, w, n);
        hash = stored_floats(hash, y, n + 1);
    }
    return hash;
}

/* Sums over rows: of floats, and the doubles that deflate takes. */
static uint64_t sums_hash(const struct kernels *k, enum operation op)
{
    enum { ROWS = 9 };
    struct rng rng = rng_seeded(26, op);
    uint64_t hash = FNV1A_64_NONE;
    float x[ROWS * WIDEST], sum[WIDEST], outer[WIDEST * WIDEST] = { 0 };
    double l[ROWS * WIDEST], row[WIDEST];
    for (uint32_t d = 8; d <= WIDEST; d += 8) {
        for (uint32_t i = 0; i < ROWS * d; i++) {
            x[i] = any_float(&rng, d == 16 ? 50 : 0);
            l[i] = rng_unit(&rng) - 0.5;
        }
        for (uint32_t i = 0; i < d; i++)
            row[i] = sum[i] = any_float(&rng, 0);
        if (op == MOMENTS)
            k->moments(sum, outer, x, d, ROWS, d);
        if (op == SQUARES)
            k->squares(sum, x, ROWS, d);
        if (op == DEFLATE)
            k->deflate(row, l, ROWS, d / 2, d);
        hash = stored_floats(hash, sum, d);
        hash = stored_floats(hash, outer, (size_t)d * d);
        hash = fnv1a_64_more(hash, row, d * sizeof *row);
    }
    return hash;
}

static void bits_are_those_stored(void **state)
{
    (void)state;
    const struct kernels *k[8];
    const uint32_t n = kernels_available(k, 8);
    for (uint32_t i = 0; i < n; i++)
        for (enum operation op = 0; op < N_OPERATION; op++)
            expect_stored(op < MOMENTS ? rows_hash(k[i], op) : sums_hash(k[i], op), stored[op].hash,
                          k[i]->name, stored[op].name);
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
        cmocka_unit_test(bits_are_those_stored),
        cmocka_unit_test(exp_is_close),
        cmocka_unit_test(exp_at_its_ends),
        cmocka_unit_test(rms_norm_is_close),
        cmocka_unit_test(rope_is_close),
        cmocka_unit_test(gates_are_close),
        cmocka_unit_test(softmax_stats_is_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
