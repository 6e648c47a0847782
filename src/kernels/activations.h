/* kernels/activations.h - tanh, silu and gelu of rows.h for one number: each line one rounding
 * order, which every width repeats. Private to kernels/. */
#ifndef KERNELS_ACTIVATIONS_H
#define KERNELS_ACTIVATIONS_H

#include "kernels/exp.h"

#define GELU_W1 0x1.988454p+0f // 2 sqrt(2/pi)
#define GELU_W3 0x1.2444f2p-4f // 2 sqrt(2/pi) * 0.044715

static inline float tanh_f32(float x)
{
    return 1.0f - 2.0f / (1.0f + exp_f32(2.0f * x));
}

static inline float softcap_f32(float x, float cap)
{
    return cap * tanh_f32(x / cap);
}

static inline float silu_f32(float x)
{
    return x / (1.0f + exp_f32(-x));
}

static inline float gelu_f32(float x)
{
    float w = fmaf(x * x, GELU_W3, GELU_W1);
    return x / (1.0f + exp_f32(-x * w));
}

#endif
