/* The contract of rows.h, plainly. */
#include <math.h>

#include "kernels/activations.h"
#include "kernels/lanes.h"
#include "kernels/ref/fns.h"

void ref_rms_norm(float *y, const float *x, const float *w, uint32_t n, float eps)
{
    float lane[LANES] = { 0 };
    for (uint32_t i = 0; i < n; i++)
        lane[i % LANES] = fmaf(x[i], x[i], lane[i % LANES]);
    float s = 1.0f / sqrtf(lanes_sum(lane) / (float)n + eps);
    for (uint32_t i = 0; i < n; i++)
        y[i] = (x[i] * s) * w[i];
}

void ref_rope(float *x, const float *cs, uint32_t n_rot, int halves)
{
    uint32_t half = n_rot / 2;
    for (uint32_t i = 0; i < half; i++) {
        float *pa = halves ? &x[i] : &x[2 * i], *pb = halves ? &x[i + half] : &x[2 * i + 1];
        float a = *pa, b = *pb, c = cs[2 * i], s = cs[2 * i + 1];
        *pa = fmaf(a, c, -(b * s));
        *pb = fmaf(a, s, b * c);
    }
}

void ref_add(float *y, const float *x, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        y[i] += x[i];
}

void ref_scale(float *y, float s, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        y[i] *= s;
}

void ref_silu_gate(float *y, const float *gate, const float *up, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        y[i] = silu_f32(gate[i]) * up[i];
}

void ref_gelu_gate(float *y, const float *gate, const float *up, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        y[i] = gelu_f32(gate[i]) * up[i];
}

void ref_softcap(float *y, float cap, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        y[i] = softcap_f32(y[i], cap);
}

void ref_softmax_stats(const float *x, uint32_t n, float *largest, float *sum)
{
    float m = -INFINITY, lane[LANES] = { 0 };
    for (uint32_t i = 0; i < n; i++)
        m = larger(m, x[i]);
    for (uint32_t i = 0; i < n; i++)
        lane[i % LANES] += exp_f32(x[i] - m);
    *largest = m;
    *sum = lanes_sum(lane);
}

void ref_softmax(float *y, uint32_t n)
{
    float m, sum;
    ref_softmax_stats(y, n, &m, &sum);
    for (uint32_t i = 0; i < n; i++)
        y[i] = exp_f32(y[i] - m) / sum;
}
