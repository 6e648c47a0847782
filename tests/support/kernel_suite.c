#include "support/kernel_suite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "base/f16.h"

void expect_same_floats(const float *got, const float *want, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (bits_of_f32(got[i]) != bits_of_f32(want[i]) && !(isnan(got[i]) && isnan(want[i])))
            fail_msg("%s: element %zu of %zu is %a (%08x), not %a (%08x)", what, i, n, got[i],
                     bits_of_f32(got[i]), want[i], bits_of_f32(want[i]));
}

float any_float(struct rng *rng, uint32_t hostile)
{
    static const float ENDS[] = { INFINITY,   -INFINITY, NAN,    0.0f,   -0.0f,  0x1p-149f,
                                  -0x1p-130f, 0x1p-126f, 3e38f,  -3e38f, 1e-30f, 65504.0f,
                                  65519.9f,   65520.0f,  6e-8f,  -2e-8f, 88.7f,  -87.01f,
                                  -88.5f,     88.5f,     -88.0f, 1e20f };
    if (hostile && rng_below(rng, hostile) == 0)
        return ENDS[rng_below(rng, sizeof ENDS / sizeof *ENDS)];
    float sum = 0; // nearly normal, deviation about 1
    for (int i = 0; i < 4; i++)
        sum += (float)rng_unit(rng) * 2 - 1;
    return sum * (rng_below(rng, 16) == 0 ? 8.0f : 0.9f);
}
