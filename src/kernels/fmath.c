/* Only + - * / and integers, each rounded once: IEEE 754 leaves nothing open. Where a result needs
 * more than 53 bits on the way, a number is a pair hi + lo (Dekker 1971, "A floating-point
 * technique for extending the available precision"). fmath.h states the errors as measured against
 * 80-bit long double by tests/kernels/test_fmath.c. */
#include "kernels/fmath.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#define LN2_HI 0x1.62e42fefa3800p-1 // 42 bits: a product with an exponent is exact
#define LN2_LO 0x1.ef35793c76730p-45

struct pair {
    double hi, lo;
};

static double of_bits(uint64_t u)
{
    double x;
    memcpy(&x, &u, 8);
    return x;
}

static uint64_t bits_of(double x)
{
    uint64_t u;
    memcpy(&u, &x, 8);
    return u;
}

/* a + b exactly (Knuth). */
static struct pair two_sum(double a, double b)
{
    double s = a + b, b_in = s - a, a_in = s - b_in;
    return (struct pair){ s, (a - a_in) + (b - b_in) };
}

/* a * b exactly (Dekker), while nothing over- or underflows: each factor in halves of 26 bits. */
static struct pair two_product(double a, double b)
{
    double ca = 134217729.0 * a, cb = 134217729.0 * b;
    double ah = ca - (ca - a), al = a - ah, bh = cb - (cb - b), bl = b - bh;
    double p = a * b;
    return (struct pair){ p, ((ah * bh - p) + ah * bl + al * bh) + al * bl };
}

/* x * 2^n with one rounding, for x in [0.5, 2) and -1,080 <= n <= 1,024: 2^n itself may not be a
 * normal number. */
static double scale2(double x, int n)
{
    int first = n > 1023 ? 1023 : n < -1022 ? -900 : 0;
    return x * of_bits((uint64_t)(1023 + first) << 52) *
           of_bits((uint64_t)(1023 + n - first) << 52);
}

/* exp(hi + lo), |lo| < ulp(hi). exp(r) = 1 + r + r^2/2 + r^3 q(r), the series to r^14. */
static double exp_pair(double hi, double lo)
{
    static const double Q[] = { 1.0 / 87178291200.0, 1.0 / 6227020800.0, 1.0 / 479001600.0,
                                1.0 / 39916800.0,    1.0 / 3628800.0,    1.0 / 362880.0,
                                1.0 / 40320.0,       1.0 / 5040.0,       1.0 / 720.0,
                                1.0 / 120.0,         1.0 / 24.0,         1.0 / 6.0 };
    if (hi > 709.79)
        return INFINITY;
    if (hi < -745.14)
        return 0;
    double n = floor(hi * 0x1.71547652b82fep+0 + 0.5);
    struct pair r = two_sum(hi - n * LN2_HI, lo - n * LN2_LO);
    double q = Q[0];
    for (unsigned i = 1; i < sizeof Q / sizeof *Q; i++)
        q = q * r.hi + Q[i];
    double square = r.hi * r.hi;
    struct pair s = two_sum(1, r.hi);
    double tail = s.lo + (r.lo + r.lo * r.hi) + (0.5 * square + square * r.hi * q);
    return scale2(s.hi + tail, (int)n);
}

/* log(x) as a pair, x positive and finite. x = 2^k (1 + f), s = f / (2 + f):
 *
 *     log(1 + f) = 2 atanh(s) = f - s (f - s^2 (2/3 + 2/5 s^2 + ...))
 *     1 + f in [sqrt(1/2), sqrt(2)], so |s| < 0.172, and the series to s^22 leaves 2e-19
 *
 * f is exact; f^2/2 is carried as a pair so that only s (...) is rounded. */
static struct pair log_pair(double x)
{
    int k = 0;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        k = -54;
    }
    uint64_t u = bits_of(x);
    k += (int)(u >> 52) - 1023;
    double m = of_bits((u & 0xfffffffffffff) | UINT64_C(1023) << 52);
    if (m > 0x1.6a09e667f3bcdp+0) {
        m *= 0.5;
        k++;
    }
    double f = m - 1, s = f / (2 + f), z = s * s, t = 0;
    for (int i = 23; i >= 3; i -= 2)
        t = t * z + 2.0 / i;
    struct pair half = two_product(f, 0.5 * f);
    double rest = s * (half.hi + t * z); // log(1 + f) = f - f^2/2 + s (f^2/2 + t z)
    struct pair a = two_sum(f, -half.hi), b = two_sum(a.hi, rest);
    double lo = b.lo + (a.lo - half.lo);
    struct pair c = two_sum(k * LN2_HI, b.hi);
    return two_sum(c.hi, c.lo + (lo + k * LN2_LO));
}

double fm_exp(double x)
{
    return x != x ? x : exp_pair(x, 0);
}

double fm_log(double x)
{
    if (x == 0)
        return -INFINITY;
    if (!(x > 0))
        return NAN;
    return x == INFINITY ? x : log_pair(x).hi;
}

double fm_pow(double x, double y)
{
    if (y == 0 || x == 1)
        return 1;
    if (!(x > 0) || x == INFINITY || !(y - y == 0))
        return NAN;
    struct pair l = log_pair(x);
    double rough = y * l.hi;
    if (!(fabs(rough) < 800)) // also keeps two_product from overflowing
        return rough > 0 ? INFINITY : 0;
    struct pair p = two_product(y, l.hi);
    return exp_pair(p.hi, p.lo + y * l.lo);
}

/* x = n pi/2 + (hi + lo), |hi| <= pi/4. A product of n < 2^27 with a piece of 26 bits is exact, and
 * so is each sum as a pair; four pieces and a tail make 157 bits: 27 for n, 53 for the result, and
 * 77 for what cancels. */
static struct pair reduce(double x, int64_t *n)
{
    static const double PIECE[] = { 0x1.921fb50000000p+0, 0x1.110b460000000p-26,
                                    0x1.1a62630000000p-54, 0x1.8a2e030000000p-81,
                                    0x1.c1cd129024e09p-107 };
    double quarters = floor(x * 0x1.45f306dc9c883p-1 + 0.5), lo = 0;
    struct pair sum = { x, 0 };
    for (unsigned i = 0; i < sizeof PIECE / sizeof *PIECE; i++) {
        sum = two_sum(sum.hi, -quarters * PIECE[i]);
        lo += sum.lo;
    }
    *n = (int64_t)quarters;
    return two_sum(sum.hi, lo);
}

/* sin(hi + lo) on [-pi/4, pi/4]: the series to r^17 (1e-19), and lo cos(hi). */
static double sin_series(struct pair r)
{
    static const double S[] = {
        1.0 / 355687428096000.0, -1.0 / 1307674368000.0, 1.0 / 6227020800.0, -1.0 / 39916800.0,
        1.0 / 362880.0,          -1.0 / 5040.0,          1.0 / 120.0,        -1.0 / 6.0
    };
    double z = r.hi * r.hi, t = S[0];
    for (unsigned i = 1; i < sizeof S / sizeof *S; i++)
        t = t * z + S[i];
    return r.hi + (r.hi * z * t + r.lo * (1 - 0.5 * z));
}

/* cos(hi + lo) on [-pi/4, pi/4]: the series to r^18 (5e-20), and -lo sin(hi). */
static double cos_series(struct pair r)
{
    static const double C[] = {
        -1.0 / 6402373705728000.0, 1.0 / 20922789888000.0, -1.0 / 87178291200.0, 1.0 / 479001600.0,
        -1.0 / 3628800.0,          1.0 / 40320.0,          -1.0 / 720.0,         1.0 / 24.0
    };
    double z = r.hi * r.hi, t = C[0];
    for (unsigned i = 1; i < sizeof C / sizeof *C; i++)
        t = t * z + C[i];
    struct pair head = two_sum(1, -0.5 * z);
    return head.hi + (head.lo + (z * z * t - r.hi * r.lo));
}

void fm_sincos(double x, double *sin, double *cos)
{
    int64_t n;
    if (!(fabs(x) <= 0x1p27)) {
        *sin = *cos = NAN;
        return;
    }
    struct pair r = reduce(x, &n);
    double s = sin_series(r), c = cos_series(r);
    *sin = (n & 1 ? c : s) * (n & 2 ? -1 : 1);
    *cos = (n & 1 ? s : c) * ((n + 1) & 2 ? -1 : 1);
}
