/* The contract of storing and loading rows, plainly. K goes across the lanes of its part, V along a row of its
 * own. */
#include <math.h>

#include "base/f16.h"
#include "kernels/ref/fns.h"

/* Stores x[j] at element first + j * step of the part; int8 scales lie behind all 64 * d
 * elements. */
static void store(enum kv_type type, void *part, uint32_t row, const float *x, uint32_t d,
                  size_t first, size_t step)
{
    if (type == KV_F32) {
        for (uint32_t j = 0; j < d; j++)
            ((float *)part)[first + j * step] = x[j];
        return;
    }
    if (type == KV_F16) {
        for (uint32_t j = 0; j < d; j++)
            ((f16 *)part)[first + j * step] = f16_of_f32(x[j]);
        return;
    }
    uint32_t largest = 0; // bits of |x| order like numbers, with infinity and then NaN on top
    for (uint32_t j = 0; j < d; j++) {
        uint32_t magnitude = bits_of_f32(x[j]) & 0x7fffffff;
        largest = magnitude > largest ? magnitude : largest;
    }
    float amax = f32_of_bits(largest), inv = largest ? 127.0f / amax : 0.0f;
    for (uint32_t j = 0; j < d; j++) {
        float q = rintf(x[j] * inv);
        q = q > 127.0f ? 127.0f : q < -127.0f ? -127.0f : q;
        ((int8_t *)part)[first + j * step] = q == q ? (int8_t)q : 0;
    }
    ((float *)((char *)part + (size_t)KV_BLOCK * d))[row] = amax * (1.0f / 127.0f);
}

void ref_store_k(enum kv_type type, void *part, uint32_t row, const float *x, uint32_t d)
{
    store(type, part, row, x, d, row, KV_BLOCK);
}

void ref_store_v(enum kv_type type, void *part, uint32_t row, const float *x, uint32_t d)
{
    store(type, part, row, x, d, (size_t)row * d, 1);
}

static void load(enum kv_type type, const void *part, uint32_t row, float *x, uint32_t d,
                 size_t first, size_t step)
{
    for (uint32_t j = 0; j < d; j++) {
        const size_t at = first + j * step;
        if (type == KV_F32)
            x[j] = ((const float *)part)[at];
        else if (type == KV_F16)
            x[j] = f32_of_f16(((const f16 *)part)[at]);
        else
            x[j] = ((const int8_t *)part)[at] *
                   ((const float *)((const char *)part + (size_t)KV_BLOCK * d))[row];
    }
}

void ref_load_k(enum kv_type type, const void *part, uint32_t row, float *x, uint32_t d)
{
    load(type, part, row, x, d, row, KV_BLOCK);
}

void ref_load_v(enum kv_type type, const void *part, uint32_t row, float *x, uint32_t d)
{
    load(type, part, row, x, d, (size_t)row * d, 1);
}
